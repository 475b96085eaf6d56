//! Closed windows that are read again: their schedule in the ledger.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::windows::{Errand, Lane, Reason, Work, insert_windows};
use super::{Warehouse, WarehouseError};
use crate::domain::Window;

/// A verified window that no rung is set for yet.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct Unscheduled {
    pub id: i64,
    pub first_verified_at: DateTime<Utc>,
    pub read_at: DateTime<Utc>,
    pub is_quiet: bool,
}

/// When a verified window is read again.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    pub id: i64,
    /// From 1; beyond the last when all are climbed.
    pub rung: i16,
    /// When it may be read with a neighbour that is due, and when it is due itself; `None` past the last.
    pub ripe_and_due: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// A verified window that may be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Closed {
    pub from_at: DateTime<Utc>,
    pub to_at: DateTime<Utc>,
    pub rung: i16,
    pub due_at: DateTime<Utc>,
    pub is_quiet: bool,
    /// Contacts in it at the last read.
    pub contacts: i64,
}

/// What there is to do for a stream, told cheaply.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Agenda {
    pub stream: String,
    /// Verified windows have no schedule yet.
    pub has_unscheduled: bool,
    pub is_rung_due: bool,
    pub is_count_due: bool,
    /// A settled window was not read since the moment asked for.
    pub is_stale: bool,
}

/// Rechecks of a stream that are not done.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OpenRechecks {
    pub stream: String,
    pub account_id: String,
    pub planned: i64,
    /// Of these such as a worker has, or may take now.
    pub ready: i64,
}

/// What a stream asks of its account's budget, as the ledger shows it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Outlook {
    pub stream: String,
    pub account_id: String,
    pub requests_per_minute: f64,
    /// Of the last eight days.
    pub contacts_per_day: f64,
}

/// A stream's rechecks, at a glance.
#[derive(Debug, Clone, sqlx::FromRow, serde::Serialize)]
pub struct RecheckStatus {
    pub stream: String,
    /// Rungs of `sync.recheck` that the budget carries, from the first; NULL before the first look.
    pub rungs_carried: Option<i16>,
    /// Windows due to be read again, those of given up rungs left out.
    pub due: i64,
    /// The lowest rung among them, from 1.
    pub due_rung: Option<i16>,
    pub due_since: Option<DateTime<Utc>>,
    /// Windows of rungs that are given up, whose time has come.
    pub given_up: i64,
    /// When the next one falls due.
    pub next_at: Option<DateTime<Utc>>,
    /// Rechecks planned or under way: for a rung, for a count or what it found, from spare budget.
    pub open_rung: i64,
    pub open_count: i64,
    pub open_spare: i64,
    /// Windows whose rungs are all climbed, and their contacts.
    pub settled: i64,
    pub settled_contacts: i64,
    /// Of the settled ones, the read that is longest ago.
    pub settled_read_at: Option<DateTime<Utc>>,
    /// Ranges that are counted weekly, those due now, and those whose last count led to a read.
    pub counted: i64,
    pub counts_due: i64,
    pub counts_differed: i64,
    /// Requests of the lane today and yesterday (UTC).
    pub requests_today: i64,
    pub requests_yesterday: i64,
}

/// Of this condition: no recheck over the window is open.
macro_rules! no_open_recheck {
    () => {
        "not exists (select from koresync.windows o where o.stream = w.stream and o.state in ('planned', 'unverified') \
         and o.lane = 'recheck' and o.from_at < w.to_at and o.to_at > w.from_at)"
    };
}

/// Of this condition: what the window holds is kept, as far as retention goes.
macro_rules! is_kept {
    ($window:literal) => {
        concat!(
            $window,
            ".from_at >= coalesce((select k.kept_from from koresync.streams k where k.stream = ",
            $window,
            ".stream), '-infinity')"
        )
    };
}

/// Windows looked at in one go; what is left comes with the next look.
const LOOK: i64 = 2_000;

