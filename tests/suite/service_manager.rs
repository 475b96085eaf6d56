//! What a service manager is told: ready, alive, stopping. Who waits for its database is left alone, and who hangs is not.

use std::time::{Duration, Instant};

use koresync::simulate;
use tempfile::TempDir;
use tokio::net::UnixDatagram;

use crate::support::mirror::population;
use crate::support::postgres::{TestDatabase, cluster};
use crate::support::process::{Configuration, Process, Program};
use crate::support::site::Site;

const SOON: Duration = Duration::from_secs(30);
/// `WatchdogSec=`: silent for so long, a service is killed.
const LIMIT: Duration = Duration::from_secs(3);

/// The service manager's end of the socket.
struct Manager {
    folder: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn listen() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        Self { folder, socket }
    }

    fn start(&self, program: &Program, variables: &[(&str, &str)]) -> Process {
        let path = self.folder.path().join("notify").display().to_string();
        let limit = LIMIT.as_micros().to_string();
        let ours = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", limit.as_str())];
        program.spawn_with(&[&ours, variables].concat(), &["run"])
    }

    /// The next message, with a line for each thing that it tells.
    async fn hears(&self, within: Duration) -> Option<String> {
        let mut bytes = [0; 4096];
        let length = tokio::time::timeout(within, self.socket.recv(&mut bytes)).await.ok()?.expect("a message");
        Some(String::from_utf8(bytes[..length].to_vec()).expect("UTF-8"))
    }

    /// Waits for a message with this line. Gives those before it as well, itself last.
    async fn hears_of(&self, line: &str, within: Duration) -> Option<Vec<String>> {
        let (began, mut heard) = (Instant::now(), Vec::new());
        loop {
            let message = self.hears(within.checked_sub(began.elapsed())?).await?;
            heard.push(message);
            if heard.last().is_some_and(|message| tells(message, line)) {
                return Some(heard);
            }
        }
    }
}

fn tells(message: &str, line: &str) -> bool {
    message.lines().any(|told| told == line)
}

fn asks_for_time(message: &str) -> bool {
    message.lines().any(|told| told == format!("EXTEND_TIMEOUT_USEC={}", LIMIT.as_micros()))
}

/// A planner that stands still for 4 s counts as hanging.
fn impatient(site: &Site) -> Program {
    let configuration = Configuration { lease: "1s", ..site.configuration() };
    Program::new(&configuration).with("KORESYNC__SYNC__POLL_INTERVAL", "1s")
}

fn few() -> simulate::Options {
    simulate::Options { contacts: 200, days: 2, ..population() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_tells_that_it_is_ready_alive_and_stopping_in_that_order() {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), few()).await;
    let manager = Manager::listen();
    let program = Program::new(&site.configuration());
    let mut daemon = manager.start(&program, &[]);
    let before = manager.hears_of("READY=1", SOON).await.expect("READY");
    assert!(tells(&before[0], "STATUS=waiting for the warehouse") || asks_for_time(&before[0]), "{before:?}");
    assert!(tells(before.last().expect("the last"), "STATUS=mirroring"), "{before:?}");
    for _ in 0..3 {
        let heard = manager.hears_of("WATCHDOG=1", LIMIT).await.expect("a sign of life within the limit");
        assert!(!heard.iter().any(|message| tells(message, "STOPPING=1")), "{heard:?}");
        assert!(!heard.iter().any(|message| tells(message, "READY=1")), "ready twice: {heard:?}");
    }
    daemon.terminate();
    let last = manager.hears_of("STOPPING=1", SOON).await.expect("STOPPING");
    assert!(tells(last.last().expect("the last"), "STATUS=stopping"), "{last:?}");
    assert_eq!(daemon.ended(SOON).await.code(), Some(0), "{}", daemon.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_waits_for_its_database_asks_for_time_until_it_is_ready() {
    let mut postgres = cluster().await;
    postgres.create_database("warehouse").await.expect("a database");
    let site = Site::start(&postgres.url("warehouse"), few()).await;
    postgres.stop().await.expect("a stop");
    let manager = Manager::listen();
    let program = Program::new(&site.configuration());
    let _daemon = manager.start(&program, &[]);
    let (mut asked, began) = (0, Instant::now());
    while asked < 4 {
        assert!(began.elapsed() < SOON, "it does not ask for time");
        let message = manager.hears(LIMIT).await.expect("a message within the limit");
        assert!(!tells(&message, "READY=1"), "ready without a database");
        asked += usize::from(asks_for_time(&message) && tells(&message, "WATCHDOG=1"));
    }
    postgres.restart().await.expect("a restart");
    manager.hears_of("READY=1", SOON).await.expect("READY");
    // One may have been on its way.
    manager.hears_of("WATCHDOG=1", LIMIT).await.expect("a sign of life");
    let later = manager.hears_of("WATCHDOG=1", LIMIT).await.expect("a sign of life");
    assert!(!later.iter().any(|message| asks_for_time(message)), "{later:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_is_no_standstill() {
    let mut postgres = cluster().await;
    postgres.create_database("warehouse").await.expect("a database");
    let site = Site::start(&postgres.url("warehouse"), few()).await;
    let manager = Manager::listen();
    let program = impatient(&site);
    let mut daemon = manager.start(&program, &[]);
    manager.hears_of("READY=1", SOON).await.expect("READY");
    postgres.crash().await.expect("a crash");
    let crashed = Instant::now();
    // Longer than a planner may stand still, and the watchdog's limit on top.
    while crashed.elapsed() < Duration::from_secs(4) + 2 * LIMIT {
        manager.hears_of("WATCHDOG=1", LIMIT).await.expect("a sign of life within the limit");
    }
    assert!(!daemon.told().contains("no progress"), "{}", daemon.told());
    assert!(daemon.page("/readyz").await.contains("database: failing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_hangs_falls_silent() {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), few()).await;
    let manager = Manager::listen();
    let program = impatient(&site);
    // The planner stops there, with the thread that it is on.
    let mut daemon = manager.start(&program, &[("FAILPOINTS", "backfill_planning=pause")]);
    manager.hears_of("READY=1", SOON).await.expect("READY");
    let began = Instant::now();
    while manager.hears_of("WATCHDOG=1", LIMIT).await.is_some() {
        assert!(began.elapsed() < SOON, "it is fed all the same:\n{}", daemon.told());
    }
    assert!(daemon.is_running(), "it has ended:\n{}", daemon.told());
}
