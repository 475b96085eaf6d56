//! `koresync run`

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::lifecycle::{Ending, Lifecycle};
use super::session::{self, Patience};
use super::upkeep::{CHECKS, Upkeep};
use super::{Context, Ended, Exit, counters, output};
use crate::config::{Exposure, Settings};
use crate::domain::clock::SharedClock;
use crate::server::notify::{self, Heartbeat};
use crate::server::{self, CheckState, Readiness};
use crate::status::Board;
use crate::sync::{Engine, Mode, Outcome};
use crate::telemetry::{logs, metrics};
use crate::warehouse::Warehouse;

/// Between two beats that the service manager's watchdog is fed by.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Of the row in `koresync.runs`.
const TOUCH_EVERY: Duration = Duration::from_secs(30);

/// Mirror every configured stream until told to stop.
///
/// SIGTERM or SIGINT finishes what is under way and exits 0; a second one stops at once. Exit 77 when
/// every stream is refused, 78 for a configuration that cannot be used, 1 when the schema is missing,
/// behind, or asks for a newer program.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Work until every stream is up to date and its rechecks and backfills are done, then exit
    ///
    /// Database and API errors are retried for `sync.give_up`. Exit 3 when some streams failed,
    /// windows stayed unverified or it was told to stop, 69 or 77 when all failed.
    #[arg(long)]
    pub once: bool,
}

pub async fn execute(args: RunArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let settings = context.settings()?;
    logs::install(&settings.log)?;
    settings.require_streams()?;
    settings.check_secrets()?;
    warn_of_exposures(&settings);
    let settings = Arc::new(settings);
    if args.once {
        Box::pin(once(settings, Arc::clone(&context.clock))).await
    } else {
        Box::pin(daemon(settings, Arc::clone(&context.clock))).await
    }
}

fn warn_of_exposures(settings: &Settings) {
    for secret in settings.secret_files() {
        if let (Some(file), Some(Exposure { found, mend })) = (secret.file(), secret.exposure()) {
            tracing::warn!(file = %file.display(), mend, "A secret file is {found}.");
        }
    }
}

async fn daemon(settings: Arc<Settings>, clock: SharedClock) -> Result<Exit, anyhow::Error> {
    let life = Lifecycle::start()?;
    let stop = life.stopping();
    let metrics = metrics::install(clock.now())?;
    counters::begin(&settings);
    let readiness = Readiness::awaiting(CHECKS);
    let heartbeat = Heartbeat::default();
    let listen = settings.server.listen;
    let board = Board::new(Arc::clone(&settings), Arc::clone(&clock));
    let bound = server::bind(listen, readiness.clone(), Some(heartbeat.clone()), metrics, board.clone());
    let bound = bound.await.map_err(|error| {
        Ended::new(Exit::Configuration, format!("cannot listen at server.listen = \"{listen}\": {error}"))
    })?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), address = %bound.address, "koresync starts.");
    life.spawn_critical("the HTTP server", {
        let stop = stop.clone();
        async move {
            bound.run(stop).await;
            Ok(())
        }
    });
    life.spawn({
        let stop = stop.clone();
        async move {
            stop.cancelled().await;
            notify::stopping();
        }
    });
    let started = CancellationToken::new();
    life.spawn(notify::watchdog(heartbeat.clone(), started.clone(), stop.clone()));
    let progress = Arc::new(OnceLock::new());
    let patience = 2 * (settings.sync.poll_interval + settings.sync.lease);
    life.spawn(beat(heartbeat, Arc::clone(&progress), patience, stop.clone()));
    notify::status("waiting for the warehouse");
    let serving =
        serve(settings, clock, Watched { readiness: readiness.clone(), board }, progress, started, life.clone());
    life.spawn_critical("the engine", Box::pin(serving));
    let ending = life.wait().await;
    tracing::info!("koresync stops.");
    let database = readiness.checks().remove("database");
    match ending {
        // What waits for a database that is away holds nothing open there.
        Ending::CutShort if !matches!(database, Some(CheckState::Passing)) => Ok(Exit::Done),
        ending => ending.into_exit(),
    }
}

/// What the HTTP server shows of the work.
struct Watched {
    readiness: Readiness,
    board: Board,
}

/// Everything that needs the database, from the wait for it to the last connection closed.
async fn serve(
    settings: Arc<Settings>,
    clock: SharedClock,
    watched: Watched,
    progress: Arc<OnceLock<Progress>>,
    started: CancellationToken,
    life: Lifecycle,
) -> Result<(), anyhow::Error> {
    let stop = life.stopping();
    let Some(warehouse) = session::prepare(&settings, &clock, Patience::Endless, &stop).await? else {
        return Ok(());
    };
    let Watched { readiness, board } = watched;
    readiness.pass("schema");
    board.open(warehouse.clone());
    let owner = session::owner();
    let engine = engine(&settings, &warehouse, &owner, &stop).await?;
    // Set once, here.
    let _ = progress.set(Box::new(engine.progress()));
    let run = warehouse.begin_run(&owner, "run").await?;
    let check = Box::new(engine.database_check());
    let mut upkeep = Upkeep::new(warehouse.clone(), readiness, settings, board, check);
    upkeep.refresh().await;
    notify::ready("mirroring");
    started.cancel();
    life.spawn_critical("the upkeep of gauges", upkeep.repeat(stop.clone()));
    let outcome = attended(&warehouse, run, ended(&warehouse, run, engine.run(Mode::Forever))).await;
    warehouse.close().await;
    match outcome? {
        Outcome::Done => Ok(()),
        Outcome::Partly(why) => Err(Ended::new(Exit::Partly, why).into()),
        Outcome::OutOfReach(why) => Err(Ended::new(Exit::OutOfReach, why).into()),
        Outcome::Refused(why) => Err(Ended::new(Exit::Refused, format!("nothing is left to mirror: {why}")).into()),
    }
}

