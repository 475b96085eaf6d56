//! Loading a window: rows, payloads, quarantine, ledger and watermark in one transaction.

pub mod changes;
pub mod compare;
pub mod copy;
mod counts;
pub mod dimensions;
mod held;
mod insert;
mod ledger;
pub(super) mod narrowing;
mod presence;
mod replace;
pub mod requeue;
pub mod tables;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

pub use held::Held;
pub use ledger::{Outcomes, Proof, ReadEntry};

use super::error::Remedy;
use super::merging::take_place;
use super::quarantine::ReadWell;
use super::settling::{self, FirstSight, Sight};
use super::streams::{Learned, derive_watermark, keep_learned};
use super::windows::{Claim, Lane};
use super::{Warehouse, WarehouseError, cross};
use crate::domain::privacy::Guard;
use crate::domain::rows::Contact;
use crate::domain::{ContentHash, Payload};
use crate::faults::{Defect, Point, is_planted};
use counts::Counts;
use dimensions::{Checkpoint, Keys};
use insert::Staged;
pub use presence::Presence;
use tables::{Kept, Placement, Tables};

/// A record that became rows.
#[derive(Debug)]
pub struct Incoming<'a> {
    pub contact: Contact<'a>,
    pub payload: &'a Payload,
    pub raw_hash: ContentHash,
    pub canonical_hash: ContentHash,
    /// When the page that held it came.
    pub read_at: DateTime<Utc>,
    pub mapper_version: i32,
    /// The settings of `[privacy]` that contact and payload obey.
    pub privacy_id: i32,
}

/// A contact to be written, its key, and when this warehouse first held it.
type Row<'i, 'a> = (&'i Incoming<'a>, Uuid, DateTime<Utc>);

/// A record that could not become rows.
#[derive(Debug, Clone)]
pub struct SetAside<'a> {
    pub conversation_id: Option<String>,
    /// Empty where the text is not kept.
    pub payload: &'a Payload,
    pub raw_hash: ContentHash,
    /// Of the content as received, where the kept text is another one.
    pub canonical_hash: Option<ContentHash>,
    /// Length of the text as received, where it is not kept.
    pub text_bytes: Option<usize>,
    /// The settings of `[privacy]` that the payload obeys.
    pub privacy_id: i32,
    pub reason: String,
    pub fault_path: String,
    pub mapper_version: i32,
    /// When the page that held it came.
    pub read_at: DateTime<Utc>,
    /// Where it can be read.
    pub started_at: Option<DateTime<Utc>>,
}

