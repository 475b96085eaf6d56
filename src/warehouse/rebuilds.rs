//! Rebuilds: filed in the database, done in small transactions that write down how far they are, so that
//! one that was killed goes on where it was.

mod step;

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use sqlx::PgConnection;
use uuid::Uuid;

pub use step::RebuildStep;

use super::load::Incoming;
use super::locks::lock_contacts;
use super::time_zone::is_in_calendar;
use super::{Warehouse, WarehouseError};
use crate::domain::{ContentHash, Payload};

/// What is to be rebuilt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RebuildScope {
    /// `None`: all.
    pub stream: Option<String>,
    /// Contacts that start here or later; whole seconds.
    pub from: Option<DateTime<Utc>>,
    /// And before this moment.
    pub to: Option<DateTime<Utc>>,
    /// Moves the business days of all contacts into this zone instead, in which [`Warehouse`] then counts.
    pub time_zone: Option<Tz>,
}

/// A row of `koresync.rebuilds`.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct Rebuild {
    pub id: i64,
    pub stream: Option<String>,
    pub from_at: Option<DateTime<Utc>>,
    pub to_at: Option<DateTime<Utc>>,
    pub time_zone: Option<String>,
    pub mapper_version: i32,
    pub state: String,
    pub expected: i64,
    pub visited: i64,
    pub rewritten: i64,
    pub refused: i64,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl Rebuild {
    pub fn is_open(&self) -> bool {
        self.state == "running"
    }

    /// Part of the contacts that is looked at, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn progress(&self) -> f64 {
        if self.is_open() { (self.visited as f64 / self.expected.max(1) as f64).min(1.0) } else { 1.0 }
    }
}

/// A worker that was not seen for so long is taken for dead.
pub const SILENT_FOR: Duration = Duration::from_secs(5);

const SELECT: &str = "select id, stream, from_at, to_at, time_zone, mapper_version, state, expected, visited, rewritten, \
     refused, created_at, finished_at from koresync.rebuilds where id = $1";

/// A payload as it is kept.
#[derive(Debug)]
pub struct KeptPayload {
    pub contact_key: Uuid,
    pub stream: String,
    pub payload: Payload,
    pub raw_hash: ContentHash,
    pub read_at: DateTime<Utc>,
    /// The settings of `[privacy]` that it is kept under.
    pub privacy_id: i32,
    requested: (DateTime<Utc>, DateTime<Utc>),
}

/// A kept payload as rows. Where payload, hash or settings differ from what is kept, they take its place.
#[derive(Debug)]
pub struct Remapped<'a> {
    pub kept: &'a KeptPayload,
    pub incoming: Incoming<'a>,
}

impl Remapped<'_> {
    fn is_kept_otherwise(&self) -> bool {
        let Self { kept, incoming } = self;
        kept.privacy_id != incoming.privacy_id
            || kept.raw_hash != incoming.raw_hash
            || kept.payload != *incoming.payload
    }
}

/// The first key of a moment: keys begin with the milliseconds of a start.
fn first_key(moment: DateTime<Utc>) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&moment.timestamp_millis().to_be_bytes()[2..]);
    Uuid::from_bytes(bytes)
}

/// Where a rebuild is.
#[derive(Debug, sqlx::FromRow)]
struct Place {
    stream: Option<String>,
    from_at: Option<DateTime<Utc>>,
    to_at: Option<DateTime<Utc>>,
    is_among_moved: bool,
    done_through: Option<Uuid>,
}

impl Place {
    fn keys(&self) -> (Uuid, Uuid) {
        (self.from_at.map_or(Uuid::nil(), first_key), self.to_at.map_or(Uuid::max(), first_key))
    }
}

type PayloadRow = (Uuid, String, Vec<u8>, Vec<u8>, DateTime<Utc>, i32, DateTime<Utc>, DateTime<Utc>);

