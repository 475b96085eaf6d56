//! The ledger as operators look at it: what time is proved, what is under way, what one window went through.

use chrono::{DateTime, Utc};

use super::{Warehouse, WarehouseError};

/// Of windows that lie within one hour, all of one kind in that hour; of a longer one, itself.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Stretch {
    pub stream: String,
    /// `running`, `unverified`, `failed`, `due`, `backfilling`, `waiting` or `verified`.
    pub kind: String,
    pub from_at: DateTime<Utc>,
    pub to_at: DateTime<Utc>,
    pub windows: i64,
    /// Their contacts by the last read, which alone may be summed.
    pub contacts: i64,
    /// One of them.
    pub window_id: i64,
}

/// A span that verified windows cover without a gap.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct Proved {
    pub stream: String,
    pub from_at: DateTime<Utc>,
    pub to_at: DateTime<Utc>,
}

/// Contacts that started within an hour.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct HourOfContacts {
    pub stream: String,
    pub hour: DateTime<Utc>,
    pub contacts: i64,
    pub scored: i64,
}

/// Requests of a lane within a minute.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct MinuteOfSpending {
    pub account_id: String,
    pub minute: DateTime<Utc>,
    pub lane: String,
    pub requests: i64,
}

/// What open backfills got done since some moment.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Pace {
    pub backfill_id: i64,
    /// Seconds of history that were read.
    pub read_seconds: f64,
    pub contacts: i64,
}

/// A window with all that the ledger knows of it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct LedgerWindow {
    pub id: i64,
    pub stream: String,
    pub lane: String,
    pub reason: Option<String>,
    pub backfill_id: Option<i64>,
    pub from_at: DateTime<Utc>,
    pub to_at: DateTime<Utc>,
    /// As [`Stretch::kind`], and `cancelled`.
    pub kind: String,
    pub due_at: DateTime<Utc>,
    pub lease_expires_at: Option<DateTime<Utc>>,
    pub attempts: i32,
    pub last_error: Option<String>,
    pub requested_from: Option<DateTime<Utc>>,
    pub requested_to: Option<DateTime<Utc>>,
    pub total: Option<i64>,
    pub rows: Option<i64>,
    pub distinct: Option<i64>,
    pub repeated: Option<i64>,
    pub in_window: Option<i64>,
    pub inserted: Option<i64>,
    pub changed: Option<i64>,
    pub unchanged: Option<i64>,
    pub quarantined: Option<i64>,
    pub erased: Option<i64>,
    pub requests: i64,
    pub verified_by: Option<String>,
    pub verified_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub recheck_at: Option<DateTime<Utc>>,
}

/// A process that worked on this warehouse.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct RunStatus {
    pub worker: String,
    pub program: String,
    pub command: String,
    pub started_at: DateTime<Utc>,
    /// It says every half minute that it lives.
    pub seen_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub outcome: Option<String>,
}

/// Of records in quarantine for one reason: where the fault of the last one lies.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, serde::Serialize)]
pub struct FaultExample {
    pub stream: String,
    pub reason: String,
    pub records: i64,
    /// A path in the record; no value of it.
    pub fault_path: String,
    pub first_seen_at: DateTime<Utc>,
    pub last_tried_at: DateTime<Utc>,
}

/// How a window `w` of a stream `s` stands at `$1`. What waits for a proof comes before what is proved.
macro_rules! kind {
    () => {
        "case when w.state = 'cancelled' then 'cancelled' when w.owner is not null then 'running' \
           when w.state = 'unverified' then 'unverified' \
           when w.state = 'planned' and w.attempts > 0 then 'failed' \
           when w.state = 'planned' and w.lane = 'recheck' then 'due' \
           when w.state = 'planned' and w.lane = 'backfill' then 'backfilling' \
           when w.state = 'planned' then 'waiting' \
           when w.recheck_at <= $1 and w.rung <= coalesce(s.rungs_carried, w.rung) then 'due' else 'verified' end"
    };
}

