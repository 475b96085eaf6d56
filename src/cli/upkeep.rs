//! What the daemon keeps up to date beside its work: gauges, readiness, the sign that it lives.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::server::{Readiness, notify};
use crate::telemetry::metrics::{COUNT_MISMATCH_WINDOWS, LAST_SUCCESS, WATERMARK, WINDOWS};
use crate::warehouse::status::{StreamStatus, WindowCount};
use crate::warehouse::{Warehouse, WarehouseError};

/// The checks of `/readyz`.
pub const CHECKS: [&str; 3] = ["database", "schema", "streams"];
/// Of the row in `koresync.runs`.
pub const TOUCH_EVERY: Duration = Duration::from_secs(30);
const REFRESH_EVERY: Duration = Duration::from_secs(10);

type DatabaseCheck = Box<dyn Fn() -> Result<(), String> + Send + Sync>;
/// Stream, lane and state of a gauge.
type Labels = (String, String, String);

pub struct Upkeep {
    warehouse: Warehouse,
    readiness: Readiness,
    run: i64,
    settings: Arc<Settings>,
    /// What the engine last met.
    database_check: DatabaseCheck,
    /// Gauges set before: one whose windows are gone must fall to 0.
    set_before: Mutex<BTreeSet<Labels>>,
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep").field("run", &self.run).field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

impl Upkeep {
    pub fn new(
        warehouse: Warehouse,
        readiness: Readiness,
        run: i64,
        settings: Arc<Settings>,
        database_check: DatabaseCheck,
    ) -> Self {
        Self { warehouse, readiness, run, settings, database_check, set_before: Mutex::default() }
    }

    /// Refreshes every 10 s until stopped. A database that is away is told by the readiness, and is no
    /// reason to end.
    pub async fn repeat(self, stop: CancellationToken) -> Result<(), anyhow::Error> {
        let mut touched = Instant::now();
        while stop.run_until_cancelled(tokio::time::sleep(REFRESH_EVERY)).await.is_some() {
            self.refresh().await;
            if touched.elapsed() >= TOUCH_EVERY {
                touched = Instant::now();
                if let Err(error) = self.warehouse.touch_run(self.run).await {
                    tracing::debug!(%error, "The run could not be noted as alive.");
                }
            }
        }
        Ok(())
    }

    /// Sets gauges and readiness from the database, once.
    pub async fn refresh(&self) {
        let seen = self.look().await;
        let engine = (self.database_check)();
        match (&seen, engine) {
            (Err(error), _) => self.readiness.fail("database", error.to_string()),
            (Ok(_), Err(why)) => self.readiness.fail("database", why),
            (Ok(_), Ok(())) => self.readiness.pass("database"),
        }
        match seen {
            Ok((streams, windows)) => {
                self.set_gauges(&streams, windows);
                self.set_streams(&streams);
            }
            Err(error) => tracing::debug!(%error, "The gauges could not be refreshed."),
        }
    }

    async fn look(&self) -> Result<(Vec<StreamStatus>, Vec<WindowCount>), WarehouseError> {
        Ok((self.warehouse.stream_statuses().await?, self.warehouse.window_counts().await?))
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^53")]
    fn set_gauges(&self, streams: &[StreamStatus], windows: Vec<WindowCount>) {
        for status in streams {
            let stream = status.stream.clone();
            metrics::gauge!(WATERMARK, "stream" => stream.clone()).set(status.watermark.timestamp() as f64);
            if let Some(at) = status.last_success_at {
                metrics::gauge!(LAST_SUCCESS, "stream" => stream.clone()).set(at.timestamp() as f64);
            }
            metrics::gauge!(COUNT_MISMATCH_WINDOWS, "stream" => stream).set(status.windows_unverified as f64);
        }
        let mut set_before = self.set_before.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = std::mem::take(&mut *set_before);
        // A stream that left the configuration raises no alerts.
        for count in windows.into_iter().filter(|count| streams.iter().any(|s| s.stream == count.stream)) {
            let labels = (count.stream, count.lane, count.state);
            set_windows(labels.clone(), count.windows as f64);
            gone.remove(&labels);
            set_before.insert(labels);
        }
        gone.into_iter().for_each(|labels| set_windows(labels, 0.0));
    }

    fn set_streams(&self, streams: &[StreamStatus]) {
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
        let now = self.warehouse.clock().now() - self.settings.sync.settle;
        let lag = streams.iter().map(|status| now - status.watermark).max().and_then(|lag| lag.to_std().ok());
        let lag = super::progress::coarse(lag.unwrap_or_default());
        notify::status(&format!("{} streams, {} refused, behind by {lag}", streams.len(), refused.len()));
    }
}

fn set_windows((stream, lane, state): Labels, windows: f64) {
    metrics::gauge!(WINDOWS, "stream" => stream, "lane" => lane, "state" => state).set(windows);
}
