//! The ledger of windows: planned, claimed under a lease and a fence, split, given back.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{Warehouse, WarehouseError};
use crate::domain::Window;
use crate::faults::{Defect, is_planted};

/// Which work comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    Live,
    Backfill,
    Recheck,
}

impl Lane {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Backfill => "backfill",
            Self::Recheck => "recheck",
        }
    }
}

/// Why a window of the recheck lane is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The time of a rung of `sync.recheck` has come.
    Rung,
    /// It is only to be counted.
    Count,
    /// A count differed from what is held.
    Difference,
    /// All history is read again from spare budget.
    Spare,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rung => "rung",
            Self::Count => "count",
            Self::Difference => "difference",
            Self::Spare => "spare",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Rung, Self::Count, Self::Difference, Self::Spare].into_iter().find(|reason| reason.as_str() == text)
    }
}

/// What a window of the recheck lane is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errand {
    pub reason: Reason,
    /// The rung it answers, from 1.
    pub rung: Option<i16>,
}

/// A window in hand: only its fence may commit.
#[derive(Debug, Clone)]
pub struct Claim {
    pub id: i64,
    pub stream: String,
    pub lane: Lane,
    pub backfill_id: Option<i64>,
    pub errand: Option<Errand>,
    pub window: Window,
    pub fence: i64,
    /// Reads that failed or proved nothing before.
    pub attempts: i32,
}

#[derive(sqlx::FromRow)]
struct ClaimRow {
    id: i64,
    stream: String,
    lane: String,
    backfill_id: Option<i64>,
    reason: Option<String>,
    rung: Option<i16>,
    from_at: DateTime<Utc>,
    to_at: DateTime<Utc>,
    fence: i64,
    attempts: i32,
}

/// What windows are planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Live,
    Backfill(i64),
    /// `None` for windows from before there were errands.
    Recheck(Option<Errand>),
}

impl Work {
    fn lane(self) -> Lane {
        match self {
            Self::Live => Lane::Live,
            Self::Backfill(_) => Lane::Backfill,
            Self::Recheck(_) => Lane::Recheck,
        }
    }

    fn backfill_id(self) -> Option<i64> {
        if let Self::Backfill(id) = self { Some(id) } else { None }
    }

    fn errand(self) -> Option<Errand> {
        if let Self::Recheck(errand) = self { errand } else { None }
    }
}

impl Claim {
    /// What its parts are planned for.
    fn work(&self) -> Work {
        match (self.lane, self.backfill_id) {
            (Lane::Live, _) => Work::Live,
            (Lane::Backfill, Some(id)) => Work::Backfill(id),
            _ => Work::Recheck(self.errand),
        }
    }
}

/// Which windows a worker may take.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub streams: Vec<String>,
    /// Only the windows of this backfill.
    pub backfill_id: Option<i64>,
}

impl Warehouse {
    /// Claims the most urgent window that is due and free: live, then backfill (newest first), then
    /// what could not be verified before, then rechecks: by rung, counts, what spare budget is for.
    pub async fn claim(&self, owner: &str, scope: &Scope) -> Result<Option<Claim>, WarehouseError> {
        self.claim_of(owner, scope, None).await
    }

    /// Claims the earliest window of the live lane that is due and free.
    pub async fn claim_live(&self, owner: &str, streams: Vec<String>) -> Result<Option<Claim>, WarehouseError> {
        self.claim_of(owner, &Scope { streams, backfill_id: None }, Some(Lane::Live)).await
    }

