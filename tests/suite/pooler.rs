//! A pooler that hands sessions from one transaction to the next, between the daemon and its warehouse.

use std::time::Duration;

use koresync::sync::Outcome;

use crate::support::days::{assert_days_hold, keep_all_days};
use crate::support::mirror::{Mirror, Settings, population};
use crate::support::pooler::Pooler;
use crate::support::postgres::TestDatabase;
use crate::support::process::Program;
use crate::support::site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_through_a_pooler_is_as_good() {
    let mirror = Mirror::start(population(), Settings::default()).await;
    let Some(pooler) = Pooler::start(mirror.database.url()).await else { return };
    let way = pooler.url(mirror.database.url());
    let mirror = mirror.by_way_of(way);
    assert_eq!(mirror.run_once().await, Outcome::Done);
    mirror.assert_equal().await;
    assert!(keep_all_days(&mirror.warehouse()).await > 5, "no days were marked");
    assert!(assert_days_hold(&mirror.database.pool().await).await > 0);
}

/// Several processes at once, of more connections than there are sessions, killed and started again.
#[tokio::test(flavor = "multi_thread")]
async fn daemons_share_a_pooler_and_lose_nothing_when_killed() {
    let database = TestDatabase::create().await;
    let Some(pooler) = Pooler::start(database.url()).await else { return };
    let mut site = Site::start(database.url(), Site::slow_population()).await;
    site.warehouse_url = pooler.url(database.url());
    let mut configuration = site.configuration();
    configuration.lease = "2s";
    let program = Program::new(&configuration);
    let mut daemons = Vec::new();
    for _ in 0..2 {
        daemons.push(program.spawn(&["run"]));
    }
    for daemon in &mut daemons {
        daemon.tells("A window was written.").await;
    }
    daemons.remove(0).kill().await;
    let (exit, told) = program.run(&["run", "--once"], Duration::from_mins(2)).await;
    assert_eq!(exit, Some(0), "{told}");
    for wrong in ["does not exist", "already exists", "prepared statement"] {
        assert!(!told.contains(wrong) && !daemons[0].told().contains(wrong), "{wrong}: {told}");
    }
    site.assert_equal().await;
    for command in [vec!["status"], vec!["verify", "--keys"], vec!["backfill", "list"], vec!["quarantine", "list"]] {
        let (exit, told) = program.run(&command, Duration::from_mins(1)).await;
        assert!(matches!(exit, Some(0 | 3)), "{command:?}: {exit:?} {told}");
    }
    let (_, told) = program.run(&["check"], Duration::from_mins(1)).await;
    assert!(told.contains("a pooler hands sessions from client to client"), "{told}");
    let (exit, told) = program.run(&["migrate"], Duration::from_mins(1)).await;
    assert_eq!(exit, Some(78), "{told}");
    assert!(told.contains("give a direct URL"), "{told}");
}