impl Warehouse {
    /// Windows are scheduled by these rungs (seconds, ascending) from now on; all anew when they differ
    /// from those before.
    pub async fn set_rungs(&self, stream: &str, rungs: &[i64]) -> Result<(), WarehouseError> {
        let mut transaction = self.begin().await?;
        let changed = sqlx::query(
            "update koresync.streams set recheck_rungs = $2 where stream = $1 and recheck_rungs is distinct from $2",
        )
        .bind(stream)
        .bind(rungs)
        .execute(&mut *transaction)
        .await?;
        if changed.rows_affected() > 0 {
            sqlx::query(
                "update koresync.windows set rung = null, ripe_at = null, recheck_at = null \
                 where stream = $1 and state = 'verified' and rung is not null",
            )
            .bind(stream)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Contacts that start before `from` are let go: what they were read from is not read again.
    pub async fn set_kept_from(&self, stream: &str, from: Option<DateTime<Utc>>) -> Result<(), WarehouseError> {
        sqlx::query("update koresync.streams set kept_from = $2 where stream = $1 and kept_from is distinct from $2")
            .bind(stream)
            .bind(from)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// What there is to do for these streams at `now`; settled windows are stale when read before `stale_before`.
    pub async fn agenda(
        &self,
        streams: &[&str],
        now: DateTime<Utc>,
        stale_before: DateTime<Utc>,
    ) -> Result<Vec<Agenda>, WarehouseError> {
        Ok(sqlx::query_as(
            "select s.stream, \
               exists (select from koresync.windows w where w.stream = s.stream and w.state = 'verified' and w.rung is null) as has_unscheduled, \
               exists (select from koresync.windows w where w.stream = s.stream and w.state = 'verified' \
                 and w.recheck_at <= $2 and w.rung <= coalesce(s.rungs_carried, w.rung) \
                 and w.from_at >= coalesce(s.kept_from, '-infinity')) as is_rung_due, \
               exists (select from koresync.counted_ranges c where c.stream = s.stream and c.due_at <= $2 \
                 and c.from_at >= coalesce(s.kept_from, '-infinity')) as is_count_due, \
               exists (select from koresync.windows w where w.stream = s.stream and w.state = 'verified' and w.rung is not null \
                 and w.recheck_at is null and w.read_at < $3 and w.from_at >= coalesce(s.kept_from, '-infinity')) as is_stale \
             from koresync.streams s where s.stream = any($1)",
        )
        .bind(streams)
        .bind(now)
        .bind(stale_before)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Verified windows without a schedule; at most a few thousand.
    pub async fn unscheduled(&self, stream: &str) -> Result<Vec<Unscheduled>, WarehouseError> {
        Ok(sqlx::query_as(
            "select id, coalesce(first_verified_at, verified_at) as first_verified_at, \
               coalesce(read_at, verified_at) as read_at, is_quiet \
             from koresync.windows where stream = $1 and state = 'verified' and rung is null order by id limit $2",
        )
        .bind(stream)
        .bind(LOOK)
        .fetch_all(&self.pool)
        .await?)
    }

    pub async fn schedule(&self, stream: &str, schedules: &[Schedule]) -> Result<(), WarehouseError> {
        if schedules.is_empty() {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        lock_stream(&mut transaction, stream).await?;
        sqlx::query(
            "update koresync.windows w set rung = s.rung, ripe_at = s.ripe_at, recheck_at = s.due_at \
             from unnest($1::bigint[], $2::smallint[], $3::timestamptz[], $4::timestamptz[]) as s (id, rung, ripe_at, due_at) \
             where w.id = s.id and w.state = 'verified'",
        )
        .bind(schedules.iter().map(|s| s.id).collect::<Vec<_>>())
        .bind(schedules.iter().map(|s| s.rung).collect::<Vec<_>>())
        .bind(schedules.iter().map(|s| s.ripe_and_due.map(|(ripe, _)| ripe)).collect::<Vec<_>>())
        .bind(schedules.iter().map(|s| s.ripe_and_due.map(|(_, due)| due)).collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// What may be read again at `now`, if anything is due, of rungs up to `carried`: lower rungs first, then the
    /// latest; at most a few thousand. What an open recheck covers is left out.
    pub async fn ripe(&self, stream: &str, now: DateTime<Utc>, carried: i16) -> Result<Vec<Closed>, WarehouseError> {
        Ok(sqlx::query_as(concat!(
            "select w.from_at, w.to_at, w.rung, w.recheck_at as due_at, w.is_quiet, coalesce(w.in_window, 0) as contacts \
             from koresync.windows w where w.stream = $1 and w.state = 'verified' and w.recheck_at is not null \
               and w.ripe_at <= $2 and w.rung <= $3 and ",
            no_open_recheck!(),
            " and ",
            is_kept!("w"),
            " and exists (select from koresync.windows d where d.stream = $1 and d.state = 'verified' and d.recheck_at <= $2 and d.rung <= $3 and ",
            is_kept!("d"),
            ") order by w.rung, w.to_at desc limit $4"
        ))
        .bind(stream)
        .bind(now)
        .bind(carried)
        .bind(LOOK)
        .fetch_all(&self.pool)
        .await?)
    }

    /// The settled window that was read longest ago, if that was before `before`, and those that follow it in time
    /// without a gap, at most `most`; ascending.
    pub async fn stalest(&self, stream: &str, before: DateTime<Utc>, most: i64) -> Result<Vec<Closed>, WarehouseError> {
        let first: Option<DateTime<Utc>> = sqlx::query_scalar(concat!(
            "select w.from_at from koresync.windows w where w.stream = $1 and w.state = 'verified' and w.rung is not null \
               and w.recheck_at is null and w.read_at < $2 and ",
            no_open_recheck!(),
            " and ",
            is_kept!("w"),
            " order by w.read_at, w.from_at limit 1"
        ))
        .bind(stream)
        .bind(before)
        .fetch_optional(&self.pool)
        .await?;
        let Some(first) = first else { return Ok(Vec::new()) };
        Ok(sqlx::query_as(concat!(
            "select w.from_at, w.to_at, w.rung, w.read_at as due_at, w.is_quiet, coalesce(w.in_window, 0) as contacts \
             from koresync.windows w where w.stream = $1 and w.state = 'verified' and w.rung is not null \
               and w.recheck_at is null and w.to_at > $2 and w.from_at >= $2 and w.read_at < $3 and ",
            no_open_recheck!(),
            " order by w.from_at, w.to_at limit $4"
        ))
        .bind(stream)
        .bind(first)
        .bind(before)
        .bind(most)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Requests that the round of all history spent since `since`, of all streams of an account.
    pub async fn spent_on_spare(&self, account_id: &str, since: DateTime<Utc>) -> Result<i64, WarehouseError> {
        Ok(sqlx::query_scalar(
            "select coalesce(sum(w.requests), 0)::bigint from koresync.windows w join koresync.streams s on s.stream = w.stream \
             where w.reason = 'spare' and w.finished_at >= $2 and s.account_id = $1",
        )
        .bind(account_id)
        .bind(since)
        .fetch_one(&self.pool)
        .await?)
    }

    /// Rechecks that are open, of those of these streams that have any.
    pub async fn open_rechecks(&self, streams: &[String]) -> Result<Vec<OpenRechecks>, WarehouseError> {
        Ok(sqlx::query_as(
            "select w.stream, s.account_id, count(*) as planned, \
               count(*) filter (where w.lease_expires_at > n.now \
                 or s.paused_at is null and w.due_at <= n.now and (s.retry_at is null or s.retry_at <= n.now)) as ready \
             from koresync.windows w join koresync.streams s on s.stream = w.stream, \
               (select coalesce($2, clock_timestamp()) as now) n \
             where w.stream = any($1) and w.lane = 'recheck' and w.state = 'planned' group by 1, 2",
        )
        .bind(streams)
        .bind(self.clock.database_time())
        .fetch_all(&self.pool)
        .await?)
    }

    /// Plans a recheck, unless one over the same time is open. Returns whether it did.
    pub async fn file_recheck(&self, stream: &str, window: Window, errand: Errand) -> Result<bool, WarehouseError> {
        let mut transaction = self.begin().await?;
        lock_stream(&mut transaction, stream).await?;
        let is_open: bool = sqlx::query_scalar(
            "select exists (select from koresync.windows where stream = $1 and state in ('planned', 'unverified') \
               and lane = 'recheck' and from_at < $3 and to_at > $2)",
        )
        .bind(stream)
        .bind(window.from)
        .bind(window.to)
        .fetch_one(&mut *transaction)
        .await?;
        if is_open {
            return Ok(false);
        }
        let now = self.clock.database_time();
        insert_windows(&mut transaction, stream, Work::Recheck(Some(errand)), &[window], now).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Keeps how many rungs the budget carries; the number before when that is another one.
    pub async fn set_rungs_carried(&self, stream: &str, carried: i16) -> Result<Option<Option<i16>>, WarehouseError> {
        Ok(sqlx::query_scalar(
            "update koresync.streams s set rungs_carried = $2 \
             from (select stream, rungs_carried from koresync.streams where stream = $1 for no key update) before \
             where s.stream = before.stream and s.rungs_carried is distinct from $2 returning before.rungs_carried",
        )
        .bind(stream)
        .bind(carried)
        .fetch_optional(&self.pool)
        .await?)
    }

    /// The configured streams with their accounts' budgets.
    pub async fn outlooks(&self, now: DateTime<Utc>) -> Result<Vec<Outlook>, WarehouseError> {
        Ok(sqlx::query_as(
            "select s.stream, s.account_id, b.requests_per_minute * b.share as requests_per_minute, \
               (coalesce(w.contacts / nullif(w.days, 0), 0))::float8 as contacts_per_day \
             from koresync.streams s join koresync.api_budgets b on b.account_id = s.account_id, \
             lateral (select sum(in_window)::float8 as contacts, sum(extract(epoch from to_at - from_at))::float8 / 86400 as days \
               from koresync.windows where stream = s.stream and state = 'verified' and to_at >= $1 - interval '8 days') w \
             where s.is_configured order by s.stream",
        )
        .bind(now)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Of each stream, the rechecks of its first `carried` rungs and the counts that are due at `by` and not planned
    /// yet, and what no schedule is set for though its first rung, `first_rung` after its first proof, has passed.
    pub async fn rechecks_due(
        &self,
        by: DateTime<Utc>,
        first_rung: TimeDelta,
    ) -> Result<Vec<(String, i64)>, WarehouseError> {
        Ok(sqlx::query_as(concat!(
            "select s.stream, (select count(*) from koresync.windows w where w.stream = s.stream and w.state = 'verified' \
                 and w.recheck_at <= $1 and w.rung <= coalesce(s.rungs_carried, w.rung) \
                 and w.from_at >= coalesce(s.kept_from, '-infinity') and ",
            no_open_recheck!(),
            ") + (select count(*) from koresync.windows w where w.stream = s.stream and w.state = 'verified' and w.rung is null \
                 and coalesce(w.first_verified_at, w.verified_at) <= $1 - make_interval(secs => $2)) \
               + (select count(*) from koresync.counted_ranges c where c.stream = s.stream and c.due_at <= $1 \
                 and c.from_at >= coalesce(s.kept_from, '-infinity') and s.filter_field = 'start' and s.is_total_rows is distinct from false) \
             from koresync.streams s where s.is_configured"
        ))
        .bind(by)
        .bind(first_rung.as_seconds_f64())
        .fetch_all(&self.pool)
        .await?)
    }

    pub async fn recheck_statuses(&self, now: DateTime<Utc>) -> Result<Vec<RecheckStatus>, WarehouseError> {
        Ok(sqlx::query_as(
            "select s.stream, s.rungs_carried, d.*, o.*, t.*, c.*, p.* from koresync.streams s, \
             lateral (select count(*) filter (where w.recheck_at <= $1 and w.rung <= coalesce(s.rungs_carried, w.rung)) as due, \
                 min(w.rung) filter (where w.recheck_at <= $1 and w.rung <= coalesce(s.rungs_carried, w.rung)) as due_rung, \
                 min(w.recheck_at) filter (where w.recheck_at <= $1 and w.rung <= coalesce(s.rungs_carried, w.rung)) as due_since, \
                 count(*) filter (where w.recheck_at <= $1 and w.rung > s.rungs_carried) as given_up, \
                 min(w.recheck_at) filter (where w.recheck_at > $1) as next_at \
               from koresync.windows w where w.stream = s.stream and w.state = 'verified' and w.recheck_at is not null \
                 and w.from_at >= coalesce(s.kept_from, '-infinity')) d, \
             lateral (select count(*) filter (where reason = 'rung') as open_rung, \
                 count(*) filter (where reason in ('count', 'difference')) as open_count, count(*) filter (where reason = 'spare') as open_spare \
               from koresync.windows where stream = s.stream and lane = 'recheck' and state in ('planned', 'unverified')) o, \
             lateral (select count(*) as settled, coalesce(sum(in_window), 0)::bigint as settled_contacts, min(read_at) as settled_read_at \
               from koresync.windows where stream = s.stream and state = 'verified' and rung is not null and recheck_at is null \
                 and from_at >= coalesce(s.kept_from, '-infinity')) t, \
             lateral (select count(*) as counted, count(*) filter (where due_at <= $1) as counts_due, \
                 count(*) filter (where differed_at = counted_at) as counts_differed \
               from koresync.counted_ranges where stream = s.stream and from_at >= coalesce(s.kept_from, '-infinity')) c, \
             lateral (select coalesce(sum(requests) filter (where day = ($1 at time zone 'UTC')::date), 0)::bigint as requests_today, \
                 coalesce(sum(requests) filter (where day = ($1 at time zone 'UTC')::date - 1), 0)::bigint as requests_yesterday \
               from koresync.spending where stream = s.stream and lane = 'recheck') p \
             where s.is_configured order by s.stream",
        )
        .bind(now)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Adds to what a lane of a stream spent today and in this minute; minutes are kept for three hours.
    pub async fn note_spending(&self, stream: &str, lane: Lane, requests: u64) -> Result<(), WarehouseError> {
        sqlx::query(
            "with n as (select coalesce($4, clock_timestamp()) as now), \
             over as (delete from koresync.spending_by_minute where minute < (select now from n) - interval '3 hours'), \
             minutes as (insert into koresync.spending_by_minute as s (minute, stream, lane, requests) \
               select date_trunc('minute', now), $1, $2, $3 from n \
               on conflict (minute, stream, lane) do update set requests = s.requests + excluded.requests) \
             insert into koresync.spending as s (stream, day, lane, requests) \
             select $1, (now at time zone 'UTC')::date, $2, $3 from n \
             on conflict (stream, day, lane) do update set requests = s.requests + excluded.requests",
        )
        .bind(stream)
        .bind(lane.as_str())
        .bind(i64::try_from(requests).unwrap_or(i64::MAX))
        .bind(self.clock.database_time())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

impl Errand {
    /// The next step on the ladder.
    pub fn rung(rung: i16) -> Self {
        Self { reason: Reason::Rung, rung: Some(rung) }
    }

    pub fn count() -> Self {
        Self { reason: Reason::Count, rung: None }
    }

    pub fn difference() -> Self {
        Self { reason: Reason::Difference, rung: None }
    }

    pub fn spare() -> Self {
        Self { reason: Reason::Spare, rung: None }
    }
}

pub(super) async fn lock_stream(connection: &mut PgConnection, stream: &str) -> Result<(), WarehouseError> {
    sqlx::query("select from koresync.streams where stream = $1 for no key update")
        .bind(stream)
        .execute(connection)
        .await?;
    Ok(())
}
