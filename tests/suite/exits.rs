//! How the real program ends, as scripts and service managers see it.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use koresync::simulate;
use koresync::sync::Outcome;
use koresync::warehouse::backfills::Verb;
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;

use crate::support::mirror::{Mirror, Settings, population};
use crate::support::postgres::TestDatabase;
use crate::support::process::{Configuration, Program};
use crate::support::site::Site;

const SOON: Duration = Duration::from_secs(20);

async fn site() -> (TestDatabase, Site) {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), simulate::Options { contacts: 300, days: 2, ..population() }).await;
    (database, site)
}

/// A port of this machine that nobody listens on.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn wrong_secret(site: &Site) -> Configuration {
    Configuration { client_secret: "not the one that the vendor knows".to_owned(), ..site.configuration() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_or_a_database_out_of_reach_is_69() {
    let (_database, site) = site().await;
    let base_url = format!("http://127.0.0.1:{}", closed_port());
    let program = Program::new(&Configuration { base_url, give_up: "2s", ..site.configuration() });
    let (exit, told) = program.run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(69), "{told}");
    assert!(told.contains("no connection"), "{told}");

    let database_url = format!("postgres://postgres@127.0.0.1:{}/warehouse", closed_port());
    let program = Program::new(&Configuration { database_url, give_up: "2s", ..site.configuration() });
    let (exit, told) = program.run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(69), "{told}");
    assert!(told.contains("cannot reach PostgreSQL"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_secret_is_77_for_one_run_and_for_the_daemon() {
    let (_database, site) = site().await;
    let program = Program::new(&wrong_secret(&site));
    for arguments in [&["run", "--once"][..], &["run"]] {
        let (exit, told) = program.run(arguments, SOON).await;
        assert_eq!(exit, Some(77), "{arguments:?}:\n{told}");
        assert!(told.contains("the API refused the request"), "{told}");
    }
    assert_eq!(site.number("select count(*) from koresync.windows where owner is not null").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_stream_of_two_is_3_and_the_other_one_is_mirrored() {
    let (_database, site) = site().await;
    let mut configuration = site.configuration();
    configuration.streams[0].overrides = "client_secret = \"not the one that the vendor knows\"".to_owned();
    let refused = Program::new(&configuration);
    for _ in 0..4 {
        let (exit, told) = refused.run(&["run", "--once"], SOON).await;
        assert_eq!(exit, Some(3), "{told}");
    }
    site.assert_stream_equal(&site.streams[1]).await;
    assert_eq!(site.number("select count(*) from kore.contacts where stream = 'fresh'").await, 0);

    // With the right secret the rest comes too, and at once, however often it was refused.
    let began = Instant::now();
    let (exit, told) = Program::new(&site.configuration()).run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    site.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once() {
    for (arguments, exit) in [(&["run"][..], 1), (&["run", "--once"], 3)] {
        // A warehouse each: what is stopped at once keeps its leases, and the next one would wait for their end.
        let (_database, site) = site().await;
        let program = Program::new(&site.configuration());
        // Nothing can be committed while somebody else holds the table.
        let mut holder = site.connection().await;
        let mut transaction = holder.begin().await.expect("a transaction");
        sqlx::query("lock table kore.contacts in access exclusive mode")
            .execute(&mut *transaction)
            .await
            .expect("a lock");
        let mut process = program.spawn(arguments);
        let waiting = "select (count(*) > 0)::int::bigint from pg_stat_activity where datname = current_database() \
             and application_name = 'koresync' and wait_event_type = 'Lock'";
        site.becomes(1, waiting, SOON).await;
        process.terminate();
        process.tells("what is under way is finished first").await;
        assert!(process.is_running(), "{}", process.told());
        let began = Instant::now();
        process.terminate();
        let status = process.ended(SOON).await;
        assert_eq!(status.code(), Some(exit), "{arguments:?}:\n{}", process.told());
        assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
        transaction.rollback().await.expect("a rollback");
        site.connections_are_gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undisturbed_run_is_0_and_other_crates_have_nothing_to_say() {
    let (_database, site) = site().await;
    let (exit, told) = Program::new(&site.configuration()).run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    site.assert_equal().await;
    site.assert_ledger_closed().await;
    for line in told.lines() {
        assert!(line.contains("\"target\":\"koresync"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn once_ends_at_once_where_nobody_reads_the_rest_and_says_so() {
    let mirror = Mirror::start(population(), Settings::default()).await;
    drop(mirror.engine(CancellationToken::new()).await);
    let warehouse = mirror.warehouse();
    let history = warehouse.open_backfills().await.expect("backfills").first().expect("the first one").id;
    warehouse.steer_backfill(history, Verb::Cancel).await.expect("a cancelled backfill");
    let began = mirror.clock.now();
    let outcome = mirror.run_once().await;
    assert!(matches!(&outcome, Outcome::Partly(why) if why.contains("no backfill reads it")), "{outcome:?}");
    assert!(mirror.clock.now() - began < TimeDelta::hours(1), "it waited for nothing");
}
