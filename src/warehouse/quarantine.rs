//! Records that could not become rows: kept whole, with the reason and the place of the fault.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::load::SetAside;
use super::{Warehouse, WarehouseError};

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
        sqlx::query(
            "insert into koresync.quarantined_records (stream, conversation_id, payload, raw_hash, reason, fault_path, \
               first_seen_at, last_tried_at, requested_from, requested_to, mapper_version) \
             values ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10) \
             on conflict on constraint quarantined_records_once do update \
               set attempts = koresync.quarantined_records.attempts + 1, last_tried_at = excluded.last_tried_at, \
                 reason = excluded.reason, fault_path = excluded.fault_path, mapper_version = excluded.mapper_version",
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
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

pub(super) async fn clear(connection: &mut PgConnection, stream: &str, ids: &[&str]) -> Result<(), WarehouseError> {
    sqlx::query("delete from koresync.quarantined_records where stream = $1 and conversation_id = any($2)")
        .bind(stream)
        .bind(ids)
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

    /// One record with its text as received.
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
        Ok((record, zstd::stream::decode_all(payload.as_slice())?))
    }
}
