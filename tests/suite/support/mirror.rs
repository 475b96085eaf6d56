//! A simulated vendor, a database and the engine between them, on one clock.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use koresync::api;
use koresync::domain::clock::{ScaledClock, SharedClock};
use koresync::domain::{Settle, SystemClock, Window};
use koresync::simulate::{self, Expectation, TableSum};
use koresync::sync::{self, Engine, Mode, Outcome};
use koresync::warehouse::budget::AccountBudget;
use koresync::warehouse::load::{Proof, ReadEntry};
use koresync::warehouse::privacy::Configured;
use koresync::warehouse::references::Finding;
use koresync::warehouse::streams::Registration;
use koresync::warehouse::{ConnectOptions, Warehouse, migrate};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::citus;
use super::pooler::way_to;
use super::postgres::TestDatabase;

pub const STREAM: &str = "support";
pub const STREAM_ID: &str = "st-1";
pub const ACCOUNT_ID: &str = "acc-1";
pub const CLIENT_ID: &str = "cs-1";
pub const CLIENT_SECRET: &str = "a secret of the tests, long enough for HS256";

/// Contacts of a mirror test: few, unless `KORESYNC_TEST_CONTACTS` asks for more.
pub fn contacts() -> u64 {
    std::env::var("KORESYNC_TEST_CONTACTS").ok().and_then(|n| n.parse().ok()).unwrap_or(400)
}

/// The end of the simulated history.
pub fn end() -> DateTime<Utc> {
    "2026-03-31T00:00:00Z".parse().expect("a time")
}

/// A still population that ended an hour ago.
pub fn population() -> simulate::Options {
    simulate::Options {
        contacts: contacts(),
        days: 10,
        end: Some(end()),
        still: true,
        client_id: Some(CLIENT_ID.to_owned()),
        client_secret: Some(CLIENT_SECRET.to_owned()),
        requests_per_minute: 0,
        ..simulate::Options::default()
    }
}

/// How the mirror is configured; the defaults suit a test.
#[derive(Debug, Clone)]
pub struct Settings {
    pub page_size: u32,
    pub requests_per_minute: f64,
    pub time_scale: f64,
    pub max_window_bytes: usize,
    pub history: TimeDelta,
    /// From the end of the population to the start of the clock.
    pub afterwards: TimeDelta,
    pub give_up: Duration,
    pub below_in: api::Placement,
    pub retention: sync::Retention,
    pub recheck: Vec<Duration>,
    pub poll_interval: Duration,
    pub privacy: Configured,
    pub settle: Settle,
    pub time_zone: Tz,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            page_size: 100,
            requests_per_minute: 600_000.0,
            time_scale: 100.0,
            max_window_bytes: 8 << 20,
            history: TimeDelta::days(10),
            afterwards: TimeDelta::hours(1),
            give_up: Duration::from_hours(6),
            below_in: api::Placement::Body,
            retention: sync::Retention::default(),
            recheck: [1, 24, 7 * 24, 30 * 24].map(Duration::from_hours).to_vec(),
            poll_interval: Duration::from_mins(1),
            privacy: Configured::default(),
            settle: Settle::Fixed(Duration::from_mins(15)),
            time_zone: Tz::UTC,
        }
    }
}

#[derive(Debug)]
pub struct Mirror {
    pub database: TestDatabase,
    pub vendor: simulate::Running,
    pub clock: SharedClock,
    pub settings: Settings,
    /// Another server to read from than the simulated vendor.
    pub base_url: Option<String>,
    population: simulate::Options,
    /// The way of the engine to the database.
    warehouse_url: String,
}

impl Mirror {
    /// Everything in place, nothing read yet.
    pub async fn start(population: simulate::Options, settings: Settings) -> Self {
        let origin = population.end.unwrap_or_else(end) + settings.afterwards;
        Self::start_by(Arc::new(ScaledClock::new(origin, settings.time_scale)), population, settings).await
    }

    /// The same by a clock of the test's.
    pub async fn start_by(clock: SharedClock, population: simulate::Options, settings: Settings) -> Self {
        let database = TestDatabase::create().await;
        make_schema(database.url()).await;
        let vendor = simulate::start(population.clone(), Arc::clone(&clock)).await.expect("a simulated vendor");
        let warehouse_url = way_to(database.url()).await;
        Self { database, vendor, clock, settings, base_url: None, population, warehouse_url }
    }

