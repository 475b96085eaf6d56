//! Several processes on one warehouse and one account, and several streams in one process.

use std::time::{Duration, Instant};

use chrono::{SecondsFormat, TimeDelta};
use koresync::simulate;
use rand::RngExt as _;
use sqlx::Connection as _;

use crate::support::mirror::{contacts, population};
use crate::support::postgres::TestDatabase;
use crate::support::process::{Configuration, Process, Program, Stream};
use crate::support::site::{Site, chances, milliseconds};
use crate::support::vendor::failing;

/// A poll every two seconds, of all but the last one.
const EAGER: &str = "poll_interval = \"2s\"\nsettle = \"1s\"";
const POLL_AND_SETTLE: Duration = Duration::from_secs(2 * 2 + 1);
/// What a machine that does much else may add.
const GRACE: Duration = Duration::from_secs(5);
const A_LOAD: Duration = Duration::from_mins(5);
const A_MINUTE: Duration = Duration::from_mins(1);

/// Twenty requests a second, in any minute.
fn limited() -> simulate::Options {
    simulate::Options { requests_per_minute: 1_200, latency: Duration::from_millis(150), ..Site::slow_population() }
}

async fn caught_up(site: &mut Site, daemons: &mut [Process]) {
    let began = Instant::now();
    while !site.is_caught_up().await {
        site.assert_ledger_and_rows_agree().await;
        for daemon in &mut *daemons {
            assert!(daemon.is_running(), "a daemon ended:\n{}", daemon.told());
        }
        assert!(began.elapsed() < A_LOAD, "the daemons do not catch up");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_daemons_share_the_vendors_limit_though_one_freezes_and_one_dies() {
    let database = TestDatabase::create().await;
    let mut site = Site::start(database.url(), limited()).await;
    let configuration = Configuration {
        lease: "2s",
        requests_per_minute: 1_200,
        page_size: 10,
        max_window_bytes: 64 << 10,
        ..site.configuration()
    };
    let program = Program::new(&configuration);
    let mut daemons: Vec<Process> = (0..4).map(|_| program.spawn(&["run"])).collect();
    for daemon in &mut daemons {
        daemon.tells("A window was written.").await;
    }
    let mut chances = chances();
    tokio::time::sleep(milliseconds(&mut chances, 0..1_000)).await;
    let frozen = daemons.remove(chances.random_range(0..4));
    frozen.signal("STOP");
    tokio::time::sleep(milliseconds(&mut chances, 0..1_000)).await;
    daemons.remove(chances.random_range(0..3)).kill().await;
    site.assert_ledger_and_rows_agree().await;
    assert!(!site.is_caught_up().await, "the load was over before one froze and one died");
    // Past its lease, and past the moments of the slots that it drew.
    tokio::time::sleep(Duration::from_secs(4)).await;
    frozen.signal("CONT");
    daemons.push(frozen);
    caught_up(&mut site, &mut daemons).await;
    for mut daemon in daemons {
        daemon.terminate();
        assert_eq!(daemon.ended(Duration::from_secs(10)).await.code(), Some(0), "{}", daemon.told());
    }
    let stats = site.vendor.stats();
    assert_eq!(stats.refusals, 0, "refused, of at most {} requests in a minute", stats.busiest_minute);
    let (exit, told) = program.run(&["run", "--once"], A_LOAD).await;
    assert_eq!(exit, Some(0), "{told}");
    site.assert_equal().await;
    site.assert_ledger_closed().await;
}

/// How far the live lane of each stream is behind, in seconds; `None` where it has read nothing.
async fn behind(site: &Site) -> Vec<(String, Option<f64>)> {
    let mut connection = site.connection().await;
    let behind = sqlx::query_as(
        "select s.stream, (select extract(epoch from clock_timestamp() - max(w.to_at))::float8 from koresync.windows w \
           where w.stream = s.stream and w.lane = 'live' and w.state = 'verified') from koresync.streams s order by 1",
    )
    .fetch_all(&mut connection)
    .await
    .expect("how far it is");
    connection.close().await.ok();
    behind
}

/// Watches for so long; the most that any of these streams was behind.
async fn most_behind(site: &Site, streams: &[&str], watched: Duration, daemon: &mut Process) -> f64 {
    let (began, mut most) = (Instant::now(), 0_f64);
    while began.elapsed() < watched {
        for (stream, behind) in behind(site).await {
            if streams.contains(&stream.as_str()) {
                most = most.max(behind.unwrap_or(f64::INFINITY));
            }
        }
        assert!(daemon.is_running(), "the daemon ended:\n{}", daemon.told());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    most
}

/// Waits until each of these streams is near to now.
async fn are_fresh(site: &Site, streams: &[&str], daemon: &mut Process) {
    let began = Instant::now();
    loop {
        let behind = behind(site).await;
        let is_fresh = |stream: &&str| {
            let lag = behind.iter().find(|(name, _)| name == stream).and_then(|(_, lag)| *lag);
            lag.is_some_and(|lag| lag < POLL_AND_SETTLE.as_secs_f64())
        };
        if streams.iter().all(is_fresh) {
            return;
        }
        assert!(began.elapsed() < A_LOAD && daemon.is_running(), "{behind:?}:\n{}", daemon.told());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_fail_or_are_refused_hold_up_no_other() {
    const GOOD: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const IDS: [&str; 8] = ["st-1", "st-2", "st-3", "st-4", "st-5", "st-6", "st-7", "st-8"];
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), simulate::Options { contacts: 200, days: 2, ..population() }).await;
    let start = site.end - TimeDelta::hours(12);
    let mut streams: Vec<Stream> = GOOD.into_iter().zip(IDS).map(|(name, id)| Stream::new(name, id, start)).collect();
    // Two windows of each are planned: more than there are workers, however the waits between their tries fall.
    let failing = failing().await;
    for (name, id) in
        [("broken", "st-9"), ("i", "st-10"), ("j", "st-12"), ("k", "st-13"), ("l", "st-14"), ("m", "st-15")]
    {
        let overrides = format!("base_url = \"{failing}\"");
        streams.push(Stream { overrides, ..Stream::new(name, id, start) });
    }
    let mut refused = Stream::new("refused", "st-11", start);
    refused.overrides = "client_secret = \"a secret that the vendor does not know at all\"".to_owned();
    streams.push(refused);
    let configuration = Configuration { streams, sync: EAGER.to_owned(), ..site.configuration() };
    let program = Program::new(&configuration);
    let mut daemon = program.spawn(&["run"]);
    are_fresh(&site, &GOOD, &mut daemon).await;
    let most = most_behind(&site, &GOOD, Duration::from_secs(12), &mut daemon).await;
    assert!(most < (POLL_AND_SETTLE + GRACE).as_secs_f64(), "a stream that is well was {most} s behind");

    let metrics = daemon.page("/metrics").await;
    assert!(metrics.contains("koresync_stream_refused{stream=\"refused\"} 1"), "{metrics}");
    assert!(metrics.contains("koresync_stream_refused{stream=\"broken\"} 0"), "{metrics}");
    let (exit, told) = program.run(&["status", "--json"], Duration::from_mins(1)).await;
    assert_eq!(exit, Some(3), "{told}");
    daemon.terminate();
    assert_eq!(daemon.ended(Duration::from_secs(10)).await.code(), Some(0), "{}", daemon.told());
    let hasty = Configuration { give_up: "3s", ..configuration };
    let (exit, told) = Program::new(&hasty).run(&["run", "--once"], A_LOAD).await;
    assert_eq!(exit, Some(3), "{told}");
    assert!(told.contains("broken:") && told.contains("refused:"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_requests_left_holds_up_no_other_account() {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), simulate::Options { contacts: 200, days: 2, ..population() }).await;
    let start = site.end - TimeDelta::hours(12);
    let streams = vec![
        Stream::new("well", "st-1", start),
        Stream::new("thin", "st-2", start),
        Stream::new("thinner", "st-3", start),
    ];
    let sync = format!("{EAGER}\nrecheck = [\"2s\"]");
    let mut configuration = Configuration { sync, streams, ..site.configuration() };
    let limit = |configuration: &mut Configuration, requests: u32| {
        for stream in &mut configuration.streams[1..] {
            stream.overrides = format!("account_id = \"thin\"\nrequests_per_minute = {requests}");
        }
    };
    limit(&mut configuration, 6_000);
    let (exit, told) = Program::new(&configuration).run(&["run", "--once"], A_LOAD).await;
    assert_eq!(exit, Some(0), "{told}");
    // More than there are workers, of two streams: neither alone may keep all of them anyway.
    sqlx::raw_sql(
        "insert into koresync.windows (stream, lane, reason, rung, from_at, to_at, state, due_at, created_at) \
         select stream, 'recheck', 'rung', 1, start_at + n * interval '10 minutes', start_at + (n + 1) * interval '10 minutes', \
           'planned', now(), now() from koresync.streams, generate_series(0, 19) n where stream <> 'well'",
    )
    .execute(&database.pool().await)
    .await
    .expect("rechecks");
    limit(&mut configuration, 1);
    let program = Program::new(&configuration);
    let mut daemon = program.spawn(&["run"]);
    let held =
        "select count(*) from koresync.windows where stream <> 'well' and lane = 'recheck' and owner is not null";
    let done = "select coalesce(max(extract(epoch from verified_at) * 1000), 0)::bigint from koresync.windows \
        where stream = 'well' and lane = 'recheck' and state = 'verified'";
    let began = Instant::now();
    // All but one of the four workers wait for the one request a minute.
    while site.number(held).await < 3 {
        assert!(began.elapsed() < A_MINUTE && daemon.is_running(), "nothing waits:\n{}", daemon.told());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut last = site.number(done).await;
    for _ in 0..3 {
        while site.number(done).await == last {
            assert!(began.elapsed() < A_MINUTE && daemon.is_running(), "nothing is rechecked:\n{}", daemon.told());
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        last = site.number(done).await;
    }
    daemon.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn rechecks_of_a_refused_stream_hold_up_no_other_streams() {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), simulate::Options { contacts: 200, days: 2, ..population() }).await;
    let start = site.end - TimeDelta::hours(12);
    let streams = vec![Stream::new("well", "st-1", start), Stream::new("refused", "st-2", start)];
    let sync = format!("{EAGER}\nrecheck = [\"2s\"]");
    let mut configuration = Configuration { sync, streams, ..site.configuration() };
    let (exit, told) = Program::new(&configuration).run(&["run", "--once"], A_LOAD).await;
    assert_eq!(exit, Some(0), "{told}");
    // More than there are workers.
    sqlx::raw_sql(
        "insert into koresync.windows (stream, lane, reason, rung, from_at, to_at, state, due_at, created_at) \
         select stream, 'recheck', 'rung', 1, start_at + n * interval '10 minutes', start_at + (n + 1) * interval '10 minutes', \
           'planned', now(), now() from koresync.streams, generate_series(0, 19) n where stream = 'refused'",
    )
    .execute(&database.pool().await)
    .await
    .expect("rechecks");
    configuration.streams[1].overrides = "client_secret = \"a secret that the vendor does not know at all\"".to_owned();
    let program = Program::new(&configuration);
    let mut daemon = program.spawn(&["run"]);
    let done = "select count(*) from koresync.windows w where w.stream = 'well' and w.lane = 'recheck' and w.state = 'verified' \
        and exists (select from koresync.streams s where s.stream = 'refused' and s.paused_at < w.verified_at)";
    let began = Instant::now();
    while site.number(done).await == 0 {
        assert!(began.elapsed() < A_LOAD && daemon.is_running(), "nothing is rechecked:\n{}", daemon.told());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let waiting =
        "select count(*) from koresync.windows where stream = 'refused' and lane = 'recheck' and state = 'planned'";
    assert_eq!(site.number(waiting).await, 20, "a refused stream's rechecks wait, and no more of them are planned");
    daemon.terminate();
    assert_eq!(daemon.ended(Duration::from_secs(10)).await.code(), Some(0), "{}", daemon.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_comes_in_time_while_history_is_fetched() {
    let database = TestDatabase::create().await;
    // History enough to be fetched for as long as is watched, though nothing limits it but the vendor's pace.
    let population = simulate::Options {
        contacts: contacts().max(6_000),
        days: 30,
        latency: Duration::from_millis(150),
        requests_per_minute: 600,
        ..population()
    };
    let mut site = Site::start(database.url(), population).await;
    site.streams = vec![Stream::new("support", "st-1", site.end - TimeDelta::days(30))];
    // A large one is watched to its end.
    let is_large = contacts() > 6_000;
    let page_size = if is_large { 100 } else { 10 };
    let configuration =
        Configuration { requests_per_minute: 600, page_size, sync: EAGER.to_owned(), ..site.configuration() };
    let program = Program::new(&configuration);
    let mut daemon = program.spawn(&["run"]);
    are_fresh(&site, &["support"], &mut daemon).await;

    // Two more backfills beside the first start's: one is paused, resumed and cancelled, the other one goes on.
    let moment = |days: i64| (site.end - TimeDelta::days(days)).to_rfc3339_opts(SecondsFormat::Secs, true);
    for (from, to) in [(60, 45), (45, 30)] {
        let (from, to) = (moment(from), moment(to));
        let file = ["backfill", "--stream", "support", "--from", &from, "--to", &to, "--detach"];
        let (exit, told) = program.run(&file, Duration::from_mins(1)).await;
        assert_eq!(exit, Some(0), "{told}");
    }
    for (step, state) in [("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")] {
        let (exit, told) = program.run(&["backfill", step, "2"], Duration::from_mins(1)).await;
        assert_eq!(exit, Some(0), "{told}");
        let most = most_behind(&site, &["support"], Duration::from_secs(5), &mut daemon).await;
        assert!(most < (POLL_AND_SETTLE + GRACE).as_secs_f64(), "{most} s behind while backfill 2 is {state}");
        let (_, told) = program.run(&["backfill", "show", "2"], Duration::from_mins(1)).await;
        assert!(told.contains(state), "{told}");
    }
    let is_filled = site.number("select count(*) from koresync.backfills where state = 'running'").await;
    assert!(is_filled > 0, "all history was there before it could be in the way");
    let mut most: f64 = 0.0;
    while is_large && site.number("select count(*) from koresync.backfills where state = 'running'").await > 0 {
        most = most.max(most_behind(&site, &["support"], Duration::from_secs(5), &mut daemon).await);
        assert!(most < (POLL_AND_SETTLE + GRACE).as_secs_f64(), "{most} s behind while history is fetched");
    }
    let held = site.number("select count(*) from kore.contacts").await;
    println!("{held} contacts held, {most} s behind at most while the rest of them was fetched");
    daemon.terminate();
    assert_eq!(daemon.ended(Duration::from_secs(10)).await.code(), Some(0), "{}", daemon.told());
    assert_eq!(site.vendor.stats().refusals, 0);
}
