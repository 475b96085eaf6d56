//! Backfills: ranges filed in the database, planned newest first, resumed wherever they were.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::windows::{Work, insert_windows};
use super::{Warehouse, WarehouseError, cross};
use crate::domain::Window;
use crate::faults::{Defect, Point, is_planted};

#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct Backfill {
    pub id: i64,
    pub stream: String,
    pub from_at: DateTime<Utc>,
    pub to_at: DateTime<Utc>,
    pub planned_down_to: DateTime<Utc>,
    pub state: String,
    pub origin: String,
    pub span_seconds: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// Seconds of its range that are read, proved or not.
    pub read_seconds: f64,
    pub windows_verified: i64,
    pub windows_unverified: i64,
    pub windows_planned: i64,
    pub contacts: i64,
    pub inserted: i64,
    pub changed: i64,
    pub unchanged: i64,
    pub quarantined: i64,
    pub requests: i64,
}

impl Backfill {
    pub fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "running" | "paused")
    }

    /// Part of the range that is read, 0 to 1.
    pub fn progress(&self) -> f64 {
        (self.read_seconds / (self.to_at - self.from_at).as_seconds_f64()).clamp(0.0, 1.0)
    }
}

/// A follower that was not seen for so long is taken for dead.
pub const SILENT_FOR: Duration = Duration::from_secs(5);

/// Of a running backfill: its stream, start, planned end, and fixed length of windows.
type Running = (String, DateTime<Utc>, DateTime<Utc>, Option<i64>);

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "select b.id, b.stream, b.from_at, b.to_at, b.planned_down_to, b.state, b.origin, b.span_seconds, b.created_at, \
               b.finished_at, w.* from koresync.backfills b, lateral ( \
               select coalesce(sum(extract(epoch from to_at - from_at)) filter (where state in ('verified', 'unverified')), 0)::float8 + b.merged_seconds as read_seconds, \
                 count(*) filter (where state = 'verified') + b.merged_windows as windows_verified, \
                 count(*) filter (where state = 'unverified') as windows_unverified, \
                 count(*) filter (where state = 'planned') as windows_planned, \
                 coalesce(sum(in_window), 0)::bigint + b.merged_contacts as contacts, coalesce(sum(inserted), 0)::bigint + b.merged_inserted as inserted, \
                 coalesce(sum(changed), 0)::bigint + b.merged_changed as changed, coalesce(sum(unchanged), 0)::bigint + b.merged_unchanged as unchanged, \
                 coalesce(sum(quarantined), 0)::bigint + b.merged_quarantined as quarantined, coalesce(sum(requests), 0)::bigint + b.merged_requests as requests \
               from koresync.windows where backfill_id = b.id) w ",
            $rest
        )
    };
}

/// What an operator may do to a backfill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Pause,
    Resume,
    Cancel,
    Retry,
}

impl Warehouse {
    /// Files a backfill, or finds the open one of the same stream and range.
    pub async fn file_backfill(
        &self,
        stream: &str,
        range: Window,
        span: Option<TimeDelta>,
    ) -> Result<i64, WarehouseError> {
        let mut transaction = self.begin().await?;
        sqlx::query("select from koresync.streams where stream = $1 for no key update")
            .bind(stream)
            .execute(&mut *transaction)
            .await?;
        let open: Option<i64> = sqlx::query_scalar(
            "select id from koresync.backfills where stream = $1 and from_at = $2 and to_at = $3 and state in ('running', 'paused')",
        )
        .bind(stream)
        .bind(range.from)
        .bind(range.to)
        .fetch_optional(&mut *transaction)
        .await?;
        let id = match open {
            Some(id) => id,
            None => {
                sqlx::query_scalar(
                    "insert into koresync.backfills (stream, from_at, to_at, planned_down_to, origin, span_seconds, created_at) \
                     values ($1, $2, $3, $3, 'operator', $4, coalesce($5, clock_timestamp())) returning id",
                )
                .bind(stream)
                .bind(range.from)
                .bind(range.to)
                .bind(span.map(|span| span.num_seconds().max(1)))
                .bind(self.clock.database_time())
                .fetch_one(&mut *transaction)
                .await?
            }
        };
        transaction.commit().await?;
        Ok(id)
    }

    pub async fn backfills(&self) -> Result<Vec<Backfill>, WarehouseError> {
        Ok(sqlx::query_as(select!("order by b.id desc limit 200")).fetch_all(&self.pool).await?)
    }

    /// The running and paused ones.
    pub async fn open_backfills(&self) -> Result<Vec<Backfill>, WarehouseError> {
        Ok(sqlx::query_as(select!("where b.state in ('running', 'paused') order by b.id"))
            .fetch_all(&self.pool)
            .await?)
    }

    pub async fn backfill(&self, id: i64) -> Result<Backfill, WarehouseError> {
        sqlx::query_as(select!("where b.id = $1"))
            .bind(id)
            .fetch_optional(&self.pool)
            .await?
            .ok_or_else(|| WarehouseError::NotFound(format!("no backfill {id}: `koresync backfill list` shows them")))
    }

