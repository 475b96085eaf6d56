//! Drift: fields that nobody documented, and values that could not be read as their field's type.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::WarehouseError;

/// (path, kind) to how often, and the JSON type of the last one.
#[derive(Debug, Default)]
pub struct Drift(BTreeMap<(String, String), (i64, &'static str)>);

impl Drift {
    pub fn add(&mut self, path: String, kind: &str, json_type: &'static str) {
        let seen = self.0.entry((path, kind.to_owned())).or_insert((0, json_type));
        seen.0 += 1;
    }

    pub(super) fn total(&self) -> u64 {
        self.0.values().map(|(count, _)| count.unsigned_abs()).sum()
    }
}

pub(super) async fn note(
    connection: &mut PgConnection,
    stream: &str,
    drift: &Drift,
    now: DateTime<Utc>,
) -> Result<(), WarehouseError> {
    if drift.0.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into koresync.unknown_fields as u (stream, path, kind, first_seen_at, last_seen_at, count, example_type) \
         select $1, n.path, n.kind, $2, $2, n.count, n.type \
         from unnest($3::text[], $4::text[], $5::bigint[], $6::text[]) as n (path, kind, count, type) \
         on conflict (stream, path, kind) do update \
           set last_seen_at = excluded.last_seen_at, count = u.count + excluded.count, example_type = excluded.example_type",
    )
    .bind(stream)
    .bind(now)
    .bind(drift.0.keys().map(|(path, _)| path.as_str()).collect::<Vec<_>>())
    .bind(drift.0.keys().map(|(_, kind)| kind.as_str()).collect::<Vec<_>>())
    .bind(drift.0.values().map(|(count, _)| *count).collect::<Vec<_>>())
    .bind(drift.0.values().map(|(_, json_type)| *json_type).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
