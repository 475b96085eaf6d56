//! `koresync verify`: the tables against the API, stream by stream, window by window.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::VerifyArgs;
use super::repair::repair;
use super::telling::{Telling, Totals};
use crate::cli::lifecycle::Lifecycle;
use crate::cli::session::{self, Patience};
use crate::cli::{Context, Ended, Exit, exit, output};
use crate::config::{Settings, StreamSettings};
use crate::domain::Window;
use crate::domain::clock::SharedClock;
use crate::domain::window::floor_to_second;
use crate::status::time;
use crate::sync::verify::{Order, Orders, Verifier, counted_parts};
use crate::telemetry::logs;
use crate::warehouse::streams::StreamConflict;
use crate::warehouse::{Warehouse, WarehouseError};

pub(super) async fn execute(args: VerifyArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let settings = context.settings()?;
    settings.require_streams()?;
    settings.check_secrets()?;
    logs::install(&context.log_beside_progress(&settings))?;
    let life = Lifecycle::start()?;
    let work = Verification {
        args,
        telling: Telling::new(context.global.json),
        settings: Arc::new(settings),
        clock: Arc::clone(&context.clock),
        stop: life.stopping(),
    };
    life.complete(Box::pin(work.carry_out())).await
}

pub(super) struct Verification {
    args: VerifyArgs,
    pub(super) telling: Telling,
    pub(super) settings: Arc<Settings>,
    pub(super) clock: SharedClock,
    pub(super) stop: CancellationToken,
}

impl Verification {
    async fn carry_out(mut self) -> Result<Exit, anyhow::Error> {
        let settings = Arc::clone(&self.settings);
        let streams = self.streams(&settings)?;
        let Some(warehouse) = self.open().await? else { return Ok(Exit::Partly) };
        let mut is_equal = true;
        for stream in streams {
            check_identity(&warehouse, stream).await?;
            let ranges = match self.ranges(&warehouse, stream).await {
                Ok(ranges) => ranges,
                // Of several streams one that holds nothing yet does not keep the others from being looked at.
                Err(error) if self.args.stream.is_none() && matches!(exit::of(&error), Exit::Partly | Exit::Failed) => {
                    output::say(&format!("{}: {error:#}", stream.name));
                    is_equal = false;
                    continue;
                }
                Err(error) => return Err(error),
            };
            is_equal &= if self.args.count {
                self.count(&warehouse, stream, &ranges).await?
            } else {
                self.compare(&warehouse, stream, &ranges).await?
            };
        }
        warehouse.close().await;
        Ok(if is_equal { Exit::Done } else { Exit::Partly })
    }

