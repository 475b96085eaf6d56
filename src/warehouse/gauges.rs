//! What alerts are told from, and nobody else asks: read from the database, so that it is right just after a restart and
//! the same of every replica.

use chrono::{DateTime, Utc};

use super::{Warehouse, WarehouseError};

/// A window that failed so often in a row fails again and again: what a moment's outage does is over after a try or two.
const FAILED_AGAIN: i32 = 3;

/// Of a configured stream.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StreamGauges {
    pub stream: String,
    /// Windows to be read whose last three tries failed, or more; those of a paused backfill are left out.
    pub windows_failing: i64,
    pub backfills_running: i64,
    pub backfills_paused: i64,
    /// `None` while no backfill of the stream runs. Else the last time that a window was proved which belongs to one or,
    /// since history of all streams is read newest first, has its turn before what is left of them; the filing, if later.
    pub backfill_progress_at: Option<DateTime<Utc>>,
    /// When the youngest of the records in quarantine came; `None` while there is none.
    pub quarantine_last_new_at: Option<DateTime<Utc>>,
    /// When a field without a column, or a kind of value that cannot be read, came for the first time; the latest.
    pub unknown_field_last_new_at: Option<DateTime<Utc>>,
}

/// Of an account that configured streams belong to.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct AccountGauges {
    pub account_id: String,
    /// The part of its limit that is used, 0.5 to 1: refusals lower it.
    pub share: f64,
}

impl Warehouse {
    pub async fn stream_gauges(&self) -> Result<Vec<StreamGauges>, WarehouseError> {
        Ok(sqlx::query_as(
            "select s.stream, f.windows_failing, b.backfills_running, b.backfills_paused, p.backfill_progress_at, \
               (select max(first_seen_at) from koresync.quarantined_records where stream = s.stream) as quarantine_last_new_at, \
               (select max(first_seen_at) from koresync.unknown_fields where stream = s.stream) as unknown_field_last_new_at \
             from koresync.streams s, \
             lateral (select count(*) as windows_failing from koresync.windows w left join koresync.backfills o on o.id = w.backfill_id \
               where w.stream = s.stream and w.state = 'planned' and w.attempts >= $1 and (o.id is null or o.state in ('running', 'done'))) f, \
             lateral (select count(*) filter (where state = 'running') as backfills_running, \
                 count(*) filter (where state = 'paused') as backfills_paused, \
                 max(created_at) filter (where state = 'running') as filed_at, \
                 min(planned_down_to) filter (where state = 'running') as planned_down_to \
               from koresync.backfills where stream = s.stream and state in ('running', 'paused')) b, \
             lateral (select max(w.to_at) as to_at from koresync.windows w join koresync.backfills o on o.id = w.backfill_id \
               where o.stream = s.stream and o.state = 'running' and w.state = 'planned') next, \
             lateral (select case when b.backfills_running > 0 then greatest(b.filed_at, ( \
                 select max(w.finished_at) from koresync.windows w join koresync.backfills o on o.id = w.backfill_id \
                 where w.state = 'verified' \
                   and (o.stream = s.stream and o.state = 'running' or w.to_at > coalesce(next.to_at, b.planned_down_to)))) \
               end as backfill_progress_at) p \
             where s.is_configured order by s.stream",
        )
        .bind(FAILED_AGAIN)
        .fetch_all(&self.pool)
        .await?)
    }

    pub async fn account_gauges(&self) -> Result<Vec<AccountGauges>, WarehouseError> {
        Ok(sqlx::query_as(
            "select account_id, share from koresync.api_budgets b \
             where exists (select from koresync.streams where account_id = b.account_id and is_configured) order by account_id",
        )
        .fetch_all(&self.pool)
        .await?)
    }
}
