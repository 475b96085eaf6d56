//! How late contacts and their scores come: learned in the transaction of the window that shows it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::windows::{Claim, Lane};
use super::{Warehouse, WarehouseError};
use crate::domain::Delays;
use crate::domain::settling::{ENOUGH, Settle, next_settle};

/// What a read showed of a contact for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// The contact, and whether it had a score by then.
    Contact { is_scored: bool },
    /// The score of a contact that was held without one.
    Score,
}

/// A first sight, and the times that it is measured by.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstSight {
    pub sight: Sight,
    pub started_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    /// When the page that showed it came.
    pub seen_at: DateTime<Utc>,
}

/// Weights of pairs of buckets, as kept.
type Triples = Json<Vec<(u16, u16, f64)>>;

#[derive(Debug, Clone, sqlx::FromRow)]
struct SettlingRow {
    live_from: DateTime<Utc>,
    appeared: Triples,
    listed: Triples,
    scored: Triples,
    noted_at: DateTime<Utc>,
}

/// What was learned of a stream.
#[derive(Debug, Clone)]
pub struct Settling {
    pub stream: String,
    /// From the end of a contact to its first sight.
    pub appeared: Delays,
    /// From its start.
    pub listed: Delays,
    /// From its end to its first score.
    pub scored: Delays,
    /// What `sync.settle = "auto"` has learned; `None` until enough was seen.
    pub settle_seconds: Option<i64>,
}

impl Settling {
    /// The part of the stream's contacts that is known to come later than this settle time allows; `None` while too
    /// little is known.
    pub fn late_part(&self, settle: Settle) -> Option<f64> {
        (self.listed.weight() >= ENOUGH).then(|| self.listed.known_later_than(settle.of(self.settle_seconds)))
    }
}

/// Between two judgements of a learned settle time: the first rung has to find what came late meanwhile.
const JUDGED_EVERY: TimeDelta = TimeDelta::hours(3);

fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).as_seconds_f64().max(0.0)
}

