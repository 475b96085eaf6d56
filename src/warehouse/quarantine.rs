//! Records that could not become rows: kept whole, with the reason and the place of the fault.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::load::SetAside;
use super::{Warehouse, WarehouseError};
use crate::domain::{ContentHash, Window};

/// A record in quarantine, without its content.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct Quarantined {
    pub id: i64,
    pub stream: String,
    pub conversation_id: Option<String>,
    pub reason: String,
    pub fault_path: String,
    pub attempts: i32,
    pub first_seen_at: DateTime<Utc>,
    pub last_tried_at: DateTime<Utc>,
    pub mapper_version: i32,
}

/// Keeps records; for one that is there already, by its hash, the attempt is counted.
pub(super) async fn keep(
    connection: &mut PgConnection,
    stream: &str,
    records: &[SetAside<'_>],
    (requested_from, requested_to): (DateTime<Utc>, DateTime<Utc>),
    now: DateTime<Utc>,
) -> Result<(), WarehouseError> {
    for record in records {
        // Kept under other privacy settings, the same record has another hash.
        sqlx::query(
            "delete from koresync.quarantined_records where stream = $1 and conversation_id = $2 and raw_hash <> $3 \
               and privacy_id <> $4 and coalesce(received_at, first_seen_at) <= $5",
        )
        .bind(stream)
        .bind(record.conversation_id.as_deref())
        .bind(record.raw_hash.0.as_slice())
        .bind(record.privacy_id)
        .bind(record.read_at)
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "insert into koresync.quarantined_records (stream, conversation_id, payload, raw_hash, reason, fault_path, \
               first_seen_at, last_tried_at, requested_from, requested_to, mapper_version, received_at, started_at, \
               canonical_hash, text_bytes, privacy_id) \
             values ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
             on conflict on constraint quarantined_records_once do update \
               set attempts = koresync.quarantined_records.attempts + 1, last_tried_at = excluded.last_tried_at, \
                 reason = excluded.reason, fault_path = excluded.fault_path, mapper_version = excluded.mapper_version, \
                 received_at = greatest(koresync.quarantined_records.received_at, excluded.received_at), \
                 payload = case when koresync.quarantined_records.privacy_id = excluded.privacy_id \
                   then koresync.quarantined_records.payload else excluded.payload end, \
                 canonical_hash = excluded.canonical_hash, text_bytes = excluded.text_bytes, privacy_id = excluded.privacy_id",
        )
        .bind(stream)
        .bind(record.conversation_id.as_deref())
        .bind(record.payload.compressed())
        .bind(record.raw_hash.0.as_slice())
        .bind(&record.reason)
        .bind(&record.fault_path)
        .bind(now)
        .bind(requested_from)
        .bind(requested_to)
        .bind(record.mapper_version)
        .bind(record.read_at)
        .bind(record.started_at)
        .bind(record.canonical_hash.as_ref().map(|hash| hash.0.as_slice()))
        .bind(record.text_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)))
        .bind(record.privacy_id)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// A record that became rows, or is held as it is.
#[derive(Debug, Clone, Copy)]
pub struct ReadWell<'a> {
    pub conversation_id: Option<&'a str>,
    pub raw_hash: ContentHash,
    /// When the page that held it came.
    pub read_at: DateTime<Utc>,
}

/// Whether a stream has anything in quarantine: most have not.
pub(super) async fn is_needed(connection: &mut PgConnection, stream: &str) -> Result<bool, WarehouseError> {
    Ok(sqlx::query_scalar("select exists (select from koresync.quarantined_records where stream = $1)")
        .bind(stream)
        .fetch_one(connection)
        .await?)
}

/// Takes out of quarantine what was received of these conversations before; and these very texts, whose
/// id may not have been read at the time.
pub(super) async fn clear(
    connection: &mut PgConnection,
    stream: &str,
    records: &[&ReadWell<'_>],
) -> Result<(), WarehouseError> {
    sqlx::query(
        "with read_well as (select * from unnest($2::text[], $3::bytea[], $4::timestamptz[]) as r (id, hash, read_at)) \
         delete from koresync.quarantined_records where id in ( \
           select q.id from koresync.quarantined_records q join read_well r on r.id = q.conversation_id \
             where q.stream = $1 and coalesce(q.received_at, q.first_seen_at) <= r.read_at \
           union all select q.id from koresync.quarantined_records q join read_well r on r.hash = q.raw_hash where q.stream = $1)",
    )
    .bind(stream)
    .bind(records.iter().map(|record| record.conversation_id).collect::<Vec<_>>())
    .bind(records.iter().map(|record| record.raw_hash.0.as_slice()).collect::<Vec<_>>())
    .bind(records.iter().map(|record| record.read_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes out of quarantine records without an id that a proved read of their place did not bring any
/// more: nothing else can tell that they were mended. Their place is their start, or without one the
/// range that delivered them; only where the vendor is known to filter by the start.
pub(super) async fn drop_absent(
    connection: &mut PgConnection,
    stream: &str,
    records: &[ReadWell<'_>],
    window: Window,
    (requested_from, requested_to): (DateTime<Utc>, DateTime<Utc>),
) -> Result<(), WarehouseError> {
    let Some(began) = records.iter().map(|record| record.read_at).min() else { return Ok(()) };
    sqlx::query(
        "delete from koresync.quarantined_records q using koresync.streams s \
         where s.stream = $1 and s.filter_field = 'start' and q.stream = $1 and q.conversation_id is null \
           and coalesce(q.received_at, q.first_seen_at) < $2 \
           and case when q.started_at is null then q.requested_from >= $3 and q.requested_to <= $4 \
                 else q.started_at >= $5 and q.started_at < $6 end \
           and not exists (select from unnest($7::bytea[]) as read (hash) where read.hash = q.raw_hash)",
    )
    .bind(stream)
    .bind(began)
    .bind(requested_from)
    .bind(requested_to)
    .bind(window.from)
    .bind(window.to)
    .bind(records.iter().map(|record| record.raw_hash.0.as_slice()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

impl Warehouse {
    pub async fn quarantined(&self, stream: Option<&str>, most: i64) -> Result<Vec<Quarantined>, WarehouseError> {
        Ok(sqlx::query_as(
            "select id, stream, conversation_id, reason, fault_path, attempts, first_seen_at, last_tried_at, mapper_version \
             from koresync.quarantined_records where $1::text is null or stream = $1 order by id desc limit $2",
        )
        .bind(stream)
        .bind(most)
        .fetch_all(&self.pool)
        .await?)
    }

    /// One record with its text as it is kept; empty where none is.
    pub async fn quarantined_record(&self, id: i64) -> Result<(Quarantined, Vec<u8>), WarehouseError> {
        let record: Option<Quarantined> = sqlx::query_as(
            "select id, stream, conversation_id, reason, fault_path, attempts, first_seen_at, last_tried_at, mapper_version \
             from koresync.quarantined_records where id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        let record = record.ok_or_else(|| {
            WarehouseError::NotFound(format!("no quarantined record {id}: `koresync quarantine list` shows them"))
        })?;
        let payload: Vec<u8> = sqlx::query_scalar("select payload from koresync.quarantined_records where id = $1")
            .bind(id)
            .fetch_one(&self.pool)
            .await?;
        let text = if payload.is_empty() { payload } else { zstd::stream::decode_all(payload.as_slice())? };
        Ok((record, text))
    }
}