    async fn claim_of(&self, owner: &str, scope: &Scope, lane: Option<Lane>) -> Result<Option<Claim>, WarehouseError> {
        let row: Option<ClaimRow> = sqlx::query_as(
            "update koresync.windows w set owner = $1, fence = w.fence + 1, \
               lease_expires_at = n.now + make_interval(secs => $2) \
             from (select coalesce($3, clock_timestamp()) as now) n \
             where w.id = ( \
               select c.id from koresync.windows c \
               join koresync.streams s on s.stream = c.stream \
               left join koresync.backfills b on b.id = c.backfill_id \
               where c.state in ('planned', 'unverified') and c.stream = any($4) \
                 and c.due_at <= coalesce($3, clock_timestamp()) \
                 and (c.lease_expires_at is null or c.lease_expires_at <= coalesce($3, clock_timestamp())) \
                 and (s.retry_at is null or s.retry_at <= coalesce($3, clock_timestamp())) \
                 and (b.id is null or b.state in ('running', 'done')) and ($5::bigint is null or b.id = $5) \
                 and ($6::text is null or (c.lane = $6 and c.state = 'planned')) \
               order by case when c.state = 'unverified' then 2 when c.lane = 'recheck' then 3 when c.lane = 'backfill' then 1 else 0 end, \
                 case when c.lane = 'recheck' then case c.reason when 'rung' then coalesce(c.rung, 0) when 'spare' then 30000 else 20000 end end, \
                 case when c.lane = 'live' then c.from_at end, c.to_at desc \
               for update of c skip locked limit 1) \
             returning w.id, w.stream, w.lane, w.backfill_id, w.reason, w.rung, w.from_at, w.to_at, w.fence, w.attempts",
        )
        .bind(owner)
        .bind(self.lease.as_secs_f64())
        .bind(self.clock.database_time())
        .bind(&scope.streams)
        .bind(scope.backfill_id)
        .bind(lane.map(Lane::as_str))
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.and_then(|row| {
            Some(Claim {
                id: row.id,
                stream: row.stream,
                lane: match row.lane.as_str() {
                    "live" => Lane::Live,
                    "backfill" => Lane::Backfill,
                    _ => Lane::Recheck,
                },
                backfill_id: row.backfill_id,
                errand: row.reason.as_deref().and_then(Reason::parse).map(|reason| Errand { reason, rung: row.rung }),
                window: Window::new(row.from_at, row.to_at)?,
                fence: row.fence,
                attempts: row.attempts,
            })
        }))
    }

    /// Prolongs a claim; false when somebody else has it now.
    pub async fn renew(&self, claim: &Claim) -> Result<bool, WarehouseError> {
        let renewed = sqlx::query(
            "update koresync.windows set lease_expires_at = coalesce($3, clock_timestamp()) + make_interval(secs => $4) \
             where id = $1 and fence = $2 and owner is not null",
        )
        .bind(claim.id)
        .bind(claim.fence)
        .bind(self.clock.database_time())
        .bind(self.lease.as_secs_f64())
        .execute(&self.heartbeat)
        .await?;
        Ok(renewed.rows_affected() == 1)
    }

    /// Gives a window back after an attempt that failed, to be tried again after `delay`. Waits for
    /// a transaction of ours whose fate is unknown; if that was committed, nothing is left to give back.
    pub async fn give_back(
        &self,
        claim: &Claim,
        failure: Option<&str>,
        delay: TimeDelta,
        requests: u64,
    ) -> Result<(), WarehouseError> {
        if is_planted(Defect::CommitTwice) {
            sqlx::query("update koresync.windows set state = 'planned', verified_by = null, owner = null, lease_expires_at = null where id = $1")
                .bind(claim.id)
                .execute(&self.pool)
                .await?;
        }
        sqlx::query(
            "update koresync.windows set owner = null, lease_expires_at = null, \
               attempts = attempts + case when $3::text is null then 0 else 1 end, last_error = coalesce($3, last_error), \
               due_at = coalesce($4, clock_timestamp()) + make_interval(secs => $5), requests = requests + $6 \
             where id = $1 and fence = $2 and owner is not null",
        )
        .bind(claim.id)
        .bind(claim.fence)
        .bind(failure)
        .bind(self.clock.database_time())
        .bind(delay.as_seconds_f64())
        .bind(i64::try_from(requests).unwrap_or(i64::MAX))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Ends transactions of this login that hold a window whose lease is over, and have waited for the data of a
    /// COPY for longer than a lease: their process is frozen, or its machine. The server's own bounds do not
    /// end them, since it looks at no timeout while it waits for a COPY. Returns how many there were.
    pub async fn end_silent_copies(&self) -> Result<u64, WarehouseError> {
        let ended = sqlx::query(
            "select pg_terminate_backend(a.pid) from pg_stat_activity a \
             where a.datname = current_database() and a.usename = current_user and a.application_name = 'koresync' \
               and a.pid <> pg_backend_pid() and a.state = 'active' and a.wait_event = 'ClientRead' \
               and a.query_start < clock_timestamp() - make_interval(secs => $1) and a.query ilike 'copy %' \
               and exists (select from koresync.windows where owner is not null and state in ('planned', 'unverified') \
                 and lease_expires_at <= coalesce($2, clock_timestamp()))",
        )
        .bind(self.lease.as_secs_f64())
        .bind(self.clock.database_time())
        .execute(&self.pool)
        .await?;
        Ok(ended.rows_affected())
    }

    /// Gives back every claim of a worker that stops.
    pub async fn give_back_all(&self, owner: &str) -> Result<u64, WarehouseError> {
        let given = sqlx::query(
            "update koresync.windows set owner = null, lease_expires_at = null where owner = $1 and state in ('planned', 'unverified')",
        )
        .bind(owner)
        .execute(&self.pool)
        .await?;
        Ok(given.rows_affected())
    }

    /// Cuts a claimed window into the given parts, which together are the window; each is planned anew,
    /// with its tries counted from zero.
    pub async fn split(&self, claim: &Claim, parts: &[Window], requests: u64) -> Result<(), WarehouseError> {
        let Some((first, rest)) = parts.split_first() else { return Ok(()) };
        let mut transaction = self.begin().await?;
        let shrunk = sqlx::query(
            "update koresync.windows set to_at = $3, owner = null, lease_expires_at = null, attempts = 0, \
               due_at = coalesce($4, clock_timestamp()), requests = requests + $5, state = 'planned', verified_by = null \
             where id = $1 and fence = $2 and from_at = $6 and state in ('planned', 'unverified')",
        )
        .bind(claim.id)
        .bind(claim.fence)
        .bind(first.to)
        .bind(self.clock.database_time())
        .bind(i64::try_from(requests).unwrap_or(i64::MAX))
        .bind(first.from)
        .execute(&mut *transaction)
        .await?;
        if shrunk.rows_affected() == 0 {
            return Err(WarehouseError::Fenced);
        }
        if let Some(backfill) = claim.backfill_id {
            // Against a cancellation at the same moment, which would miss the new parts.
            let state: String =
                sqlx::query_scalar("select state from koresync.backfills where id = $1 for no key update")
                    .bind(backfill)
                    .fetch_one(&mut *transaction)
                    .await?;
            if state == "cancelled" {
                return Err(WarehouseError::Fenced);
            }
        }
        insert_windows(&mut transaction, &claim.stream, claim.work(), rest, self.clock.database_time()).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Moves the frontier towards `until` and plans what lies before it, in windows of at most `span`,
    /// so that at most `ahead` wait to be read. Nothing when less than `least` has passed. Returns how
    /// many were planned.
    pub async fn plan_live(
        &self,
        stream: &str,
        until: DateTime<Utc>,
        span: TimeDelta,
        least: TimeDelta,
        ahead: usize,
    ) -> Result<usize, WarehouseError> {
        let mut transaction = self.begin().await?;
        let frontier: DateTime<Utc> =
            sqlx::query_scalar("select frontier from koresync.streams where stream = $1 for no key update")
                .bind(stream)
                .fetch_one(&mut *transaction)
                .await?;
        if until - frontier < least.max(TimeDelta::seconds(1)) {
            return Ok(0);
        }
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from koresync.windows where stream = $1 and lane = 'live' and state = 'planned'",
        )
        .bind(stream)
        .fetch_one(&mut *transaction)
        .await?;
        let room = ahead.saturating_sub(usize::try_from(waiting).unwrap_or(usize::MAX));
        let windows = cut_upwards(frontier, until, span, room);
        let Some(latest) = windows.last() else { return Ok(0) };
        insert_windows(&mut transaction, stream, Work::Live, &windows, self.clock.database_time()).await?;
        sqlx::query("update koresync.streams set frontier = $2 where stream = $1")
            .bind(stream)
            .bind(latest.to)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(windows.len())
    }
}