/// A loading transaction, and what was in force when it began, which it holds.
pub(super) type Loading = (Transaction<'static, Postgres>, Arc<Guard>);

/// The one transaction that makes a window count.
#[derive(Debug)]
pub struct WindowCommit {
    warehouse: Warehouse,
    transaction: Transaction<'static, Postgres>,
    claim: Claim,
    guard: Arc<Guard>,
    keys: Keys,
    now: DateTime<Utc>,
    /// When the work on the read began.
    read_at: DateTime<Utc>,
    entry: ReadEntry,
    staged: Staged,
    counts: Counts,
    /// What this read showed for the first time.
    sights: Vec<FirstSight>,
    /// Set aside by this transaction.
    aside: HashSet<ContentHash>,
    pub outcomes: Outcomes,
}

impl Warehouse {
    /// Begins the commit of a window. Errors with [`WarehouseError::Fenced`] when somebody else has
    /// claimed it meanwhile; from here on its row is locked, so nobody can.
    pub async fn open_commit(&self, claim: &Claim, entry: ReadEntry) -> Result<WindowCommit, WarehouseError> {
        let (mut transaction, guard) = self.begin_load().await?;
        go_by_key(&mut transaction).await?;
        let held: Option<(i64, DateTime<Utc>)> = sqlx::query_as(
            "select fence, coalesce($2, clock_timestamp()) from koresync.windows \
             where id = $1 and owner is not null and state in ('planned', 'unverified') for update",
        )
        .bind(claim.id)
        .bind(self.clock.database_time())
        .fetch_optional(&mut *transaction)
        .await?;
        match held {
            Some((fence, now)) if fence == claim.fence || is_planted(Defect::FenceNotChecked) => {
                Ok(WindowCommit::over(self, (transaction, guard), claim.clone(), entry, now))
            }
            _ => Err(WarehouseError::Fenced),
        }
    }

    /// A transaction that writes contacts: the business time zone is held, and what is in force of people's
    /// rights, and keys are left unchecked where they may be.
    pub(super) async fn begin_load(&self) -> Result<Loading, WarehouseError> {
        let skips_key_checks = self.may_skip_key_checks().await?;
        let mut transaction = self.begin().await?;
        let version = super::time_zone::hold(self, &mut transaction).await?;
        let guard = self.guard_at(version, &mut transaction).await?;
        if skips_key_checks {
            // Parents and children are written together, and tests prove every key; checked row by row
            // they would more than double the load's time.
            sqlx::query("set local session_replication_role = replica").execute(&mut *transaction).await?;
        }
        Ok((transaction, guard))
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
        let forget = || {
            if !is_planted(Defect::CacheBeforeCommit) {
                self.dimensions.forget();
            }
        };
        let outcome = self.retrying(work, forget).await;
        if outcome.is_err() {
            forget();
        }
        outcome
    }
}

/// Lets no statement of the transaction read a table from end to end. All of them go by key, but a plan that was made
/// while a table was empty would do so each time, for as long as the connection lives.
pub(super) async fn go_by_key(connection: &mut PgConnection) -> Result<(), WarehouseError> {
    sqlx::query("set local enable_seqscan = off").execute(connection).await?;
    Ok(())
}

impl WindowCommit {
    fn over(
        warehouse: &Warehouse,
        (transaction, guard): Loading,
        claim: Claim,
        entry: ReadEntry,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            warehouse: warehouse.clone(),
            transaction,
            claim,
            guard,
            keys: warehouse.dimensions.keys(),
            now,
            read_at: now,
            entry,
            staged: Staged::default(),
            counts: Counts::default(),
            sights: Vec::new(),
            aside: HashSet::new(),
            outcomes: Outcomes::default(),
        }
    }

    /// What is in force of people's rights, until the COMMIT.
    pub fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    pub fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    /// What is held of these conversations, by id.
    pub async fn held(&mut self, ids: &[&str]) -> Result<HashMap<String, Held>, WarehouseError> {
        held::held(&mut self.transaction, &self.claim.stream, ids).await
    }

    /// Counts contacts as unchanged whose texts were held, under these keys, when their pages came. Errors
    /// with [`WarehouseError::Moved`] when one is held no more: only reading again tells what it is now.
    pub async fn confirm_unchanged(&mut self, texts: &[(Uuid, ContentHash)]) -> Result<(), WarehouseError> {
        let is_trusted = is_planted(Defect::HeldNotConfirmed);
        if !is_trusted && held::count_texts(&mut self.transaction, texts).await? < texts.len() {
            return Err(WarehouseError::Moved);
        }
        self.outcomes.unchanged += texts.len() as u64;
        Ok(())
    }

    /// A contact without an end teaches nothing of how late it came, nor does a backfill.
    fn sight(&self, incoming: &Incoming<'_>, sight: Sight) -> Option<FirstSight> {
        let Contact { started_at, ended_at, .. } = incoming.contact;
        let is_told = self.claim.lane != Lane::Backfill;
        Some(FirstSight { sight, started_at, ended_at: ended_at.filter(|_| is_told)?, seen_at: incoming.read_at })
    }

    async fn set_savepoint(&mut self, keys: Checkpoint) -> Result<(Checkpoint, Counts), WarehouseError> {
        sqlx::query("savepoint batch").execute(&mut *self.transaction).await?;
        Ok((keys, self.counts.clone()))
    }

    /// Goes back to the savepoint when the data in hand was refused; any other failure ends the transaction.
    async fn end_savepoint<T>(
        &mut self,
        (keys, counts): (Checkpoint, Counts),
        written: Result<T, WarehouseError>,
    ) -> Result<T, WarehouseError> {
        match &written {
            Ok(_) => {
                sqlx::query("release savepoint batch").execute(&mut *self.transaction).await?;
            }
            Err(error) if error.remedy() == Remedy::Data => {
                sqlx::query("rollback to savepoint batch").execute(&mut *self.transaction).await?;
                self.keys.restore(keys);
                self.counts = counts;
            }
            Err(_) => {}
        }
        written
    }

    async fn refuse(&mut self, incoming: &Incoming<'_>, error: &WarehouseError) -> Result<(), WarehouseError> {
        let record = SetAside {
            conversation_id: Some(incoming.contact.conversation_id.to_string()),
            payload: incoming.payload,
            raw_hash: incoming.raw_hash,
            canonical_hash: Some(incoming.canonical_hash),
            text_bytes: None,
            privacy_id: incoming.privacy_id,
            reason: format!("database_refused_{}", error.sqlstate().unwrap_or_default()),
            fault_path: String::new(),
            mapper_version: incoming.mapper_version,
            read_at: incoming.read_at,
            started_at: Some(incoming.contact.started_at),
        };
        self.set_aside(&[record]).await
    }

    async fn write(&mut self, rows: &[Row<'_, '_>], operation: &'static str) -> Result<(), WarehouseError> {
        let mut tables = Tables::default();
        self.encode(&mut tables, rows).await?;
        self.put(&mut tables, operation).await
    }

    async fn encode(&mut self, tables: &mut Tables, rows: &[Row<'_, '_>]) -> Result<(), WarehouseError> {
        let Warehouse { members, dimensions, .. } = &self.warehouse;
        let contacts = rows.iter().map(|(incoming, key, _)| (&incoming.contact, *key));
        if is_planted(Defect::CacheBeforeCommit) {
            self.keys.resolve_over(&mut self.transaction, dimensions, contacts).await?;
        } else {
            self.keys.resolve(members, dimensions, contacts).await?;
        }
        for (incoming, key, first_seen_at) in rows {
            let contact = &incoming.contact;
            let placement = Placement {
                contact_key: *key,
                stream: &self.claim.stream,
                started_on: self.warehouse.business_day(contact.started_at),
                first_seen_at: *first_seen_at,
                now: self.now,
            };
            let form = contact
                .evaluation_form
                .as_ref()
                .map(|form| self.keys.form(form).ok_or(tables::MissingKey("evaluation_forms")));
            tables.contact(contact, &placement, form.transpose()?);
            tables.children(contact, *key, &self.keys)?;
            let kept = Kept {
                compressed: incoming.payload.compressed(),
                raw_hash: incoming.raw_hash,
                canonical_hash: incoming.canonical_hash,
                read_at: incoming.read_at,
                requested_from: self.entry.requested_from,
                requested_to: self.entry.requested_to,
                mapper_version: incoming.mapper_version,
                privacy_id: incoming.privacy_id,
            };
            tables.payload(*key, &self.claim.stream, &kept);
        }
        Ok(())
    }

    async fn put(&mut self, tables: &mut Tables, operation: &'static str) -> Result<(), WarehouseError> {
        cross(Point::BeforeCopy)?;
        for (table, written) in tables.send(&mut self.transaction).await? {
            self.counts.rows(table, operation, written);
        }
        Ok(())
    }

    /// Keeps records that could not become rows, whole.
    pub async fn set_aside(&mut self, records: &[SetAside<'_>]) -> Result<(), WarehouseError> {
        let requested = (self.entry.requested_from, self.entry.requested_to);
        if !is_planted(Defect::QuarantineSwallowed) {
            super::quarantine::keep(&mut self.transaction, &self.claim.stream, records, requested, self.now).await?;
        }
        for record in records {
            self.counts.quarantined(&record.reason);
        }
        self.outcomes.quarantined += records.len() as u64;
        self.aside.extend(records.iter().map(|record| record.raw_hash));
        Ok(())
    }

    /// After all records of a read are written: what was received of those that read well before leaves
    /// quarantine; and so does, when the read is proved, a record without an id that it should have
    /// brought and did not: the vendor has mended or dropped it. `records` are all that were read.
    pub async fn clear_quarantine(&mut self, records: &[ReadWell<'_>]) -> Result<(), WarehouseError> {
        let stream = &self.claim.stream;
        if !super::quarantine::is_needed(&mut self.transaction, stream).await? {
            return Ok(());
        }
        let read_well: Vec<_> = records.iter().filter(|record| !self.aside.contains(&record.raw_hash)).collect();
        super::quarantine::clear(&mut self.transaction, stream, &read_well).await?;
        if self.entry.proof.is_some() {
            let requested = (self.entry.requested_from, self.entry.requested_to);
            super::quarantine::drop_absent(&mut self.transaction, stream, records, self.claim.window, requested)
                .await?;
        }
        Ok(())
    }

    /// Counts drift seen in new and changed contacts.
    pub async fn note_drift(&mut self, drift: &super::drift::Drift) -> Result<(), WarehouseError> {
        self.counts.drifted(drift.total());
        super::drift::note(&mut self.transaction, &self.claim.stream, drift, self.now).await
    }

    /// The ledger, what was learned, the watermark; then COMMIT.
    pub async fn finish(mut self, learned: &Learned) -> Result<Outcomes, WarehouseError> {
        self.keys.update_attributes(&mut self.transaction).await?;
        ledger::write(&mut self.transaction, &self.claim, &self.entry, self.outcomes, (self.read_at, self.now)).await?;
        let is_early = is_planted(Defect::PrefixBeforeLock);
        if is_early && self.entry.proof.is_some() {
            derive_watermark(&mut self.transaction, &self.claim.stream).await?;
        }
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
            settling::note(&mut self.transaction, &self.claim, &self.sights, self.now).await?;
            cross(Point::BeforeWatermark)?;
            if !is_early {
                derive_watermark(&mut self.transaction, &self.claim.stream).await?;
            }
            cross(Point::AfterWatermark)?;
            // The stream's row is locked from here on: reads that commit at once see each other.
            take_place(&mut self.transaction, &self.claim, self.outcomes, self.now).await?;
        }
        cross(Point::BeforeCommit)?;
        self.transaction.commit().await?;
        cross(Point::Committed)?;
        self.counts.tell(&self.claim.stream);
        Ok(self.outcomes)
    }
}
