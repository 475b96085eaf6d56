//! What the engine sees when it looks: how far each stream is, and what is left to do.

use chrono::{DateTime, Utc};

use super::engine::Outcome;
use super::planner::{self, Until};
use super::worker::Bench;
use crate::warehouse::WarehouseError;
use crate::warehouse::streams::StreamState;
use crate::warehouse::windows::Scope;

#[derive(Debug)]
pub(super) struct Look {
    pub(super) streams: Vec<StreamLook>,
    /// When a window was last verified, whoever read it.
    pub(super) verified_at: Option<DateTime<Utc>>,
    pub(super) is_backfill_open: bool,
    pub(super) is_backfill_paused: bool,
}

impl Look {
    /// Looks at everything of these streams. `states` are from just before.
    pub(super) async fn take(
        bench: &Bench,
        scope: &Scope,
        until: Until,
        states: Vec<StreamState>,
    ) -> Result<Self, WarehouseError> {
        let Bench { warehouse, options, .. } = bench;
        let ours = |stream: &str| scope.streams.iter().any(|name| name == stream);
        let backfills = warehouse.open_backfills().await?;
        let open = warehouse.open_windows().await?;
        let open = |stream: &str| open.iter().find(|o| o.stream == stream);
        let due = match until {
            Until::SettledAt(moment) if !options.recheck.rungs().is_empty() => {
                let first = options.recheck.rungs().first().copied().unwrap_or_default();
                warehouse.rechecks_due(moment, first).await?
            }
            _ => Vec::new(),
        };
        // Asked for last: where all windows up to the frontier are closed, their watermark is in it.
        let later = match until {
            Until::SettledAt(_) => warehouse.stream_states().await?,
            Until::Settled => Vec::new(),
        };
        let watermark = |state: &StreamState| {
            later.iter().find(|s| s.stream == state.stream).map_or(state.watermark, |later| later.watermark)
        };
        let verified_at = states.iter().filter_map(|state| state.last_success_at).max();
        Ok(Look {
            streams: states
                .into_iter()
                .filter(|state| ours(&state.stream))
                .map(|state| StreamLook {
                    has_open_backfill: backfills.iter().any(|b| b.stream == state.stream && b.state == "running"),
                    unverified: open(&state.stream).map_or(0, |o| o.unverified),
                    unread: open(&state.stream).map_or(0, |o| o.unread),
                    rechecks_due: due.iter().find(|(stream, _)| *stream == state.stream).map_or(0, |(_, due)| *due),
                    is_refused: state.paused_at.is_some(),
                    settled: match until {
                        Until::SettledAt(moment) => Some(planner::settled(options, &state, moment)),
                        Until::Settled => None,
                    },
                    watermark: watermark(&state),
                    reason: state.paused_reason,
                    frontier: state.frontier,
                    stream: state.stream,
                })
                .collect(),
            verified_at,
            is_backfill_paused: backfills.iter().any(|b| Some(b.id) == scope.backfill_id && b.state == "paused"),
            is_backfill_open: backfills.iter().any(|b| Some(b.id) == scope.backfill_id),
        })
    }

    /// How it ends where nothing is left to be read: what nobody reads is told.
    pub(super) fn gaps(&self) -> Outcome {
        let gaps: Vec<String> = self
            .streams
            .iter()
            .filter(|stream| stream.is_gapped())
            .map(|stream| {
                format!(
                    "{}: from {} on something is not read, and no backfill reads it: `koresync backfill list` shows what was paused \
                     or cancelled, `koresync backfill` files another",
                    stream.stream,
                    stream.watermark.format("%Y-%m-%dT%H:%M:%SZ")
                )
            })
            .collect();
        if gaps.is_empty() { Outcome::Done } else { Outcome::Partly(gaps.join("; ")) }
    }

    /// Nothing is to be read before the next poll.
    pub(super) fn is_idle(&self) -> bool {
        self.streams.iter().all(|stream| stream.unread == 0 && !stream.has_open_backfill)
    }
}

#[derive(Debug)]
pub(super) struct StreamLook {
    pub(super) stream: String,
    pub(super) watermark: DateTime<Utc>,
    pub(super) frontier: DateTime<Utc>,
    /// Up to where it is to be verified.
    pub(super) settled: Option<DateTime<Utc>>,
    pub(super) has_open_backfill: bool,
    pub(super) unverified: i64,
    /// Windows planned or in hand.
    pub(super) unread: i64,
    /// Rechecks that are due and not planned yet.
    pub(super) rechecks_due: i64,
    pub(super) is_refused: bool,
    pub(super) reason: Option<String>,
}

impl StreamLook {
    /// Nothing is left to be read.
    pub(super) fn is_over(&self) -> bool {
        self.is_done() || self.is_gapped()
    }

    pub(super) fn is_done(&self) -> bool {
        self.nothing_waits() && self.settled.is_none_or(|settled| self.watermark >= settled)
    }

    /// The frontier is where it should be and nothing waits, yet something before it is not verified: its backfill was
    /// cancelled or is paused.
    fn is_gapped(&self) -> bool {
        self.nothing_waits() && self.settled.is_some_and(|settled| self.watermark < settled && settled <= self.frontier)
    }

    fn nothing_waits(&self) -> bool {
        !self.has_open_backfill && self.unread == 0 && self.unverified == 0 && self.rechecks_due == 0
    }

    pub(super) fn is_only_unverified(&self) -> bool {
        self.unverified > 0 && !self.has_open_backfill && self.unread == 0
    }
}
