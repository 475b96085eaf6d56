//! What is known of each stream: its place in time, and what was learned of its server.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{Warehouse, WarehouseError};
use crate::domain::window::floor_to_second;
use crate::faults::{Defect, is_planted};

/// A stream as configured.
#[derive(Debug, Clone)]
pub struct Registration {
    pub stream: String,
    pub account_id: String,
    pub stream_id: String,
    pub start_at: DateTime<Utc>,
    /// Length of the first windows.
    pub first_span: TimeDelta,
    /// Nothing closer to now is read.
    pub settle: TimeDelta,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "stream {stream} was filled from {what} {held}, the configuration says {configured}: two vendors' data would mix. \
     Give the new one another name under [streams]"
)]
pub struct StreamConflict {
    pub stream: String,
    pub what: &'static str,
    pub held: String,
    pub configured: String,
}

/// A row of `koresync.streams`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct StreamState {
    pub stream: String,
    pub account_id: String,
    pub start_at: DateTime<Utc>,
    pub frontier: DateTime<Utc>,
    pub watermark: DateTime<Utc>,
    /// `offset`, `page` or `offset_as_pages`, once established.
    pub paging: Option<String>,
    pub page_limit: Option<i32>,
    pub pages_max: Option<i32>,
    pub is_total_rows: Option<bool>,
    pub repeats_seen_at: Option<DateTime<Utc>>,
    pub filter_field: Option<String>,
    pub below_threshold_effect: Option<String>,
    pub contacts_per_hour: Option<f64>,
    pub record_bytes: Option<f64>,
    pub span_seconds: i64,
    pub paused_at: Option<DateTime<Utc>>,
    pub paused_reason: Option<String>,
    pub retry_at: Option<DateTime<Utc>>,
    pub last_success_at: Option<DateTime<Utc>>,
    /// The rungs that its windows are scheduled by, seconds.
    pub recheck_rungs: Option<Vec<i64>>,
    /// How many of them the account's budget carries.
    pub rungs_carried: Option<i16>,
    /// What `sync.settle = "auto"` has learned, seconds.
    pub settle_seconds: Option<i64>,
    /// Contacts that start earlier are let go.
    pub kept_from: Option<DateTime<Utc>>,
}

/// What a read taught; `None` leaves what is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Learned {
    pub paging: Option<&'static str>,
    pub page_limit: Option<i32>,
    pub pages_max: Option<i32>,
    pub is_total_rows: Option<bool>,
    pub has_repeats: bool,
    pub below_threshold_effect: Option<&'static str>,
    pub filter_field: Option<&'static str>,
    /// The furthest that a contact started outside the range that delivered it.
    pub filter_lag: TimeDelta,
    pub contacts_per_hour: Option<f64>,
    pub record_bytes: Option<f64>,
    pub span: Option<TimeDelta>,
}