    /// The engine goes another way to the same database.
    #[must_use]
    pub fn by_way_of(self, warehouse_url: String) -> Self {
        Self { warehouse_url, ..self }
    }

    /// The same vendor and database, so long after the end of the population.
    pub async fn later(self, afterwards: TimeDelta) -> Self {
        let clock: SharedClock = Arc::new(ScaledClock::new(end() + afterwards, self.settings.time_scale));
        let vendor = simulate::start(self.population.clone(), Arc::clone(&clock)).await.expect("a simulated vendor");
        Self { vendor, clock, ..self }
    }

    pub fn warehouse(&self) -> Warehouse {
        let lease = Duration::from_hours(1);
        Warehouse::new(&connect(&self.warehouse_url), Arc::clone(&self.clock), self.settings.time_zone, lease)
            .with_privacy(self.settings.privacy.clone())
    }

    /// An engine on this mirror, its stream registered.
    pub async fn engine(&self, stop: CancellationToken) -> Engine {
        let warehouse = self.warehouse();
        warehouse.settle_time_zone().await.expect("the zone of the first start");
        warehouse.settle_privacy().await.expect("the privacy settings of this start");
        let registration = Registration {
            stream: STREAM.to_owned(),
            account_id: ACCOUNT_ID.to_owned(),
            stream_id: STREAM_ID.to_owned(),
            start_at: end() - self.settings.history,
            first_span: TimeDelta::hours(1),
            settle: TimeDelta::minutes(15),
        };
        warehouse.register_streams(&[registration]).await.expect("a stream");
        let source = self.source(&warehouse, stop.clone()).await;
        let options = sync::Options {
            workers: 4,
            fetches: 6,
            max_window_bytes: self.settings.max_window_bytes,
            poll_interval: self.settings.poll_interval,
            settle: self.settings.settle,
            give_up: self.settings.give_up,
            lease: Duration::from_hours(1),
            retention: self.settings.retention,
            recheck: sync::Rule::new(&self.settings.recheck),
        };
        Engine::new(warehouse, options, vec![source], format!("test-{}", uuid::Uuid::new_v4()), stop)
    }

    async fn source(&self, warehouse: &Warehouse, stop: CancellationToken) -> sync::Source {
        let endpoint = api::Endpoint {
            stream: STREAM.to_owned(),
            base_url: self.base_url.clone().unwrap_or_else(|| self.vendor.url()).parse().expect("a base URL"),
            path_prefix: "/qualityai".to_owned(),
            stream_id: STREAM_ID.to_owned(),
            account_id: ACCOUNT_ID.to_owned(),
            org_id: "o-1".to_owned(),
            date_format: "%Y-%m-%d %H:%M:%S".parse().expect("a date format"),
            include_below_threshold: Some(true),
            include_below_threshold_in: self.settings.below_in,
            max_body_bytes: 64 << 20,
            timeouts: api::Timeouts {
                connect: Duration::from_secs(5),
                read: Duration::from_secs(2),
                total: Duration::from_secs(20),
            },
            user_agent: "koresync-test".to_owned(),
        };
        let credentials = api::Credentials::ClientSecret {
            client_id: CLIENT_ID.to_owned(),
            secret: api::SecretSource::inline(CLIENT_SECRET),
        };
        let retry = api::RetryPolicy { give_up: Duration::from_hours(1), ..api::RetryPolicy::default() };
        let client = api::Client::new(endpoint, credentials, Arc::clone(&self.clock), retry, 7)
            .expect("a client")
            .stopped_by(stop.clone());
        let budget = AccountBudget::open(warehouse, ACCOUNT_ID, self.settings.requests_per_minute, stop)
            .await
            .expect("the account's budget");
        sync::Source {
            stream: STREAM.to_owned(),
            client,
            budget: Arc::new(budget),
            page_size: self.settings.page_size,
            paging: None,
            include_below_threshold: true,
            poll_interval: self.settings.poll_interval,
        }
    }

    /// `run --once`.
    pub async fn run_once(&self) -> Outcome {
        self.engine(CancellationToken::new()).await.run(Mode::Once).await.expect("an engine that lives")
    }

