//! One row of the ledger for all that a read covers.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::WarehouseError;
use super::load::Outcomes;
use super::windows::Claim;
use crate::faults::{Defect, is_planted};

/// A window that was just proved takes the place of the verified windows that it and later reads cover: the ledger does
/// not grow with each read, the time that is proved stays the same, and what they had inserted is carried on. With the
/// stream's row locked, so that of two parts that commit at once one sees both.
pub(super) async fn take_place(
    connection: &mut PgConnection,
    claim: &Claim,
    outcomes: Outcomes,
    now: DateTime<Utc>,
) -> Result<(), WarehouseError> {
    let is_news = outcomes.inserted + outcomes.changed + outcomes.removed + outcomes.returned > 0;
    let is_unsettled = is_news || awaits_scores(connection, claim).await?;
    sqlx::query(
        "update koresync.windows w set rung = null, ripe_at = null, recheck_at = null, \
           first_verified_at = case when before.is_held then before.first_verified_at else $5 end, \
           is_quiet = before.is_held and not $6 \
         from (select max(coalesce(v.first_verified_at, v.verified_at)) as first_verified_at, \
             coalesce(range_agg(tstzrange(v.from_at, v.to_at)) @> tstzrange($3, $4), false) as is_held \
           from koresync.windows v where v.stream = $1 and v.state = 'verified' and v.id <> $2 \
             and v.to_at > $3 and v.from_at < $4) before \
         where w.id = $2",
    )
    .bind(&claim.stream)
    .bind(claim.id)
    .bind(claim.window.from)
    .bind(claim.window.to)
    .bind(now)
    .bind(is_unsettled)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "with gone as ( \
           delete from koresync.windows r where r.stream = $1 and r.state = 'verified' and r.id <> $2 \
             and r.to_at > $3 and r.from_at < $4 \
             and (select coalesce(range_agg(tstzrange(v.from_at, v.to_at)) @> tstzrange(r.from_at, r.to_at), false) \
               from koresync.windows v where v.stream = $1 and v.state = 'verified' and v.id <> r.id \
                 and v.to_at > r.from_at and v.from_at < r.to_at and (v.finished_at, v.id) > (r.finished_at, r.id)) \
           returning r.*), \
         tally as ( \
           update koresync.backfills b set merged_windows = merged_windows + g.windows, merged_seconds = merged_seconds + g.seconds, \
             merged_contacts = merged_contacts + g.contacts, merged_inserted = merged_inserted + g.inserted, \
             merged_changed = merged_changed + g.changed, merged_unchanged = merged_unchanged + g.unchanged, \
             merged_quarantined = merged_quarantined + g.quarantined, merged_requests = merged_requests + g.requests \
           from (select backfill_id, count(*) as windows, sum(extract(epoch from to_at - from_at))::float8 as seconds, \
               sum(in_window) as contacts, sum(inserted) as inserted, sum(changed) as changed, sum(unchanged) as unchanged, \
               sum(quarantined) as quarantined, sum(requests) as requests from gone where backfill_id is not null group by 1) g \
           where b.id = g.backfill_id) \
         update koresync.windows w set merged = w.merged + g.merged, inserted_before = w.inserted_before + g.inserted \
         from (select sum(1 + merged) as merged, sum(inserted + inserted_before) as inserted from gone) g \
         where w.id = $2 and g.merged > 0",
    )
    .bind(&claim.stream)
    .bind(claim.id)
    .bind(claim.window.from)
    .bind(claim.window.to)
    .execute(&mut *connection)
    .await?;
    if is_planted(Defect::MergedInsertsLost) {
        sqlx::query("update koresync.windows set inserted_before = 0 where id = $1")
            .bind(claim.id)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Whether a contact of the window may still get a score.
async fn awaits_scores(connection: &mut PgConnection, claim: &Claim) -> Result<bool, WarehouseError> {
    Ok(sqlx::query_scalar(
        "select exists (select 1 from kore.contacts where stream = $1 and started_at >= $2 and started_at < $3 \
           and removed_at is null and evaluation_score is null and duration_status is null)",
    )
    .bind(&claim.stream)
    .bind(claim.window.from)
    .bind(claim.window.to)
    .fetch_one(connection)
    .await?)
}
