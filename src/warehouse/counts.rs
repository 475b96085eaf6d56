//! Weekly counts of settled history: cheap proof that nothing came or went where no rung looks any more.

use chrono::{DateTime, TimeDelta, Utc};

use super::rechecks::lock_stream;
use super::windows::{Claim, Errand, Work, insert_windows};
use super::{Warehouse, WarehouseError};
use crate::domain::Window;

/// What the warehouse holds of a request range. The vendor may count contacts at its very ends or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub least: i64,
    pub most: i64,
}

impl Warehouse {
    /// Files for a weekly count the parts of the grid of `span` (whole seconds, from the epoch) that lie in the verified
    /// history of a stream and whose rungs are all climbed; the first count comes one `span` later.
    pub async fn file_counts(&self, stream: &str, span: TimeDelta, now: DateTime<Utc>) -> Result<u64, WarehouseError> {
        let filed = sqlx::query(
            "insert into koresync.counted_ranges (stream, from_at, to_at, due_at) \
             select s.stream, greatest(g.from_at, s.start_at), g.from_at + make_interval(secs => $2), $3 + make_interval(secs => $2) \
             from koresync.streams s, lateral ( \
               select to_timestamp(n * $2) as from_at from generate_series( \
                 floor(extract(epoch from s.start_at) / $2)::bigint, floor(extract(epoch from s.watermark) / $2)::bigint - 1) n) g \
             where s.stream = $1 and greatest(g.from_at, s.start_at) < g.from_at + make_interval(secs => $2) \
               and greatest(g.from_at, s.start_at) >= coalesce(s.kept_from, '-infinity') \
               and not exists (select from koresync.counted_ranges c where c.stream = s.stream \
                 and c.from_at = greatest(g.from_at, s.start_at)) \
               and not exists (select from koresync.windows w where w.stream = s.stream and w.state = 'verified' \
                 and w.to_at > greatest(g.from_at, s.start_at) and w.from_at < g.from_at + make_interval(secs => $2) \
                 and (w.rung is null or w.recheck_at is not null)) \
             on conflict do nothing",
        )
        .bind(stream)
        .bind(span.as_seconds_f64())
        .bind(now)
        .execute(&self.pool)
        .await?;
        Ok(filed.rows_affected())
    }