    /// Plans the next windows of a running backfill, from its late end down, so that at most `ahead`
    /// wait to be claimed. Returns how many were planned.
    pub async fn plan_backfill(&self, id: i64, span: TimeDelta, ahead: usize) -> Result<usize, WarehouseError> {
        let mut transaction = self.begin().await?;
        let row: Option<Running> = sqlx::query_as(
            "select stream, from_at, planned_down_to, span_seconds from koresync.backfills \
             where id = $1 and state = 'running' for no key update",
        )
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some((stream, from, mut down_to, fixed_span)) = row else { return Ok(0) };
        let waiting: i64 =
            sqlx::query_scalar("select count(*) from koresync.windows where backfill_id = $1 and state = 'planned'")
                .bind(id)
                .fetch_one(&mut *transaction)
                .await?;
        let span = fixed_span.map_or(span, TimeDelta::seconds).max(TimeDelta::seconds(1));
        let mut windows = Vec::new();
        while windows.len() + usize::try_from(waiting).unwrap_or(usize::MAX) < ahead {
            if down_to - span < from && is_planted(Defect::BackfillRestDropped) {
                down_to = from;
            }
            let Some(window) = Window::new(from.max(down_to - span), down_to) else { break };
            down_to = window.from;
            windows.push(window);
        }
        if windows.is_empty() && waiting > 0 {
            return Ok(0);
        }
        let time = self.clock.database_time();
        insert_windows(&mut transaction, &stream, Work::Backfill(id), &windows, time).await?;
        cross(Point::BackfillPlanning)?;
        let is_done = windows.is_empty() && waiting == 0 && down_to == from;
        sqlx::query(
            "update koresync.backfills set planned_down_to = $2, state = case when $3 then 'done' else state end, \
               finished_at = case when $3 then coalesce($4, clock_timestamp()) end where id = $1",
        )
        .bind(id)
        .bind(down_to)
        .bind(is_done)
        .bind(self.clock.database_time())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        cross(Point::BackfillPlanned)?;
        Ok(windows.len())
    }

    /// Carries out an operator's word. Errors when the backfill's state does not allow it.
    pub async fn steer_backfill(&self, id: i64, verb: Verb) -> Result<Backfill, WarehouseError> {
        let held = self.backfill(id).await?;
        let mut transaction = self.begin().await?;
        let (statement, allowed) = match verb {
            Verb::Pause => {
                ("update koresync.backfills set state = 'paused' where id = $1 and state = 'running'", "running")
            }
            Verb::Resume => {
                ("update koresync.backfills set state = 'running' where id = $1 and state = 'paused'", "paused")
            }
            Verb::Cancel => (
                "update koresync.backfills set state = 'cancelled', finished_at = clock_timestamp() \
                 where id = $1 and state in ('running', 'paused')",
                "running or paused",
            ),
            Verb::Retry => (
                "update koresync.backfills set state = 'running', finished_at = null where id = $1 and state in ('running', 'paused', 'done')",
                "running, paused or done",
            ),
        };
        let done = sqlx::query(statement).bind(id).execute(&mut *transaction).await?;
        if done.rows_affected() == 0 {
            return Err(WarehouseError::NotFound(format!("backfill {id} is {}, not {allowed}", held.state)));
        }
        match verb {
            Verb::Cancel => {
                sqlx::query(
                    "update koresync.windows set state = 'cancelled', owner = null, lease_expires_at = null \
                     where backfill_id = $1 and state in ('planned', 'unverified')",
                )
                .bind(id)
                .execute(&mut *transaction)
                .await?;
            }
            Verb::Retry => {
                sqlx::query(
                    "update koresync.windows set due_at = coalesce($2, clock_timestamp()), attempts = 0, \
                       state = case when state = 'unverified' then 'planned' else state end, verified_by = null \
                     where backfill_id = $1 and state in ('planned', 'unverified')",
                )
                .bind(id)
                .bind(self.clock.database_time())
                .execute(&mut *transaction)
                .await?;
            }
            Verb::Pause | Verb::Resume => {}
        }
        transaction.commit().await?;
        self.backfill(id).await
    }

    /// Marks this process as the one that shows the backfill's progress; errors when another one,
    /// seen less than [`SILENT_FOR`] ago, does.
    pub async fn follow_backfill(&self, id: i64, follower: &str) -> Result<(), WarehouseError> {
        let marked = sqlx::query(
            "update koresync.backfills set follower = $2, follower_seen_at = clock_timestamp() \
             where id = $1 and (follower is null or follower = $2 or follower_seen_at < clock_timestamp() - make_interval(secs => $3))",
        )
        .bind(id)
        .bind(follower)
        .bind(SILENT_FOR.as_secs_f64())
        .execute(&self.pool)
        .await?;
        if marked.rows_affected() == 0 {
            return Err(WarehouseError::Held(format!(
                "another process follows backfill {id}; `koresync backfill show {id}` tells how far it is"
            )));
        }
        Ok(())
    }

    pub async fn unfollow_backfill(&self, id: i64, follower: &str) -> Result<(), WarehouseError> {
        sqlx::query("update koresync.backfills set follower = null where id = $1 and follower = $2")
            .bind(id)
            .bind(follower)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
