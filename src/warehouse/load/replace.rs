//! Replacing contacts whose content changed: the difference is kept, the rows are written anew.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::held::{Held, lock_versions};
use super::narrowing::narrowed;
use super::tables::CHILD_TABLES;
use super::{Incoming, WindowCommit, changes};
use crate::faults::{Defect, is_planted};
use crate::warehouse::WarehouseError;
use crate::warehouse::error::Remedy;
use crate::warehouse::settling::{FirstSight, Sight};

/// Contacts replaced at a time: both versions of each are in hand as JSON.
const AT_ONCE: usize = 50;

type Replacement<'r, 'a> = (&'r Incoming<'a>, &'r Held);

impl WindowCommit {
    /// Replaces contacts whose content differs from what is held, or that are held under other privacy
    /// settings: those have not changed, and leave no history. Content that was received later than this read
    /// is left alone.
    pub async fn replace(&mut self, contacts: &mut [(Incoming<'_>, Held)]) -> Result<(), WarehouseError> {
        if contacts.is_empty() {
            return Ok(());
        }
        contacts.sort_by_key(|(_, held)| held.contact_key);
        let keys: Vec<Uuid> = contacts.iter().map(|(_, held)| held.contact_key).collect();
        let locked = lock_versions(&mut self.transaction, &keys).await?;
        let is_replaceable = |(incoming, held): &(&Incoming<'_>, &Held)| {
            locked.get(&held.contact_key).is_some_and(|(canonical, read_at)| {
                let differs = *canonical != Some(incoming.canonical_hash) || held.privacy_id != incoming.privacy_id;
                let is_newer = read_at.is_none_or(|held_at| held_at <= incoming.read_at);
                differs && (is_newer || is_planted(Defect::OlderOverNewer))
            })
        };
        let differing: Vec<Replacement<'_, '_>> =
            contacts.iter().map(|(incoming, held)| (incoming, held)).filter(is_replaceable).collect();
        self.outcomes.unchanged += (contacts.len() - differing.len()) as u64;
        let mut pending: Vec<&[Replacement<'_, '_>]> = differing.chunks(AT_ONCE).rev().collect();
        while let Some(batch) = pending.pop() {
            if batch.is_empty() {
                continue;
            }
            match (self.replace_in_savepoint(batch).await, batch) {
                (Ok(newly_scored), _) => {
                    let changed = batch.iter().filter(|replacement| has_changed(replacement)).count() as u64;
                    self.outcomes.changed += changed;
                    self.outcomes.unchanged += batch.len() as u64 - changed;
                    let is_newly_scored = |(_, held): &&Replacement<'_, '_>| newly_scored.contains(&held.contact_key);
                    let scored = batch.iter().filter(is_newly_scored);
                    let sights: Vec<FirstSight> =
                        scored.filter_map(|(incoming, _)| self.sight(incoming, Sight::Score)).collect();
                    self.sights.extend(sights);
                }
                (Err(error), _) if error.remedy() != Remedy::Data => return Err(error),
                (Err(error), [(incoming, _)]) => self.refuse(incoming, &error).await?,
                (Err(error), _) => pending.extend(narrowed(batch, &error, |(_, held)| held.contact_key)),
            }
        }
        Ok(())
    }

    /// Gives the keys of those that have a score now and had none.
    async fn replace_in_savepoint(&mut self, batch: &[Replacement<'_, '_>]) -> Result<Vec<Uuid>, WarehouseError> {
        let keys: Vec<Uuid> = batch.iter().map(|(_, held)| held.contact_key).collect();
        let rows: Vec<_> =
            batch.iter().map(|(incoming, held)| (*incoming, held.contact_key, held.first_seen_at)).collect();
        let savepoint = self.set_savepoint(self.keys.checkpoint()).await?;
        let written = async {
            let before = changes::contents(&mut self.transaction, &keys).await?;
            remove_rows(&mut self.transaction, &keys).await?;
            self.write(&rows, "replace").await?;
            let after = changes::contents(&mut self.transaction, &keys).await?;
            let changed = batch.iter().filter(|replacement| has_changed(replacement));
            let changed: Vec<Uuid> = changed.map(|(_, held)| held.contact_key).collect();
            let before = before.into_iter().filter(|(key, _)| changed.contains(key)).collect();
            if !is_planted(Defect::ChangeNotKept) {
                changes::record(&mut self.transaction, &before, &after, self.now).await?;
            }
            let newly_scored = |key: &&Uuid| {
                let is_scored = |of: &BTreeMap<Uuid, changes::Contents>| of.get(*key).map(changes::Contents::is_scored);
                is_scored(&before) == Some(false) && is_scored(&after) == Some(true)
            };
            Ok(keys.iter().filter(newly_scored).copied().collect())
        }
        .await;
        self.end_savepoint(savepoint, written).await
    }
}

/// Whether the content is another one, not only what is kept of it.
fn has_changed((incoming, held): &Replacement<'_, '_>) -> bool {
    held.canonical_hash != Some(incoming.canonical_hash)
}

async fn remove_rows(connection: &mut PgConnection, keys: &[Uuid]) -> Result<(), WarehouseError> {
    if is_planted(Defect::ChildrenKept) {
        sqlx::query("update kore.contact_agents set ordinal = ordinal + 1000 where contact_key = any($1)")
            .bind(keys)
            .execute(&mut *connection)
            .await?;
    }
    let is_kept = |table: &str| table == "contact_agents" && is_planted(Defect::ChildrenKept);
    for table in CHILD_TABLES.into_iter().filter(|table| !is_kept(table)) {
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