async fn once(settings: Arc<Settings>, clock: SharedClock) -> Result<Exit, anyhow::Error> {
    let life = Lifecycle::start()?;
    let stop = life.stopping();
    let work = {
        let stop = stop.clone();
        async move {
            let patience = Patience::Until(settings.sync.give_up);
            let Some(warehouse) = session::prepare(&settings, &clock, patience, &stop).await? else {
                return Ok(Outcome::Done);
            };
            let owner = session::owner();
            let engine = engine(&settings, &warehouse, &owner, &stop).await?;
            let run = warehouse.begin_run(&owner, "run --once").await?;
            let outcome = attended(&warehouse, run, ended(&warehouse, run, engine.run(Mode::Once))).await;
            warehouse.close().await;
            outcome
        }
    };
    let outcome = life.complete(Box::pin(work)).await?;
    exit_of(outcome, stop.is_cancelled())
}

/// How work that was to come to an end came to it.
pub(super) fn exit_of(outcome: Outcome, was_stopped: bool) -> Result<Exit, anyhow::Error> {
    match outcome {
        Outcome::Done if was_stopped => {
            output::say("koresync: stopped before everything was read; the next run goes on from here");
            Ok(Exit::Partly)
        }
        Outcome::Done => Ok(Exit::Done),
        Outcome::Partly(why) => Err(Ended::new(Exit::Partly, format!("partly done: {why}")).into()),
        Outcome::OutOfReach(why) => Err(Ended::new(Exit::OutOfReach, why).into()),
        Outcome::Refused(why) => Err(Ended::new(Exit::Refused, why).into()),
    }
}

async fn engine(
    settings: &Settings,
    warehouse: &Warehouse,
    owner: &str,
    stop: &CancellationToken,
) -> Result<Engine, anyhow::Error> {
    let streams: Vec<_> = settings.streams.values().collect();
    let sources = session::sources(settings, &streams, warehouse, stop).await?;
    let options = session::engine_options(settings);
    Ok(Engine::new(warehouse.clone(), options, sources, owner.to_owned(), stop.clone()))
}

/// Notes every half minute, while `work` goes on, that the run lives.
pub(super) async fn attended<T>(warehouse: &Warehouse, run: i64, work: impl Future<Output = T> + Send) -> T {
    let over = CancellationToken::new();
    let touching = tokio::spawn({
        let (warehouse, over) = (warehouse.clone(), over.clone());
        async move {
            while over.run_until_cancelled(tokio::time::sleep(TOUCH_EVERY)).await.is_some() {
                if let Err(error) = warehouse.touch_run(run).await {
                    tracing::debug!(%error, "The run could not be noted as alive.");
                }
            }
        }
    });
    let value = Box::pin(work).await;
    over.cancel();
    // It ends by itself, and is not worth waiting for.
    drop(touching);
    value
}

/// Notes how `work` ended.
pub(super) async fn ended(
    warehouse: &Warehouse,
    run: i64,
    work: impl Future<Output = anyhow::Result<Outcome>> + Send,
) -> anyhow::Result<Outcome> {
    let outcome = Box::pin(work).await;
    let told = match &outcome {
        Ok(Outcome::Done) => "done",
        Ok(Outcome::Partly(_)) => "partly done",
        Ok(Outcome::OutOfReach(_)) => "out of reach",
        Ok(Outcome::Refused(_)) => "refused",
        Err(_) => "failed",
    };
    if let Err(error) = warehouse.end_run(run, told).await {
        tracing::debug!(%error, "The end of the run could not be noted.");
    }
    outcome
}

/// Counts up while the engine's planner looks around.
type Progress = Box<dyn Fn() -> u64 + Send + Sync>;

/// Beats while the runtime gets round to its tasks and, once there is an engine, its planner gets on:
/// a planner that stands still for longer than `patience` lets the service manager restart the process.
async fn beat(heartbeat: Heartbeat, progress: Arc<OnceLock<Progress>>, patience: Duration, stop: CancellationToken) {
    let (mut seen, mut seen_at) = (0, Instant::now());
    while stop.run_until_cancelled(tokio::time::sleep(BEAT_EVERY)).await.is_some() {
        let count = progress.get().map(|count| count());
        if count.is_none_or(|count| count != seen) {
            (seen, seen_at) = (count.unwrap_or_default(), Instant::now());
        }
        if seen_at.elapsed() <= patience {
            heartbeat.beat();
        }
    }
}