    fn streams<'s>(&self, settings: &'s Settings) -> Result<Vec<&'s StreamSettings>, Ended> {
        let Some(name) = &self.args.stream else { return Ok(settings.streams.values().collect()) };
        let known = || settings.streams.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let unknown = || Ended::new(Exit::Usage, format!("no stream {name} is configured; there are: {}", known()));
        Ok(vec![settings.streams.get(name).ok_or_else(unknown)?])
    }

    /// A repair files work as a run does; a look alone leaves everything as it is.
    async fn open(&self) -> Result<Option<Warehouse>, anyhow::Error> {
        if self.args.repair {
            let patience = Patience::Until(self.settings.sync.give_up);
            return session::prepare(&self.settings, &self.clock, patience, &self.stop).await;
        }
        let warehouse = session::open(&self.settings, &self.clock).await?;
        // Texts are known by hashes that need the key.
        warehouse.guard().await?;
        Ok(Some(warehouse))
    }

    /// With both ends given, that range; else the verified history between those that are.
    async fn ranges(&self, warehouse: &Warehouse, stream: &StreamSettings) -> Result<Vec<Window>, anyhow::Error> {
        let usage = |message: String| Ended::new(Exit::Usage, message);
        let settlings = warehouse.settlings().await?;
        let learned = settlings.iter().find(|s| s.stream == stream.name).and_then(|s| s.settle_seconds);
        let settled = floor_to_second(self.clock.now() - self.settings.sync.settle.of(learned));
        // What is older is let go, and would only seem to be missing.
        let kept_from = session::retention(&self.settings).cutoffs(self.clock.now()).contacts.map(floor_to_second);
        let (from, to) = (self.args.from.max(kept_from), self.args.to.map(|to| clip(to, settled)));
        if let (Some(from), Some(to), true) = (from, to, self.args.from.is_some()) {
            let range = Window::new(from, to);
            return Ok(vec![range.ok_or_else(|| {
                usage(format!(
                    "--from {} is not before --to {}, or nothing is settled or kept there",
                    time(from),
                    time(to)
                ))
            })?]);
        }
        // Errors when the stream was never run.
        warehouse.stream_state(&stream.name).await?;
        let within = |stretch: Window| {
            Window::new(
                from.map_or(stretch.from, |from| from.max(stretch.from)),
                to.map_or(stretch.to, |to| to.min(stretch.to)),
            )
        };
        let stretches: Vec<Window> =
            warehouse.verified_stretches(&stream.name).await?.into_iter().filter_map(within).collect();
        if stretches.is_empty() {
            let message =
                format!("nothing of {} is verified there yet: name --from and --to to look all the same", stream.name);
            return Err(Ended::new(Exit::Partly, message).into());
        }
        Ok(stretches)
    }

    pub(super) async fn verifier(
        &self,
        warehouse: &Warehouse,
        stream: &StreamSettings,
    ) -> Result<Verifier, anyhow::Error> {
        let mut sources = session::sources(&self.settings, &[stream], warehouse, &self.stop).await?;
        let source = sources.pop().ok_or_else(|| anyhow::anyhow!("no source of {}", stream.name))?;
        Verifier::new(warehouse.clone(), session::engine_options(&self.settings), source).await
    }

    async fn count(
        &mut self,
        warehouse: &Warehouse,
        stream: &StreamSettings,
        ranges: &[Window],
    ) -> Result<bool, anyhow::Error> {
        let verifier = self.verifier(warehouse, stream).await?;
        if verifier.is_total_useless() {
            let message = format!(
                "the vendor's total of {} counts something else than contacts: read them, without --count",
                stream.name
            );
            return Err(Ended::new(Exit::Failed, message).into());
        }
        let parts = counted_parts(ranges);
        output::say(&format!("{}: counting in {} requests", stream.name, parts.len()));
        let mut is_equal = true;
        for part in parts {
            let counted = verifier.count(part).await?;
            let counted =
                counted.ok_or_else(|| Ended::new(Exit::Failed, "the API told no total, so nothing can be counted"))?;
            is_equal &= counted.is_equal();
            self.telling.counted(&stream.name, &counted)?;
        }
        Ok(is_equal)
    }

    async fn compare(
        &mut self,
        warehouse: &Warehouse,
        stream: &StreamSettings,
        ranges: &[Window],
    ) -> Result<bool, anyhow::Error> {
        let mut verifier = self.verifier(warehouse, stream).await?;
        if !verifier.is_by_start() {
            output::say(&format!(
                "{}: the vendor is not known to filter by the start, so nothing can be said to be gone there",
                stream.name
            ));
        }
        let mut orders = Orders::default();
        let mut totals = Totals::default();
        verifier.set_out(ranges.iter().map(|range| Order::part(*range)));
        while let Some(comparison) = verifier.next().await? {
            verifier.order(&mut orders, &comparison);
            totals.add(&comparison);
            self.telling.compared(&stream.name, &comparison, false)?;
        }
        self.telling.total(&stream.name, &totals, false)?;
        if totals.is_equal() || !self.args.repair {
            return Ok(totals.is_equal());
        }
        repair(self, warehouse, stream, &mut verifier, &orders).await
    }
}

fn clip(to: DateTime<Utc>, settled: DateTime<Utc>) -> DateTime<Utc> {
    if to > settled {
        output::say(&format!("nothing after {} is settled yet: the range ends there", time(settled)));
    }
    to.min(settled)
}

/// The tables of a stream are compared with the stream that filled them, and with no other one.
async fn check_identity(warehouse: &Warehouse, stream: &StreamSettings) -> Result<(), WarehouseError> {
    let held = warehouse.stream_identities().await?;
    let Some(held) = held.into_iter().find(|held| held.stream == stream.name) else { return Ok(()) };
    for (what, held, configured) in
        [("account_id", &held.account_id, &stream.api.account_id), ("stream_id", &held.stream_id, &stream.stream_id)]
    {
        if held != configured {
            let (stream, held, configured) = (stream.name.clone(), held.clone(), configured.clone());
            return Err(StreamConflict { stream, what, held, configured }.into());
        }
    }
    Ok(())
}
