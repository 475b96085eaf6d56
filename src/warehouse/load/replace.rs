//! Replacing contacts whose content changed: the difference is kept, the rows are written anew.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::held::{Held, lock_versions};
use super::tables::CHILD_TABLES;
use super::{Incoming, WindowCommit, changes};
use crate::warehouse::WarehouseError;
use crate::warehouse::error::Remedy;
use crate::warehouse::settling::Sight;

/// Contacts replaced at a time: both versions of each are in hand as JSON.
const AT_ONCE: usize = 50;

type Replacement<'r, 'a> = (&'r Incoming<'a>, &'r Held);

impl WindowCommit {
    /// Replaces contacts whose content differs from what is held. Content that was received later
    /// than this read is left alone.
    pub async fn replace(&mut self, contacts: &mut [(Incoming<'_>, Held)]) -> Result<(), WarehouseError> {
        if contacts.is_empty() {
            return Ok(());
        }
        contacts.sort_by_key(|(_, held)| held.contact_key);
        let keys: Vec<Uuid> = contacts.iter().map(|(_, held)| held.contact_key).collect();
        let locked = lock_versions(&mut self.transaction, &keys).await?;
        let is_replaceable = |(incoming, held): &(&Incoming<'_>, &Held)| {
            locked.get(&held.contact_key).is_some_and(|(canonical, read_at)| {
                *canonical != Some(incoming.canonical_hash) && read_at.is_none_or(|held_at| held_at <= incoming.read_at)
            })
        };
        let differing: Vec<Replacement<'_, '_>> =
            contacts.iter().map(|(incoming, held)| (incoming, held)).filter(is_replaceable).collect();
        self.outcomes.unchanged += (contacts.len() - differing.len()) as u64;
        let mut pending: Vec<&[Replacement<'_, '_>]> = differing.chunks(AT_ONCE).rev().collect();
        while let Some(batch) = pending.pop() {
            match (self.replace_in_savepoint(batch).await, batch) {
                (Ok(newly_scored), _) => {
                    self.outcomes.changed += batch.len() as u64;
                    let is_newly_scored = |(_, held): &&Replacement<'_, '_>| newly_scored.contains(&held.contact_key);
                    for (incoming, _) in batch.iter().filter(is_newly_scored) {
                        self.note_sight(incoming, Sight::Score);
                    }
                }
                (Err(error), _) if error.remedy() != Remedy::Data => return Err(error),
                (Err(error), [(incoming, _)]) => self.refuse(incoming, &error).await?,
                (Err(_), _) => {
                    let (early, late) = batch.split_at(batch.len() / 2);
                    pending.extend([late, early]);
                }
            }
        }
        Ok(())
    }

    /// Gives the keys of those that have a score now and had none.
    async fn replace_in_savepoint(&mut self, batch: &[Replacement<'_, '_>]) -> Result<Vec<Uuid>, WarehouseError> {
        let keys: Vec<Uuid> = batch.iter().map(|(_, held)| held.contact_key).collect();
        let rows: Vec<_> =
            batch.iter().map(|(incoming, held)| (*incoming, held.contact_key, held.first_seen_at)).collect();
        let checkpoint = self.set_savepoint().await?;
        let written = async {
            let before = changes::contents(&mut self.transaction, &keys).await?;
            remove_rows(&mut self.transaction, &keys).await?;
            self.write(&rows, "replace").await?;
            let after = changes::contents(&mut self.transaction, &keys).await?;
            changes::record(&mut self.transaction, &before, &after, self.now).await?;
            let newly_scored = |key: &&Uuid| {
                let is_scored =
                    |of: &BTreeMap<Uuid, changes::Contents>| of.get(*key).is_some_and(changes::Contents::is_scored);
                !is_scored(&before) && is_scored(&after)
            };
            Ok(keys.iter().filter(newly_scored).copied().collect())
        }
        .await;
        self.end_savepoint(checkpoint, written).await
    }
}

async fn remove_rows(connection: &mut PgConnection, keys: &[Uuid]) -> Result<(), WarehouseError> {
    for table in CHILD_TABLES {
        // The names are our own constants.
        sqlx::query(sqlx::AssertSqlSafe(format!("delete from kore.{table} where contact_key = any($1)")))
            .bind(keys)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query("delete from koresync.raw_contacts where contact_key = any($1)")
        .bind(keys)
        .execute(&mut *connection)
        .await?;
    sqlx::query("delete from kore.contacts where contact_key = any($1)").bind(keys).execute(connection).await?;
    Ok(())
}
