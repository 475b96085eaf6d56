//! Contacts that the warehouse does not hold: encoded as they are read, sent by COPY when there are many.

use uuid::Uuid;

use super::dimensions::Checkpoint;
use super::narrowing::narrowed;
use super::tables::Tables;
use super::{Incoming, Row, WindowCommit};
use crate::domain::contact_key;
use crate::warehouse::WarehouseError;
use crate::warehouse::error::Remedy;
use crate::warehouse::settling::{FirstSight, Sight};

/// Contacts whose rows are encoded and not sent yet.
#[derive(Debug, Default)]
pub(super) struct Staged {
    tables: Tables,
    contacts: u64,
    sights: Vec<FirstSight>,
    /// Whom the transaction had seen when the first of them came.
    before: Option<Checkpoint>,
}

impl WindowCommit {
    /// Encodes contacts that the warehouse does not hold. They are in the tables once they are sent: the more
    /// at a time, the less of a COPY's own price a row bears.
    pub async fn stage(&mut self, contacts: &[Incoming<'_>]) -> Result<(), WarehouseError> {
        if contacts.is_empty() {
            return Ok(());
        }
        let mut staged = std::mem::take(&mut self.staged);
        staged.before.get_or_insert_with(|| self.keys.checkpoint());
        let rows = self.as_new(contacts);
        let encoded = self.encode(&mut staged.tables, &rows).await;
        staged.contacts += contacts.len() as u64;
        staged.sights.extend(contacts.iter().filter_map(|incoming| self.sight_of_new(incoming)));
        self.staged = staged;
        encoded
    }

    /// Length of the rows that are staged.
    pub fn staged_bytes(&self) -> usize {
        self.staged.tables.bytes()
    }

    /// Sends what is staged. `false` when the database refuses something in it: none of it is in the tables then,
    /// and each contact is to be [inserted](Self::insert) anew, which finds the one at fault.
    pub async fn send(&mut self) -> Result<bool, WarehouseError> {
        let mut staged = std::mem::take(&mut self.staged);
        let Some(before) = staged.before.take() else { return Ok(true) };
        let savepoint = self.set_savepoint(before).await?;
        let sent = self.put(&mut staged.tables, "insert").await;
        let sent = self.end_savepoint(savepoint, sent).await;
        let (contacts, sights) = (std::mem::take(&mut staged.contacts), std::mem::take(&mut staged.sights));
        staged.tables.clear();
        self.staged = staged;
        match sent {
            Ok(()) => {
                self.outcomes.inserted += contacts;
                self.sights.extend(sights);
            }
            Err(error) if error.remedy() == Remedy::Data => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Loads contacts that the warehouse does not hold; one that the database refuses is set aside instead.
    pub async fn insert(&mut self, contacts: &[Incoming<'_>]) -> Result<(), WarehouseError> {
        let mut pending: Vec<&[Incoming<'_>]> = vec![contacts];
        while let Some(batch) = pending.pop() {
            if batch.is_empty() {
                continue;
            }
            let savepoint = self.set_savepoint(self.keys.checkpoint()).await?;
            let written = self.write(&self.as_new(batch), "insert").await;
            match self.end_savepoint(savepoint, written).await {
                Ok(()) => {
                    self.outcomes.inserted += batch.len() as u64;
                    let sights: Vec<FirstSight> = batch.iter().filter_map(|new| self.sight_of_new(new)).collect();
                    self.sights.extend(sights);
                }
                Err(error) => self.narrow_down(batch, error, &mut pending).await?,
            }
        }
        Ok(())
    }

    fn sight_of_new(&self, incoming: &Incoming<'_>) -> Option<FirstSight> {
        let is_scored = incoming.contact.evaluation_score.is_some();
        self.sight(incoming, Sight::Contact { is_scored })
    }

    /// The database refused a batch: narrows it down to the record at fault, which is set aside.
    async fn narrow_down<'p, 'a>(
        &mut self,
        batch: &'p [Incoming<'a>],
        error: WarehouseError,
        pending: &mut Vec<&'p [Incoming<'a>]>,
    ) -> Result<(), WarehouseError> {
        if error.remedy() != Remedy::Data {
            return Err(error);
        }
        if let [single] = batch {
            return self.refuse(single, &error).await;
        }
        pending.extend(narrowed(batch, &error, |incoming| self.new_key(incoming)));
        Ok(())
    }

    /// New contacts as rows: under new keys, first seen now.
    fn as_new<'i, 'a>(&self, contacts: &'i [Incoming<'a>]) -> Vec<Row<'i, 'a>> {
        contacts.iter().map(|incoming| (incoming, self.new_key(incoming), self.now)).collect()
    }

    fn new_key(&self, incoming: &Incoming<'_>) -> Uuid {
        contact_key(&self.claim.stream, &incoming.contact.conversation_id, incoming.contact.started_at)
    }
}
