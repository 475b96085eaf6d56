//! Files a backfill, works on it in this process, and shows how far it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Order;
use crate::cli::lifecycle::Lifecycle;
use crate::cli::progress::Progress;
use crate::cli::run::{attended, ended, exit_of};
use crate::cli::session::{self, Patience};
use crate::cli::{Context, Ended, Exit, output};
use crate::config::Settings;
use crate::domain::clock::SharedClock;
use crate::status::BackfillReport;
use crate::sync::{Engine, Mode, Outcome};
use crate::telemetry::logs;
use crate::warehouse::backfills::{Backfill, SILENT_FOR};
use crate::warehouse::{Warehouse, WarehouseError};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A follower silent for three of these may be replaced.
const TELL_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn execute(
    order: Order,
    is_detached: bool,
    settings: Settings,
    context: &Context,
) -> Result<Exit, anyhow::Error> {
    logs::install(&context.log_beside_progress(&settings))?;
    let life = Lifecycle::start()?;
    let work = Follow {
        order,
        is_detached,
        is_json: context.global.json,
        is_quiet: context.global.quiet > 0,
        settings: Arc::new(settings),
        clock: Arc::clone(&context.clock),
        stop: life.stopping(),
    };
    life.complete(Box::pin(work.carry_out())).await
}

struct Follow {
    order: Order,
    is_detached: bool,
    is_json: bool,
    is_quiet: bool,
    settings: Arc<Settings>,
    clock: SharedClock,
    stop: CancellationToken,
}

impl Follow {
    async fn carry_out(self) -> Result<Exit, anyhow::Error> {
        let patience = Patience::Until(self.settings.sync.give_up);
        let Some(warehouse) = session::prepare(&self.settings, &self.clock, patience, &self.stop).await? else {
            return exit_of(Outcome::Done, true);
        };
        let id = self.file(&warehouse).await?;
        if self.is_detached {
            if self.is_json {
                output::json(&BackfillReport::from(warehouse.backfill(id).await?))?;
            } else {
                output::data(&id.to_string())?;
            }
            warehouse.close().await;
            return Ok(Exit::Done);
        }
        let owner = session::owner();
        session::take_in_hand(&self.stop, SILENT_FOR, || Box::pin(warehouse.follow_backfill(id, &owner))).await?;
        let run = warehouse.begin_run(&owner, "backfill").await?;
        let over = CancellationToken::new();
        let telling = tokio::spawn(tell(warehouse.clone(), id, owner.clone(), self.is_quiet, over.clone()));
        let work = async {
            let outcome = ended(&warehouse, run, self.work(&warehouse, id, &owner)).await;
            over.cancel();
            let last = warehouse.backfill(id).await;
            warehouse.unfollow_backfill(id, &owner).await.ok();
            (outcome, last)
        };
        let (outcome, last) = attended(&warehouse, run, work).await;
        let progress = telling.await.ok();
        warehouse.close().await;
        self.conclude(outcome?, &last?, progress)
    }

    /// Files it, or finds the open one of the same range. One whose end was clipped ends elsewhere each
    /// time it is ordered, so it is known by its start.
    async fn file(&self, warehouse: &Warehouse) -> Result<i64, WarehouseError> {
        let Order { stream, range, is_clipped, span, .. } = &self.order;
        if *is_clipped {
            let open = warehouse.open_backfills().await?;
            let same = |b: &&Backfill| b.stream == stream.name && b.from_at == range.from && b.origin == "operator";
            if let Some(open) = open.iter().filter(same).find(|b| b.to_at <= range.to) {
                output::say(&format!("going on with backfill {}, which ends at {}", open.id, open.to_at));
                return Ok(open.id);
            }
        }
        warehouse.file_backfill(&stream.name, *range, *span).await
    }

    /// Works until it is over. An engine that got nowhere is followed by another one while the backfill
    /// is paused or others get on with it.
    async fn work(&self, warehouse: &Warehouse, id: i64, owner: &str) -> anyhow::Result<Outcome> {
        loop {
            let before = warehouse.backfill(id).await?;
            let sources = session::sources(&self.settings, &[&self.order.stream], warehouse, &self.stop).await?;
            let options = session::engine_options(&self.settings);
            let engine = Engine::new(warehouse.clone(), options, sources, owner.to_owned(), self.stop.clone());
            let outcome = Box::pin(engine.run(Mode::Backfill(id))).await?;
            if self.stop.is_cancelled() || !matches!(outcome, Outcome::Partly(_) | Outcome::OutOfReach(_)) {
                return Ok(outcome);
            }
            let Ok(after) = warehouse.backfill(id).await else { return Ok(outcome) };
            if after.state != "paused" && after.read_seconds <= before.read_seconds {
                return Ok(outcome);
            }
        }
    }

    fn conclude(
        &self,
        outcome: Outcome,
        backfill: &Backfill,
        progress: Option<Progress>,
    ) -> Result<Exit, anyhow::Error> {
        let words = format!(
            "{}, {} contacts ({} new, {} changed, {} unchanged, {} quarantined), {} requests",
            if backfill.is_open() { "not finished" } else { backfill.state.as_str() },
            backfill.contacts,
            backfill.inserted,
            backfill.changed,
            backfill.unchanged,
            backfill.quarantined,
            backfill.requests
        );
        if let Some(progress) = progress {
            progress.finish(&words);
        }
        if self.is_json {
            output::json(&BackfillReport::from(backfill.clone()))?;
        }
        let exit = exit_of(outcome, self.stop.is_cancelled() && backfill.is_open())?;
        match backfill.state.as_str() {
            _ if exit != Exit::Done => Ok(exit),
            "done" if backfill.windows_unverified == 0 => Ok(Exit::Done),
            "done" => Err(partly(format!(
                "{} windows could not be verified; they are tried again by `koresync run`, or now by `koresync backfill retry {}`",
                backfill.windows_unverified, backfill.id
            ))),
            state => Err(partly(format!("backfill {} is {state}", backfill.id))),
        }
    }
}

fn partly(message: String) -> anyhow::Error {
    Ended::new(Exit::Partly, message).into()
}

/// Shows how far the backfill is, and that it is followed, until it is over.
async fn tell(warehouse: Warehouse, id: i64, owner: String, is_quiet: bool, over: CancellationToken) -> Progress {
    let mut told = Instant::now();
    let mut progress = Progress::new(format!("backfill {id}"), "contacts", is_quiet);
    let mut was_paused = false;
    while over.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        if let Ok(backfill) = warehouse.backfill(id).await {
            progress.update(backfill.progress(), u64::try_from(backfill.contacts).unwrap_or(0));
            let is_paused = backfill.state == "paused";
            if is_paused && !was_paused {
                output::say(&format!("backfill {id} is paused; `koresync backfill resume {id}` lets it go on"));
            }
            was_paused = is_paused;
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            if let Err(error) = warehouse.follow_backfill(id, &owner).await {
                tracing::warn!(%error, "The backfill's follower could not be noted.");
            }
        }
    }
    progress
}
