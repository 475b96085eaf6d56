//! One transaction of a rebuild.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::{KeptPayload, Looked, Place, RebuildScope, Remapped, fixed_hash, payloads, take_place, write_place};
use crate::domain::privacy::Guard;
use crate::domain::{ContentHash, Payload};
use crate::faults::{Defect, Point, is_planted};
use crate::warehouse::error::Remedy;
use crate::warehouse::load::dimensions::Keys;
use crate::warehouse::load::narrowing::narrowed;
use crate::warehouse::load::tables::{CHILD_TABLES, MissingKey, Placement, Tables};
use crate::warehouse::load::{Loading, SetAside, compare, go_by_key};
use crate::warehouse::locks::lock_contacts;
use crate::warehouse::retention::remove;
use crate::warehouse::{Warehouse, WarehouseError, cross, quarantine};

/// One transaction of a rebuild: the next payloads, the rows that come of them, and how far it is.
#[derive(Debug)]
pub struct RebuildStep {
    warehouse: Warehouse,
    transaction: Transaction<'static, Postgres>,
    guard: Arc<Guard>,
    /// `None`: no rebuild that writes down how far it is.
    id: Option<i64>,
    keys: Keys,
    now: DateTime<Utc>,
    payloads: Vec<KeptPayload>,
    is_last_of_range: bool,
    is_last: bool,
    rewritten: usize,
    refused: usize,
}

impl Warehouse {
    /// Begins the next transaction of a rebuild, with at most `most` payloads. `None` when it is over.
    /// Errors with [`WarehouseError::Fenced`] when another process has taken it over.
    pub async fn open_rebuild_step(
        &self,
        id: i64,
        worker: &str,
        most: usize,
    ) -> Result<Option<RebuildStep>, WarehouseError> {
        let (mut transaction, guard) = self.begin_load().await?;
        let Some(place) = take_place(&mut transaction, id, worker).await? else { return Ok(None) };
        go_by_key(&mut transaction).await?;
        let mut step = self.step((transaction, guard), Some(id), &place, most).await?;
        if is_planted(Defect::RebuildNotedEarly) {
            step.note_early().await?;
        }
        Ok(Some(step))
    }

    /// The next payloads after a key, of whatever stream, in a transaction like that of a rebuild that
    /// nobody filed.
    pub async fn open_pass(&self, after: Option<Uuid>, most: usize) -> Result<RebuildStep, WarehouseError> {
        let loading = self.begin_load().await?;
        let place = Place { done_through: after, ..Place::of(&RebuildScope::default()) };
        self.step(loading, None, &place, most).await
    }

    async fn step(
        &self,
        (mut transaction, guard): Loading,
        id: Option<i64>,
        place: &Place,
        most: usize,
    ) -> Result<RebuildStep, WarehouseError> {
        let now = self.now_in(&mut transaction).await?;
        let payloads = payloads(&mut transaction, place, i64::try_from(most).unwrap_or(i64::MAX)).await?;
        let is_last = payloads.len() < most;
        Ok(RebuildStep {
            warehouse: self.clone(),
            transaction,
            guard,
            id,
            keys: self.dimensions.keys(),
            now,
            payloads,
            // Without a range there is nothing that moved into it.
            is_last_of_range: is_last && !place.is_among_moved && (place.from_at.is_some() || place.to_at.is_some()),
            is_last: is_last && (place.is_among_moved || (place.from_at.is_none() && place.to_at.is_none())),
            rewritten: 0,
            refused: 0,
        })
    }
}

impl RebuildStep {
    /// Notes that the step is done before anything of it is. Only a planted defect does so.
    async fn note_early(&mut self) -> Result<(), WarehouseError> {
        let Some(id) = self.id.take() else { return Ok(()) };
        let last = self.payloads.last().map(|kept| kept.contact_key);
        let counts = Looked { visited: self.payloads.len(), rewritten: 0, refused: 0 };
        let ends = (self.is_last, self.is_last_of_range);
        let (next, _) = self.warehouse.begin_load().await?;
        let mut noting = std::mem::replace(&mut self.transaction, next);
        write_place(&mut noting, id, last, counts, ends, self.warehouse.clock.database_time()).await?;
        noting.commit().await?;
        Ok(())
    }

