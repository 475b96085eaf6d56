//! What the daemon keeps up to date beside its work: gauges and readiness.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::session;
use crate::api;
use crate::config::Settings;
use crate::domain::settling::LATE_PART_MOST;
use crate::server::{Readiness, notify};
use crate::status::RecheckReport;
use crate::status::board::{Board, Overview, see};
use crate::telemetry::metrics::{
    APPEARANCE, BACKFILL_PROGRESS, BACKFILLS_OPEN, BUDGET_SHARE, COUNT_MISMATCH_WINDOWS, LAST_SUCCESS,
    QUARANTINE_LAST_NEW, QUARANTINED, RECHECK_OVERDUE, RECHECKS_DUE, RUNGS_GIVEN_UP, SCORING, SETTLE, SETTLE_EXCEEDED,
    SETTLE_LATE, STREAM_REFUSED, TOKEN_EXPIRES, UNKNOWN_FIELD_LAST_NEW, WATERMARK, WINDOWS, WINDOWS_FAILING,
};
use crate::warehouse::gauges::{AccountGauges, StreamGauges};
use crate::warehouse::ledger::FaultExample;
use crate::warehouse::settling::Settling;
use crate::warehouse::status::{StreamStatus, WindowCount};
use crate::warehouse::{Warehouse, WarehouseError};

/// The checks of `/readyz`.
pub const CHECKS: [&str; 3] = ["database", "schema", "streams"];
const REFRESH_EVERY: Duration = Duration::from_secs(10);
/// A database silent for so long is told as failing; it is still waited for.
const PATIENCE: Duration = Duration::from_secs(5);

type DatabaseCheck = Box<dyn Fn() -> Result<(), String> + Send + Sync>;
/// Stream, lane and state of a gauge.
type Labels = (String, String, String);
type Seen = Result<Look, WarehouseError>;

/// What gauges and readiness are set from.
#[derive(Debug)]
struct Look {
    overview: Overview,
    gauges: Vec<StreamGauges>,
    accounts: Vec<AccountGauges>,
}

pub struct Upkeep {
    warehouse: Warehouse,
    readiness: Readiness,
    settings: Arc<Settings>,
    /// Shows each look as the status page.
    board: Board,
    /// What the engine last met.
    database_check: DatabaseCheck,
    /// Gauges set before: one whose windows are gone must fall to 0.
    set_before: BTreeSet<Labels>,
    /// The same of streams and reasons: what left quarantine must fall to 0.
    quarantined_before: BTreeSet<(String, String)>,
    /// Streams whose contacts come later than their settle time allows: told once.
    exceeded: BTreeSet<String>,
    /// Streams whose token was seen to end.
    expiring: BTreeSet<String>,
    /// A look at the database that has not come back.
    looking: Option<JoinHandle<Seen>>,
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

impl Upkeep {
    pub fn new(
        warehouse: Warehouse,
        readiness: Readiness,
        settings: Arc<Settings>,
        board: Board,
        database_check: DatabaseCheck,
    ) -> Self {
        Self {
            warehouse,
            readiness,
            settings,
            board,
            database_check,
            set_before: BTreeSet::new(),
            quarantined_before: BTreeSet::new(),
            exceeded: BTreeSet::new(),
            expiring: BTreeSet::new(),
            looking: None,
        }
    }

    /// Refreshes every 10 s until stopped. A database that is away is told by the readiness, and is no
    /// reason to end.
    pub async fn repeat(mut self, stop: CancellationToken) -> Result<(), anyhow::Error> {
        while stop.run_until_cancelled(tokio::time::sleep(REFRESH_EVERY)).await.is_some() {
            self.refresh().await;
        }
        Ok(())
    }

    /// Sets gauges and readiness from the database, once; when tokens end from their files.
    pub async fn refresh(&mut self) {
        self.set_token_ends().await;
        // A task of its own, since nothing that uses the database may be cancelled.
        let mut looking = self
            .looking
            .take()
            .unwrap_or_else(|| tokio::spawn(look(self.warehouse.clone(), Arc::clone(&self.settings))));
        let seen = match tokio::time::timeout(PATIENCE, &mut looking).await {
            Ok(Ok(seen)) => seen.map_err(|error| error.to_string()),
            Ok(Err(_)) => Err("the look at the database panicked".to_owned()),
            Err(_) => {
                self.looking = Some(looking);
                Err(format!("no answer within {} s", PATIENCE.as_secs()))
            }
        };
        match seen {
            Ok(Look { overview, gauges, accounts }) => {
                let overview = Arc::new(overview);
                let Overview { report, settlings, .. } = &*overview;
                let streams: Vec<&StreamStatus> = report.streams.iter().map(|stream| &stream.status).collect();
                match (self.database_check)() {
                    Ok(()) => self.readiness.pass("database"),
                    Err(why) => self.readiness.fail("database", why),
                }
                self.set_gauges(&streams, &report.windows);
                set_stream_gauges(&gauges);
                set_account_gauges(&accounts);
                self.set_quarantine(&report.quarantine);
                self.set_rechecks(&report.rechecks);
                self.set_settling(&streams, settlings);
                self.set_streams(&streams, settlings);
                self.board.show(overview).await;
            }
            Err(why) => {
                tracing::debug!(why, "The gauges could not be refreshed.");
                self.readiness.fail("database", why);
            }
        }
    }

