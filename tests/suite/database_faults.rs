//! Faults of the server by their SQLSTATE: the real program bears them, tells them, and goes on when they are over.
//! A schema that asks for a newer program stands in commands/schema.rs.

use std::time::{Duration, Instant};

use koresync::demo::postgres::PrivatePostgres;
use koresync::simulate;
use rand::RngExt as _;
use rand::rngs::StdRng;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::disk::SmallDisk;
use crate::support::mirror::population;
use crate::support::postgres::{TestDatabase, cluster};
use crate::support::process::{Configuration, LOOK, Process, Program};
use crate::support::site::{Site, chances, milliseconds, times};

/// A daemon goes on so soon after the end of a fault, its load done. Its lease is the default, a minute.
const CAUGHT_UP: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_mins(1);
/// Longer than the daemon's refresh of its readiness.
const TOLD: Duration = Duration::from_secs(30);

/// A daemon that loads, and what it loads from and into.
struct Trial {
    site: Site,
    program: Program,
    daemon: Process,
}

impl Trial {
    /// The daemon has written its first window.
    async fn start(site: Site, configuration: &Configuration) -> Self {
        let program = Program::new(configuration);
        let mut daemon = program.spawn(&["run"]);
        daemon.tells("A window was written.").await;
        Self { site, program, daemon }
    }

    /// A load of small windows, that takes a while.
    async fn loading(database_url: &str) -> Self {
        let site = Site::start(database_url, load()).await;
        site.slow_down_commits().await;
        let configuration = small_windows(&site);
        Self::start(site, &configuration).await
    }

    /// Waits until everything is loaded; gives how long it took.
    async fn catches_up(&mut self) -> Duration {
        let began = Instant::now();
        // What drew out the moments of the fault must not draw out what comes after it.
        let at_once =
            "create or replace function dawdle() returns trigger language plpgsql as $$ begin return new; end $$";
        execute(&mut self.site.connection().await, at_once).await;
        while !self.site.is_caught_up().await {
            assert!(self.daemon.is_running(), "the daemon ended:\n{}", self.daemon.told());
            assert!(
                began.elapsed() < CAUGHT_UP,
                "it has not caught up {CAUGHT_UP:?} after the fault:\n{}",
                self.daemon.told()
            );
            tokio::time::sleep(LOOK).await;
        }
        began.elapsed()
    }