/// `[from, to)` in windows of `span`, from the early end up, `most` of them; the last may be shorter.
fn cut_upwards(from: DateTime<Utc>, to: DateTime<Utc>, span: TimeDelta, most: usize) -> Vec<Window> {
    let span = span.max(TimeDelta::seconds(1));
    let mut windows = Vec::new();
    let mut at = from;
    while windows.len() < most
        && let Some(window) = Window::new(at, to.min(at + span))
    {
        at = window.to;
        windows.push(window);
    }
    windows
}

pub(super) async fn insert_windows(
    connection: &mut PgConnection,
    stream: &str,
    work: Work,
    windows: &[Window],
    database_time: Option<DateTime<Utc>>,
) -> Result<(), WarehouseError> {
    sqlx::query(
        "insert into koresync.windows (stream, lane, backfill_id, from_at, to_at, due_at, created_at, reason, rung) \
         select $1, $2, $3, w.from_at, w.to_at, n.now, n.now, $7, $8 \
         from unnest($4::timestamptz[], $5::timestamptz[]) as w (from_at, to_at), \
           (select coalesce($6, clock_timestamp()) as now) n",
    )
    .bind(stream)
    .bind(work.lane().as_str())
    .bind(work.backfill_id())
    .bind(windows.iter().map(|w| w.from).collect::<Vec<_>>())
    .bind(windows.iter().map(|w| w.to).collect::<Vec<_>>())
    .bind(database_time)
    .bind(work.errand().map(|errand| errand.reason.as_str()))
    .bind(work.errand().and_then(|errand| errand.rung))
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_windows_meet_and_end_where_told() {
        let at = |s| DateTime::from_timestamp(s, 0).expect("a valid time");
        let windows = cut_upwards(at(0), at(25), TimeDelta::seconds(10), 9);
        let edges: Vec<_> = windows.iter().map(|w| (w.from.timestamp(), w.to.timestamp())).collect();
        assert_eq!(edges, [(0, 10), (10, 20), (20, 25)]);
        assert!(cut_upwards(at(5), at(5), TimeDelta::seconds(10), 9).is_empty());
        assert_eq!(cut_upwards(at(0), at(25), TimeDelta::seconds(10), 2), windows[..2]);
    }
}