impl Warehouse {
    /// Files a rebuild, or finds the open one of the same scope and mapping. Moving days to another zone
    /// records that zone at once: whoever counts in the old one writes nothing from here on.
    pub async fn file_rebuild(&self, scope: &RebuildScope, mapper_version: i32) -> Result<i64, WarehouseError> {
        let mut transaction = self.begin().await?;
        if let Some(zone) = scope.time_zone {
            super::time_zone::replace(&mut transaction, zone).await?;
            sqlx::query(
                "update koresync.rebuilds set state = 'cancelled', finished_at = coalesce($2, clock_timestamp()) \
                 where state = 'running' and time_zone <> $1",
            )
            .bind(zone.name())
            .bind(self.clock.database_time())
            .execute(&mut *transaction)
            .await?;
        }
        let zone = scope.time_zone.map(Tz::name);
        let open: Option<(i64, i32)> = sqlx::query_as(
            "select id, mapper_version from koresync.rebuilds where state = 'running' \
               and stream is not distinct from $1 and from_at is not distinct from $2 and to_at is not distinct from $3 \
               and time_zone is not distinct from $4 for update",
        )
        .bind(&scope.stream)
        .bind(scope.from)
        .bind(scope.to)
        .bind(zone)
        .fetch_optional(&mut *transaction)
        .await?;
        if let Some((id, version)) = open {
            if version == mapper_version {
                transaction.commit().await?;
                return Ok(id);
            }
            // Half of it is of another mapping.
            sqlx::query(
                "update koresync.rebuilds set state = 'cancelled', finished_at = coalesce($2, clock_timestamp()) where id = $1",
            )
            .bind(id)
            .bind(self.clock.database_time())
            .execute(&mut *transaction)
            .await?;
        }
        let (first, last) = Place::of(scope).keys();
        let expected: i64 = sqlx::query_scalar(
            "select case when $1 then (select count(*) from kore.contacts) else (select count(*) from koresync.raw_contacts \
               where ($2::text is null or stream = $2) and payload <> '' and contact_key >= $3 and contact_key < $4) end",
        )
        .bind(zone.is_some())
        .bind(&scope.stream)
        .bind(first)
        .bind(last)
        .fetch_one(&mut *transaction)
        .await?;
        let id = sqlx::query_scalar(
            "insert into koresync.rebuilds (stream, from_at, to_at, time_zone, mapper_version, expected, created_at) \
             values ($1, $2, $3, $4, $5, $6, coalesce($7, clock_timestamp())) returning id",
        )
        .bind(&scope.stream)
        .bind(scope.from)
        .bind(scope.to)
        .bind(zone)
        .bind(mapper_version)
        .bind(expected)
        .bind(self.clock.database_time())
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(id)
    }

    pub async fn rebuild(&self, id: i64) -> Result<Rebuild, WarehouseError> {
        Ok(sqlx::query_as(SELECT).bind(id).fetch_one(&self.pool).await?)
    }

    /// Marks this process as the one that works on it; errors when another one, seen less than
    /// [`SILENT_FOR`] ago, does.
    pub async fn hold_rebuild(&self, id: i64, worker: &str) -> Result<(), WarehouseError> {
        let held = sqlx::query(
            "update koresync.rebuilds set worker = $2, seen_at = clock_timestamp() where id = $1 \
               and (worker is null or worker = $2 or seen_at < clock_timestamp() - make_interval(secs => $3))",
        )
        .bind(id)
        .bind(worker)
        .bind(SILENT_FOR.as_secs_f64())
        .execute(&self.pool)
        .await?;
        if held.rows_affected() == 0 {
            return Err(WarehouseError::Held(format!("another process works on rebuild {id}")));
        }
        Ok(())
    }

