//! Loading a window: rows, payloads, quarantine, ledger and watermark in one transaction.

pub mod changes;
pub mod copy;
pub mod dimensions;
mod presence;
pub mod tables;

use std::collections::HashMap;

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::error::Remedy;
use super::rechecks::take_place;
use super::streams::{Learned, derive_watermark, keep_learned};
use super::windows::Claim;
use super::{Warehouse, WarehouseError};
use crate::domain::rows::Contact;
use crate::domain::{ContentHash, contact_key};
use dimensions::Keys;
pub use presence::Presence;
use tables::{CHILD_TABLES, Payload, Placement, Tables};

/// Fast, and half of what the highest level saves.
const ZSTD_LEVEL: i32 = 1;

/// A record that became rows.
#[derive(Debug)]
pub struct Incoming<'a> {
    pub contact: Contact<'a>,
    pub raw: &'a [u8],
    pub raw_hash: ContentHash,
    pub canonical_hash: ContentHash,
    /// When the page that held it came.
    pub read_at: DateTime<Utc>,
    pub mapper_version: i32,
}

/// What the warehouse holds of a conversation.
#[derive(Debug, Clone)]
pub struct Held {
    pub contact_key: Uuid,
    /// `None` when its payload is gone.
    pub raw_hash: Option<ContentHash>,
    pub canonical_hash: Option<ContentHash>,
    pub first_seen_at: DateTime<Utc>,
}

/// A record that could not become rows.
#[derive(Debug, Clone)]
pub struct SetAside<'a> {
    pub conversation_id: Option<String>,
    pub raw: &'a [u8],
    pub raw_hash: ContentHash,
    pub reason: String,
    pub fault_path: String,
    pub mapper_version: i32,
}

/// How a read was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    Snapshot,
    Count,
    Agreement,
}

impl Proof {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Count => "count",
            Self::Agreement => "agreement",
        }
    }
}

/// The read of a window, as the ledger keeps it.
#[derive(Debug, Clone)]
pub struct ReadEntry {
    pub requested_from: DateTime<Utc>,
    pub requested_to: DateTime<Utc>,
    pub total: Option<u64>,
    pub rows: u64,
    pub distinct: u64,
    pub requests: u64,
    /// `None`: not proved.
    pub proof: Option<Proof>,
    /// Why it is not proved, and when to read again.
    pub failure: Option<(String, chrono::TimeDelta)>,
}

/// What became of the distinct records of a read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    pub in_window: u64,
    pub inserted: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub quarantined: u64,
    pub erased: u64,
    /// Held contacts that the read proved gone; not among the distinct records.
    pub removed: u64,
    /// Contacts that were gone and are back, among those unchanged.
    pub returned: u64,
}

/// The one transaction that makes a window count.
#[derive(Debug)]
pub struct WindowCommit {
    warehouse: Warehouse,
    transaction: Transaction<'static, Postgres>,
    claim: Claim,
    keys: Keys,
    now: DateTime<Utc>,
    /// When the work on the read began.
    read_at: DateTime<Utc>,
    entry: ReadEntry,
    pub outcomes: Outcomes,
}

impl Warehouse {
    /// Begins the commit of a window. Errors with [`WarehouseError::Fenced`] when somebody else has
    /// claimed it meanwhile; from here on its row is locked, so nobody can.
    pub async fn open_commit(&self, claim: &Claim, entry: ReadEntry) -> Result<WindowCommit, WarehouseError> {
        let skips_key_checks = self.may_skip_key_checks().await?;
        let mut transaction = self.begin().await?;
        let held: Option<(i64, DateTime<Utc>)> = sqlx::query_as(
            "select fence, coalesce($2, clock_timestamp()) from koresync.windows \
             where id = $1 and owner is not null and state in ('planned', 'unverified') for update",
        )
        .bind(claim.id)
        .bind(self.clock.database_time())
        .fetch_optional(&mut *transaction)
        .await?;
        if skips_key_checks {
            // Parents and children are written together, and tests prove every key; checked row by row
            // they would more than double the load's time.
            sqlx::query("set local session_replication_role = replica").execute(&mut *transaction).await?;
        }
        match held {
            Some((fence, now)) if fence == claim.fence => Ok(WindowCommit {
                warehouse: self.clone(),
                transaction,
                claim: claim.clone(),
                keys: self.dimensions.keys(),
                now,
                read_at: now,
                entry,
                outcomes: Outcomes::default(),
            }),
            _ => Err(WarehouseError::Fenced),
        }
    }