    /// Plans the count that is due longest, unless a recheck over the same time is open; whether it did. It is due again
    /// after `span`, whatever becomes of it.
    pub async fn plan_count(&self, stream: &str, span: TimeDelta, now: DateTime<Utc>) -> Result<bool, WarehouseError> {
        let mut transaction = self.begin().await?;
        lock_stream(&mut transaction, stream).await?;
        let range: Option<(DateTime<Utc>, DateTime<Utc>)> = sqlx::query_as(
            "update koresync.counted_ranges c set due_at = $2 + make_interval(secs => $3) \
             where c.stream = $1 and c.from_at = (select d.from_at from koresync.counted_ranges d \
               where d.stream = $1 and d.due_at <= $2 \
                 and d.from_at >= coalesce((select k.kept_from from koresync.streams k where k.stream = $1), '-infinity') and not exists (select from koresync.windows o where o.stream = $1 \
                 and o.state in ('planned', 'unverified') and o.lane = 'recheck' and o.from_at < d.to_at and o.to_at > d.from_at) \
               order by d.due_at, d.from_at limit 1) \
             returning c.from_at, c.to_at",
        )
        .bind(stream)
        .bind(now)
        .bind(span.as_seconds_f64())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(window) = range.and_then(|(from, to)| Window::new(from, to)) else { return Ok(false) };
        let time = self.clock.database_time();
        insert_windows(&mut transaction, stream, Work::Recheck(Some(Errand::count())), &[window], time).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// What is held of a request range: contacts that are not removed, and records in quarantine.
    pub async fn held_in(
        &self,
        stream: &str,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        includes_below_threshold: bool,
    ) -> Result<Held, WarehouseError> {
        let (least, most): (i64, i64) = sqlx::query_as(
            "with aside as materialized (select conversation_id from koresync.quarantined_records \
               where stream = $1 and requested_from >= $2 and requested_to <= $3), \
             known as materialized (select k.conversation_id from kore.contacts k \
               join aside q on q.conversation_id = k.conversation_id where k.stream = $1), \
             held as materialized (select count(*) filter (where started_at > $2 and started_at < $3) as least, count(*) as most \
               from kore.contacts where stream = $1 and removed_at is null and started_at >= $2 and started_at < $3 + interval '1 second' \
                 and ($4 or duration_status is distinct from 'below_threshold')) \
             select held.least + q.quarantined, held.most + q.quarantined from held, \
               (select count(*) as quarantined from aside q \
                where not exists (select from known k where k.conversation_id = q.conversation_id)) q",
        )
        .bind(stream)
        .bind(from)
        .bind(to)
        .bind(includes_below_threshold)
        .fetch_one(&self.pool)
        .await?;
        Ok(Held { least, most })
    }

    /// How far the total of a range that is counted weekly may differ from what is held: as far as it did before, when a
    /// read of it explained nothing.
    pub async fn accepted_difference(&self, stream: &str, window: Window) -> Result<i64, WarehouseError> {
        let accepted = sqlx::query_scalar(
            "select accepted from koresync.counted_ranges where stream = $1 and from_at = $2 and to_at = $3",
        )
        .bind(stream)
        .bind(window.from)
        .bind(window.to)
        .fetch_optional(&self.pool)
        .await?;
        Ok(accepted.unwrap_or_default())
    }

    /// Ends a claimed count, in one transaction: notes it where the range is counted weekly (`accepted` when it differed,
    /// with how far), takes it out of the ledger, since it was no read, and plans what follows from it. Errors with
    /// [`WarehouseError::Fenced`] when somebody else has claimed it meanwhile.
    pub async fn end_count(
        &self,
        claim: &Claim,
        (total, held): (u64, Held),
        accepted: Option<i64>,
        next: &[(Window, Errand)],
    ) -> Result<(), WarehouseError> {
        let mut transaction = self.begin().await?;
        let ended = sqlx::query(
            "delete from koresync.windows where id = $1 and fence = $2 and owner is not null and state = 'planned'",
        )
        .bind(claim.id)
        .bind(claim.fence)
        .execute(&mut *transaction)
        .await?;
        if ended.rows_affected() == 0 {
            return Err(WarehouseError::Fenced);
        }
        sqlx::query(
            "update koresync.counted_ranges set counted_at = n.now, total = $4, held = $5, accepted = coalesce($6, accepted), \
               differed_at = case when $6::bigint is null then differed_at else n.now end \
             from (select coalesce($7, clock_timestamp()) as now) n where stream = $1 and from_at = $2 and to_at = $3",
        )
        .bind(&claim.stream)
        .bind(claim.window.from)
        .bind(claim.window.to)
        .bind(i64::try_from(total).unwrap_or(i64::MAX))
        .bind(held.most)
        .bind(accepted)
        .bind(self.clock.database_time())
        .execute(&mut *transaction)
        .await?;
        for (window, errand) in next {
            let time = self.clock.database_time();
            insert_windows(&mut transaction, &claim.stream, Work::Recheck(Some(*errand)), &[*window], time).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Where verified windows of a range meet, and the contacts of each, ascending: a count is cut there, so that its parts
    /// cover whole windows.
    pub async fn verified_in(
        &self,
        stream: &str,
        window: Window,
    ) -> Result<Vec<(DateTime<Utc>, DateTime<Utc>, i64)>, WarehouseError> {
        Ok(sqlx::query_as(
            "select from_at, to_at, coalesce(in_window, 0) from koresync.windows \
             where stream = $1 and state = 'verified' and to_at > $2 and from_at < $3 order by from_at, to_at",
        )
        .bind(stream)
        .bind(window.from)
        .bind(window.to)
        .fetch_all(&self.pool)
        .await?)
    }
}