    /// Waits until the readiness page is as it should be.
    async fn readiness(&mut self, holds: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let page = self.daemon.page("/readyz").await;
            if holds(&page) {
                return page;
            }
            assert!(began.elapsed() < TOLD, "{page}\n{}", self.daemon.told());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The fault is in the log and on the readiness page.
    async fn is_told(&mut self, words: &str) {
        self.daemon.tells(words).await;
        self.readiness(|page| page.contains("database: failing") && page.contains(words)).await;
    }

    /// The same process goes on and ends in order; afterwards the warehouse is the oracle's.
    async fn ends_equal(mut self) -> Site {
        let took = self.catches_up().await;
        println!("caught up after {took:?}");
        self.readiness(|page| page.ends_with("\nready\n")).await;
        self.daemon.terminate();
        assert_eq!(self.daemon.ended(SOON).await.code(), Some(0), "{}", self.daemon.told());
        let (exit, told) = self.program.run(&["run", "--once"], SOON).await;
        assert_eq!(exit, Some(0), "{told}");
        self.site.assert_ledger_and_rows_agree().await;
        self.site.assert_equal().await;
        self.site.assert_ledger_closed().await;
        self.site
    }
}

fn load() -> simulate::Options {
    simulate::Options { contacts: 600, days: 2, latency: Duration::from_millis(20), ..population() }
}

fn small_windows(site: &Site) -> Configuration {
    Configuration { max_window_bytes: 64 << 10, ..site.configuration() }
}

async fn execute(connection: &mut PgConnection, sql: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(connection).await.expect("a statement");
}

/// A server of the test's own, with a warehouse.
async fn warehouse() -> (PrivatePostgres, String) {
    let postgres = cluster().await;
    postgres.create_database("warehouse").await.expect("a database");
    let url = postgres.url("warehouse");
    (postgres, url)
}

/// The URL of a login `keeper` that has the rights of a daemon, once the warehouse has its schema.
async fn keeper(site: &Site) -> String {
    execute(&mut site.connection().await, "create role keeper login in role kore_writer").await;
    site.database_url.replace("://postgres@", "://keeper@")
}

/// Ends all backends of the daemon, or one that writes. Gives how many there were.
async fn kill_backends(site: &Site, chances: &mut StdRng) -> i64 {
    let sql = if chances.random_bool(0.5) {
        "select count(pg_terminate_backend(pid)) from pg_stat_activity \
         where datname = current_database() and application_name = 'koresync'"
    } else {
        "select count(pg_terminate_backend(pid)) from (select pid from pg_stat_activity where datname = current_database() \
           and application_name = 'koresync' and backend_xid is not null order by random() limit 1) one"
    };
    site.number(sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_killed_again_and_again_are_replaced_and_the_load_goes_on() {
    let mut chances = chances();
    let (kills, mut killed, mut while_writing, mut longest) = (times(10, 100), 0, 0, Duration::ZERO);
    while killed < kills {
        let database = TestDatabase::create().await;
        let mut trial = Trial::loading(database.url()).await;
        for _ in 0..20.min(kills - killed) {
            if trial.site.writes(Duration::from_millis(500)).await {
                tokio::time::sleep(milliseconds(&mut chances, 0..30)).await;
            }
            while_writing += u32::from(trial.site.is_writing().await);
            kill_backends(&trial.site, &mut chances).await;
            killed += 1;
        }
        longest = longest.max(trial.catches_up().await);
        trial.ends_equal().await;
    }
    println!("{killed} kills, {while_writing} of them while it wrote; caught up after {longest:?} at the longest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_restarted_at_once_is_caught_up_with() {
    let mut postgres = cluster().await;
    let mut chances = chances();
    let (restarts, mut done, mut while_writing, mut longest) = (times(2, 10), 0, 0, Duration::ZERO);
    while done < restarts {
        let name = format!("warehouse_{done}");
        postgres.create_database(&name).await.expect("a database");
        let mut trial = Trial::loading(&postgres.url(&name)).await;
        for _ in 0..2.min(restarts - done) {
            trial.site.writes(Duration::from_millis(500)).await;
            tokio::time::sleep(milliseconds(&mut chances, 0..60)).await;
            while_writing += u32::from(trial.site.is_writing().await);
            postgres.crash().await.expect("an immediate shutdown");
            postgres.restart().await.expect("a start");
            done += 1;
        }
        longest = longest.max(trial.catches_up().await);
        trial.ends_equal().await;
    }
    println!("{done} restarts, {while_writing} of them while it wrote; caught up after {longest:?} at the longest");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_waited_for() {
    let (postgres, url) = warehouse().await;
    let disk = match SmallDisk::mount(2, &postgres.directory().join("data")) {
        Ok(disk) => disk,
        Err(why) => {
            println!("SKIPPED: no disk to fill, a file system of the test's own cannot be mounted here: {why}");
            return;
        }
    };
    let site = Site::start(&url, load()).await;
    let mut connection = site.connection().await;
    execute(&mut connection, format!("create tablespace small location '{}'", disk.path().display())).await;
    for table in ["koresync.raw_contacts", "kore.contact_metrics", "kore.contact_topics"] {
        execute(&mut connection, format!("alter table {table} set tablespace small")).await;
    }
    let configuration = small_windows(&site);
    let mut trial = Trial::start(site, &configuration).await;
    // PostgreSQL's words for 53100.
    trial.is_told("No space left on device").await;
    let written = "select count(*) from kore.contacts";
    let (before, behind) = (trial.site.number(written).await, trial.program.run(&["status"], SOON).await);
    assert_eq!(behind.0, Some(3), "{}", behind.1);
    trial.site.assert_ledger_and_rows_agree().await;
    disk.resize(256);
    let site = trial.ends_equal().await;
    println!("{before} contacts fit on the disk, {} in all", site.number(written).await);
    drop(postgres);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_lose_by_deadlock_or_serialization_are_tried_again() {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), load()).await;
    let losses = times(14, 100);
    // A sequence counts on through rollbacks; `always`, since the daemon loads with triggers off.
    execute(
        &mut site.connection().await,
        format!(
            "create sequence losses; \
             create function lose() returns trigger language plpgsql as $$ declare n bigint := nextval('losses'); begin \
               if n <= {losses} and n % 2 = 0 then raise exception 'a deadlock on purpose' using errcode = '40P01'; end if; \
               if n <= {losses} then raise exception 'a serialization failure on purpose' using errcode = '40001'; end if; \
               return null; end $$; \
             create trigger lose before insert on kore.contacts for each statement execute function lose(); \
             alter table kore.contacts enable always trigger lose;"
        ),
    )
    .await;
    let configuration = Configuration { log_level: "debug", ..small_windows(&site) };
    let mut trial = Trial::start(site, &configuration).await;
    for words in ["a deadlock on purpose", "a serialization failure on purpose", "lost against another one"] {
        trial.daemon.tells(words).await;
    }
    let lost = trial.ends_equal().await.number("select least(last_value, 1000) from losses").await;
    println!("{losses} of {lost} transactions lost");
    assert!(lost > i64::from(losses));
}

/// The windows whose rows somebody has locked.
async fn locked_windows(connection: &mut PgConnection) -> Vec<i64> {
    sqlx::query_scalar(
        "with free as (select id from koresync.windows where owner is not null for update skip locked) \
         select id from koresync.windows where owner is not null and id not in (select id from free)",
    )
    .fetch_all(connection)
    .await
    .expect("windows")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_deadlock_costs_the_daemon_a_try() {
    let database = TestDatabase::create().await;
    // The server looks for a deadlock once, when a lock was waited for so long: of the daemon, late enough that there is
    // one; of the other, so late that it is not the one to be ended.
    let late =
        "do $$ begin execute format('alter database %I set deadlock_timeout = ''5s''', current_database()); end $$";
    execute(&mut PgConnection::connect(database.url()).await.expect("a connection"), late).await;
    let trial = Trial::loading(database.url()).await;
    let mut other = trial.site.connection().await;
    // Holds what a window's transaction locks last, and asks for what it locked first.
    execute(&mut other, "set deadlock_timeout = '1min'").await;
    let mut look = trial.site.connection().await;
    let mut transaction = other.begin().await.expect("a transaction");
    execute(&mut transaction, "select from koresync.streams for update").await;
    let began = Instant::now();
    let locked = loop {
        match locked_windows(&mut look).await {
            locked if !locked.is_empty() => break locked,
            _ => tokio::time::sleep(LOOK).await,
        }
        assert!(began.elapsed() < SOON, "no window was written:\n{}", trial.daemon.told());
    };
    sqlx::query("select from koresync.windows where id = any($1) order by id for update")
        .bind(locked)
        .execute(&mut *transaction)
        .await
        .expect("the windows, once the daemon's transaction is ended");
    transaction.rollback().await.expect("a rollback");
    let site = trial.ends_equal().await;
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert!(site.number(deadlocks).await >= 1, "there was no deadlock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_isolates_more_strictly_by_default_is_loaded_all_the_same() {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), load()).await;
    let mut connection = site.connection().await;
    let name: String =
        sqlx::query_scalar("select current_database()::text").fetch_one(&mut connection).await.expect("a name");
    execute(&mut connection, format!("alter database {name} set default_transaction_isolation = 'serializable'")).await;
    let configuration = small_windows(&site);
    Trial::start(site, &configuration).await.ends_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_holds_is_waited_for_no_longer_than_a_lease() {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), load()).await;
    let configuration = Configuration { lease: "2s", ..small_windows(&site) };
    let mut trial = Trial::start(site, &configuration).await;
    let mut holder = trial.site.connection().await;
    let mut transaction = holder.begin().await.expect("a transaction");
    execute(&mut transaction, "lock table kore.contacts in access exclusive mode").await;
    let mut longest = 0.0_f64;
    let began = Instant::now();
    let mut look = trial.site.connection().await;
    while began.elapsed() < Duration::from_secs(6) {
        let waited: f64 = sqlx::query_scalar(
            "select coalesce(max(extract(epoch from clock_timestamp() - query_start)), 0)::float8 from pg_stat_activity \
             where datname = current_database() and application_name = 'koresync' and wait_event_type = 'Lock'",
        )
        .fetch_one(&mut look)
        .await
        .expect("a look");
        longest = longest.max(waited);
        tokio::time::sleep(LOOK).await;
    }
    // PostgreSQL's words for 57014.
    trial.is_told("canceling statement due to statement timeout").await;
    transaction.rollback().await.expect("a rollback");
    println!("waited for {longest:.1} s at the longest");
    assert!((1.0..3.0).contains(&longest), "{longest} s");
    trial.ends_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_connections_is_told_and_waited_for() {
    let (_postgres, url) = warehouse().await;
    let site = Site::start(&url, load()).await;
    site.slow_down_commits().await;
    let mut connection = site.connection().await;
    let configuration = Configuration { database_url: keeper(&site).await, ..small_windows(&site) };
    let mut trial = Trial::start(site, &configuration).await;
    execute(&mut connection, "alter role keeper connection limit 0").await;
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'keeper'";
    assert!(trial.site.number(kill).await > 0);
    // PostgreSQL's words for 53300.
    trial.is_told("too many connections for role").await;
    execute(&mut connection, "alter role keeper connection limit -1").await;
    trial.ends_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_writes_any_more_is_told_and_waited_for() {
    let (_postgres, url) = warehouse().await;
    let mut trial = Trial::loading(&url).await;
    let mut connection = trial.site.connection().await;
    let read_only = "alter system set default_transaction_read_only";
    execute(&mut connection, format!("{read_only} = on")).await;
    execute(&mut connection, "select pg_reload_conf()").await;
    // PostgreSQL's words for 25006.
    trial.is_told("in a read-only transaction").await;
    trial.site.assert_ledger_and_rows_agree().await;
    execute(&mut connection, format!("{read_only} = off")).await;
    execute(&mut connection, "select pg_reload_conf()").await;
    trial.ends_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_is_77_and_named_and_the_daemon_waits_for_it() {
    let (_postgres, url) = warehouse().await;
    let site = Site::start(&url, load()).await;
    let mut connection = site.connection().await;
    let database_url = keeper(&site).await;
    execute(&mut connection, "revoke insert on kore.contacts from kore_writer").await;
    let impatient = Configuration { database_url: database_url.clone(), give_up: "3s", ..small_windows(&site) };
    let (exit, told) = Program::new(&impatient).run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(77), "{told}");
    assert!(told.contains("permission denied for table contacts"), "{told}");
    let (exit, told) = Program::new(&impatient).run(&["check"], SOON).await;
    assert!(exit != Some(0) && told.contains("kore.contacts"), "{exit:?} {told}");

    // One that runs bears it: rights are restored without anybody having to start it again.
    execute(&mut connection, "grant insert on kore.contacts to kore_writer").await;
    site.forget_lost_slots().await;
    let configuration = Configuration { database_url, ..small_windows(&site) };
    let mut trial = Trial::start(site, &configuration).await;
    execute(&mut connection, "revoke insert on kore.contacts from kore_writer").await;
    trial.is_told("permission denied for table contacts").await;
    execute(&mut connection, "grant insert on kore.contacts to kore_writer").await;
    trial.ends_equal().await;
}