macro_rules! select_windows {
    ($rest:literal) => {
        concat!(
            "select w.id, w.stream, w.lane, w.reason, w.backfill_id, w.from_at, w.to_at, ", kind!(), " as kind, \
               w.due_at, w.lease_expires_at, w.attempts, w.last_error, w.requested_from, w.requested_to, w.total, w.rows, \
               w.\"distinct\", w.repeated, w.in_window, w.inserted, w.changed, w.unchanged, w.quarantined, w.erased, w.requests, \
               w.verified_by, w.verified_at, w.finished_at, w.recheck_at \
             from koresync.windows w join koresync.streams s on s.stream = w.stream ",
            $rest
        )
    };
}

impl Warehouse {
    /// What the ledger knows of a span, of the configured streams or one of them.
    pub async fn stretches(
        &self,
        stream: Option<&str>,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        now: DateTime<Utc>,
    ) -> Result<Vec<Stretch>, WarehouseError> {
        // Two ways in, since each state has an index of its own: the open ones are few.
        Ok(sqlx::query_as(concat!(
            "with seen as (select w.stream, w.from_at, w.to_at, w.id, coalesce(w.in_window, 0) as contacts, ", kind!(), " as kind \
               from koresync.streams s join koresync.windows w on w.stream = s.stream and w.state = 'verified' \
                 and w.to_at > $2 and w.from_at < $3 where s.is_configured and ($4::text is null or s.stream = $4) \
               union all select w.stream, w.from_at, w.to_at, w.id, coalesce(w.in_window, 0), ", kind!(), " \
               from koresync.streams s join koresync.windows w on w.stream = s.stream and w.state in ('planned', 'unverified') \
                 and w.to_at > $2 and w.from_at < $3 where s.is_configured and ($4::text is null or s.stream = $4)), \
             placed as (select *, date_bin('1 hour', from_at, timestamptz '2000-01-01 00:00Z') as hour, \
                 to_at <= date_bin('1 hour', from_at, timestamptz '2000-01-01 00:00Z') + interval '1 hour' as is_within from seen) \
             select stream, kind, case when is_within then hour else from_at end as from_at, \
               case when is_within then hour + interval '1 hour' else to_at end as to_at, \
               count(*) as windows, sum(contacts)::bigint as contacts, min(id) as window_id \
             from placed group by 1, 2, 3, 4 order by 1, 3, 4, 2"
        ))
        .bind(now)
        .bind(from)
        .bind(to)
        .bind(stream)
        .fetch_all(&self.pool)
        .await?)
    }

