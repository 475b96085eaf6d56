//! Records that were in quarantine, loaded like a window's, in a transaction that no window claims.

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Transaction};

use super::held::hash;
use super::{ReadEntry, WindowCommit};
use crate::domain::{ContentHash, Payload, Window};
use crate::warehouse::windows::{Claim, Lane};
use crate::warehouse::{Warehouse, WarehouseError};

/// Which records in quarantine are meant; all without any.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub id: Option<i64>,
    pub stream: Option<String>,
    pub reason: Option<String>,
}

/// A record in quarantine, to be read again.
#[derive(Debug, Clone)]
pub struct Queued {
    pub id: i64,
    pub stream: String,
    pub payload: Payload,
    pub raw_hash: ContentHash,
    /// Of the content as received, where the kept text is another one.
    pub canonical_hash: Option<ContentHash>,
    /// The settings of `[privacy]` that the kept text obeys.
    pub privacy_id: i32,
    /// When the page that last held it came.
    pub read_at: DateTime<Utc>,
    /// The request range that delivered it.
    pub requested: (DateTime<Utc>, DateTime<Utc>),
}

/// A record that failed again.
#[derive(Debug, Clone)]
pub struct FailedAgain {
    pub id: i64,
    pub reason: String,
    pub fault_path: String,
    pub mapper_version: i32,
}

/// One transaction over records of one stream that one request range delivered.
#[derive(Debug)]
pub struct RequeueCommit {
    pub load: WindowCommit,
    pub records: Vec<Queued>,
}

type QueuedRow = (i64, String, Vec<u8>, Vec<u8>, Option<Vec<u8>>, i32, DateTime<Utc>, DateTime<Utc>, DateTime<Utc>);

impl Warehouse {
    /// The largest id in quarantine: what comes later is not for a retry that began before.
    pub async fn last_quarantined(&self) -> Result<i64, WarehouseError> {
        Ok(sqlx::query_scalar("select coalesce(max(id), 0) from koresync.quarantined_records")
            .fetch_one(&self.pool)
            .await?)
    }

    /// Begins a transaction over the next records of a selection after one id and up to another, at most
    /// `most`, all of one stream and one request range. Those that somebody else has in hand are passed
    /// over; `None` at the end.
    pub async fn open_requeue(
        &self,
        selection: &Selection,
        (after, last): (i64, i64),
        most: i64,
    ) -> Result<Option<RequeueCommit>, WarehouseError> {
        let (mut transaction, guard) = self.begin_load().await?;
        let records = queued(&mut transaction, selection, (after, last), most).await?;
        let Some(first) = records.first() else { return Ok(None) };
        let (requested_from, requested_to) = first.requested;
        let window = Window { from: requested_from, to: requested_to };
        let now = self.now_in(&mut transaction).await?;
        // No window of the ledger: `finish` is not for it.
        let claim = Claim {
            id: 0,
            stream: first.stream.clone(),
            lane: Lane::Backfill,
            backfill_id: None,
            window,
            errand: None,
            fence: 0,
            attempts: 0,
        };
        let entry = ReadEntry {
            requested_from,
            requested_to,
            total: None,
            rows: 0,
            distinct: 0,
            requests: 0,
            proof: None,
            failure: None,
        };
        let load = WindowCommit::over(self, (transaction, guard), claim, entry, now);
        Ok(Some(RequeueCommit { load, records }))
    }
}

async fn queued(
    transaction: &mut Transaction<'static, Postgres>,
    selection: &Selection,
    (after, last): (i64, i64),
    most: i64,
) -> Result<Vec<Queued>, WarehouseError> {
    let rows: Vec<QueuedRow> = sqlx::query_as(
        "select id, stream, payload, raw_hash, canonical_hash, privacy_id, coalesce(received_at, first_seen_at), requested_from, \
           requested_to \
         from koresync.quarantined_records where payload <> '' and id > $1 and id <= $2 and ($3::bigint is null or id = $3) \
           and ($4::text is null or stream = $4) and ($5::text is null or reason = $5) \
         order by id limit $6 for update skip locked",
    )
    .bind(after)
    .bind(last)
    .bind(selection.id)
    .bind(&selection.stream)
    .bind(&selection.reason)
    .bind(most)
    .fetch_all(&mut **transaction)
    .await?;
    let mut records: Vec<Queued> = Vec::with_capacity(rows.len());
    for (id, stream, payload, raw_hash, canonical, privacy_id, read_at, from, to) in rows {
        if records.first().is_some_and(|first| first.stream != stream || first.requested != (from, to)) {
            // Of another read: for the next transaction.
            break;
        }
        let Some(raw_hash) = hash(Some(raw_hash)) else { continue };
        let payload = Payload::kept(payload)?;
        let requested = (from, to);
        let canonical_hash = hash(canonical);
        records.push(Queued { id, stream, payload, raw_hash, canonical_hash, privacy_id, read_at, requested });
    }
    Ok(records)
}

impl RequeueCommit {
    /// Takes out of quarantine what read well, but for what the database refused; counts an attempt for
    /// what failed again; then COMMIT. Returns how many left.
    ///
    /// `erased` are records of people who were erased, which go.
    pub async fn finish(
        mut self,
        read_well: &[i64],
        failed: &[FailedAgain],
        erased: &[i64],
    ) -> Result<u64, WarehouseError> {
        let refused: Vec<&[u8]> = self.load.aside.iter().map(|hash| hash.0.as_slice()).collect();
        let left =
            sqlx::query("delete from koresync.quarantined_records where id = any($1) and raw_hash <> all($2::bytea[])")
                .bind(read_well)
                .bind(refused)
                .execute(&mut *self.load.transaction)
                .await?;
        sqlx::query("delete from koresync.quarantined_records where id = any($1)")
            .bind(erased)
            .execute(&mut *self.load.transaction)
            .await?;
        sqlx::query(
            "update koresync.quarantined_records q set attempts = q.attempts + 1, last_tried_at = $1, reason = f.reason, \
               fault_path = f.path, mapper_version = f.mapper \
             from unnest($2::bigint[], $3::text[], $4::text[], $5::integer[]) as f (id, reason, path, mapper) where q.id = f.id",
        )
        .bind(self.load.now)
        .bind(failed.iter().map(|record| record.id).collect::<Vec<_>>())
        .bind(failed.iter().map(|record| record.reason.as_str()).collect::<Vec<_>>())
        .bind(failed.iter().map(|record| record.fault_path.as_str()).collect::<Vec<_>>())
        .bind(failed.iter().map(|record| record.mapper_version).collect::<Vec<_>>())
        .execute(&mut *self.load.transaction)
        .await?;
        self.load.keys.update_attributes(&mut self.load.transaction).await?;
        self.load.transaction.commit().await?;
        self.load.counts.tell(&self.load.claim.stream);
        Ok(left.rows_affected())
    }
}
