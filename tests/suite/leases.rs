//! Who holds a window, and who held it too long.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use koresync::domain::SystemClock;
use koresync::domain::clock::Clock as _;
use koresync::simulate::Options;
use koresync::warehouse::load::{Proof, ReadEntry};
use koresync::warehouse::streams::Learned;
use koresync::warehouse::windows::{Claim, Scope};
use koresync::warehouse::{Warehouse, WarehouseError};
use sqlx::Connection as _;

use crate::support::mirror::{connect, entry, make_schema, population, registration};
use crate::support::postgres::{TestDatabase, cluster};
use crate::support::process::{Configuration, LOOK, Process, Program};
use crate::support::site::{Site, chances, milliseconds, times};

const LEASE: Duration = Duration::from_secs(3);
const SOON: Duration = Duration::from_mins(1);
const NAMES: [&str; 3] = ["one", "two", "three"];

async fn warehouse(database: &TestDatabase) -> Warehouse {
    make_schema(database.url()).await;
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
async fn what_is_not_proved_stays_unverified_and_the_watermark_waits_before_it() {
    let database = TestDatabase::create().await;
    let (warehouse, claim) = claimed(&database).await;
    let before = warehouse.stream_state("support").await.expect("the stream").watermark;
    let failure = Some(("the total wavered".to_owned(), TimeDelta::seconds(15)));
    let entry = ReadEntry { failure, ..entry(claim.window, 0, None) };
    let commit = warehouse.open_commit(&claim, entry).await.expect("a commit");
    commit.finish(&Learned::default()).await.expect("a commit");
    let kept: (String, Option<String>, String, bool) =
        sqlx::query_as("select state, verified_by, last_error, due_at > clock_timestamp() from koresync.windows")
            .fetch_one(warehouse.pool())
            .await
            .expect("the window");
    assert_eq!(kept, ("unverified".to_owned(), None, "the total wavered".to_owned(), true));
    assert_eq!(warehouse.stream_state("support").await.expect("the stream").watermark, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_windows_that_commit_at_once_both_count_in_the_watermark() {
    let database = TestDatabase::create().await;
    let warehouse = warehouse(&database).await;
    let now = SystemClock.now();
    warehouse.register_streams(&[registration(now)]).await.expect("a stream");
    warehouse.plan_live("support", now, TimeDelta::minutes(30), TimeDelta::zero(), 2).await.expect("windows");
    let scope = Scope { streams: vec!["support".to_owned()], backfill_id: None };
    let mut finishing = Vec::new();
    // Both wait for somebody who holds the stream's row, their windows written.
    let mut other = sqlx::PgConnection::connect(database.url()).await.expect("a connection");
    sqlx::raw_sql("begin; select from koresync.streams for update").execute(&mut other).await.expect("a lock");
    let mut last = now;
    let mut claims = Vec::new();
    for owner in ["one", "other"] {
        let claim = warehouse.claim(owner, &scope).await.expect("a claim").expect("a window");
        last = claim.window.to;
        claims.push(claim);
    }
    let mut look = sqlx::PgConnection::connect(database.url()).await.expect("a connection");
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    // The later window first: whoever of the two looked before it waited, the earlier one then sees nothing behind it.
    for claim in claims.into_iter().rev() {
        let entry = entry(claim.window, 0, Some(Proof::Snapshot));
        let commit = warehouse.open_commit(&claim, entry).await.expect("a commit");
        finishing.push(tokio::spawn(async move { commit.finish(&Learned::default()).await }));
        let finishers = i64::try_from(finishing.len()).expect("few");
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut look).await.expect("a count") < finishers {
            tokio::time::sleep(LOOK).await;
        }
    }
    sqlx::raw_sql("commit").execute(&mut other).await.expect("a lock that is given up");
    for finished in finishing {
        finished.await.expect("no panic").expect("a commit");
    }
    let watermark = warehouse.stream_state("support").await.expect("the stream").watermark;
    assert_eq!(watermark, last, "one of them did not see the other");
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
async fn a_lease_is_kept_for_as_long_as_a_read_takes() {
    let database = TestDatabase::create().await;
    let population = Options { contacts: 60, days: 2, latency: Duration::from_millis(2_500), ..population() };
    let mut site = Site::start(database.url(), population).await;
    let program = Program::new(&Configuration { lease: "1s", ..site.configuration() });
    let (mut one, mut other) = (program.spawn(&["run", "--once"]), program.spawn(&["run", "--once"]));
    for process in [&mut one, &mut other] {
        assert_eq!(process.ended(SOON).await.code(), Some(0), "{}", process.told());
    }
    assert_eq!(
        site.number("select count(*) from koresync.windows where fence > 1").await,
        0,
        "a window was taken away"
    );
    site.assert_ledger_and_rows_agree().await;
    site.assert_equal().await;
}

/// Notes who claims each window, and whether somebody else finishes it. Each daemon's sessions say its name; they share a
/// login, since a frozen one's COPY is ended by the others of the same login alone.
const WATCH_CLAIMS: &str = "create schema watched; \
    create table watched.claims (window_id bigint primary key, name text not null); \
    create table watched.finished (window_id bigint, name text, claimed_by text); \
    create function watched.look() returns trigger language plpgsql as $$ begin \
      if new.fence > old.fence then \
        insert into watched.claims values (new.id, current_setting('watched.name')) on conflict (window_id) do update set name = excluded.name; \
      end if; \
      if new.state = 'verified' and old.state <> 'verified' then \
        insert into watched.finished select new.id, current_setting('watched.name'), (select name from watched.claims where window_id = new.id); \
      end if; return new; end $$; \
    create trigger look before update on koresync.windows for each row execute function watched.look(); \
    alter table koresync.windows enable always trigger look;";

#[tokio::test(flavor = "multi_thread")]
async fn of_three_daemons_one_that_was_frozen_past_its_lease_writes_nothing_that_another_has() {
    let server = cluster().await;
    let mut chances = chances();
    let (mut frozen_with, mut finished) = (0, 0);
    let runs = times(2, 100);
    for run in 0..runs {
        let name = format!("run_{run}");
        server.create_database(&name).await.expect("a database");
        let url = server.url(&name);
        let mut site = Site::start(&url, Site::slow_population()).await;
        let mut connection = site.connection().await;
        sqlx::raw_sql(WATCH_CLAIMS).execute(&mut connection).await.expect("triggers");
        let mut daemons: Vec<(Program, Process)> = NAMES
            .map(|name| {
                let database_url = format!("{url}?options[watched.name]={name}");
                let configuration =
                    Configuration { database_url, lease: "1s", max_window_bytes: 64 << 10, ..site.configuration() };
                let program = Program::new(&configuration);
                let process = program.spawn(&["run"]);
                (program, process)
            })
            .into();
        daemons[0].1.tells("A window was written.").await;
        // Frozen again until it is caught with windows in hand.
        let held = "select count(*) from koresync.windows w join watched.claims c on c.window_id = w.id \
            where w.owner is not null and w.state <> 'verified' and c.name = 'one'";
        let held = loop {
            daemons[0].1.signal("STOP");
            let held = site.number(held).await;
            if held > 0 || site.is_caught_up().await {
                break held;
            }
            daemons[0].1.signal("CONT");
            tokio::time::sleep(milliseconds(&mut chances, 1..30)).await;
        };
        frozen_with += held;
        // The others take over what it holds.
        let left = "select count(*) from koresync.windows w join watched.claims c on c.window_id = w.id \
            where w.state <> 'verified' and c.name = 'one'";
        site.becomes(0, left, SOON).await;
        daemons[0].1.signal("CONT");
        let began = std::time::Instant::now();
        while !site.is_caught_up().await {
            assert!(began.elapsed() < SOON, "they do not catch up:\n{}", daemons[1].1.told());
            tokio::time::sleep(LOOK).await;
        }
        for (_, daemon) in &daemons {
            daemon.terminate();
        }
        for (_, daemon) in &mut daemons {
            assert_eq!(daemon.ended(SOON).await.code(), Some(0), "{}", daemon.told());
        }
        let by_others =
            site.number("select count(*) from watched.finished where name is distinct from claimed_by").await;
        assert_eq!(by_others, 0, "windows were finished by a daemon that did not hold them");
        finished += site.number("select count(*) from watched.finished").await;
        site.assert_ledger_and_rows_agree().await;
        site.assert_equal().await;
        site.assert_ledger_closed().await;
        connection.close().await.ok();
    }
    println!(
        "{runs} runs of three daemons, {frozen_with} windows in frozen hands, {finished} finished, none by others"
    );
    assert!(frozen_with > 0, "none was frozen with a window in hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_inherits_a_transaction_that_was_left_open() {
    let database = TestDatabase::create().await;
    let warehouse = warehouse(&database).await;
    let mut left_by = Vec::new();
    for _ in 0..3 {
        let mut connection = warehouse.pool().lend().await.expect("a connection");
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
        while warehouse.pool().idle() == 0 {
            tokio::time::sleep(LOOK).await;
        }
    }
    assert!(left_by.iter().all(|pid| *pid == left_by[0]), "the connection was thrown away: {left_by:?}");
}
