//! The program dies, or fails, at each of the moments that part what belongs together.

use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta};
use koresync::faults::Point;
use koresync::simulate::Options;
use koresync::sync::Outcome;
use koresync::warehouse::migrate;
use koresync::warehouse::rebuilds::RebuildScope;
use rand::RngExt as _;

use crate::rebuilding::{spoil, try_to_rebuild};
use crate::support::mirror::{Mirror, Settings, connect, population};
use crate::support::postgres::TestDatabase;
use crate::support::process::{Configuration, Process, Program, Stream};
use crate::support::site::{Site, chances, times};

const SOON: Duration = Duration::from_mins(1);
/// Starts the program so that it dies when it crosses the point for so many times and once more.
fn spawn_to_die(program: &Program, point: Point, after: u32, arguments: &[&str]) -> Process {
    let points = format!("{}={after}*off->return(kill)", point.name());
    program.spawn_with(&[("FAILPOINTS", &points)], arguments)
}

/// Waits for its death. Panics when it ended in another way.
async fn dies(mut process: Process, point: Point) {
    let status = process.ended(SOON).await;
    assert_eq!(status.code(), None, "it did not die at {point:?} but ended with {status}:\n{}", process.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_moment_of_a_window_it_loses_and_doubles_nothing() {
    let database = TestDatabase::create().await;
    let mut site = Site::start(database.url(), Site::slow_population()).await;
    let program =
        Program::new(&Configuration { lease: "1s", max_window_bytes: 64 << 10, page_size: 10, ..site.configuration() });
    let mut chances = chances();
    for _ in 0..times(1, 10) {
        for point in Point::OF_A_WINDOW {
            // Two workers may cross it at once: an early death leaves windows of all kinds behind.
            dies(spawn_to_die(&program, point, chances.random_range(0..4), &["run"]), point).await;
            site.assert_ledger_and_rows_agree().await;
            site.forget_lost_slots().await;
        }
    }
    let (exit, told) = program.run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    site.assert_ledger_and_rows_agree().await;
    site.assert_equal().await;
    site.assert_ledger_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_backfill_is_planned_it_plans_no_span_twice_and_none_never() {
    let database = TestDatabase::create().await;
    let mut site = Site::start(database.url(), Site::slow_population()).await;
    let streams = vec![Stream::new("history", "st-2", site.end)];
    let program = Program::new(&Configuration { streams, lease: "1s", ..site.configuration() });
    let moment = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (first, last) = (moment(site.end - TimeDelta::days(2)), moment(site.end));
    let arguments = ["backfill", "--stream", "history", "--from", &first, "--to", &last, "--window", "2h"];
    for point in Point::OF_A_BACKFILL {
        for after in [0, 2] {
            dies(spawn_to_die(&program, point, after, &arguments), point).await;
            site.connections_are_gone().await;
            site.forget_lost_slots().await;
        }
    }
    let (exit, told) = program.run(&arguments, SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    assert_eq!(site.number("select count(*) from koresync.backfills").await, 1, "the same backfill went on");
    let planned = "select count(*) from (select from_at, to_at, lag(to_at) over (order by from_at) as before from koresync.windows) w \
        where before is distinct from from_at";
    assert_eq!(site.number(planned).await, 1, "the windows do not meet");
    site.streams = vec![Stream::new("history", "st-2", site.end - TimeDelta::days(2))];
    site.assert_equal().await;
    site.assert_ledger_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_a_rebuild_it_goes_on_where_it_was() {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), Options { contacts: 2_000, days: 2, ..population() }).await;
    let program = Program::new(&site.configuration());
    let (exit, told) = program.run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    spoil(&database).await;
    for (point, after) in [(Point::RebuildWritten, 1), (Point::RebuildCommitted, 0)] {
        dies(spawn_to_die(&program, point, after, &["rebuild"]), point).await;
        site.connections_are_gone().await;
    }
    let (exit, told) = program.run(&["rebuild"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    assert_eq!(site.number("select count(*) from koresync.rebuilds").await, 1, "the same rebuild went on");
    site.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_two_migrations_the_next_one_goes_on() {
    let whole = TestDatabase::create().await;
    let count = migrate::up(&connect(whole.url())).await.expect("a schema").len();
    let database = TestDatabase::create().await;
    let end = "2026-03-31T00:00:00Z".parse().expect("a time");
    let program = Program::new(&Configuration::new(
        database.url(),
        "http://127.0.0.1:9",
        vec![Stream::new("history", "st-1", end)],
    ));
    let applied = async |database: &TestDatabase| -> i64 {
        sqlx::query_scalar("select count(*) from koresync.schema_versions")
            .fetch_one(&database.pool().await)
            .await
            .expect("a count")
    };
    // One more each time, and dead each time.
    for done in 1..count {
        let after = u32::try_from(done - 1).expect("a few");
        dies(spawn_to_die(&program, Point::Migrating, after, &["migrate"]), Point::Migrating).await;
        assert_eq!(applied(&database).await, i64::try_from(done).expect("a few"));
    }
    let (exit, told) = program.run(&["migrate"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    let shape = "select md5(string_agg(format('%s.%s %s %s', table_name, column_name, data_type, column_default), ',' \
        order by table_name, column_name)) from information_schema.columns where table_schema in ('kore', 'koresync')";
    let mut shapes = Vec::new();
    for database in [&whole, &database] {
        let shape: String = sqlx::query_scalar(shape).fetch_one(&database.pool().await).await.expect("a shape");
        shapes.push(shape);
    }
    assert_eq!(shapes[0], shapes[1]);
}

/// The third and fourth time that the point is crossed something breaks there.
fn break_at(point: Point) {
    fail::cfg(point.name(), "2*off->2*return(error)->off").expect("a point");
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_at_each_moment_it_tries_again_and_loses_and_doubles_nothing() {
    let scenario = fail::FailScenario::setup();
    for point in Point::OF_A_WINDOW.into_iter().chain(Point::OF_A_BACKFILL) {
        let settings = Settings { page_size: 20, max_window_bytes: 64 << 10, ..Settings::default() };
        let mirror = Mirror::start(population(), settings).await;
        break_at(point);
        assert_eq!(mirror.run_once().await, Outcome::Done, "{point:?}");
        mirror.assert_equal().await;
        for (claim, query) in [
            (
                "inserted more often than they are there",
                "select ((select sum(inserted) from koresync.windows) - (select count(*) from kore.contacts))::bigint",
            ),
            (
                "counted in windows and lacking",
                "select ((select sum(in_window) from koresync.windows) - (select count(*) from kore.contacts))::bigint",
            ),
            ("windows not verified", "select count(*) from koresync.windows where state <> 'verified'"),
        ] {
            assert_eq!(mirror.number(query).await, 0, "{point:?}: contacts {claim}");
        }
        fail::remove(point.name());
    }
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_fails_on_its_way_is_gone_on_with() {
    let scenario = fail::FailScenario::setup();
    let mirror = Mirror::start(population(), Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    spoil(&mirror.database).await;
    for point in Point::OF_A_REBUILD {
        fail::cfg(point.name(), "1*return(error)->off").expect("a point");
        let failed = try_to_rebuild(&mirror, &RebuildScope::default()).await;
        assert!(failed.is_err(), "{point:?} was not crossed");
        fail::remove(point.name());
    }
    try_to_rebuild(&mirror, &RebuildScope::default()).await.expect("a rebuild");
    mirror.assert_equal().await;
    let rebuilds = mirror.number("select count(*) from koresync.rebuilds").await;
    assert!((1..=2).contains(&rebuilds), "{rebuilds} rebuilds");
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_that_break_off_are_gone_on_with() {
    let scenario = fail::FailScenario::setup();
    let database = TestDatabase::create().await;
    fail::cfg(Point::Migrating.name(), "3*off->1*return(error)->off").expect("a point");
    migrate::up(&connect(database.url())).await.expect_err("it breaks off");
    let states = migrate::up(&connect(database.url())).await.expect("a schema");
    assert!(states.iter().all(|state| state.is_applied), "{states:?}");
    scenario.teardown();
}