    pub async fn let_go_of_rebuild(&self, id: i64, worker: &str) -> Result<(), WarehouseError> {
        sqlx::query("update koresync.rebuilds set worker = null where id = $1 and worker = $2")
            .bind(id)
            .bind(worker)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Moves the business days of the next `most` contacts into the zone of this warehouse; false when
    /// all are. A day outside the calendar stays as it is.
    pub async fn move_days(&self, id: i64, worker: &str, most: usize) -> Result<bool, WarehouseError> {
        let mut transaction = self.begin().await?;
        super::time_zone::hold(self, &mut transaction).await?;
        let Some(place) = take_place(&mut transaction, id, worker).await? else { return Ok(false) };
        let keys: Vec<Uuid> = sqlx::query_scalar(
            "select contact_key from kore.contacts where contact_key > $1 order by contact_key limit $2",
        )
        .bind(place.done_through.unwrap_or_default())
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(&mut *transaction)
        .await?;
        lock_contacts(&mut transaction, &keys).await?;
        // Not before: what is written must not seem older than what was waited for.
        let now = self.now_in(&mut transaction).await?;
        let contacts: Vec<(Uuid, DateTime<Utc>, NaiveDate)> =
            sqlx::query_as("select contact_key, started_at, started_on from kore.contacts where contact_key = any($1)")
                .bind(&keys)
                .fetch_all(&mut *transaction)
                .await?;
        let moved: Vec<(Uuid, NaiveDate)> = contacts
            .iter()
            .map(|(key, start, held)| (*key, *held, self.business_day(*start)))
            .filter(|(_, held, day)| held != day && is_in_calendar(*day))
            .map(|(key, _, day)| (key, day))
            .collect();
        sqlx::query(
            "update kore.contacts c set started_on = n.day, updated_at = $3 \
             from unnest($1::uuid[], $2::date[]) as n (key, day) where c.contact_key = n.key",
        )
        .bind(moved.iter().map(|(key, _)| *key).collect::<Vec<_>>())
        .bind(moved.iter().map(|(_, day)| *day).collect::<Vec<_>>())
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        let last = keys.last().copied();
        let is_over = keys.len() < most;
        let counts = Looked { visited: keys.len(), rewritten: moved.len(), refused: 0 };
        write_place(&mut transaction, id, last, counts, (is_over, false), self.clock.database_time()).await?;
        transaction.commit().await?;
        Ok(!is_over)
    }
}

impl Place {
    fn of(scope: &RebuildScope) -> Self {
        Self {
            stream: scope.stream.clone(),
            from_at: scope.from,
            to_at: scope.to,
            is_among_moved: false,
            done_through: None,
        }
    }
}

/// Locks the rebuild's row. `None` when it is not running any more.
async fn take_place(connection: &mut PgConnection, id: i64, worker: &str) -> Result<Option<Place>, WarehouseError> {
    let held: Option<Option<String>> =
        sqlx::query_scalar("select worker from koresync.rebuilds where id = $1 and state = 'running' for update")
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?;
    match held {
        None => return Ok(None),
        Some(held) if held.as_deref() != Some(worker) => return Err(WarehouseError::Fenced),
        Some(_) => {}
    }
    let place = sqlx::query_as(
        "select stream, from_at, to_at, is_among_moved, done_through from koresync.rebuilds where id = $1",
    )
    .bind(id)
    .fetch_one(connection)
    .await?;
    Ok(Some(place))
}

async fn payloads(connection: &mut PgConnection, place: &Place, most: i64) -> Result<Vec<KeptPayload>, WarehouseError> {
    let (first, last) = place.keys();
    let statement = if place.is_among_moved {
        "select r.contact_key, r.stream, r.payload, r.raw_hash, r.read_at, r.privacy_id, r.requested_from, r.requested_to \
         from kore.contacts c join koresync.raw_contacts r on r.contact_key = c.contact_key \
         where ($1::text is null or c.stream = $1) and c.started_at >= coalesce($6, '-infinity') and c.started_at < coalesce($7, 'infinity') \
           and (c.contact_key < $2 or c.contact_key >= $3) and c.contact_key > $4 and r.payload <> '' \
         order by c.contact_key limit $5"
    } else {
        "select r.contact_key, r.stream, r.payload, r.raw_hash, r.read_at, r.privacy_id, r.requested_from, r.requested_to \
         from koresync.raw_contacts r \
         where ($1::text is null or r.stream = $1) and r.contact_key >= $2 and r.contact_key < $3 and r.contact_key > $4 and r.payload <> '' \
           and ($6::timestamptz, $7::timestamptz) is not distinct from ($6::timestamptz, $7::timestamptz) \
         order by r.contact_key limit $5"
    };
    let rows: Vec<PayloadRow> = sqlx::query_as(statement)
        .bind(&place.stream)
        .bind(first)
        .bind(last)
        .bind(place.done_through.unwrap_or_default())
        .bind(most)
        .bind(place.from_at)
        .bind(place.to_at)
        .fetch_all(connection)
        .await?;
    rows.into_iter()
        .map(|(contact_key, stream, payload, raw_hash, read_at, privacy_id, from, to)| {
            Ok(KeptPayload {
                contact_key,
                stream,
                payload: Payload::kept(payload)?,
                raw_hash: fixed_hash(&raw_hash),
                read_at,
                privacy_id,
                requested: (from, to),
            })
        })
        .collect()
}

#[derive(Debug, Clone, Copy)]
struct Looked {
    visited: usize,
    rewritten: usize,
    refused: usize,
}

async fn write_place(
    connection: &mut PgConnection,
    id: i64,
    last: Option<Uuid>,
    counts: Looked,
    (is_over, is_last_of_range): (bool, bool),
    database_time: Option<DateTime<Utc>>,
) -> Result<(), WarehouseError> {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    sqlx::query(
        "update koresync.rebuilds set visited = visited + $2, rewritten = rewritten + $3, refused = refused + $4, \
           done_through = case when $5 then null else coalesce($6, done_through) end, is_among_moved = is_among_moved or $5, \
           state = case when $7 then 'done' else state end, \
           finished_at = case when $7 then coalesce($8, clock_timestamp()) end, seen_at = clock_timestamp() where id = $1",
    )
    .bind(id)
    .bind(count(counts.visited))
    .bind(count(counts.rewritten))
    .bind(count(counts.refused))
    .bind(is_last_of_range)
    .bind(last)
    .bind(is_over)
    .bind(database_time)
    .execute(connection)
    .await?;
    Ok(())
}

/// A hash as its column holds it.
fn fixed_hash(bytes: &[u8]) -> ContentHash {
    ContentHash(bytes.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::contact_key;

    #[test]
    fn keys_of_a_range_begin_and_end_with_its_moments() {
        let at = |ms| DateTime::from_timestamp_millis(ms).expect("a valid time");
        let (from, to) = (at(1_774_261_123_000), at(1_774_261_124_000));
        for (moment, is_inside) in [(from, true), (to - chrono::TimeDelta::milliseconds(1), true), (to, false)] {
            let key = contact_key("support", "c-1", moment);
            assert_eq!(first_key(from) <= key && key < first_key(to), is_inside, "{moment}");
        }
    }
}
