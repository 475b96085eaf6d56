//! Drift: fields that nobody documented, and values that could not be read as their field's type.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Warehouse, WarehouseError};

/// (path, kind) to how often, and what the last one was.
#[derive(Debug, Default)]
pub struct Drift(BTreeMap<(String, String), (i64, Example)>);

/// A value without what it says: its JSON type, and of a string the class of its length and its shape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Example {
    pub json_type: &'static str,
    pub shape: Option<String>,
}

impl Drift {
    pub fn add(&mut self, path: String, kind: &str, example: Example) {
        let seen = self.0.entry((path, kind.to_owned())).or_default();
        *seen = (seen.0 + 1, example);
    }

    pub fn merge(&mut self, other: Self) {
        for (place, (count, example)) in other.0 {
            let seen = self.0.entry(place).or_default();
            *seen = (seen.0 + count, example);
        }
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
        "insert into koresync.unknown_fields as u (stream, path, kind, first_seen_at, last_seen_at, count, example_type, example_shape) \
         select $1, n.path, n.kind, $2, $2, n.count, n.type, n.shape \
         from unnest($3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[]) as n (path, kind, count, type, shape) \
         on conflict (stream, path, kind) do update \
           set last_seen_at = excluded.last_seen_at, count = u.count + excluded.count, example_type = excluded.example_type, \
             example_shape = excluded.example_shape",
    )
    .bind(stream)
    .bind(now)
    .bind(drift.0.keys().map(|(path, _)| path.as_str()).collect::<Vec<_>>())
    .bind(drift.0.keys().map(|(_, kind)| kind.as_str()).collect::<Vec<_>>())
    .bind(drift.0.values().map(|(count, _)| *count).collect::<Vec<_>>())
    .bind(drift.0.values().map(|(_, example)| example.json_type).collect::<Vec<_>>())
    .bind(drift.0.values().map(|(_, example)| example.shape.as_deref()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// A field that has no column, or a kind of value that could not be read, first seen lately.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct NewField {
    pub stream: String,
    pub path: String,
    /// `unknown`, or why its values could not be read.
    pub kind: String,
    pub example_type: String,
    pub example_shape: Option<String>,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub count: i64,
    /// How many there are, of which this is one.
    #[serde(skip)]
    pub of: i64,
}

impl Warehouse {
    /// What drifted for the first time since, of the configured streams or one of them: the latest
    /// first, `most` of them.
    pub async fn new_fields(
        &self,
        stream: Option<&str>,
        since: DateTime<Utc>,
        most: i64,
    ) -> Result<Vec<NewField>, WarehouseError> {
        Ok(sqlx::query_as(
            "select u.stream, u.path, u.kind, u.example_type, u.example_shape, u.first_seen_at, u.last_seen_at, u.count, \
               count(*) over () as of \
             from koresync.unknown_fields u join koresync.streams s on s.stream = u.stream and s.is_configured \
             where u.first_seen_at >= $2 and ($1::text is null or u.stream = $1) \
             order by u.first_seen_at desc, u.count desc, u.stream, u.path, u.kind limit $3",
        )
        .bind(stream)
        .bind(since)
        .bind(most)
        .fetch_all(&self.pool)
        .await?)
    }
}