    /// Whether this login may leave foreign keys unchecked. Asked once a process.
    async fn may_skip_key_checks(&self) -> Result<bool, WarehouseError> {
        if let Some(known) = self.skips_key_checks.get() {
            return Ok(*known);
        }
        // `has_parameter_privilege` came with PostgreSQL 15; before it only a superuser may.
        let may = sqlx::query_scalar(
            "select case when r.rolsuper then true when current_setting('server_version_num')::int < 150000 then false \
               else exists (select from pg_proc where proname = 'has_parameter_privilege') end \
             from pg_roles r where rolname = current_user",
        )
        .fetch_one(&self.pool)
        .await?;
        let may = may
            && sqlx::query_scalar("select has_parameter_privilege('session_replication_role', 'SET')")
                .fetch_one(&self.pool)
                .await
                .or_else(|error| match &error {
                    // A superuser of PostgreSQL 14.
                    sqlx::Error::Database(told) if told.code().as_deref() == Some("42883") => Ok(true),
                    _ => Err(error),
                })?;
        Ok(*self.skips_key_checks.get_or_init(|| may))
    }

    /// Runs a window's whole transaction, again when it loses against another one.
    pub async fn commit_retrying<T, F>(&self, work: impl FnMut() -> F + Send) -> Result<T, WarehouseError>
    where
        F: Future<Output = Result<T, WarehouseError>> + Send,
    {
        let outcome = self.retrying(work, || self.dimensions.forget()).await;
        if outcome.is_err() {
            self.dimensions.forget();
        }
        outcome
    }
}

impl WindowCommit {
    /// The day of a moment in the business time zone.
    fn business_day(&self, moment: DateTime<Utc>) -> NaiveDate {
        moment.with_timezone(&self.warehouse.time_zone).date_naive()
    }

    /// Whether the calendar has the business day of a start. It spans 2000 to 2060.
    pub fn is_in_calendar(&self, started_at: DateTime<Utc>) -> bool {
        (2000..=2060).contains(&self.business_day(started_at).year())
    }

    /// What is held of these conversations, by id.
    pub async fn held(&mut self, ids: &[&str]) -> Result<HashMap<String, Held>, WarehouseError> {
        held(&mut self.transaction, &self.claim.stream, ids).await
    }

