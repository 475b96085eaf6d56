//! `koresync demo`

mod live;
mod telling;

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::lifecycle::Lifecycle;
use super::progress::Progress;
use super::session::{self, Patience};
use super::table::{Align, Table};
use super::{Context, Ended, Exit, run};
use crate::config::{Loader, LogSettings, Settings};
use crate::demo::place::{self, Place};
use crate::demo::postgres::{self, PrivatePostgres};
use crate::demo::stage::{self, Account, Extent, STREAM};
use crate::demo::{comparison, questions};
use crate::domain::clock::SharedClock;
use crate::domain::{coarse, grouped};
use crate::simulate;
use crate::sync::{Engine, Mode, Outcome};
use crate::telemetry::logs;
use crate::warehouse::{ConnectOptions, Warehouse, migrate};
use telling::{Teller, answer_table};

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Show koresync at work, with nothing configured: a private PostgreSQL, a simulated vendor, the daemon
///
/// Everything runs on 127.0.0.1 and goes when it ends. On a terminal it goes on mirroring new contacts
/// until Ctrl-C; elsewhere it ends with exit 0 when the warehouse equals the vendor, with 1 when it does not.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many contacts the vendor has
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub contacts: u64,
    /// Over how many days they are spread
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub days: u32,
    /// Decides every contact
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

pub async fn execute(args: DemoArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    logs::install(&log_settings(context))?;
    let life = Lifecycle::start()?;
    let demo = Demo {
        extent: Extent { contacts: args.contacts, days: args.days, seed: args.seed },
        goes_on: std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
        is_quiet: context.global.quiet > 0,
        clock: Arc::clone(&context.clock),
        stop: life.stopping(),
        teller: Teller::new(),
    };
    life.complete(Box::pin(demo.perform())).await
}

/// What goes wrong here: not how the simulated vendor differs from others, nor what the database remarks.
const LOG_LEVEL: &str = "warn,sqlx=error,koresync::sync::worker=error";

/// The steps say what happens; the log is for what goes wrong, unless more is asked for.
fn log_settings(context: &Context) -> LogSettings {
    let mut settings = context.global.log_settings();
    if context.global.verbose == 0 && context.global.quiet == 0 {
        LOG_LEVEL.clone_into(&mut settings.level);
    }
    settings
}

#[derive(Debug)]
struct Demo {
    extent: Extent,
    /// There is somebody to look on, and to end it.
    goes_on: bool,
    is_quiet: bool,
    clock: SharedClock,
    stop: CancellationToken,
    teller: Teller,
}

/// The servers, and the way to them. Dropped, they end and leave nothing.
#[derive(Debug)]
struct Stage {
    vendor: Arc<simulate::Running>,
    postgres: PrivatePostgres,
    account: Account,
    configuration: String,
    settings: Arc<Settings>,
    // Last, since the server's folder lies in it.
    place: Place,
}

impl Stage {
    fn url(&self, login: &str) -> String {
        login_url(&self.postgres, login)
    }
}

fn login_url(postgres: &PrivatePostgres, login: &str) -> String {
    format!("postgres://{login}@127.0.0.1:{}/{}", postgres.port(), stage::DATABASE)
}

impl Demo {
    async fn perform(self) -> Result<Exit, anyhow::Error> {
        Teller::line("koresync shows itself: all of it is on 127.0.0.1, and goes when it ends.")?;
        Teller::blank()?;
        let stage = Box::pin(self.set()).await?;
        let server = if self.goes_on {
            Some(live::Server::bind(Arc::clone(&stage.settings), Arc::clone(&self.clock)).await?)
        } else {
            None
        };
        if let Some(server) = &server {
            Teller::note(&format!("status page: http://{}", server.address()))?;
        }
        let patience = Patience::Until(stage.settings.sync.give_up);
        let prepared = session::prepare(&stage.settings, &self.clock, patience, &self.stop).await?;
        let warehouse = prepared.ok_or_else(stopped)?;
        if let Some(server) = &server {
            server.open(&warehouse);
        }
        let ended = Box::pin(self.mirror_and_show(&stage, &warehouse, server)).await;
        warehouse.close().await;
        if self.goes_on && ended.is_ok() {
            Teller::line("Ended; its servers and their data are gone.")?;
        }
        ended
    }

