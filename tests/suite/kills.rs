//! Nothing is lost, doubled or called verified too early, whoever dies at whatever moment.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use koresync::simulate;
use rand::RngExt as _;

use crate::support::mirror::population;
use crate::support::postgres::{TestDatabase, cluster};
use crate::support::process::{Configuration, LOOK, Program, Stream};
use crate::support::site::{Site, chances, milliseconds, times};

/// How long a whole load may take once nobody disturbs it any more.
const A_LOAD: Duration = Duration::from_mins(5);
/// What container tools give a process before they kill it.
const GRACE: Duration = Duration::from_secs(10);

/// Windows of a few pages each, so that many are in the making at any moment, and leases that end soon after a death.
fn small_windows(site: &Site) -> Configuration {
    Configuration { lease: "1s", max_window_bytes: 64 << 10, ..site.configuration() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_killed_at_random_moments_loses_and_doubles_nothing() {
    let database = TestDatabase::create().await;
    let mut site = Site::start(database.url(), Site::slow_population()).await;
    site.slow_down_commits().await;
    let program = Program::new(&small_windows(&site));
    let mut chances = chances();
    let (kills, mut while_writing) = (times(10, 100), 0);
    for _ in 0..kills {
        let arguments: &[&str] = if chances.random_bool(0.5) { &["run", "--once"] } else { &["run"] };
        let process = program.spawn(arguments);
        if chances.random_bool(0.5) {
            tokio::time::sleep(milliseconds(&mut chances, 5..400)).await;
        } else if site.writes(Duration::from_secs(3)).await {
            tokio::time::sleep(milliseconds(&mut chances, 0..30)).await;
        }
        site.assert_ledger_and_rows_agree().await;
        while_writing += u32::from(site.is_writing().await);
        process.kill().await;
        // What the server still does for the dead process goes on meanwhile.
        site.assert_ledger_and_rows_agree().await;
        if chances.random_bool(0.5) {
            let leased = "select count(*) from koresync.windows where lease_expires_at > clock_timestamp()";
            site.becomes(0, leased, Duration::from_secs(5)).await;
        }
        site.forget_lost_slots().await;
    }
    assert!(!site.is_caught_up().await, "the load was over before the last kill: it must be longer");
    println!("{kills} kills, {while_writing} of them in a transaction that wrote, {} looks", site.looks);
    let (exit, told) = program.run(&["run", "--once"], A_LOAD).await;
    assert_eq!(exit, Some(0), "{told}");
    site.assert_ledger_and_rows_agree().await;
    site.assert_equal().await;
    site.assert_ledger_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_survives_crashes_of_postgresql_and_catches_up() {
    let mut postgres = cluster().await;
    postgres.create_database("warehouse").await.expect("a database");
    let mut site = Site::start(&postgres.url("warehouse"), Site::slow_population()).await;
    site.slow_down_commits().await;
    let program = Program::new(&small_windows(&site));
    let mut chances = chances();
    let (crashes, mut while_writing) = (times(4, 25), 0);
    let mut daemon = program.spawn(&["run"]);
    daemon.tells("A window was written.").await;
    for _ in 0..crashes {
        if chances.random_bool(0.5) && site.writes(Duration::from_secs(3)).await {
            tokio::time::sleep(milliseconds(&mut chances, 0..30)).await;
        } else {
            tokio::time::sleep(milliseconds(&mut chances, 5..2_000)).await;
        }
        site.assert_ledger_and_rows_agree().await;
        while_writing += u32::from(site.is_writing().await);
        postgres.crash().await.expect("a crash");
        tokio::time::sleep(milliseconds(&mut chances, 0..500)).await;
        postgres.restart().await.expect("a restart");
        site.assert_ledger_and_rows_agree().await;
        assert!(daemon.is_running(), "the daemon ended:\n{}", daemon.told());
    }
    println!("{crashes} crashes, {while_writing} of them in a transaction that wrote, {} looks", site.looks);
    let began = std::time::Instant::now();
    while !site.is_caught_up().await {
        site.assert_ledger_and_rows_agree().await;
        assert!(began.elapsed() < A_LOAD && daemon.is_running(), "the daemon does not catch up:\n{}", daemon.told());
        tokio::time::sleep(milliseconds(&mut chances, 50..200)).await;
    }
    daemon.terminate();
    assert_eq!(daemon.ended(GRACE).await.code(), Some(0), "{}", daemon.told());
    let (exit, told) = program.run(&["run", "--once"], A_LOAD).await;
    assert_eq!(exit, Some(0), "{told}");
    site.assert_equal().await;
    site.assert_ledger_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_daemon_in_order() {
    let database = TestDatabase::create().await;
    let mut site = Site::start(database.url(), Site::slow_population()).await;
    site.slow_down_commits().await;
    // Leases far longer than the test: what is free afterwards was given back.
    let program = Program::new(&Configuration { lease: "10m", ..small_windows(&site) });
    let mut chances = chances();
    let (signals, mut while_writing, mut longest) = (times(8, 50), 0, Duration::ZERO);
    for _ in 0..signals {
        let mut daemon = program.spawn(&["run"]);
        // Before that nothing listens for signals, and there is nothing to put in order.
        daemon.tells("koresync starts.").await;
        if chances.random_bool(0.5) && site.writes(Duration::from_secs(3)).await {
            tokio::time::sleep(milliseconds(&mut chances, 0..30)).await;
        } else {
            tokio::time::sleep(milliseconds(&mut chances, 0..400)).await;
        }
        while_writing += u32::from(site.is_writing().await);
        let began = std::time::Instant::now();
        daemon.terminate();
        assert_eq!(daemon.ended(GRACE).await.code(), Some(0), "{}", daemon.told());
        longest = longest.max(began.elapsed());
        site.connections_are_gone().await;
        let left = "select (select count(*) from pg_prepared_xacts) \
            + (select count(*) from koresync.windows where owner is not null or lease_expires_at is not null)";
        assert_eq!(site.number(left).await, 0, "leases left behind:\n{}", daemon.told());
        site.assert_ledger_and_rows_agree().await;
        site.forget_lost_slots().await;
    }
    println!(
        "{signals} signals, {while_writing} of them in a transaction that wrote; the longest end took {longest:?}"
    );
    let (exit, told) = program.run(&["run", "--once"], A_LOAD).await;
    assert_eq!(exit, Some(0), "{told}");
    site.assert_equal().await;
    site.assert_ledger_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_killed_half_way_asks_for_no_committed_window_again() {
    const VERIFIED: &str = "select count(*) from koresync.windows where state = 'verified'";
    let database = TestDatabase::create().await;
    let population = simulate::Options { contacts: 2_000, days: 2, latency: Duration::from_millis(20), ..population() };
    let site = Site::start(database.url(), population).await;
    let (from, to) = (site.end - TimeDelta::days(2), site.end);
    // The stream itself begins where the range ends: the history is the operator's to fetch.
    let streams = vec![Stream::new("history", "st-2", to)];
    let program = Program::new(&Configuration { streams, lease: "1s", ..site.configuration() });
    let moment = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (first, last) = (moment(from), moment(to));
    let arguments = ["backfill", "--stream", "history", "--from", &first, "--to", &last, "--window", "20m"];

    let mut following = program.spawn(&arguments);
    while site.number("select count(*) from pg_tables where schemaname = 'koresync' and tablename = 'windows'").await
        == 0
        || site.number(VERIFIED).await < 2 * 24 * 3 / 2
    {
        assert!(following.is_running(), "it ended before it was killed:\n{}", following.told());
        tokio::time::sleep(LOOK).await;
    }
    following.kill().await;
    site.connections_are_gone().await;
    let before = site.vendor.stats().ranges.len();
    let mut connection = site.connection().await;
    let committed: Vec<(DateTime<Utc>, DateTime<Utc>)> =
        sqlx::query_as("select requested_from, requested_to from koresync.windows where state = 'verified'")
            .fetch_all(&mut connection)
            .await
            .expect("the ledger");
    println!("{} of 144 windows were committed, with {before} requests", committed.len());
    assert!((72..140).contains(&committed.len()), "killed too late");

    let (exit, told) = program.run(&arguments, A_LOAD).await;
    assert_eq!(exit, Some(0), "{told}");
    assert_eq!(site.number("select count(*) from koresync.backfills").await, 1, "the same backfill went on");
    let stats = site.vendor.stats();
    let after: Vec<_> = stats.ranges.iter().skip(before).collect();
    assert!(!after.is_empty());
    for asked in after {
        let again = committed.iter().find(|(from, to)| *from <= asked.from && asked.to <= *to);
        assert!(again.is_none(), "{} to {} was committed before, and is asked for again", asked.from, asked.to);
    }
    let expected = Stream::new("history", "st-2", from);
    site.assert_stream_equal(&expected).await;
    site.assert_ledger_closed().await;
}
