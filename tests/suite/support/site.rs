//! A vendor on the machine's clock, two streams of it, and a warehouse that a daemon fills meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use koresync::domain::SystemClock;
use koresync::domain::clock::Clock as _;
use koresync::simulate::{self, TableSum};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::{Connection as _, PgConnection};

use super::mirror::{assert_references_hold, contacts, make_schema, population};
use super::pooler::way_to;
use super::process::{Configuration, LOOK, Stream};

/// How often something is done to the daemon: seldom, unless `KORESYNC_TEST_KILLS` asks for more. `full` is
/// what is done of a hundred.
pub fn times(few: u32, full: u32) -> u32 {
    let asked = std::env::var("KORESYNC_TEST_KILLS").ok().and_then(|n| n.parse::<u32>().ok());
    asked.map_or(few, |kills| (kills * full).div_ceil(100))
}

/// Chances from a seed that is told: `KORESYNC_TEST_SEED`, or a new one.
pub fn chances() -> StdRng {
    let given = std::env::var("KORESYNC_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(rand::random);
    println!("KORESYNC_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

pub fn milliseconds(chances: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(chances.random_range(range))
}

/// The simulated vendor, and what it must be compared with.
#[derive(Debug)]
pub struct Site {
    pub vendor: simulate::Running,
    pub database_url: String,
    /// The way of the daemon to the database.
    pub warehouse_url: String,
    pub end: DateTime<Utc>,
    pub streams: Vec<Stream>,
    /// Contacts expected of a stream between two moments: the oracle makes each one anew.
    expected: HashMap<(String, DateTime<Utc>, DateTime<Utc>), u64>,
    pub looks: u32,
}

impl Site {
    /// Two days of contacts that ended an hour ago, and a warehouse with its schema. The history of one stream
    /// is a backfill, read from its end; the other one began less than a day ago and is read from its start, so that
    /// its watermark moves all the time.
    pub async fn start(database_url: &str, options: simulate::Options) -> Self {
        make_schema(database_url).await;
        Self::without_schema(database_url, options).await
    }

    /// The same before anybody has made the schema.
    pub async fn without_schema(database_url: &str, options: simulate::Options) -> Self {
        let end = SystemClock.now().trunc_subsecs(0) - TimeDelta::hours(1);
        let vendor = simulate::start(simulate::Options { end: Some(end), ..options }, Arc::new(SystemClock))
            .await
            .expect("a simulated vendor");
        let streams = vec![
            Stream::new("fresh", "st-1", quiet_moment(&vendor, "st-1", end - TimeDelta::hours(22))),
            Stream::new("history", "st-2", end - TimeDelta::days(2)),
        ];
        let (warehouse_url, database_url) = (way_to(database_url).await, database_url.to_owned());
        Self { vendor, database_url, warehouse_url, end, streams, expected: HashMap::new(), looks: 0 }
    }

    /// A population that takes a while to read.
    pub fn slow_population() -> simulate::Options {
        simulate::Options {
            contacts: contacts().max(2_000),
            days: 2,
            latency: Duration::from_millis(20),
            ..population()
        }
    }

    pub fn configuration(&self) -> Configuration {
        Configuration::new(&self.warehouse_url, &self.vendor.url(), self.streams.clone())
    }

    pub async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.database_url).await.expect("a connection")
    }

    /// Draws out the moments in which a death could part what belongs together: between the rows and the ledger, and
    /// between the watermark and the commit.
    pub async fn slow_down_commits(&self) {
        let mut connection = self.connection().await;
        // `always`: the daemon loads with triggers off.
        sqlx::raw_sql(
            "create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.02); return new; end $$; \
             create trigger dawdle before update of state on koresync.windows for each row when (new.state = 'verified') \
               execute function dawdle(); \
             alter table koresync.windows enable always trigger dawdle; \
             create trigger dawdle after update of watermark on koresync.streams for each row execute function dawdle(); \
             alter table koresync.streams enable always trigger dawdle;",
        )
        .execute(&mut connection)
        .await
        .expect("triggers");
        connection.close().await.ok();
    }

    pub async fn number(&self, query: &'static str) -> i64 {
        let mut connection = self.connection().await;
        let number = sqlx::query_scalar(query).fetch_one(&mut connection).await.expect("a number");
        connection.close().await.ok();
        number
    }

    /// Waits until a query gives this number.
    pub async fn becomes(&self, number: i64, query: &'static str, within: Duration) {
        let began = Instant::now();
        let mut connection = self.connection().await;
        loop {
            let held: i64 = sqlx::query_scalar(query).fetch_one(&mut connection).await.expect("a number");
            if held == number {
                break;
            }
            assert!(began.elapsed() < within, "{held} instead of {number} after {within:?}: {query}");
            tokio::time::sleep(LOOK).await;
        }
        connection.close().await.ok();
    }

    /// The connections of the daemon at the server.
    pub async fn connections_are_gone(&self) {
        let query = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'koresync'";
        self.becomes(0, query, Duration::from_secs(5)).await;
    }

    /// Waits until the daemon writes in a transaction; false when it does not in time.
    pub async fn writes(&self, within: Duration) -> bool {
        let began = Instant::now();
        let mut connection = self.connection().await;
        let mut writes = false;
        while !writes && began.elapsed() < within {
            writes = is_writing(&mut connection).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        connection.close().await.ok();
        writes
    }

    pub async fn is_writing(&self) -> bool {
        let mut connection = self.connection().await;
        let is_writing = is_writing(&mut connection).await;
        connection.close().await.ok();
        is_writing
    }

    /// A life that ends early takes a second's worth of the account's slots with it, and those of lives shorter than
    /// that would put the next one off further and further.
    pub async fn forget_lost_slots(&self) {
        let mut connection = self.connection().await;
        sqlx::query("update koresync.api_budgets set next_slot_at = clock_timestamp()")
            .execute(&mut connection)
            .await
            .expect("an update");
        connection.close().await.ok();
    }

    /// Looks whether all that the ledger calls verified is there, and nothing twice, each window by itself and
    /// everything up to the watermark; and whether all that is there came with its entry in the ledger. A statement
    /// each, so that what is compared was true at one moment.
    pub async fn assert_ledger_and_rows_agree(&mut self) {
        self.looks += 1;
        let mut connection = self.connection().await;
        let claimed: Vec<(String, DateTime<Utc>, DateTime<Utc>, i64)> = sqlx::query_as(
            "select v.stream, v.from_at, v.to_at, \
               (select count(*) from kore.contacts c where c.stream = v.stream and c.started_at >= v.from_at and c.started_at < v.to_at) \
             from (select stream, from_at, to_at from koresync.windows where state = 'verified' \
               union all select stream, start_at, watermark from koresync.streams where watermark > start_at) v",
        )
        .fetch_all(&mut connection)
        .await
        .expect("what is claimed");
        let unaccounted: i64 = sqlx::query_scalar(
            "select count(*) from koresync.raw_contacts r where not exists (select from koresync.windows w \
               where w.stream = r.stream and w.state = 'verified' \
               and w.requested_from = r.requested_from and w.requested_to = r.requested_to)",
        )
        .fetch_one(&mut connection)
        .await
        .expect("a count");
        connection.close().await.ok();
        assert_eq!(unaccounted, 0, "contacts whose window is not in the ledger");
        for (stream, from, to, held) in claimed {
            let expected = self.expected(&stream, from, to);
            assert_eq!(held.cast_unsigned(), expected, "contacts of {stream} from {from} to {to}, called verified");
        }
    }

    fn expected(&mut self, name: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
        let key = (name.to_owned(), from, to);
        if let Some(known) = self.expected.get(&key) {
            return *known;
        }
        let id = self.streams.iter().find(|stream| stream.name == name).expect("a stream of ours").id;
        let expectation = self.vendor.expect(id, name, Some(from), Some(to), None, true);
        let count = expectation.tables.get("contacts").map_or(0, |sum| sum.rows);
        self.expected.insert(key, count);
        count
    }

    /// Whether each stream is read up to the end of the population, its backfill included.
    pub async fn is_caught_up(&self) -> bool {
        let mut connection = self.connection().await;
        let behind: i64 = sqlx::query_scalar(
            "select (select count(*) from koresync.streams where watermark < $1) \
               + (select count(*) from koresync.backfills where state = 'running') + (select (count(*) = 0)::int from koresync.streams)",
        )
        .bind(self.end)
        .fetch_one(&mut connection)
        .await
        .expect("a count");
        connection.close().await.ok();
        behind == 0
    }

    /// Panics, naming stream and table, unless the warehouse holds what a perfect mirror holds of every stream.
    pub async fn assert_equal(&self) {
        for stream in &self.streams {
            self.assert_stream_equal(stream).await;
        }
        assert_references_hold(&self.database_url).await;
    }

    pub async fn assert_stream_equal(&self, stream: &Stream) {
        let mut connection = self.connection().await;
        let rows: Vec<(String, i64, String)> = sqlx::query_as(simulate::CHECKSUMS_SQL)
            .bind(stream.name)
            .fetch_all(&mut connection)
            .await
            .expect("checksums");
        connection.close().await.ok();
        let held: HashMap<String, TableSum> = rows
            .into_iter()
            .map(|(table, rows, checksum)| (table, TableSum { rows: rows.cast_unsigned(), checksum }))
            .collect();
        let expected = self.vendor.expect(stream.id, stream.name, Some(stream.start), None, None, true);
        let contacts = expected.tables.get("contacts").map_or(0, |sum| sum.rows);
        assert!(contacts > 0, "nothing is expected of {}", stream.name);
        for (table, sum) in &expected.tables {
            assert_eq!(held.get(table), Some(sum), "{} of {}: held and expected", table, stream.name);
        }
    }

    /// The sums of the ledger hold, each contact was counted in one window, and nothing is in anybody's hands.
    pub async fn assert_ledger_closed(&self) {
        for (claim, query) in [
            (
                "windows whose sums do not add up",
                "select count(*) from koresync.windows where rows <> \"distinct\" + repeated \
                 or \"distinct\" <> inserted + changed + unchanged + quarantined + erased",
            ),
            ("windows not verified", "select count(*) from koresync.windows where state <> 'verified'"),
            (
                "windows leased",
                "select count(*) from koresync.windows where owner is not null or lease_expires_at is not null",
            ),
            (
                "contacts that windows counted and the warehouse lacks",
                "select ((select coalesce(sum(in_window), 0) from koresync.windows) - (select count(*) from kore.contacts))::bigint",
            ),
            (
                "contacts inserted more often than they are there",
                "select ((select coalesce(sum(inserted), 0) from koresync.windows) - (select count(*) from kore.contacts))::bigint",
            ),
        ] {
            assert_eq!(self.number(query).await, 0, "{claim}");
        }
    }
}

/// The last moment up to this one with two seconds of silence before it: a range is asked for with a margin, so what
/// starts just before a stream's start would be held as well.
fn quiet_moment(vendor: &simulate::Running, id: &str, mut moment: DateTime<Utc>) -> DateTime<Utc> {
    while vendor.expect(id, "", Some(moment - TimeDelta::seconds(2)), Some(moment), None, true).listed > 0 {
        moment -= TimeDelta::seconds(1);
    }
    moment
}

async fn is_writing(connection: &mut PgConnection) -> bool {
    sqlx::query_scalar(
        "select exists (select from pg_stat_activity where datname = current_database() \
         and application_name = 'koresync' and backend_xid is not null)",
    )
    .fetch_one(connection)
    .await
    .expect("a look at the server")
}
