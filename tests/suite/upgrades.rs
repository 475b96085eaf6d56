//! A rolling upgrade: the older version goes on working over the schema that the newer one has expanded.

use std::time::{Duration, Instant};

use koresync::simulate;
use sqlx::Connection as _;

use crate::support::postgres::TestDatabase;
use crate::support::process::{Configuration, LOOK, Process, Program};
use crate::support::site::Site;

/// The program of the older version, where it is another build: `make upgrade-check` names one.
const OLDER: &str = "KORESYNC_TEST_OLDER_PROGRAM";
const A_LOAD: Duration = Duration::from_mins(5);
const WRITTEN: &str = "A window was written.";

/// What the next migration may do: a table, a column with a default, an index.
const EXPANSION: &str = "alter table kore.contacts add column later_text text; \
     alter table koresync.windows add column later_number integer not null default 7; \
     create table koresync.later_table (id integer primary key); \
     create index on kore.contact_metrics (qualification); \
     insert into koresync.schema_versions (migration, oldest_program) values (9999, '0.1.0'); \
     insert into koresync._sqlx_migrations (version, description, success, checksum, execution_time) \
       values (9999, 'later', true, '\\x00', 0);";

/// Until it has written one window more.
async fn writes_on(daemon: &mut Process) {
    let written = daemon.told().matches(WRITTEN).count();
    let began = Instant::now();
    while daemon.told().matches(WRITTEN).count() <= written {
        assert!(daemon.is_running(), "a daemon ended:\n{}", daemon.told());
        assert!(began.elapsed() < A_LOAD, "a daemon writes nothing any more:\n{}", daemon.told());
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_works_on_beside_this_one_over_the_expanded_schema() {
    let database = TestDatabase::create().await;
    let options = simulate::Options { latency: Duration::from_millis(100), ..Site::slow_population() };
    let mut site = Site::without_schema(database.url(), options).await;
    let configuration = Configuration { page_size: 10, max_window_bytes: 64 << 10, ..site.configuration() };
    let program = Program::new(&configuration);
    let older = Program::new(&configuration);
    let other_build = std::env::var_os(OLDER);
    let older = match &other_build {
        Some(executable) => older.built_at(executable.into()),
        None => older,
    };
    let (exit, told) = older.run(&["migrate"], A_LOAD).await;
    assert_eq!(exit, Some(0), "{told}");
    let versions = "select count(*) from koresync.schema_versions";
    let before = site.number(versions).await;

    let mut old = older.spawn(&["run"]);
    old.tells(WRITTEN).await;
    if other_build.is_some() {
        let (exit, told) = program.run(&["migrate"], A_LOAD).await;
        assert_eq!(exit, Some(0), "{told}");
    } else {
        let mut connection = site.connection().await;
        sqlx::raw_sql(EXPANSION).execute(&mut connection).await.expect("an expansion");
        connection.close().await.ok();
    }
    assert!(site.number(versions).await > before, "the older program's schema is no older");
    let mut new = program.spawn(&["run"]);
    new.tells(WRITTEN).await;
    writes_on(&mut old).await;
    writes_on(&mut new).await;
    assert!(!site.is_caught_up().await, "the load was over before both had a part in it");
    // One that is started now, as by its supervisor.
    old.terminate();
    assert_eq!(old.ended(Duration::from_secs(20)).await.code(), Some(0), "{}", old.told());
    let mut old = older.spawn(&["run"]);

    let began = Instant::now();
    while !site.is_caught_up().await {
        site.assert_ledger_and_rows_agree().await;
        for daemon in [&mut old, &mut new] {
            assert!(daemon.is_running(), "a daemon ended:\n{}", daemon.told());
        }
        assert!(began.elapsed() < A_LOAD, "the daemons do not catch up");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for mut daemon in [old, new] {
        daemon.terminate();
        assert_eq!(daemon.ended(Duration::from_secs(20)).await.code(), Some(0), "{}", daemon.told());
    }
    let (exit, told) = program.run(&["run", "--once"], A_LOAD).await;
    assert_eq!(exit, Some(0), "{told}");
    site.assert_equal().await;
    site.assert_ledger_closed().await;
}