    /// All of time that is proved, of the configured streams. Up to the watermark everything is.
    pub async fn proved(&self) -> Result<Vec<Proved>, WarehouseError> {
        Ok(sqlx::query_as(
            "select s.stream, lower(p.span) as from_at, upper(p.span) as to_at \
             from koresync.streams s, lateral (select unnest( \
                 (case when s.start_at < s.watermark then tstzmultirange(tstzrange(s.start_at, s.watermark)) else '{}' end) \
                 + coalesce((select range_agg(tstzrange(w.from_at, w.to_at)) from koresync.windows w \
                     where w.stream = s.stream and w.state = 'verified' and w.to_at > s.watermark), '{}')) as span) p \
             where s.is_configured order by 1, 2",
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Contacts by the hour of their start, since `from`, of the configured streams. The only question here that needs more
    /// than the ledger: where somebody holds that table it gives up after 3 s.
    pub async fn contacts_by_hour(&self, from: DateTime<Utc>) -> Result<Vec<HourOfContacts>, WarehouseError> {
        let streams = self.configured_streams().await?;
        let mut transaction = self.begin().await?;
        sqlx::query("set local statement_timeout = '3s'").execute(&mut *transaction).await?;
        let hours = sqlx::query_as(
            "select stream, date_bin('1 hour', started_at, timestamptz '2000-01-01 00:00Z') as hour, count(*) as contacts, \
               count(evaluation_score) as scored \
             from kore.contacts where stream = any($2) and started_at >= $1 and removed_at is null group by 1, 2 order by 1, 2",
        )
        .bind(from)
        .bind(streams)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(hours)
    }

    async fn configured_streams(&self) -> Result<Vec<String>, WarehouseError> {
        Ok(sqlx::query_scalar("select stream from koresync.streams where is_configured order by 1")
            .fetch_all(&self.pool)
            .await?)
    }

    /// Requests by account, minute and lane, since `from`: three hours ago at the earliest.
    pub async fn spending_by_minute(&self, from: DateTime<Utc>) -> Result<Vec<MinuteOfSpending>, WarehouseError> {
        Ok(sqlx::query_as(
            "select s.account_id, p.minute, p.lane, sum(p.requests)::bigint as requests \
             from koresync.spending_by_minute p join koresync.streams s on s.stream = p.stream \
             where p.minute >= $1 group by 1, 2, 3 order by 1, 2, 3",
        )
        .bind(from)
        .fetch_all(&self.pool)
        .await?)
    }

    /// What the open backfills got done since `from`.
    pub async fn backfill_paces(&self, from: DateTime<Utc>) -> Result<Vec<Pace>, WarehouseError> {
        Ok(sqlx::query_as(
            "select b.id as backfill_id, sum(extract(epoch from w.to_at - w.from_at))::float8 as read_seconds, \
               coalesce(sum(w.in_window), 0)::bigint as contacts \
             from koresync.backfills b join koresync.windows w on w.backfill_id = b.id \
             where b.state in ('running', 'paused') and w.state in ('verified', 'unverified') and w.finished_at >= $1 group by 1",
        )
        .bind(from)
        .fetch_all(&self.pool)
        .await?)
    }

    /// One window; `None` where the ledger has none of this id, or has merged it into another.
    pub async fn ledger_window(&self, id: i64, now: DateTime<Utc>) -> Result<Option<LedgerWindow>, WarehouseError> {
        Ok(sqlx::query_as(select_windows!("where w.id = $2")).bind(now).bind(id).fetch_optional(&self.pool).await?)
    }

    /// A stream's windows over a span, the earliest first: `most` of them.
    pub async fn ledger_windows(
        &self,
        stream: &str,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        now: DateTime<Utc>,
        most: i64,
    ) -> Result<Vec<LedgerWindow>, WarehouseError> {
        Ok(sqlx::query_as(select_windows!(
            "where w.stream = $2 and w.state <> 'cancelled' and w.to_at > $3 and w.from_at < $4 \
             order by w.from_at, w.to_at, w.id limit $5"
        ))
        .bind(now)
        .bind(stream)
        .bind(from)
        .bind(to)
        .bind(most)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Windows of configured streams that failed or are not proved, those tried most often first: `most` of them.
    pub async fn troubled_windows(&self, now: DateTime<Utc>, most: i64) -> Result<Vec<LedgerWindow>, WarehouseError> {
        Ok(sqlx::query_as(select_windows!(
            "where s.is_configured and (w.state = 'unverified' or (w.state = 'planned' and w.attempts > 0)) \
             order by w.attempts desc, w.from_at, w.id limit $2"
        ))
        .bind(now)
        .bind(most)
        .fetch_all(&self.pool)
        .await?)
    }

    /// The processes seen last: `most` of them.
    pub async fn recent_runs(&self, most: i64) -> Result<Vec<RunStatus>, WarehouseError> {
        Ok(sqlx::query_as(
            "select worker, program, command, started_at, seen_at, ended_at, outcome from koresync.runs \
             order by ended_at is null desc, seen_at desc, id desc limit $1",
        )
        .bind(most)
        .fetch_all(&self.pool)
        .await?)
    }

    /// What is in quarantine by stream and reason, with the place of the latest fault.
    pub async fn fault_examples(&self) -> Result<Vec<FaultExample>, WarehouseError> {
        Ok(sqlx::query_as(
            "select q.stream, q.reason, count(*) as records, (array_agg(q.fault_path order by q.last_tried_at desc, q.id desc))[1] as fault_path, \
               min(q.first_seen_at) as first_seen_at, max(q.last_tried_at) as last_tried_at \
             from koresync.quarantined_records q join koresync.streams s on s.stream = q.stream and s.is_configured \
             group by 1, 2 order by 3 desc, 1, 2",
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// A window that waits for its next try has it now. `false` where it does not wait.
    pub async fn retry_window(&self, id: i64) -> Result<bool, WarehouseError> {
        let retried = sqlx::query(
            "update koresync.windows set due_at = coalesce($2, clock_timestamp()) \
             where id = $1 and state in ('planned', 'unverified') and owner is null",
        )
        .bind(id)
        .bind(self.clock.database_time())
        .execute(&self.pool)
        .await?;
        Ok(retried.rows_affected() > 0)
    }
}