    /// Hands out the payloads, by key.
    pub fn take_payloads(&mut self) -> Vec<KeptPayload> {
        std::mem::take(&mut self.payloads)
    }

    /// What is in force of people's rights, until the COMMIT.
    pub fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    pub fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    /// Writes the rows of contacts that came out otherwise than they are held. What was received since
    /// the payload was taken out is left alone. One that the database refuses keeps the rows it has.
    pub async fn rewrite(&mut self, contacts: &[Remapped<'_>]) -> Result<(), WarehouseError> {
        let mut pending: Vec<&[Remapped<'_>]> = vec![contacts];
        while let Some(batch) = pending.pop() {
            if batch.is_empty() {
                continue;
            }
            sqlx::query("savepoint batch").execute(&mut *self.transaction).await?;
            let checkpoint = self.keys.checkpoint();
            match self.rewrite_batch(batch).await {
                Ok(rewritten) => {
                    sqlx::query("release savepoint batch").execute(&mut *self.transaction).await?;
                    self.rewritten += rewritten;
                }
                Err(error) if error.remedy() == Remedy::Data => {
                    sqlx::query("rollback to savepoint batch").execute(&mut *self.transaction).await?;
                    self.keys.restore(checkpoint);
                    if let [single] = batch {
                        let reason = format!("database_refused_{}", error.sqlstate().unwrap_or_default());
                        let (payload, version) = (single.incoming.payload, single.incoming.mapper_version);
                        self.refuse(single.kept, payload, (reason, String::new()), version).await?;
                    } else {
                        pending.extend(narrowed(batch, &error, |remapped| remapped.kept.contact_key));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Notes in quarantine that a kept payload cannot become rows any more. The contact keeps the rows
    /// that an earlier mapping made of it.
    /// `payload` is what may be kept of it.
    pub async fn refuse(
        &mut self,
        kept: &KeptPayload,
        payload: &Payload,
        (reason, fault_path): (String, String),
        mapper_version: i32,
    ) -> Result<(), WarehouseError> {
        let conversation_id = sqlx::query_scalar("select conversation_id from kore.contacts where contact_key = $1")
            .bind(kept.contact_key)
            .fetch_optional(&mut *self.transaction)
            .await?;
        let record = SetAside {
            conversation_id,
            payload,
            raw_hash: kept.raw_hash,
            canonical_hash: None,
            text_bytes: None,
            privacy_id: self.guard.stamp(kept.privacy_id),
            reason,
            fault_path,
            mapper_version,
            read_at: kept.read_at,
            started_at: None,
        };
        quarantine::keep(&mut self.transaction, &kept.stream, &[record], kept.requested, self.now).await?;
        if kept.payload != *payload {
            sqlx::query("update koresync.raw_contacts set payload = $3 where contact_key = $1 and raw_hash = $2")
                .bind(kept.contact_key)
                .bind(kept.raw_hash.0.as_slice())
                .bind(payload.compressed())
                .execute(&mut *self.transaction)
                .await?;
        }
        self.refused += 1;
        Ok(())
    }

    async fn rewrite_batch(&mut self, batch: &[Remapped<'_>]) -> Result<usize, WarehouseError> {
        // Of all, not only of what differs: names of agents and queues follow the latest contact.
        let contacts = batch.iter().map(|remapped| (&remapped.incoming.contact, remapped.kept.contact_key));
        let Warehouse { members, dimensions, .. } = &self.warehouse;
        self.keys.resolve(members, dimensions, contacts).await?;
        let all: Vec<&Remapped<'_>> = batch.iter().collect();
        let held = held_of(&mut self.transaction, &all).await?;
        let tables = self.encoded(&all, &held)?;
        let contacts: Vec<_> = batch.iter().map(|r| (r.kept.contact_key, &r.incoming.contact)).collect();
        let differing = compare::differing(&mut self.transaction, &tables, &contacts).await?;
        drop(tables);
        let is_differing = |remapped: &&Remapped<'_>| differing.contains(&remapped.kept.contact_key);
        let touched: Vec<&Remapped<'_>> =
            all.into_iter().filter(|remapped| is_differing(remapped) || remapped.is_kept_otherwise()).collect();
        let current = self.lock(&touched).await?;
        let mut due: Vec<&Remapped<'_>> = touched
            .into_iter()
            .filter(|remapped| current.get(&remapped.kept.contact_key) == Some(&remapped.kept.raw_hash))
            .collect();
        let kept_otherwise: Vec<&Remapped<'_>> = due.iter().copied().filter(|r| r.is_kept_otherwise()).collect();
        due.retain(is_differing);
        if !due.is_empty() {
            // Since it was looked at first, one of them may have been removed, or be back.
            let standing = held_of(&mut self.transaction, &due).await?;
            self.replace(&due, &standing).await?;
        }
        self.note_mapper(batch).await?;
        self.keep_otherwise(&kept_otherwise).await?;
        Ok(due.len())
    }

    /// Puts other payloads in the place of those that are kept, once their contacts are locked.
    async fn keep_otherwise(&mut self, contacts: &[&Remapped<'_>]) -> Result<(), WarehouseError> {
        if contacts.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "update koresync.raw_contacts r set payload = n.payload, raw_hash = n.raw_hash, privacy_id = n.privacy_id \
             from unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::integer[]) as n (key, payload, raw_hash, privacy_id) \
             where r.contact_key = n.key",
        )
        .bind(contacts.iter().map(|remapped| remapped.kept.contact_key).collect::<Vec<_>>())
        .bind(contacts.iter().map(|remapped| remapped.incoming.payload.compressed()).collect::<Vec<_>>())
        .bind(contacts.iter().map(|remapped| remapped.incoming.raw_hash.0.as_slice()).collect::<Vec<_>>())
        .bind(contacts.iter().map(|remapped| remapped.incoming.privacy_id).collect::<Vec<_>>())
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Takes contacts of erased conversations out, which an older program may have brought back.
    pub async fn take_out(&mut self, keys: &[Uuid]) -> Result<(), WarehouseError> {
        remove(&mut self.transaction, keys).await
    }

    /// Locks contacts in key order and gives the payload that each has now.
    async fn lock(&mut self, contacts: &[&Remapped<'_>]) -> Result<HashMap<Uuid, ContentHash>, WarehouseError> {
        let keys: Vec<Uuid> = contacts.iter().map(|remapped| remapped.kept.contact_key).collect();
        lock_contacts(&mut self.transaction, &keys).await?;
        let rows: Vec<(Uuid, Vec<u8>)> =
            sqlx::query_as("select contact_key, raw_hash from koresync.raw_contacts where contact_key = any($1)")
                .bind(&keys)
                .fetch_all(&mut *self.transaction)
                .await?;
        Ok(rows.into_iter().map(|(key, hash)| (key, fixed_hash(&hash))).collect())
    }

    async fn replace(&mut self, due: &[&Remapped<'_>], held: &HashMap<Uuid, Standing>) -> Result<(), WarehouseError> {
        let keys: Vec<Uuid> = due.iter().map(|remapped| remapped.kept.contact_key).collect();
        for table in CHILD_TABLES.iter().chain(&["contacts"]) {
            // The names are our own constants.
            sqlx::query(sqlx::AssertSqlSafe(format!("delete from kore.{table} where contact_key = any($1)")))
                .bind(&keys)
                .execute(&mut *self.transaction)
                .await?;
        }
        self.encoded(due, held)?.send(&mut self.transaction).await?;
        let removed: Vec<(Uuid, DateTime<Utc>)> =
            keys.iter().filter_map(|key| Some((*key, held.get(key)?.removed_at?))).collect();
        if !removed.is_empty() {
            sqlx::query(
                "update kore.contacts c set removed_at = n.removed_at from unnest($1::uuid[], $2::timestamptz[]) as n (key, removed_at) \
                 where c.contact_key = n.key",
            )
            .bind(removed.iter().map(|(key, _)| *key).collect::<Vec<_>>())
            .bind(removed.iter().map(|(_, at)| *at).collect::<Vec<_>>())
            .execute(&mut *self.transaction)
            .await?;
        }
        Ok(())
    }

    fn encoded(&self, contacts: &[&Remapped<'_>], held: &HashMap<Uuid, Standing>) -> Result<Tables, WarehouseError> {
        let mut tables = Tables::default();
        for remapped in contacts {
            let (kept, contact) = (remapped.kept, &remapped.incoming.contact);
            let placement = Placement {
                contact_key: kept.contact_key,
                stream: &kept.stream,
                started_on: self.warehouse.business_day(contact.started_at),
                first_seen_at: held.get(&kept.contact_key).map_or(kept.read_at, |standing| standing.first_seen_at),
                now: self.now,
            };
            let form = contact.evaluation_form.as_ref();
            let form = form.map(|form| self.keys.form(form).ok_or(MissingKey("evaluation_forms"))).transpose()?;
            tables.contact(contact, &placement, form);
            tables.children(contact, kept.contact_key, &self.keys)?;
        }
        Ok(tables)
    }

    async fn note_mapper(&mut self, batch: &[Remapped<'_>]) -> Result<(), WarehouseError> {
        let Some(version) = batch.first().map(|remapped| remapped.incoming.mapper_version) else { return Ok(()) };
        sqlx::query(
            "update koresync.raw_contacts r set mapper_version = $3 from unnest($1::uuid[], $2::bytea[]) as n (key, raw_hash) \
             where r.contact_key = n.key and r.raw_hash = n.raw_hash and r.mapper_version <> $3",
        )
        .bind(batch.iter().map(|remapped| remapped.kept.contact_key).collect::<Vec<_>>())
        .bind(batch.iter().map(|remapped| remapped.kept.raw_hash.0.to_vec()).collect::<Vec<_>>())
        .bind(version)
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// How far it is, then COMMIT. `last` is the key of the last payload. Gives whether it is over.
    pub async fn finish(mut self, visited: usize, last: Option<Uuid>) -> Result<bool, WarehouseError> {
        self.keys.update_attributes(&mut self.transaction).await?;
        let counts = Looked { visited, rewritten: self.rewritten, refused: self.refused };
        let ends = (self.is_last, self.is_last_of_range);
        let time = self.warehouse.clock.database_time();
        cross(Point::RebuildWritten)?;
        if let Some(id) = self.id {
            write_place(&mut self.transaction, id, last, counts, ends, time).await?;
        }
        self.transaction.commit().await?;
        cross(Point::RebuildCommitted)?;
        Ok(self.is_last)
    }
}

/// What a contact's row holds besides its content.
#[derive(Debug)]
struct Standing {
    first_seen_at: DateTime<Utc>,
    removed_at: Option<DateTime<Utc>>,
}

async fn held_of(
    connection: &mut PgConnection,
    batch: &[&Remapped<'_>],
) -> Result<HashMap<Uuid, Standing>, WarehouseError> {
    let rows: Vec<(Uuid, DateTime<Utc>, Option<DateTime<Utc>>)> =
        sqlx::query_as("select contact_key, first_seen_at, removed_at from kore.contacts where contact_key = any($1)")
            .bind(batch.iter().map(|remapped| remapped.kept.contact_key).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().map(|(key, first_seen_at, removed_at)| (key, Standing { first_seen_at, removed_at })).collect())
}
