//! How things stand, as the status command, readiness and metrics tell it.

pub mod probe;

use chrono::{DateTime, Utc};

use super::{Warehouse, WarehouseError};

/// One stream, at a glance.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct StreamStatus {
    pub stream: String,
    pub start_at: DateTime<Utc>,
    pub watermark: DateTime<Utc>,
    pub frontier: DateTime<Utc>,
    pub last_success_at: Option<DateTime<Utc>>,
    pub paused_at: Option<DateTime<Utc>>,
    pub paused_reason: Option<String>,
    pub retry_at: Option<DateTime<Utc>>,
    pub paging: Option<String>,
    pub page_limit: Option<i32>,
    pub windows_verified: i64,
    pub windows_unverified: i64,
    pub windows_waiting: i64,
    pub windows_running: i64,
    pub windows_failing: i64,
    pub last_error: Option<String>,
    pub contacts: i64,
    pub quarantined: i64,
    pub unknown_fields: i64,
}

/// One account's budget.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct BudgetStatus {
    pub account_id: String,
    pub requests_per_minute: f64,
    pub share: f64,
    pub gate_until: Option<DateTime<Utc>>,
    pub refusals: i64,
}

/// Windows of a stream in a lane and state: `planned`, `running`, `verified`, `unverified`, `cancelled`.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct WindowCount {
    pub stream: String,
    pub lane: String,
    pub state: String,
    pub windows: i64,
}

/// What a stream has still to read.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OpenWindows {
    pub stream: String,
    pub unread: i64,
    pub unverified: i64,
}

impl Warehouse {
    /// The configured streams. `contacts` is counted from the ledger, so that it costs no scan of their table. The ledger has a row
    /// for each hour of years, so all of it is walked through once and not once a stream.
    pub async fn stream_statuses(&self) -> Result<Vec<StreamStatus>, WarehouseError> {
        Ok(sqlx::query_as(
            "with ledger as (select stream, count(*) filter (where state = 'verified') as windows_verified, \
                 sum(coalesce(inserted, 0) + inserted_before)::bigint as contacts from koresync.windows group by stream) \
             select s.stream, s.start_at, s.watermark, s.frontier, s.last_success_at, s.paused_at, s.paused_reason, \
               s.retry_at, s.paging, s.page_limit, coalesce(l.windows_verified, 0) as windows_verified, w.*, \
               coalesce(l.contacts, 0) as contacts, q.quarantined, u.unknown_fields \
             from koresync.streams s left join ledger l on l.stream = s.stream, \
             lateral (select count(*) filter (where state = 'unverified') as windows_unverified, \
                 count(*) filter (where state = 'planned' and owner is null) as windows_waiting, \
                 count(*) filter (where owner is not null) as windows_running, \
                 count(*) filter (where state = 'planned' and attempts > 0) as windows_failing, \
                 (array_agg(last_error order by due_at desc) filter (where last_error is not null))[1] as last_error \
               from koresync.windows where stream = s.stream and state in ('planned', 'unverified')) w, \
             lateral (select count(*) as quarantined from koresync.quarantined_records where stream = s.stream) q, \
             lateral (select count(*) as unknown_fields from koresync.unknown_fields where stream = s.stream and kind = 'unknown') u \
             where s.is_configured order by s.stream",
        )
        .fetch_all(&self.pool)
        .await?)
    }

    pub async fn budget_statuses(&self) -> Result<Vec<BudgetStatus>, WarehouseError> {
        Ok(sqlx::query_as(
            "select account_id, requests_per_minute, share, gate_until, refusals from koresync.api_budgets order by 1",
        )
        .fetch_all(&self.pool)
        .await?)
    }

    pub async fn window_counts(&self) -> Result<Vec<WindowCount>, WarehouseError> {
        Ok(sqlx::query_as(
            "select stream, lane, case when owner is not null then 'running' else state end as state, count(*) as windows \
             from koresync.windows group by 1, 2, 3 order by 1, 2, 3",
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// What failed or was refused is tried again at once, and a stream counts as working until refused
    /// anew: as at the start of a process, since somebody may have mended the cause meanwhile.
    pub async fn retry_now(&self, streams: &[&str]) -> Result<(), WarehouseError> {
        sqlx::query(
            "update koresync.streams set paused_at = null, paused_reason = null, retry_at = null \
             where stream = any($1) and (paused_at is not null or retry_at is not null)",
        )
        .bind(streams)
        .execute(&self.pool)
        .await?;
        sqlx::query(
            "update koresync.windows w set due_at = n.now from (select coalesce($2, clock_timestamp()) as now) n \
             where stream = any($1) and state = 'planned' and attempts > 0 and due_at > n.now",
        )
        .bind(streams)
        .bind(self.clock.database_time())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Windows of each stream that are still to be read, and those that could not be verified; what a
    /// paused or cancelled backfill holds back is left out. Cheap, however long the ledger is.
    pub async fn open_windows(&self) -> Result<Vec<OpenWindows>, WarehouseError> {
        Ok(sqlx::query_as(
            "select w.stream, count(*) filter (where w.state = 'planned') as unread, \
               count(*) filter (where w.state = 'unverified') as unverified \
             from koresync.windows w left join koresync.backfills b on b.id = w.backfill_id \
             where w.state in ('planned', 'unverified') and (b.id is null or b.state in ('running', 'done')) group by 1",
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// When the next claimable window falls due, or `None` when there is none.
    pub async fn next_due(&self, streams: &[String]) -> Result<Option<DateTime<Utc>>, WarehouseError> {
        Ok(sqlx::query_scalar(
            "select min(greatest(w.due_at, s.retry_at, w.lease_expires_at)) from koresync.windows w \
             join koresync.streams s on s.stream = w.stream left join koresync.backfills b on b.id = w.backfill_id \
             where w.state in ('planned', 'unverified') and w.stream = any($1) and (b.id is null or b.state in ('running', 'done'))",
        )
        .bind(streams)
        .fetch_one(&self.pool)
        .await?)
    }
}