    /// Tells when ready-made tokens end. The file is read each time: a new token counts once it is there, though the old one is
    /// used until it is refused.
    async fn set_token_ends(&mut self) {
        let settings = Arc::clone(&self.settings);
        for (name, stream) in &settings.streams {
            let Some(source) = session::ready_made_token(stream) else { continue };
            // `check` and the refusal tell of a token that cannot be read or is no JWT.
            let Ok(token) = source.read().await else { continue };
            let Ok(claims) = api::decode_claims(token.expose_secret()) else { continue };
            let ends = match claims.expires_at {
                Some(at) => at.timestamp() as f64,
                // The end of the token before must not go on being told.
                None if self.expiring.contains(name) => f64::INFINITY,
                None => continue,
            };
            self.expiring.insert(name.clone());
            metrics::gauge!(TOKEN_EXPIRES, "stream" => name.clone()).set(ends);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^53")]
    fn set_gauges(&mut self, streams: &[&StreamStatus], windows: &[WindowCount]) {
        for status in streams {
            let stream = status.stream.clone();
            metrics::gauge!(WATERMARK, "stream" => stream.clone()).set(status.watermark.timestamp() as f64);
            if let Some(at) = status.last_success_at {
                metrics::gauge!(LAST_SUCCESS, "stream" => stream.clone()).set(at.timestamp() as f64);
            }
            metrics::gauge!(COUNT_MISMATCH_WINDOWS, "stream" => stream.clone()).set(status.windows_unverified as f64);
            let is_refused = status.paused_at.is_some();
            metrics::gauge!(STREAM_REFUSED, "stream" => stream).set(f64::from(u8::from(is_refused)));
        }
        let mut gone = std::mem::take(&mut self.set_before);
        // A stream that left the configuration raises no alerts.
        for count in windows.iter().filter(|count| streams.iter().any(|s| s.stream == count.stream)) {
            let labels = (count.stream.clone(), count.lane.clone(), count.state.clone());
            set_windows(labels.clone(), count.windows as f64);
            gone.remove(&labels);
            self.set_before.insert(labels);
        }
        for labels in gone {
            set_windows(labels, 0.0);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^53")]
    fn set_quarantine(&mut self, counts: &[FaultExample]) {
        let mut gone = std::mem::take(&mut self.quarantined_before);
        for FaultExample { stream, reason, records, .. } in counts {
            let labels = (stream.clone(), reason.clone());
            set_quarantined(labels.clone(), *records as f64);
            gone.remove(&labels);
            self.quarantined_before.insert(labels);
        }
        for labels in gone {
            set_quarantined(labels, 0.0);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^53")]
    fn set_rechecks(&self, rechecks: &[RecheckReport]) {
        let now = self.warehouse.clock().now();
        let rungs = self.settings.sync.recheck.len();
        for RecheckReport { status, .. } in rechecks {
            let stream = status.stream.clone();
            metrics::gauge!(RECHECKS_DUE, "stream" => stream.clone()).set(status.due as f64);
            let overdue = status.due_since.map_or(0.0, |since| (now - since).as_seconds_f64().max(0.0));
            metrics::gauge!(RECHECK_OVERDUE, "stream" => stream.clone()).set(overdue);
            let carried = status.rungs_carried.and_then(|carried| usize::try_from(carried).ok()).unwrap_or(rungs);
            metrics::gauge!(RUNGS_GIVEN_UP, "stream" => stream).set(rungs.saturating_sub(carried) as f64);
        }
    }

    /// Tells how late contacts and scores come, and warns when a stream's contacts begin to come later than its settle
    /// time allows.
    fn set_settling(&mut self, streams: &[&StreamStatus], settlings: &[Settling]) {
        for StreamStatus { stream, .. } in streams {
            let settle = self.settle_of(stream, settlings).as_secs_f64();
            metrics::gauge!(SETTLE, "stream" => stream.clone()).set(settle);
        }
        for settling in settlings {
            let stream = settling.stream.clone();
            for (gauge, delays) in [(APPEARANCE, &settling.appeared), (SCORING, &settling.scored)] {
                for (part, quantile) in [(0.5, "0.5"), (0.95, "0.95"), (0.99, "0.99")] {
                    if let Some(delay) = delays.quantile(part) {
                        metrics::gauge!(gauge, "stream" => stream.clone(), "quantile" => quantile)
                            .set(delay.as_secs_f64());
                    }
                }
            }
            let late = settling.late_part(self.settings.sync.settle).unwrap_or_default();
            metrics::gauge!(SETTLE_LATE, "stream" => stream.clone()).set(late);
            let is_exceeded = late > LATE_PART_MOST;
            metrics::gauge!(SETTLE_EXCEEDED, "stream" => stream.clone()).set(f64::from(u8::from(is_exceeded)));
            if !is_exceeded {
                self.exceeded.remove(&stream);
            } else if self.exceeded.insert(stream.clone()) {
                tracing::warn!(
                    stream,
                    late_pct = (late * 100.0).round(),
                    settle_seconds = self.settle_of(&stream, settlings).as_secs(),
                    "More contacts than a twentieth come later than sync.settle allows; they are not seen before a recheck."
                );
            }
        }
    }

    /// The settle time in force for a stream.
    fn settle_of(&self, stream: &str, settlings: &[Settling]) -> Duration {
        let learned = settlings.iter().find(|settling| settling.stream == stream).and_then(|s| s.settle_seconds);
        self.settings.sync.settle.of(learned)
    }

    fn set_streams(&self, streams: &[&StreamStatus], settlings: &[Settling]) {
        let refused: Vec<String> = streams
            .iter()
            .filter(|status| status.paused_at.is_some())
            .map(|status| format!("{} is refused: {}", status.stream, status.paused_reason.as_deref().unwrap_or("?")))
            .collect();
        if refused.is_empty() {
            self.readiness.pass("streams");
        } else {
            self.readiness.fail("streams", refused.join("; "));
        }
        let now = self.warehouse.clock().now();
        let lag = streams
            .iter()
            .map(|status| now - self.settle_of(&status.stream, settlings) - status.watermark)
            .max()
            .and_then(|lag| lag.to_std().ok());
        let lag = crate::domain::coarse(lag.unwrap_or_default());
        notify::status(&format!("{} streams, {} refused, behind by {lag}", streams.len(), refused.len()));
    }
}

async fn look(warehouse: Warehouse, settings: Arc<Settings>) -> Seen {
    let overview = see(&warehouse, &settings).await?;
    let asked = async {
        let (gauges, accounts) = (warehouse.stream_gauges().await?, warehouse.account_gauges().await?);
        Ok(Look { overview, gauges, accounts })
    };
    match asked.await {
        Err(error) => Err(warehouse.explain(error).await),
        seen => seen,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^53")]
fn set_stream_gauges(gauges: &[StreamGauges]) {
    let seconds = |at: Option<DateTime<Utc>>| at.map_or(0.0, |at| at.timestamp() as f64);
    for told in gauges {
        let set = |name, value: f64| metrics::gauge!(name, "stream" => told.stream.clone()).set(value);
        set(WINDOWS_FAILING, told.windows_failing as f64);
        set(BACKFILL_PROGRESS, seconds(told.backfill_progress_at));
        set(QUARANTINE_LAST_NEW, seconds(told.quarantine_last_new_at));
        set(UNKNOWN_FIELD_LAST_NEW, seconds(told.unknown_field_last_new_at));
        for (state, backfills) in [("running", told.backfills_running), ("paused", told.backfills_paused)] {
            metrics::gauge!(BACKFILLS_OPEN, "stream" => told.stream.clone(), "state" => state).set(backfills as f64);
        }
    }
}

fn set_account_gauges(accounts: &[AccountGauges]) {
    for AccountGauges { account_id, share } in accounts {
        metrics::gauge!(BUDGET_SHARE, "account" => account_id.clone()).set(*share);
    }
}

fn set_windows((stream, lane, state): Labels, windows: f64) {
    metrics::gauge!(WINDOWS, "stream" => stream, "lane" => lane, "state" => state).set(windows);
}

fn set_quarantined((stream, reason): (String, String), records: f64) {
    metrics::gauge!(QUARANTINED, "stream" => stream, "reason" => reason).set(records);
}