    /// Loads contacts that the warehouse does not hold. Returns how many were loaded; one that the
    /// database refuses is set aside instead.
    pub async fn insert(&mut self, contacts: &mut [Incoming<'_>]) -> Result<(), WarehouseError> {
        contacts.sort_by_cached_key(|incoming| self.new_key(incoming));
        let mut pending: Vec<&[Incoming<'_>]> = vec![contacts];
        while let Some(batch) = pending.pop() {
            if batch.is_empty() {
                continue;
            }
            let rows: Vec<_> = batch.iter().map(|incoming| (incoming, self.new_key(incoming), self.now)).collect();
            match self.write_in_savepoint(&rows, "insert").await {
                Ok(()) => self.outcomes.inserted += batch.len() as u64,
                Err(error) => self.narrow_down(batch, error, &mut pending).await?,
            }
        }
        Ok(())
    }

    /// Replaces contacts whose content differs from what is held. Content that was received later
    /// than this read is left alone.
    pub async fn replace(&mut self, contacts: &mut [(Incoming<'_>, Held)]) -> Result<(), WarehouseError> {
        if contacts.is_empty() {
            return Ok(());
        }
        contacts.sort_by_key(|(_, held)| held.contact_key);
        let keys: Vec<Uuid> = contacts.iter().map(|(_, held)| held.contact_key).collect();
        let locked = lock_versions(&mut self.transaction, &keys).await?;
        for (incoming, held) in contacts.iter() {
            let is_replaceable = locked.get(&held.contact_key).is_some_and(|(canonical, read_at)| {
                *canonical != Some(incoming.canonical_hash) && read_at.is_none_or(|held_at| held_at <= incoming.read_at)
            });
            if !is_replaceable {
                self.outcomes.unchanged += 1;
                continue;
            }
            self.replace_one(incoming, held).await?;
        }
        Ok(())
    }

    async fn replace_one(&mut self, incoming: &Incoming<'_>, held: &Held) -> Result<(), WarehouseError> {
        sqlx::query("savepoint batch").execute(&mut *self.transaction).await?;
        let checkpoint = self.keys.checkpoint();
        let written = async {
            let before = changes::contents(&mut self.transaction, held.contact_key).await?;
            remove_rows(&mut self.transaction, held.contact_key).await?;
            self.write(&[(incoming, held.contact_key, held.first_seen_at)], "replace").await?;
            let after = changes::contents(&mut self.transaction, held.contact_key).await?;
            changes::record(&mut self.transaction, held.contact_key, before, &after, self.now).await
        }
        .await;
        match written {
            Ok(()) => {
                self.outcomes.changed += 1;
                sqlx::query("release savepoint batch").execute(&mut *self.transaction).await?;
                Ok(())
            }
            Err(error) if error.remedy() == Remedy::Data => {
                sqlx::query("rollback to savepoint batch").execute(&mut *self.transaction).await?;
                self.keys.restore(checkpoint);
                self.refuse(incoming, &error).await
            }
            Err(error) => Err(error),
        }
    }

    async fn write_in_savepoint(
        &mut self,
        rows: &[(&Incoming<'_>, Uuid, DateTime<Utc>)],
        operation: &'static str,
    ) -> Result<(), WarehouseError> {
        sqlx::query("savepoint batch").execute(&mut *self.transaction).await?;
        let checkpoint = self.keys.checkpoint();
        match self.write(rows, operation).await {
            Ok(()) => {
                sqlx::query("release savepoint batch").execute(&mut *self.transaction).await?;
                Ok(())
            }
            Err(error) => {
                if error.remedy() == Remedy::Data {
                    sqlx::query("rollback to savepoint batch").execute(&mut *self.transaction).await?;
                    self.keys.restore(checkpoint);
                }
                Err(error)
            }
        }
    }

    /// The database refused a batch: halves it, down to the record at fault, which is set aside.
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
        let (early, late) = batch.split_at(batch.len() / 2);
        pending.extend([late, early]);
        Ok(())
    }

    async fn refuse(&mut self, incoming: &Incoming<'_>, error: &WarehouseError) -> Result<(), WarehouseError> {
        let record = SetAside {
            conversation_id: Some(incoming.contact.conversation_id.to_string()),
            raw: incoming.raw,
            raw_hash: incoming.raw_hash,
            reason: format!("database_refused_{}", error.sqlstate().unwrap_or_default()),
            fault_path: String::new(),
            mapper_version: incoming.mapper_version,
        };
        self.set_aside(&[record]).await
    }

    /// Encodes and sends rows with the keys and first sights given.
    async fn write(
        &mut self,
        rows: &[(&Incoming<'_>, Uuid, DateTime<Utc>)],
        operation: &'static str,
    ) -> Result<(), WarehouseError> {
        self.keys
            .resolve(&mut self.transaction, rows.iter().map(|(incoming, key, _)| (&incoming.contact, *key)))
            .await?;
        let mut tables = Tables::default();
        let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        for (incoming, key, first_seen_at) in rows {
            let contact = &incoming.contact;
            let placement = Placement {
                contact_key: *key,
                stream: &self.claim.stream,
                started_on: self.business_day(contact.started_at),
                first_seen_at: *first_seen_at,
                now: self.now,
            };
            let form = contact
                .evaluation_form
                .as_ref()
                .map(|form| self.keys.form(form).ok_or(tables::MissingKey("evaluation_forms")));
            tables.contact(contact, &placement, form.transpose()?);
            tables.children(contact, *key, &self.keys)?;
            let payload = Payload {
                compressed: &compressor.compress(incoming.raw)?,
                raw_hash: incoming.raw_hash,
                canonical_hash: incoming.canonical_hash,
                read_at: incoming.read_at,
                requested_from: self.entry.requested_from,
                requested_to: self.entry.requested_to,
                mapper_version: incoming.mapper_version,
            };
            tables.payload(*key, &self.claim.stream, &payload);
        }
        tables.send(&mut self.transaction, operation).await?;
        Ok(())
    }

    /// Keeps records that could not become rows, whole.
    pub async fn set_aside(&mut self, records: &[SetAside<'_>]) -> Result<(), WarehouseError> {
        super::quarantine::keep(&mut self.transaction, &self.claim.stream, records, &self.entry, self.now).await?;
        self.outcomes.quarantined += records.len() as u64;
        Ok(())
    }

    /// Records of these conversations that were set aside before and read well now leave quarantine.
    pub async fn clear_quarantine(&mut self, ids: &[&str]) -> Result<(), WarehouseError> {
        super::quarantine::clear(&mut self.transaction, &self.claim.stream, ids).await
    }

    /// Counts drift seen in new and changed contacts.
    pub async fn note_drift(&mut self, drift: &super::drift::Drift) -> Result<(), WarehouseError> {
        super::drift::note(&mut self.transaction, &self.claim.stream, drift, self.now).await
    }

    /// The ledger, what was learned, the watermark; then COMMIT. Only now are new keys remembered.
    pub async fn finish(mut self, learned: &Learned) -> Result<Outcomes, WarehouseError> {
        self.keys.update_attributes(&mut self.transaction).await?;
        write_ledger(&mut self.transaction, &self.claim, &self.entry, self.outcomes, (self.read_at, self.now)).await?;
        keep_learned(&mut self.transaction, &self.claim.stream, learned, self.now).await?;
        // An answer came: whatever paused the stream is over.
        sqlx::query(
            "update koresync.streams set last_success_at = case when $3 then $2 else last_success_at end, \
               paused_at = null, paused_reason = null, retry_at = null where stream = $1",
        )
        .bind(&self.claim.stream)
        .bind(self.now)
        .bind(self.entry.proof.is_some())
        .execute(&mut *self.transaction)
        .await?;
        if self.entry.proof.is_some() {
            derive_watermark(&mut self.transaction, &self.claim.stream).await?;
            // The stream's row is locked from here on: reads that commit at once see each other.
            take_place(&mut self.transaction, &self.claim, self.outcomes, self.now).await?;
        }
        self.transaction.commit().await?;
        self.warehouse.dimensions.remember(self.keys);
        Ok(self.outcomes)
    }

    fn new_key(&self, incoming: &Incoming<'_>) -> Uuid {
        contact_key(&self.claim.stream, &incoming.contact.conversation_id, incoming.contact.started_at)
    }
}

fn hash(bytes: Option<Vec<u8>>) -> Option<ContentHash> {
    Some(ContentHash(bytes?.try_into().ok()?))
}

type HeldRow = (String, Uuid, DateTime<Utc>, Option<Vec<u8>>, Option<Vec<u8>>);

async fn held(
    connection: &mut PgConnection,
    stream: &str,
    ids: &[&str],
) -> Result<HashMap<String, Held>, WarehouseError> {
    let rows: Vec<HeldRow> = sqlx::query_as(
        "select c.conversation_id, c.contact_key, c.first_seen_at, r.raw_hash, r.canonical_hash \
         from kore.contacts c left join koresync.raw_contacts r on r.contact_key = c.contact_key \
         where c.stream = $1 and c.conversation_id = any($2)",
    )
    .bind(stream)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(id, contact_key, first_seen_at, raw, canonical)| {
            (id, Held { contact_key, raw_hash: hash(raw), canonical_hash: hash(canonical), first_seen_at })
        })
        .collect())
}

/// The hash of a version, and when it was received.
type Version = (Option<ContentHash>, Option<DateTime<Utc>>);

type VersionRow = (Uuid, Option<Vec<u8>>, Option<DateTime<Utc>>);

/// Locks contacts in key order and gives the version that each has now.
async fn lock_versions(connection: &mut PgConnection, keys: &[Uuid]) -> Result<HashMap<Uuid, Version>, WarehouseError> {
    sqlx::query("select from kore.contacts where contact_key = any($1) order by contact_key for update")
        .bind(keys)
        .execute(&mut *connection)
        .await?;
    let rows: Vec<VersionRow> = sqlx::query_as(
        "select c.contact_key, r.canonical_hash, r.read_at from kore.contacts c \
         left join koresync.raw_contacts r on r.contact_key = c.contact_key \
         where c.contact_key = any($1)",
    )
    .bind(keys)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(key, canonical, read_at)| (key, (hash(canonical), read_at))).collect())
}

async fn remove_rows(connection: &mut PgConnection, key: Uuid) -> Result<(), WarehouseError> {
    for table in CHILD_TABLES {
        // The names are our own constants.
        sqlx::query(sqlx::AssertSqlSafe(format!("delete from kore.{table} where contact_key = $1")))
            .bind(key)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query("delete from koresync.raw_contacts where contact_key = $1").bind(key).execute(&mut *connection).await?;
    sqlx::query("delete from kore.contacts where contact_key = $1").bind(key).execute(connection).await?;
    Ok(())
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

async fn write_ledger(
    connection: &mut PgConnection,
    claim: &Claim,
    entry: &ReadEntry,
    outcomes: Outcomes,
    (read_at, now): (DateTime<Utc>, DateTime<Utc>),
) -> Result<(), WarehouseError> {
    sqlx::query(
        "update koresync.windows set state = case when $2::text is null then 'unverified' else 'verified' end, \
           verified_by = $2, verified_at = case when $2::text is null then null else $3 end, finished_at = $3, \
           owner = null, lease_expires_at = null, requested_from = $4, requested_to = $5, total = $6, rows = $7, \
           \"distinct\" = $8, repeated = $7 - $8, in_window = $9, inserted = $10, changed = $11, unchanged = $12, \
           quarantined = $13, erased = $14, requests = requests + $15, \
           attempts = attempts + case when $2::text is null then 1 else 0 end, last_error = $16, \
           due_at = $3 + make_interval(secs => $17), read_at = $18, removed = $19, returned = $20 \
         where id = $1",
    )
    .bind(claim.id)
    .bind(entry.proof.map(Proof::as_str))
    .bind(now)
    .bind(entry.requested_from)
    .bind(entry.requested_to)
    .bind(entry.total.map(count))
    .bind(count(entry.rows))
    .bind(count(entry.distinct))
    .bind(count(outcomes.in_window))
    .bind(count(outcomes.inserted))
    .bind(count(outcomes.changed))
    .bind(count(outcomes.unchanged))
    .bind(count(outcomes.quarantined))
    .bind(count(outcomes.erased))
    .bind(count(entry.requests))
    .bind(entry.failure.as_ref().map(|(why, _)| why.as_str()))
    .bind(entry.failure.as_ref().map_or(0.0, |(_, delay)| delay.as_seconds_f64()))
    .bind(read_at)
    .bind(count(outcomes.removed))
    .bind(count(outcomes.returned))
    .execute(connection)
    .await?;
    Ok(())
}
