//! What is to be read next. Takes no input but the database and the clock; planning twice is harmless.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::reading::planned_bounds;
use super::recheck::lane::{Candidate, Look};
use super::sizing::next_span;
use super::source::{Options, Source};
use crate::domain::window::floor_to_second;
use crate::warehouse::streams::{Learned, StreamState};
use crate::warehouse::windows::Scope;
use crate::warehouse::{Warehouse, WarehouseError};

/// Windows that wait to be claimed while a stream's density is not known: few, since each verified one
/// corrects the size of the next.
const AHEAD: usize = 2;

/// Up to where a stream may be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    /// Now − settle, again and again.
    Settled,
    /// What was settled at this moment.
    SettledAt(DateTime<Utc>),
}

/// Plans live windows up to the settled present, keeps the open backfills ahead of the workers, and gives what both
/// leave of an account's budget to rechecks.
pub(super) async fn plan(
    warehouse: &Warehouse,
    options: &Options,
    sources: &[Arc<Source>],
    scope: &Scope,
    until: Until,
) -> Result<usize, WarehouseError> {
    let mut planned = 0;
    let mut behind = Vec::new();
    let now = warehouse.now().await?;
    for source in sources {
        let state = warehouse.stream_state(&source.stream).await?;
        let span = TimeDelta::seconds(state.span_seconds);
        let ahead = ahead(options, &state);
        if scope.backfill_id.is_none() {
            let (until, least) = match until {
                Until::Settled => (settled(options, &state, now), source.poll_interval),
                Until::SettledAt(moment) => (settled(options, &state, moment), std::time::Duration::ZERO),
            };
            let least = TimeDelta::from_std(least).unwrap_or(TimeDelta::MAX);
            planned += warehouse.plan_live(&source.stream, until, span, least, ahead).await?;
            // Live comes first: while it is behind, no backfill is planned beside it.
            let frontier = warehouse.stream_state(&source.stream).await?.frontier;
            if until - frontier > least {
                behind.push(source.stream.clone());
            }
        }
    }
    for backfill in warehouse.open_backfills().await? {
        let is_ours = scope.streams.contains(&backfill.stream) && scope.backfill_id.is_none_or(|id| id == backfill.id);
        if is_ours && backfill.state == "running" && !behind.contains(&backfill.stream) {
            let state = warehouse.stream_state(&backfill.stream).await?;
            let span = TimeDelta::seconds(state.span_seconds);
            planned += warehouse.plan_backfill(backfill.id, span, ahead(options, &state)).await?;
        }
    }
    if scope.backfill_id.is_none() {
        planned += plan_rechecks(warehouse, options, sources, (&scope.streams, &behind), until, now).await?;
    }
    Ok(planned)
}

/// Rechecks take what is left: nothing while a stream of the same account is behind or has a backfill under way. One
/// that is refused spends nothing and holds up nobody.
async fn plan_rechecks(
    warehouse: &Warehouse,
    options: &Options,
    sources: &[Arc<Source>],
    (streams, behind): (&[String], &[String]),
    until: Until,
    now: DateTime<Utc>,
) -> Result<usize, WarehouseError> {
    let backfills = warehouse.open_backfills().await?;
    let is_busy = |state: &StreamState| {
        let is_filled = backfills.iter().any(|b| b.stream == state.stream && b.state == "running");
        state.paused_at.is_none() && (is_filled || behind.contains(&state.stream))
    };
    let states = warehouse.stream_states().await?;
    let busy: Vec<&str> = states.iter().filter(|s| is_busy(s)).map(|s| s.account_id.as_str()).collect();
    let candidates: Vec<Candidate> = sources
        .iter()
        .filter_map(|source| {
            let state = states.iter().find(|state| state.stream == source.stream)?.clone();
            let is_open = state.paused_at.is_none() && !busy.contains(&state.account_id.as_str());
            is_open.then(|| Candidate { source: Arc::clone(source), state })
        })
        .collect();
    let (now, is_urgent) = match until {
        Until::Settled => (now, false),
        Until::SettledAt(moment) => (moment, true),
    };
    Look { warehouse, options, now, is_urgent }.plan(streams, &candidates).await
}

/// Up to where a stream is settled at a moment.
pub(super) fn settled(options: &Options, state: &StreamState, moment: DateTime<Utc>) -> DateTime<Utc> {
    floor_to_second(moment - options.settle.of(state.settle_seconds))
}

fn ahead(options: &Options, state: &StreamState) -> usize {
    if state.contacts_per_hour.is_some() { AHEAD.max(options.workers) } else { AHEAD }
}

/// What a verified window teaches about the size of the next ones.
pub(super) fn learn_size(
    learned: &mut Learned,
    source: &Source,
    options: &Options,
    state: &StreamState,
    length: TimeDelta,
    (records, bytes): (u64, usize),
    now: DateTime<Utc>,
) {
    if records > 0 {
        let mean = bytes as f64 / records as f64;
        learned.record_bytes = Some(state.record_bytes.map_or(mean, |known| known * 0.7 + mean * 0.3));
    }
    let mut bounds = planned_bounds(source, options, state, now);
    bounds.record_bytes = learned.record_bytes.or(state.record_bytes);
    if learned.has_repeats {
        bounds.repeats_seen_at = Some(now);
    }
    let span = TimeDelta::seconds(state.span_seconds);
    let next = next_span(span, length, records, bounds.records());
    if next != span {
        learned.span = Some(next);
    }
    if length * 2 >= span && records > 0 {
        learned.contacts_per_hour = Some(records as f64 / (length.as_seconds_f64() / 3_600.0));
    }
}