    /// Starts the database and the vendor.
    async fn set(&self) -> Result<Stage, anyhow::Error> {
        let began = Instant::now();
        let place = Place::take(Path::new(".")).await.map_err(|error| match error {
            place::Error::Taken(_) => Ended::new(Exit::Held, error.to_string()).into(),
            place::Error::Files { .. } => anyhow::Error::new(error),
        })?;
        let options = postgres::Options {
            directory: Some(place.server()),
            settings: vec![("shared_buffers".into(), "256MB".into()), ("max_wal_size".into(), "4GB".into())],
            ..postgres::Options::default()
        };
        let postgres = PrivatePostgres::start(options).await?;
        self.teller.step(&format!("a private PostgreSQL, on port {}", postgres.port()), began.elapsed())?;
        if let Some(note) = postgres.note() {
            Teller::note(note)?;
        }
        self.check_stop()?;

        let began = Instant::now();
        postgres.create_database(stage::DATABASE).await?;
        let superuser = postgres.url(stage::DATABASE);
        let migrated = migrate::up(&ConnectOptions::new(&SecretString::from(superuser.clone()), false, 1)?).await?;
        stage::make_logins(&superuser).await?;
        let words = format!("its schemas and roles, by {} migrations", migrated.len());
        self.teller.step(&words, began.elapsed())?;
        self.check_stop()?;

        let began = Instant::now();
        let account = Account::new(self.extent, self.clock.now());
        let vendor = simulate::start(account.vendor(), Arc::clone(&self.clock)).await?;
        let Extent { contacts, days, .. } = self.extent;
        let words = format!("a simulated vendor at {}: {} contacts in {days} days", vendor.url(), grouped(contacts));
        self.teller.step(&words, began.elapsed())?;
        Teller::note(&format!(
            "it grants {} requests a minute, so that nobody waits; the real one grants {}",
            grouped(stage::REQUESTS_PER_MINUTE),
            stage::REAL_REQUESTS_PER_MINUTE
        ))?;
        let configuration = account.configuration(&vendor.url(), &login_url(&postgres, stage::DAEMON));
        let settings = Arc::new(Loader::default().load_text("the demonstration's configuration", &configuration)?);
        Ok(Stage { vendor: Arc::new(vendor), postgres, account, configuration, settings, place })
    }

    async fn mirror_and_show(
        &self,
        stage: &Stage,
        warehouse: &Warehouse,
        server: Option<live::Server>,
    ) -> Result<Exit, anyhow::Error> {
        let took = Box::pin(self.mirror(stage, warehouse)).await?;
        Box::pin(self.show(stage, warehouse, took)).await?;
        self.check_stop()?;
        self.ask(stage).await?;
        let Some(server) = server else {
            Teller::blank()?;
            Teller::line("On a terminal it stays, for psql and with a status page, and mirrors on until Ctrl-C.")?;
            return Ok(Exit::Done);
        };
        Box::pin(live::go_on(self, stage, warehouse, server)).await
    }

    /// Reads the whole history; how long that took.
    async fn mirror(&self, stage: &Stage, warehouse: &Warehouse) -> Result<Duration, anyhow::Error> {
        let engine = self.engine(stage, warehouse).await?;
        let mut progress = Progress::new("mirroring", "contacts", self.is_quiet);
        let began = Instant::now();
        let mut running = tokio::spawn(async move { (Box::pin(engine.run(Mode::Once)).await, began.elapsed()) });
        let (outcome, took) = loop {
            if let Ok(ended) = tokio::time::timeout(LOOK_EVERY, &mut running).await {
                break ended?;
            }
            match ledger(warehouse).await {
                Ok(ledger) => progress.update(ledger.verified_share(stage, self.clock.now()), ledger.contacts),
                Err(error) => tracing::debug!(%error, "The progress could not be read."),
            }
        };
        drop(progress);
        match outcome? {
            Outcome::Done if self.stop.is_cancelled() => Err(stopped()),
            outcome => run::exit_of(outcome, false).map(|_| took),
        }
    }

