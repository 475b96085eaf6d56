//! `koresync rebuild`

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::lifecycle::Lifecycle;
use super::progress::Progress;
use super::run::{attended, ended};
use super::session::{self, Patience, patiently};
use super::{Context, Ended, Exit, moment, output};
use crate::config::Settings;
use crate::domain::clock::SharedClock;
use crate::status::time;
use crate::sync::{Outcome, rebuild, tightening};
use crate::telemetry::logs;
use crate::warehouse::Warehouse;
use crate::warehouse::rebuilds::{Rebuild, RebuildScope, SILENT_FOR};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Make the rows anew from the kept payloads, without the API.
///
/// After an upgrade that reads records otherwise, or when tables were damaged. A daemon may run meanwhile.
/// Rows that come out as they are held are not written. Killed and started again with the same arguments,
/// it goes on where it was. Exit 3 when it was stopped, or a payload cannot become rows any more; 75 when
/// another process works on it.
#[derive(Debug, Args)]
pub struct RebuildArgs {
    /// One stream alone
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
    /// Contacts that start at this moment or later, as 2026-01-01T00:00:00Z or 2026-01-01
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    pub from: Option<DateTime<Utc>>,
    /// Contacts that start before this moment
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    pub to: Option<DateTime<Utc>>,
    /// Move the business days of the whole warehouse into this IANA time zone instead
    ///
    /// From the first moment on, programs configured with another zone write nothing; those configured with
    /// this one start once all days are moved.
    #[arg(long, value_name = "ZONE", value_parser = zone, conflicts_with_all = ["stream", "from", "to"])]
    pub time_zone: Option<Tz>,
}

fn zone(name: &str) -> Result<Tz, String> {
    name.parse().map_err(|_| "write the IANA name of a time zone, as Europe/Berlin or UTC".to_owned())
}

pub async fn execute(args: RebuildArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let mut settings = context.settings()?;
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from >= to
    {
        let message = format!("--from {} is not before --to {}", time(from), time(to));
        return Err(Ended::new(Exit::Usage, message).into());
    }
    logs::install(&context.log_beside_progress(&settings))?;
    let configured = settings.warehouse.time_zone;
    if let Some(zone) = args.time_zone {
        settings.warehouse.time_zone = zone;
    }
    let life = Lifecycle::start()?;
    let work = Work {
        scope: RebuildScope { stream: args.stream, from: args.from, to: args.to, time_zone: args.time_zone },
        is_json: context.global.json,
        is_quiet: context.global.quiet > 0,
        configured,
        settings,
        clock: context.clock.clone(),
        stop: life.stopping(),
    };
    life.complete(Box::pin(work.carry_out())).await
}

struct Work {
    scope: RebuildScope,
    is_json: bool,
    is_quiet: bool,
    /// Before `--time-zone` took its place.
    configured: Tz,
    settings: Settings,
    clock: SharedClock,
    stop: CancellationToken,
}

impl Work {
    fn patience(&self) -> Patience {
        Patience::Until(self.settings.sync.give_up)
    }

    async fn carry_out(self) -> Result<Exit, anyhow::Error> {
        let warehouse = session::open(&self.settings, &self.clock).await?;
        if self.scope.time_zone.is_none() {
            session::settle(&warehouse).await?;
        }
        if let Some(stream) = &self.scope.stream {
            warehouse.stream_state(stream).await?;
        }
        let id = rebuild::file(&warehouse, &self.scope).await?;
        let worker = session::owner();
        session::take_in_hand(&self.stop, SILENT_FOR, || Box::pin(warehouse.hold_rebuild(id, &worker))).await?;
        let run = warehouse.begin_run(&worker, "rebuild").await?;
        let began = warehouse.rebuild(id).await?;
        if began.visited > 0 {
            output::say(&format!("going on with rebuild {id}, {} of {} contacts done", began.visited, began.expected));
        }
        let mut progress = Progress::new(format!("rebuild {id}"), "contacts", self.is_quiet);
        let work = ended(&warehouse, run, self.work(&warehouse, id, &worker, &mut progress));
        let mut outcome = attended(&warehouse, run, work).await;
        let is_over = !warehouse.rebuild(id).await?.is_open();
        if outcome.is_ok() && is_over && self.scope == RebuildScope::default() {
            outcome = self.tighten(&warehouse).await;
        }
        let hides = !self.settings.privacy.treatments.keep_all();
        if outcome.is_ok() && hides && self.scope.time_zone.is_none() && self.scope != RebuildScope::default() {
            output::say(
                "history, quarantine and names of agents are made to obey [privacy] by a rebuild of everything",
            );
        }
        warehouse.let_go_of_rebuild(id, &worker).await.ok();
        let last = warehouse.rebuild(id).await;
        warehouse.close().await;
        outcome?;
        self.conclude(&last?, progress)
    }

    /// Transaction after transaction, until nothing is left or it is told to stop.
    async fn work(
        &self,
        warehouse: &Warehouse,
        id: i64,
        worker: &str,
        progress: &mut Progress,
    ) -> anyhow::Result<Outcome> {
        let mut told = Instant::now();
        while !self.stop.is_cancelled() {
            let step = || -> session::Attempt<'_, bool> {
                Box::pin(rebuild::step(warehouse, id, worker, self.scope.time_zone))
            };
            match patiently(self.patience(), &self.stop, step).await? {
                Some(true) => {}
                Some(false) | None => break,
            }
            if told.elapsed() >= LOOK_EVERY {
                told = Instant::now();
                let state = warehouse.rebuild(id).await?;
                progress.update(state.progress(), state.visited.unsigned_abs());
            }
        }
        Ok(Outcome::Done)
    }

    /// What payloads do not show is made to obey privacy settings too.
    async fn tighten(&self, warehouse: &Warehouse) -> anyhow::Result<Outcome> {
        let goes_on = || !self.stop.is_cancelled();
        match tightening::tighten(warehouse, goes_on).await? {
            Some(0) => Ok(Outcome::Done),
            Some(rows) => {
                output::say(&format!(
                    "{rows} rows without a payload, of the history and in quarantine obey [privacy] now"
                ));
                Ok(Outcome::Done)
            }
            None => {
                let message = "stopped before everything obeyed [privacy]; the same command does the rest";
                Err(Ended::new(Exit::Partly, message).into())
            }
        }
    }

    fn conclude(&self, rebuild: &Rebuild, progress: Progress) -> Result<Exit, anyhow::Error> {
        let state = if rebuild.is_open() { "not finished" } else { rebuild.state.as_str() };
        let Rebuild { id, visited, rewritten, refused, .. } = rebuild;
        progress.finish(&format!("{state}, {visited} contacts, {rewritten} written anew, {refused} refused"));
        if self.is_json {
            output::json(rebuild)?;
        }
        if rebuild.is_open() {
            output::say("koresync: stopped before everything was rebuilt; the same command goes on from here");
            return Ok(Exit::Partly);
        }
        if let Some(zone) = self.scope.time_zone.filter(|zone| *zone != self.configured) {
            output::say(&format!("now set warehouse.time_zone = \"{zone}\", then start the daemon"));
        }
        match (rebuild.state.as_str(), refused) {
            ("done", 0) => Ok(Exit::Done),
            ("done", refused) => Err(Ended::new(
                Exit::Partly,
                format!("{refused} payloads cannot become rows; `koresync quarantine list` shows why"),
            )
            .into()),
            (state, _) => Err(Ended::new(Exit::Partly, format!("rebuild {id} is {state}")).into()),
        }
    }
}
