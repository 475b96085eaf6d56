//! Who holds a window, and who held it too long.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use koresync::domain::SystemClock;
use koresync::domain::clock::Clock as _;
use koresync::warehouse::load::Proof;
use koresync::warehouse::streams::Learned;
use koresync::warehouse::windows::{Claim, Scope};
use koresync::warehouse::{Warehouse, WarehouseError, migrate};
use sqlx::Connection as _;

use crate::support::mirror::{connect, entry, registration};
use crate::support::postgres::TestDatabase;
use crate::support::process::{Configuration, LOOK, Program};
use crate::support::site::Site;

const LEASE: Duration = Duration::from_secs(3);
const SOON: Duration = Duration::from_mins(1);

async fn warehouse(database: &TestDatabase) -> Warehouse {
    migrate::up(&connect(database.url())).await.expect("a schema");
    Warehouse::new(&connect(database.url()), Arc::new(SystemClock), chrono_tz::UTC, LEASE)
}

/// A warehouse whose only window is claimed.
async fn claimed(database: &TestDatabase) -> (Warehouse, Claim) {
    let warehouse = warehouse(database).await;
    let now = SystemClock.now();
    warehouse.register_streams(&[registration(now)]).await.expect("a stream");
    warehouse.plan_live("support", now, TimeDelta::days(1), TimeDelta::zero(), 1).await.expect("a window");
    let scope = Scope { streams: vec!["support".to_owned()], backfill_id: None };
    let claim = warehouse.claim("first", &scope).await.expect("a claim").expect("a window");
    (warehouse, claim)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_lease_holder_cannot_commit() {
    let database = TestDatabase::create().await;
    let (warehouse, stale) = claimed(&database).await;
    let scope = Scope { streams: vec!["support".to_owned()], backfill_id: None };
    assert!(warehouse.claim("second", &scope).await.expect("a claim").is_none(), "a leased window was given away");
    tokio::time::sleep(LEASE).await;
    let held = warehouse.claim("second", &scope).await.expect("a claim").expect("a window whose lease is over");
    assert_eq!((held.id, held.fence), (stale.id, stale.fence + 1));

    let entry = entry(stale.window, 0, Some(Proof::Snapshot));
    let refused = warehouse.open_commit(&stale, entry.clone()).await;
    assert!(matches!(refused, Err(WarehouseError::Fenced)), "{refused:?}");
    assert!(!warehouse.renew(&stale).await.expect("an answer"), "a lease was renewed that another one has");
    // Nor may what is given back be the other one's.
    warehouse.give_back(&stale, None, TimeDelta::zero(), 0).await.expect("an answer");
    let commit = warehouse.open_commit(&held, entry.clone()).await.expect("the holder's commit");
    commit.finish(&Learned::default()).await.expect("a commit");
    let twice = warehouse.open_commit(&held, entry).await;
    assert!(matches!(twice, Err(WarehouseError::Fenced)), "{twice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_frozen_in_the_middle_of_a_copy_holds_its_window_no_longer_than_its_lease() {
    let database = TestDatabase::create().await;
    let (warehouse, claim) = claimed(&database).await;
    let options: sqlx::postgres::PgConnectOptions = database.url().parse().expect("options");
    let mut frozen = sqlx::PgConnection::connect_with(&options.application_name("koresync")).await.expect("a worker");
    let begun = format!(
        "begin; set local statement_timeout = '3s'; select from koresync.windows where id = {} for update",
        claim.id
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(begun)).execute(&mut frozen).await.expect("a transaction");
    let copy =
        sqlx::postgres::PgConnection::copy_in_raw(&mut frozen, "copy kore.emotions from stdin").await.expect("a COPY");
    assert_eq!(warehouse.end_silent_copies().await.expect("an answer"), 0, "it has its lease still");

    tokio::time::sleep(LEASE).await;
    let scope = Scope { streams: vec!["support".to_owned()], backfill_id: None };
    let second = warehouse.claim("second", &scope).await.expect("a claim");
    assert!(second.is_none(), "the server ends it by itself: the mend is needless");
    let asked_at = std::time::Instant::now();
    while warehouse.end_silent_copies().await.expect("an answer") == 0 {
        assert!(asked_at.elapsed() < Duration::from_secs(20), "the frozen worker still holds its window");
        tokio::time::sleep(LOOK).await;
    }
    let taken = loop {
        match warehouse.claim("second", &scope).await.expect("a claim") {
            Some(taken) => break taken,
            None => tokio::time::sleep(LOOK).await,
        }
    };
    assert_eq!((taken.id, taken.fence), (claim.id, claim.fence + 1));
    assert!(copy.finish().await.is_err(), "the frozen worker wakes up to a connection that is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_daemon_wakes_up_to_windows_that_another_one_has_read() {
    let database = TestDatabase::create().await;
    let mut site = Site::start(database.url(), Site::slow_population()).await;
    let program = Program::new(&Configuration { lease: "1s", ..site.configuration() });
    let mut frozen = program.spawn(&["run"]);
    frozen.tells("A window was written.").await;
    // Frozen again until it is caught with windows in hand.
    let held = loop {
        frozen.signal("STOP");
        let held = site.number("select count(*) from koresync.windows where owner is not null").await;
        if held > 0 {
            break held;
        }
        let written = site.number("select count(*) from koresync.windows where state = 'verified'").await;
        assert!(written < 200, "it was never caught in the middle of a window");
        frozen.signal("CONT");
    };
    let (exit, told) = program.run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    site.assert_equal().await;
    frozen.signal("CONT");
    // It notices, drops what it had in hand, and goes on polling.
    let (exit, told) = program.run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    println!("{held} windows were held by the frozen daemon");
    assert!(frozen.is_running(), "{}", frozen.told());
    frozen.terminate();
    assert_eq!(frozen.ended(SOON).await.code(), Some(0), "{}", frozen.told());
    site.assert_ledger_and_rows_agree().await;
    site.assert_equal().await;
    site.assert_ledger_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_inherits_a_transaction_that_was_left_open() {
    let database = TestDatabase::create().await;
    let warehouse = warehouse(&database).await;
    let mut left_by = Vec::new();
    for _ in 0..3 {
        let mut connection = warehouse.pool().acquire().await.expect("a connection");
        let pid: i32 =
            sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *connection).await.expect("a process id");
        let is_open: bool = sqlx::raw_sql("select now() <> statement_timestamp()")
            .fetch_one(&mut *connection)
            .await
            .and_then(|row| sqlx::Row::try_get(&row, 0))
            .expect("two times");
        assert!(!is_open, "somebody's transaction was inherited");
        sqlx::raw_sql("begin").execute(&mut *connection).await.expect("a transaction");
        left_by.push(pid);
        // As a task that failed leaves it. What the return does goes on in the background.
        drop(connection);
        while warehouse.pool().num_idle() == 0 {
            tokio::time::sleep(LOOK).await;
        }
    }
    assert!(left_by.iter().all(|pid| *pid == left_by[0]), "the connection was thrown away: {left_by:?}");
}
