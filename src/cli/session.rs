//! From settings to what works with them: the warehouse, the engine's options, the streams' clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Ended, Exit, output};
use crate::api::{self, LargeAnswers, SecretSource, SettingError};
use crate::config::{ApiSettings, Credentials, Paging, Secret, Settings, StreamSettings, ThresholdPlace};
use crate::domain::clock::SharedClock;
use crate::domain::coarse;
use crate::domain::privacy::Kind;
use crate::domain::window::floor_to_second;
use crate::sync::paging::Habit;
use crate::sync::{Options, Retention, Rule, Source};
use crate::warehouse::budget::AccountBudget;
use crate::warehouse::error::Remedy;
use crate::warehouse::privacy::Configured;
use crate::warehouse::streams::Registration;
use crate::warehouse::{ConnectOptions, Warehouse, WarehouseError};

/// Beside the workers: the planner, the gauges, live windows, days that are kept, and one to spare.
const CONNECTIONS_BESIDE_WORKERS: usize = 5;
/// For a command that only asks and tells.
const CONNECTIONS_OF_A_READER: u32 = 2;
/// No page is asked for longer than this before its window is given back.
const PAGE_GIVE_UP: Duration = Duration::from_mins(2);
/// However short `sync.give_up` is, an answer may take so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Between two tries of a database that is away, and between two words about it.
const TRY_EVERY: Duration = Duration::from_secs(1);
const TELL_EVERY: Duration = Duration::from_secs(30);

/// How long a database that is away is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The daemon's; it is told in the log.
    Endless,
    /// Of one-shot commands: `sync.give_up`; it is told on stderr.
    Until(Duration),
}

/// One try of something that needs the warehouse.
pub type Attempt<'a, T> = BoxFuture<'a, Result<T, WarehouseError>>;

/// How to reach the warehouse, with connections enough for the engine.
pub fn engine_connection(settings: &Settings) -> Result<ConnectOptions, anyhow::Error> {
    let connections = u32::try_from(settings.sync.workers + CONNECTIONS_BESIDE_WORKERS)?;
    connection(settings, connections)
}

fn connection(settings: &Settings, connections: u32) -> Result<ConnectOptions, anyhow::Error> {
    let held = settings.warehouse_connection()?;
    Ok(ConnectOptions::new(&held.url, !held.verify_full, connections)?)
}

/// The warehouse for a command that asks and tells: reached within `sync.give_up`, its schema there.
pub async fn open(settings: &Settings, clock: &SharedClock) -> Result<Warehouse, anyhow::Error> {
    let options = connection(settings, CONNECTIONS_OF_A_READER)?;
    let warehouse = warehouse(settings, clock, &options)?;
    let stop = CancellationToken::new();
    let ready = patiently(Patience::Until(settings.sync.give_up), &stop, || {
        Box::pin(async {
            options.reach().await?;
            warehouse.check_schema().await
        })
    });
    ready.await?;
    Ok(warehouse)
}

pub fn warehouse(
    settings: &Settings,
    clock: &SharedClock,
    options: &ConnectOptions,
) -> Result<Warehouse, anyhow::Error> {
    let privacy = Configured { treatments: settings.privacy.treatments, key: settings.privacy_key()? };
    let warehouse = Warehouse::new(options, Arc::clone(clock), settings.warehouse.time_zone, settings.sync.lease);
    Ok(warehouse.with_privacy(privacy))
}

/// Puts in force what the configuration says of the warehouse as a whole, or errors where that was settled
/// otherwise before. Before anything is written.
pub async fn settle(warehouse: &Warehouse) -> Result<(), WarehouseError> {
    warehouse.settle_time_zone().await?;
    let settled = warehouse.settle_privacy().await?;
    let names = |kinds: &[Kind]| kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
    if !settled.tightened.is_empty() {
        tracing::warn!(
            kinds = names(&settled.tightened),
            "[privacy] keeps less than before. What is held already is made to obey by `koresync rebuild`."
        );
    }
    if !settled.loosened.is_empty() {
        tracing::warn!(
            kinds = names(&settled.loosened),
            "[privacy] keeps more than before. What was hidden comes back where it is read again, as by `koresync backfill`."
        );
    }
    if settled.is_first_key {
        tracing::info!("The privacy key belongs to this warehouse from now on; keep it safe.");
    }
    Ok(())
}

/// The server ends each statement after a lease: one without an answer for a quarter longer gets none any more.
fn answer_due(lease: Duration) -> Duration {
    lease + (lease / 4).max(Duration::from_secs(5))
}

/// The warehouse with everything settled that work on it needs: schema, time zone, the configured
/// streams. `None` when stopped while the database was away.
pub async fn prepare(
    settings: &Settings,
    clock: &SharedClock,
    patience: Patience,
    stop: &CancellationToken,
) -> Result<Option<Warehouse>, anyhow::Error> {
    let options = engine_connection(settings)?.answered_within(answer_due(settings.sync.lease));
    let warehouse = warehouse(settings, clock, &options)?;
    let registrations = registrations(settings, clock);
    let names: Vec<&str> = settings.streams.keys().map(String::as_str).collect();
    let prepared = patiently(patience, stop, || {
        Box::pin(async {
            // Outside the pool: it tells at once why there is no connection, where the pool waits.
            options.reach().await?;
            warehouse.check_schema().await?;
            settle(&warehouse).await?;
            warehouse.register_streams(&registrations).await?;
            warehouse.retry_now(&names).await
        })
    });
    Ok(prepared.await?.map(|()| warehouse))
}