    /// Counts, figures, and the comparison with the vendor.
    async fn show(&self, stage: &Stage, warehouse: &Warehouse, took: Duration) -> Result<(), anyhow::Error> {
        let ledger = ledger(warehouse).await?;
        let rate =
            grouped(i128::from(ledger.contacts) * 1_000 / i128::try_from(took.as_millis().max(1)).unwrap_or(i128::MAX));
        let words = format!("{} contacts mirrored, {rate} a second", grouped(ledger.contacts));
        self.teller.step(&words, took)?;
        let began = Instant::now();
        let watermark = warehouse.stream_state(STREAM).await?.watermark;
        let verdict = comparison::compare(Arc::clone(&stage.vendor), warehouse.pool(), watermark).await?;
        let (tables, equal) = (verdict.tables, verdict.tables.saturating_sub(verdict.differing.len()));
        if !verdict.differing.is_empty() {
            self.teller
                .failure(&format!("differs from the vendor: {equal} of {tables} tables are equal"), began.elapsed())?;
            let message = format!("the warehouse differs from the vendor: {}", verdict.differing.join("; "));
            return Err(Ended::new(Exit::Failed, message).into());
        }
        self.teller
            .step(&format!("equal to the vendor: {equal} of {tables} tables, checksums and all"), began.elapsed())?;

        self.teller.heading("The warehouse now holds")?;
        let mut table = Table::new([("table", Align::Left), ("rows", Align::Right)]);
        for (name, rows) in questions::row_counts(&stage.url(stage::ANALYST)).await? {
            table.row([format!("kore.{name}"), grouped(rows.cast_unsigned())]);
        }
        Teller::table(&table)?;

        let requests: u64 = stage.vendor.stats().requests.values().flat_map(|outcomes| outcomes.values()).sum();
        let hundredths = requests * 10_000 / ledger.contacts.max(1);
        let at_the_real_one = Duration::from_secs(requests * 60 / u64::from(stage::REAL_REQUESTS_PER_MINUTE));
        let share = ledger.verified_share(stage, self.clock.now()) * 100.0;
        self.teller.heading("How it was read")?;
        for (name, value) in [
            ("watermark", format!("{}: all before it is proved complete", watermark.format("%Y-%m-%d %H:%M:%S UTC"))),
            ("verified", format!("{share:.1} % of the settled history, in {} windows", grouped(ledger.windows))),
            (
                "requests",
                format!(
                    "{}, {}.{:02} per 100 contacts; at the real vendor's limit they take {}",
                    grouped(requests),
                    hundredths / 100,
                    hundredths % 100,
                    coarse(at_the_real_one)
                ),
            ),
            ("speed", format!("{rate} contacts a second, {:.1} s in all", took.as_secs_f64())),
        ] {
            Teller::line(&format!("  {name:<10} {value}"))?;
        }
        Ok(())
    }

    async fn ask(&self, stage: &Stage) -> Result<(), anyhow::Error> {
        let answers = questions::ask(&stage.url(stage::ANALYST), &questions::QUESTIONS).await?;
        for (question, answer) in questions::QUESTIONS.iter().zip(&answers) {
            self.teller.heading(question.words)?;
            self.teller.sql(question.sql)?;
            if answer.rows.is_empty() {
                Teller::line("  (too few contacts for an answer)")?;
            } else {
                Teller::table(&answer_table(answer))?;
            }
        }
        Ok(())
    }

    async fn engine(&self, stage: &Stage, warehouse: &Warehouse) -> Result<Engine, anyhow::Error> {
        let settings = &stage.settings;
        let streams: Vec<_> = settings.streams.values().collect();
        let sources = session::sources(settings, &streams, warehouse, &self.stop).await?;
        let options = session::engine_options(settings);
        Ok(Engine::new(warehouse.clone(), options, sources, session::owner(), self.stop.clone()))
    }

    fn check_stop(&self) -> Result<(), anyhow::Error> {
        if self.stop.is_cancelled() { Err(stopped()) } else { Ok(()) }
    }
}

fn stopped() -> anyhow::Error {
    Ended::new(Exit::Partly, "stopped before the end of the demonstration").into()
}

/// What the ledger says of the stream.
#[derive(Debug, Clone, Copy)]
struct Ledger {
    contacts: u64,
    windows: u64,
    verified_seconds: f64,
}

impl Ledger {
    /// Of the history that is settled at `now`, 0 to 1.
    fn verified_share(self, stage: &Stage, now: DateTime<Utc>) -> f64 {
        let settle = TimeDelta::from_std(stage.settings.sync.settle.of(None)).unwrap_or_default();
        let settled = (now - settle - stage.account.start()).as_seconds_f64();
        // The clock went on since the last window was planned.
        if settled - self.verified_seconds < 60.0 { 1.0 } else { self.verified_seconds / settled }
    }
}

async fn ledger(warehouse: &Warehouse) -> Result<Ledger, sqlx::Error> {
    let (contacts, windows, verified_seconds): (i64, i64, f64) = sqlx::query_as(
        "select coalesce(sum(inserted + inserted_before), 0)::bigint, count(*), \
           coalesce(sum(extract(epoch from to_at - from_at)), 0)::float8 \
         from koresync.windows where stream = $1 and state = 'verified'",
    )
    .bind(STREAM)
    .fetch_one(warehouse.pool())
    .await?;
    Ok(Ledger { contacts: contacts.cast_unsigned(), windows: windows.cast_unsigned(), verified_seconds })
}