impl Warehouse {
    /// Makes the configured streams known, in one transaction. On a stream's first start the frontier
    /// begins a day back and the rest of its history is filed as a backfill; an earlier start than
    /// before files a backfill of the gap.
    pub async fn register_streams(&self, streams: &[Registration]) -> Result<(), WarehouseError> {
        let now = self.now().await?;
        let mut transaction = self.begin().await?;
        let names: Vec<&str> = streams.iter().map(|s| s.stream.as_str()).collect();
        sqlx::query(
            "update koresync.streams set is_configured = stream = any($1) where is_configured <> (stream = any($1))",
        )
        .bind(&names)
        .execute(&mut *transaction)
        .await?;
        for stream in streams {
            register(&mut transaction, stream, now).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    pub async fn stream_states(&self) -> Result<Vec<StreamState>, WarehouseError> {
        Ok(sqlx::query_as(SELECT_CONFIGURED).fetch_all(&self.pool).await?)
    }

    pub async fn stream_state(&self, stream: &str) -> Result<StreamState, WarehouseError> {
        sqlx::query_as(SELECT_ONE).bind(stream).fetch_optional(&self.pool).await?.ok_or_else(|| {
            WarehouseError::NotFound(format!("no stream {stream} in the warehouse: `koresync status` lists them"))
        })
    }

    /// Puts what was learned outside a window's transaction.
    pub async fn learn(&self, stream: &str, learned: &Learned) -> Result<(), WarehouseError> {
        let mut connection = self.pool.lend().await?;
        keep_learned(&mut connection, stream, learned, self.clock.now()).await?;
        Ok(connection.done().await?)
    }

    /// The vendor refused the stream: nothing is asked of it before `retry_after` has passed.
    pub async fn pause_stream(&self, stream: &str, reason: &str, retry_after: TimeDelta) -> Result<(), WarehouseError> {
        sqlx::query(
            "update koresync.streams set paused_at = coalesce(paused_at, n.now), paused_reason = $2, \
               retry_at = n.now + make_interval(secs => $3) \
             from (select coalesce($4, clock_timestamp()) as now) n where stream = $1",
        )
        .bind(stream)
        .bind(reason)
        .bind(retry_after.as_seconds_f64())
        .bind(self.clock.database_time())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A paused stream is to be tried at once, as after a change of its secret files.
    pub async fn wake_stream(&self, stream: &str) -> Result<(), WarehouseError> {
        sqlx::query("update koresync.streams set retry_at = null where stream = $1 and retry_at is not null")
            .bind(stream)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The vendor's server fails: the stream's other windows wait too, so that it holds up no worker.
    pub async fn cool_stream(&self, stream: &str, delay: TimeDelta) -> Result<(), WarehouseError> {
        sqlx::query(
            "update koresync.streams set retry_at = n.now + make_interval(secs => $2) \
             from (select coalesce($3, clock_timestamp()) as now) n where stream = $1",
        )
        .bind(stream)
        .bind(delay.as_seconds_f64())
        .bind(self.clock.database_time())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select stream, account_id, start_at, frontier, watermark, paging, page_limit, pages_max, is_total_rows, repeats_seen_at, \
             filter_field, below_threshold_effect, contacts_per_hour, record_bytes, span_seconds, paused_at, \
             paused_reason, retry_at, last_success_at, recheck_rungs, rungs_carried, settle_seconds, kept_from from koresync.streams ",
            $rest
        )
    };
}
const SELECT_CONFIGURED: &str = select!("where is_configured order by stream");
const SELECT_ONE: &str = select!("where stream = $1");

async fn register(
    connection: &mut PgConnection,
    stream: &Registration,
    now: DateTime<Utc>,
) -> Result<(), WarehouseError> {
    let held: Option<(String, String, DateTime<Utc>)> = sqlx::query_as(
        "select account_id, stream_id, start_at from koresync.streams where stream = $1 for no key update",
    )
    .bind(&stream.stream)
    .fetch_optional(&mut *connection)
    .await?;
    let start_at = floor_to_second(stream.start_at);
    let Some((account_id, stream_id, held_start)) = held else {
        let frontier = floor_to_second(now - TimeDelta::days(1).max(stream.settle)).max(start_at);
        let inserted = sqlx::query(
            "insert into koresync.streams (stream, account_id, stream_id, start_at, frontier, watermark, span_seconds, created_at) \
             values ($1, $2, $3, $4, $5, $4, $6, $7) on conflict do nothing",
        )
        .bind(&stream.stream)
        .bind(&stream.account_id)
        .bind(&stream.stream_id)
        .bind(start_at)
        .bind(frontier)
        .bind(stream.first_span.num_seconds().max(1))
        .bind(now)
        .execute(&mut *connection)
        .await?;
        // Another replica may have been first: then it has filed the backfill too.
        if inserted.rows_affected() == 1 && start_at < frontier {
            file_history(connection, &stream.stream, (start_at, frontier), "first start", now).await?;
        }
        return Ok(());
    };
    for (what, held, configured) in
        [("account_id", &account_id, &stream.account_id), ("stream_id", &stream_id, &stream.stream_id)]
    {
        if held != configured {
            let (stream, held, configured) = (stream.stream.clone(), held.clone(), configured.clone());
            return Err(StreamConflict { stream, what, held, configured }.into());
        }
    }
    if start_at < held_start {
        file_history(connection, &stream.stream, (start_at, held_start), "earlier start", now).await?;
        sqlx::query("update koresync.streams set start_at = $2, watermark = $2 where stream = $1")
            .bind(&stream.stream)
            .bind(start_at)
            .execute(connection)
            .await?;
    }
    Ok(())
}

async fn file_history(
    connection: &mut PgConnection,
    stream: &str,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    origin: &str,
    now: DateTime<Utc>,
) -> Result<(), WarehouseError> {
    sqlx::query(
        "insert into koresync.backfills (stream, from_at, to_at, planned_down_to, origin, created_at) \
         values ($1, $2, $3, $3, $4, $5)",
    )
    .bind(stream)
    .bind(from)
    .bind(to)
    .bind(origin)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes what a read taught, in the transaction given.
pub(super) async fn keep_learned(
    connection: &mut PgConnection,
    stream: &str,
    learned: &Learned,
    now: DateTime<Utc>,
) -> Result<(), WarehouseError> {
    if *learned == Learned::default() {
        return Ok(());
    }
    sqlx::query(
        "update koresync.streams set paging = coalesce($2, paging), \
           page_limit = coalesce($3, page_limit), pages_max = coalesce($4, pages_max), \
           is_total_rows = coalesce($5, is_total_rows), \
           repeats_seen_at = case when $6 then $7 else repeats_seen_at end, \
           below_threshold_effect = coalesce($8, below_threshold_effect), \
           filter_field = case when filter_field = 'other' then filter_field else coalesce($9, filter_field) end, \
           filter_lag_seconds = greatest(filter_lag_seconds, $10), \
           contacts_per_hour = coalesce($11, contacts_per_hour), record_bytes = coalesce($12, record_bytes), \
           span_seconds = coalesce($13, span_seconds) \
         where stream = $1",
    )
    .bind(stream)
    .bind(learned.paging)
    .bind(learned.page_limit)
    .bind(learned.pages_max)
    .bind(learned.is_total_rows)
    .bind(learned.has_repeats)
    .bind(now)
    .bind(learned.below_threshold_effect)
    .bind(learned.filter_field)
    .bind(learned.filter_lag.num_seconds())
    .bind(learned.contacts_per_hour)
    .bind(learned.record_bytes)
    .bind(learned.span.map(|span| span.num_seconds().max(1)))
    .execute(connection)
    .await?;
    Ok(())
}

// From where it is on: what is proved stays so, and an earlier start has put it back.
macro_rules! derive {
    ($state:literal) => {
        concat!(
            "update koresync.streams s set watermark = coalesce(( \
               select upper(span) from ( \
                 select unnest(range_agg(tstzrange(w.from_at, w.to_at))) as span from koresync.windows w \
                 where w.stream = $1 and w.state ",
            $state,
            " and w.to_at >= (select watermark from koresync.streams where stream = $1)) verified \
               where span @> s.watermark), s.watermark) \
             where s.stream = $1"
        )
    };
}

/// Last in a transaction: locks the stream's row and then, in a new statement that sees what was
/// committed meanwhile, derives the watermark anew. Two windows that commit at once cannot miss each
/// other this way.
pub(super) async fn derive_watermark(connection: &mut PgConnection, stream: &str) -> Result<(), WarehouseError> {
    if !is_planted(Defect::PrefixBeforeLock) {
        sqlx::query("select from koresync.streams where stream = $1 for no key update")
            .bind(stream)
            .execute(&mut *connection)
            .await?;
    }
    let is_early = is_planted(Defect::WatermarkEarly);
    sqlx::query(if is_early { derive!("in ('verified', 'planned')") } else { derive!("= 'verified'") })
        .bind(stream)
        .execute(connection)
        .await?;
    Ok(())
}