/// Takes something in hand that one process holds at a time, or waits as long as a holder that died may still look
/// alive (`silent_for`): one that was killed is succeeded at once by the one started after it; a living one is left alone.
pub async fn take_in_hand<'a>(
    stop: &CancellationToken,
    silent_for: Duration,
    mut hold: impl FnMut() -> Attempt<'a, ()> + Send,
) -> Result<(), WarehouseError> {
    let began = Instant::now();
    loop {
        match hold().await {
            Err(WarehouseError::Held(_)) if stop.is_cancelled() => return Err(WarehouseError::Stopped),
            Err(WarehouseError::Held(_)) if began.elapsed() <= silent_for => {
                stop.run_until_cancelled(tokio::time::sleep(TRY_EVERY)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Tries until it works, fails in a way that waiting does not mend, or patience ends. `None` when
/// stopped; a try that is under way is never cancelled.
pub async fn patiently<'a, T>(
    patience: Patience,
    stop: &CancellationToken,
    mut attempt: impl FnMut() -> Attempt<'a, T> + Send,
) -> Result<Option<T>, anyhow::Error> {
    let began = Instant::now();
    let mut told: Option<Instant> = None;
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(Some(value)),
            Err(error) if error.remedy() == Remedy::Wait || error.is_conflict() => error,
            Err(error) => return Err(error.into()),
        };
        let is_due = told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        match patience {
            Patience::Until(give_up) if began.elapsed() + TRY_EVERY > give_up => {
                let message = format!("the warehouse is out of reach, tried for {}", coarse(give_up));
                return Err(anyhow::Error::new(error).context(Ended::new(Exit::OutOfReach, message)));
            }
            Patience::Until(give_up) if is_due => {
                output::say(&format!("waiting up to {} for the warehouse: {error}", coarse(give_up)));
            }
            Patience::Endless if is_due => {
                let seconds = began.elapsed().as_secs();
                tracing::warn!(%error, seconds, "The warehouse does not answer; trying every second.");
            }
            _ => {}
        }
        if is_due {
            told = Some(Instant::now());
        }
        if stop.run_until_cancelled(tokio::time::sleep(TRY_EVERY)).await.is_none() {
            return Ok(None);
        }
    }
}

fn registrations(settings: &Settings, clock: &SharedClock) -> Vec<Registration> {
    // What would be let go at once is not fetched.
    let kept_since = retention(settings).cutoffs(clock.now()).contacts;
    let first_span = first_span(settings);
    let registration = |stream: &StreamSettings| Registration {
        stream: stream.name.clone(),
        account_id: stream.api.account_id.clone(),
        stream_id: stream.stream_id.clone(),
        start_at: kept_since.map_or(stream.start, |since| stream.start.max(floor_to_second(since))),
        first_span,
        settle: TimeDelta::from_std(settings.sync.settle.of(None)).unwrap_or_default(),
    };
    settings.streams.values().map(registration).collect()
}

fn first_span(settings: &Settings) -> TimeDelta {
    TimeDelta::from_std(settings.sync.window).unwrap_or(TimeDelta::hours(1))
}

pub fn retention(settings: &Settings) -> Retention {
    Retention { payloads: settings.retention.payloads, contacts: settings.retention.contacts }
}

pub fn engine_options(settings: &Settings) -> Options {
    let sync = &settings.sync;
    Options {
        workers: sync.workers,
        fetches: sync.fetches,
        max_window_bytes: sync.max_window_bytes,
        poll_interval: sync.poll_interval,
        settle: sync.settle,
        give_up: sync.give_up,
        lease: sync.lease,
        retention: retention(settings),
        recheck: Rule::new(&sync.recheck),
    }
}

/// The way to each of the named streams' server; those of one account share its budget.
pub async fn sources(
    settings: &Settings,
    streams: &[&StreamSettings],
    warehouse: &Warehouse,
    stop: &CancellationToken,
) -> Result<Vec<Source>, anyhow::Error> {
    let mut budgets: BTreeMap<&str, Arc<AccountBudget>> = BTreeMap::new();
    let mut sources = Vec::new();
    let large = LargeAnswers::default();
    for &stream in streams {
        let account = stream.api.account_id.as_str();
        let budget = if let Some(budget) = budgets.get(account) {
            Arc::clone(budget)
        } else {
            let rate = f64::from(stream.api.requests_per_minute);
            let opened = Arc::new(AccountBudget::open(warehouse, account, rate, stop.clone()).await?);
            budgets.insert(account, Arc::clone(&opened));
            opened
        };
        sources.push(Source {
            stream: stream.name.clone(),
            client: client(settings, stream, warehouse.clock())?.stopped_by(stop.clone()).sharing(large.clone()),
            budget,
            page_size: stream.api.page_size,
            paging: habit(stream.api.paging),
            include_below_threshold: stream.api.include_below_threshold,
            poll_interval: settings.poll_interval(stream),
        });
    }
    Ok(sources)
}

/// The client of a stream's server. Sends nothing yet.
pub fn client(settings: &Settings, stream: &StreamSettings, clock: &SharedClock) -> Result<api::Client, anyhow::Error> {
    let give_up = settings.sync.give_up.min(PAGE_GIVE_UP);
    let retry = api::RetryPolicy { give_up, ..api::RetryPolicy::default() };
    let mut endpoint = endpoint(stream)?;
    endpoint.timeouts.total = endpoint.timeouts.total.min(give_up.max(ANSWER_WITHIN));
    Ok(api::Client::new(endpoint, credentials(&stream.api), Arc::clone(clock), retry, rand::random())?)
}

pub fn endpoint(stream: &StreamSettings) -> Result<api::Endpoint, SettingError> {
    let api = &stream.api;
    Ok(api::Endpoint {
        stream: stream.name.clone(),
        base_url: api.base_url.parse()?,
        path_prefix: api.path_prefix.clone(),
        stream_id: stream.stream_id.clone(),
        account_id: api.account_id.clone(),
        org_id: api.org_id.clone(),
        date_format: api.date_format.parse()?,
        include_below_threshold: Some(api.include_below_threshold),
        include_below_threshold_in: match api.include_below_threshold_in {
            ThresholdPlace::Body => api::Placement::Body,
            ThresholdPlace::Query => api::Placement::Query,
        },
        max_body_bytes: u64::try_from(api.max_body_bytes).unwrap_or(u64::MAX),
        timeouts: api::Timeouts::default(),
        user_agent: concat!("koresync/", env!("CARGO_PKG_VERSION")).to_owned(),
    })
}

fn credentials(api: &ApiSettings) -> api::Credentials {
    let source = |secret: &Secret| match secret {
        Secret::Given(secret) => SecretSource::Inline(secret.clone()),
        Secret::File(path) => SecretSource::file(path),
    };
    match &api.credentials {
        Credentials::Signed { client_id, client_secret } => {
            api::Credentials::ClientSecret { client_id: client_id.clone(), secret: source(client_secret) }
        }
        Credentials::Token(token) => api::Credentials::Token(source(token)),
    }
}

/// Where the ready-made token of a stream is, if it has one.
pub fn ready_made_token(stream: &StreamSettings) -> Option<SecretSource> {
    match credentials(&stream.api) {
        api::Credentials::Token(token) => Some(token),
        api::Credentials::ClientSecret { .. } => None,
    }
}

fn habit(paging: Paging) -> Option<Habit> {
    match paging {
        Paging::Auto => None,
        Paging::Offset => Some(Habit::Offset),
        Paging::Page => Some(Habit::Page),
        Paging::OffsetAsPages => Some(Habit::OffsetAsPages),
    }
}

/// Host, process id and a random part: who owns this process's leases. Containers share host names
/// and process ids, so neither is enough.
pub fn owner() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = Some(host.trim()).filter(|host| !host.is_empty()).unwrap_or("host");
    format!("{host}-{}-{:08x}", std::process::id(), rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loader;

    fn settings(rate: u32) -> Settings {
        let stream = |name: &str, account: &str| {
            format!(
                "[streams.{name}]\nstream_id = \"st-1\"\nstart = \"2026-01-01T00:00:00Z\"\naccount_id = \"{account}\"\n"
            )
        };
        let text = format!(
            "[api]\norg_id = \"o\"\ntoken = \"t\"\nrequests_per_minute = {rate}\n{}{}{}",
            stream("one", "a"),
            stream("two", "a"),
            stream("alone", "b"),
        );
        Loader::default().load_text("test.toml", &text).expect("settings")
    }

    #[test]
    fn polling_leaves_half_of_the_accounts_budget() {
        let interval = |settings: &Settings, name: &str| settings.poll_interval(&settings.streams[name]);
        let slow = settings(2);
        // Two streams that poll every two minutes send one request a minute: half of two.
        assert_eq!(interval(&slow, "one"), Duration::from_mins(2));
        assert_eq!(interval(&slow, "alone"), Duration::from_mins(1));
        assert_eq!(interval(&settings(60), "one"), Duration::from_mins(1));
    }

    #[test]
    fn every_process_owns_its_leases_alone() {
        assert_ne!(owner(), owner());
    }

    #[tokio::test]
    async fn patience_ends_and_names_what_was_wrong() {
        let stop = CancellationToken::new();
        let away = || -> Attempt<'static, ()> { Box::pin(async { Err(sqlx::Error::PoolTimedOut.into()) }) };
        let error = patiently(Patience::Until(Duration::ZERO), &stop, away).await.expect_err("out of reach");
        assert_eq!(super::super::exit::of(&error), Exit::OutOfReach);
        assert!(super::super::exit::told(&error).contains("database: "));
        stop.cancel();
        assert_eq!(patiently(Patience::Endless, &stop, away).await.expect("stopped"), None);
    }
}
