//! The connection to the database breaks or falls silent, at the worst of moments too.

use std::time::{Duration, Instant};

use koresync::simulate::Options;
use rand::RngExt as _;

use crate::support::postgres::TestDatabase;
use crate::support::process::{Configuration, LOOK, Process, Program};
use crate::support::proxy::Proxy;
use crate::support::site::{Site, chances, milliseconds, times};

/// A fault of the network over, this is how long a load of the tests' size may take.
const SOON: Duration = Duration::from_secs(30);

/// A vendor, an empty warehouse, and the program between them, which reaches its database through a proxy and reads windows
/// of a few pages.
async fn behind_a_proxy(seed: u64, lease: &'static str) -> (TestDatabase, Site, Proxy, Program) {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), Options { contacts: 800, ..Site::slow_population() }).await;
    let proxy = Proxy::start(database.url(), seed).await;
    let program = Program::new(&Configuration {
        database_url: proxy.url().to_owned(),
        lease,
        max_window_bytes: 64 << 10,
        page_size: 10,
        ..site.configuration()
    });
    (database, site, proxy, program)
}

async fn catches_up(site: &mut Site, daemon: &mut Process) {
    let began = Instant::now();
    while !site.is_caught_up().await {
        site.assert_ledger_and_rows_agree().await;
        assert!(daemon.is_running(), "the daemon ended:\n{}", daemon.told());
        assert!(began.elapsed() < SOON, "it did not catch up within {SOON:?}:\n{}", daemon.told());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("caught up {:?} after the last fault", began.elapsed());
}

/// Ends the daemon, and looks for anything that is lacking, doubled or left in hand.
async fn assert_whole(site: &mut Site, mut daemon: Process) {
    daemon.terminate();
    assert_eq!(daemon.ended(SOON).await.code(), Some(0), "{}", daemon.told());
    site.assert_ledger_and_rows_agree().await;
    site.assert_equal().await;
    site.assert_ledger_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_whose_answers_are_lost_neither_lose_nor_double_anything() {
    let mut chances = chances();
    let (wanted, mut lost, mut looks) = (times(20, 100), 0, 0);
    // A load ends before very many are lost: then another one begins.
    while lost < wanted {
        let (_database, mut site, proxy, program) = behind_a_proxy(chances.random(), "1s").await;
        proxy.lose_answers(30);
        let mut daemon = program.spawn(&["run"]);
        let began = Instant::now();
        while lost + proxy.lost_answers() < wanted && !site.is_caught_up().await {
            site.assert_ledger_and_rows_agree().await;
            assert!(daemon.is_running() && began.elapsed() < 5 * SOON, "{}", daemon.told());
            tokio::time::sleep(milliseconds(&mut chances, 5..50)).await;
        }
        proxy.lose_answers(0);
        catches_up(&mut site, &mut daemon).await;
        assert_whole(&mut site, daemon).await;
        (lost, looks) = (lost + proxy.lost_answers(), looks + site.looks);
    }
    println!("{lost} COMMITs without an answer, {looks} looks");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_at_random_moments_cost_nothing_but_time() {
    let mut chances = chances();
    let (_database, mut site, proxy, program) = behind_a_proxy(chances.random(), "1s").await;
    let mut daemon = program.spawn(&["run"]);
    let cuts = times(10, 100);
    for _ in 0..cuts {
        if chances.random_bool(0.5) {
            site.writes(Duration::from_secs(1)).await;
        }
        tokio::time::sleep(milliseconds(&mut chances, 0..100)).await;
        proxy.cut();
        site.assert_ledger_and_rows_agree().await;
    }
    println!("{cuts} cuts of all connections");
    catches_up(&mut site, &mut daemon).await;
    assert_whole(&mut site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_is_noticed_within_a_bounded_time() {
    let (_database, mut site, proxy, program) = behind_a_proxy(1, "1s").await;
    let mut daemon = program.spawn(&["run"]);
    daemon.tells("A window was written.").await;
    proxy.fall_silent(true);
    let began = Instant::now();
    // A lease of a second, and five more.
    daemon.tells("PostgreSQL gives no answer on a connection").await;
    daemon.tells("The warehouse does not answer as it should").await;
    let noticed = began.elapsed();
    println!("noticed after {noticed:?}");
    assert!(noticed < Duration::from_secs(20), "{noticed:?}");
    // Whoever holds windows for it meanwhile is another one, and what it had sent before is not lost.
    site.assert_ledger_and_rows_agree().await;
    proxy.fall_silent(false);
    catches_up(&mut site, &mut daemon).await;
    assert_whole(&mut site, daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_in_time_though_the_database_is_silent() {
    // A silent connection is ended after the lease and five seconds more: later than a stop waits.
    let (_database, mut site, proxy, program) = behind_a_proxy(1, "5s").await;
    let mut daemon = program.spawn(&["run"]);
    daemon.tells("A window was written.").await;
    proxy.fall_silent(true);
    daemon.terminate();
    // Before container tools would kill it; and it says that not everything was finished.
    let status = daemon.ended(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(1), "{}", daemon.told());
    assert!(daemon.told().contains("stopped before everything was finished"), "{}", daemon.told());
    proxy.cut();
    proxy.fall_silent(false);
    let (exit, told) = program.run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    let began = Instant::now();
    while !site.is_caught_up().await {
        assert!(began.elapsed() < SOON, "not caught up");
        tokio::time::sleep(LOOK).await;
    }
    site.assert_ledger_and_rows_agree().await;
    site.assert_equal().await;
}