/// Notes what a proved read of a window of the live lane, or a recheck, showed for the first time. Only contacts
/// that start in the window count, and in a recheck only those that the live lane had its turn with.
pub(super) async fn note(
    connection: &mut PgConnection,
    claim: &Claim,
    sights: &[FirstSight],
    now: DateTime<Utc>,
) -> Result<(), WarehouseError> {
    if sights.is_empty() || claim.lane == Lane::Backfill {
        return Ok(());
    }
    let live_from = (claim.lane == Lane::Live).then_some(claim.window.from);
    if let Some(live_from) = live_from {
        sqlx::query(
            "insert into koresync.settling (stream, live_from, noted_at) values ($1, $2, $3) on conflict do nothing",
        )
        .bind(&claim.stream)
        .bind(live_from)
        .bind(now)
        .execute(&mut *connection)
        .await?;
    }
    let held: Option<SettlingRow> = sqlx::query_as(
        "select live_from, appeared, listed, scored, noted_at from koresync.settling where stream = $1 for update",
    )
    .bind(&claim.stream)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = held else { return Ok(()) };
    let live_from = live_from.map_or(row.live_from, |from| from.min(row.live_from));
    let looks = earlier_looks(connection, claim).await?;
    let mut learned = [&row.appeared, &row.listed, &row.scored].map(|triples| Delays::from_triples(&triples.0));
    for delays in &mut learned {
        delays.fade(seconds(row.noted_at, now));
    }
    let [appeared, listed, scored] = &mut learned;
    let mut contacts: i64 = 0;
    for first in sights.iter().filter(|s| claim.window.contains(s.started_at) && s.started_at >= live_from) {
        let lacked_at = looks.iter().filter(|(from, to, _)| *from <= first.started_at && first.started_at < *to);
        let lacked_at = lacked_at.map(|(.., read_at)| *read_at).max();
        let after =
            |moment: DateTime<Utc>| (lacked_at.map(|lacked| seconds(moment, lacked)), seconds(moment, first.seen_at));
        let (since_start, since_end) = (after(first.started_at), after(first.ended_at));
        if let Sight::Contact { is_scored } = first.sight {
            contacts += 1;
            listed.note(since_start.0, since_start.1);
            appeared.note(since_end.0, since_end.1);
            if is_scored {
                // Whether it had its score before it was listed cannot be known.
                scored.note(None, since_end.1);
            }
        } else {
            scored.note(since_end.0, since_end.1);
        }
    }
    let [appeared, listed, scored] = learned.map(|delays| Json(delays.triples()));
    sqlx::query(
        "update koresync.settling set live_from = $2, appeared = $3, listed = $4, scored = $5, looks = looks + $6, \
           noted_at = greatest(noted_at, $7) where stream = $1",
    )
    .bind(&claim.stream)
    .bind(live_from)
    .bind(appeared)
    .bind(listed)
    .bind(scored)
    .bind(contacts)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// The verified looks at the window's range before this one: start, end and time of each.
async fn earlier_looks(
    connection: &mut PgConnection,
    claim: &Claim,
) -> Result<Vec<(DateTime<Utc>, DateTime<Utc>, DateTime<Utc>)>, WarehouseError> {
    if claim.lane == Lane::Live {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as(
        "select from_at, to_at, read_at from koresync.windows where stream = $1 and state = 'verified' and id <> $2 \
           and to_at > $3 and from_at < $4 and read_at is not null",
    )
    .bind(&claim.stream)
    .bind(claim.id)
    .bind(claim.window.from)
    .bind(claim.window.to)
    .fetch_all(connection)
    .await?)
}

type StatusRow = (String, Triples, Triples, Triples, Option<i64>);

impl Warehouse {
    /// What was learned of each configured stream; none of one that taught nothing yet.
    pub async fn settlings(&self) -> Result<Vec<Settling>, WarehouseError> {
        let rows: Vec<StatusRow> = sqlx::query_as(
            "select l.stream, l.appeared, l.listed, l.scored, s.settle_seconds from koresync.settling l \
             join koresync.streams s on s.stream = l.stream where s.is_configured order by 1",
        )
        .fetch_all(&self.pool)
        .await?;
        let settling = |(stream, appeared, listed, scored, settle_seconds): StatusRow| Settling {
            stream,
            appeared: Delays::from_triples(&appeared.0),
            listed: Delays::from_triples(&listed.0),
            scored: Delays::from_triples(&scored.0),
            settle_seconds,
        };
        Ok(rows.into_iter().map(settling).collect())
    }

    /// With `sync.settle = "auto"`: judges whether a stream's settle time still fits what is known, every three
    /// hours once 200 more contacts were seen. Gives the old one and the new one where it changed.
    pub async fn judge_settle(&self, stream: &str) -> Result<Option<(Duration, Duration)>, WarehouseError> {
        let mut transaction = self.begin().await?;
        // The stream's row first, as the windows lock them.
        let state: Option<(Option<i64>, DateTime<Utc>)> = sqlx::query_as(
            "select settle_seconds, coalesce($2, clock_timestamp()) from koresync.streams where stream = $1 \
               and (settle_judged_at is null or settle_judged_at <= coalesce($2, clock_timestamp()) - make_interval(secs => $3)) \
             for no key update",
        )
        .bind(stream)
        .bind(self.clock.database_time())
        .bind(JUDGED_EVERY.as_seconds_f64())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some((held, now)) = state else { return Ok(None) };
        let listed: Option<Triples> = sqlx::query_scalar(
            "update koresync.settling set looks = 0 where stream = $1 and looks >= $2 returning listed",
        )
        .bind(stream)
        .bind(ENOUGH)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(listed) = listed else { return Ok(None) };
        let current = Settle::Learned.of(held);
        let next = next_settle(current, &Delays::from_triples(&listed.0));
        let settle = next.unwrap_or(current);
        sqlx::query("update koresync.streams set settle_seconds = $2, settle_judged_at = $3 where stream = $1")
            .bind(stream)
            .bind(i64::try_from(settle.as_secs()).unwrap_or(i64::MAX))
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(next.map(|next| (current, next)))
    }
}