    pub fn expectation(&self) -> Expectation {
        self.vendor.expect(STREAM_ID, STREAM, None, None, None, true)
    }

    /// Panics, naming the tables, unless the warehouse holds what a perfect mirror holds.
    pub async fn assert_equal(&self) {
        let expected = self.expectation();
        self.assert_holds(&expected, &[]).await;
        let quarantined: i64 = sqlx::query_scalar("select count(*) from koresync.quarantined_records")
            .fetch_one(&self.database.pool().await)
            .await
            .expect("a count");
        assert_eq!(quarantined.cast_unsigned(), expected.quarantined, "records in quarantine");
    }

    /// Panics, naming the tables, unless the warehouse holds this; some tables may be left out.
    pub async fn assert_holds(&self, expected: &Expectation, left_out: &[&str]) {
        let held = self.held().await;
        let differing: Vec<String> = expected
            .tables
            .iter()
            .filter(|(table, _)| !left_out.contains(&table.as_str()))
            .filter(|(table, sum)| held.iter().find(|(name, _)| name == *table).map(|(_, held)| held) != Some(sum))
            .map(|(table, sum)| format!("{table}: {sum:?} expected, {:?} held", held.iter().find(|(n, _)| n == table)))
            .collect();
        self.assert_keys_hold().await;
        assert!(differing.is_empty(), "the warehouse differs from the vendor:\n{}", differing.join("\n"));
    }

    pub async fn assert_keys_hold(&self) {
        assert_references_hold(self.database.url()).await;
    }

    pub async fn held(&self) -> Vec<(String, TableSum)> {
        let rows: Vec<(String, i64, String)> = sqlx::query_as(simulate::CHECKSUMS_SQL)
            .bind(STREAM)
            .fetch_all(&self.database.pool().await)
            .await
            .expect("checksums");
        rows.into_iter()
            .map(|(table, rows, checksum)| (table, TableSum { rows: rows.cast_unsigned(), checksum }))
            .collect()
    }

    /// One number from the database.
    pub async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.database.pool().await).await.expect("a number")
    }
}

/// A stream `support` that began two hours before `now`, of which nothing is planned yet.
pub fn registration(now: DateTime<Utc>) -> Registration {
    Registration {
        stream: STREAM.to_owned(),
        account_id: "acc-1".to_owned(),
        stream_id: "st-1".to_owned(),
        start_at: now - TimeDelta::hours(2),
        first_span: TimeDelta::hours(1),
        settle: TimeDelta::zero(),
    }
}

/// The schema, as `koresync migrate` makes it, spread where the server is one of a cluster.
pub async fn make_schema(url: &str) {
    migrate::up(&connect(url)).await.expect("a schema");
    citus::spread(url).await;
}

pub fn connect(url: &str) -> ConnectOptions {
    ConnectOptions::new(&SecretString::from(url), false, 8).expect("a database URL")
}

/// Looks at every reference of a warehouse, as `verify --keys` does.
pub async fn references(database_url: &str) -> Vec<Finding> {
    let lease = Duration::from_mins(1);
    let warehouse = Warehouse::new(&connect(database_url), Arc::new(SystemClock), chrono_tz::UTC, lease);
    let mut findings = Vec::new();
    for reference in warehouse.references().await.expect("the references") {
        findings.push(warehouse.look_at(&reference).await.expect("a look at a reference"));
    }
    warehouse.close().await;
    findings
}

/// A read of so many records, each of its own.
pub fn entry(window: Window, records: u64, proof: Option<Proof>) -> ReadEntry {
    let (requested_from, requested_to) = window.request_range();
    ReadEntry {
        requested_from,
        requested_to,
        total: Some(records),
        rows: records,
        distinct: records,
        requests: 1,
        proof,
        failure: None,
    }
}

/// Every test of the loader ends with it.
pub async fn assert_references_hold(database_url: &str) {
    let findings = references(database_url).await;
    let declared = findings.iter().filter(|finding| finding.name.contains('.')).count();
    assert!(declared > 20, "only {declared} foreign keys are declared");
    let broken: Vec<_> = findings.iter().filter(|finding| finding.is_broken()).collect();
    assert!(broken.is_empty(), "references are broken: {broken:#?}");
}
