//! The daemon's life: it waits, gets ready, and stops in order.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{Koresync, migrated};
use crate::support::postgres::cluster;
use crate::support::process::LOOK;

const PATIENCE: Duration = Duration::from_secs(40);

struct Daemon {
    child: Child,
    address: String,
}

impl Daemon {
    /// Runs until it says where it listens.
    async fn start(koresync: &Koresync) -> Self {
        let mut child = koresync.command(&["run", "--log-format", "json"]).spawn().expect("a daemon");
        let mut lines = BufReader::new(child.stderr.take().expect("its log")).lines();
        let address = loop {
            let line = lines.next_line().await.expect("a log").expect("a line that names the address");
            let told: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
            if let Some(address) = told["address"].as_str() {
                break address.to_owned();
            }
        };
        // Its log is read on, so that it never waits for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, address }
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.expect("a listener");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    async fn wait_for(&self, path: &str, holds: impl Fn(&str) -> bool) -> String {
        let waiting = async {
            loop {
                let answer = self.get(path).await;
                if holds(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let Ok(answer) = tokio::time::timeout(PATIENCE, waiting).await else {
            panic!("{path} never changed: {}", self.get(path).await)
        };
        answer
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("a running daemon").to_string();
        let sent = Command::new("kill").args([name, &pid]).status().await.expect("a signal");
        assert!(sent.success());
    }
}

#[tokio::test]
async fn sigterm_ends_the_daemon_in_order_within_ten_seconds() {
    let (database, koresync) = migrated().await;
    let mut daemon = Daemon::start(&koresync).await;
    daemon.wait_for("/readyz", |answer| answer.contains("\nready\n")).await;
    for metric in [
        "koresync_watermark_timestamp_seconds{stream=\"support\"}",
        "koresync_build_info",
        "koresync_windows{stream=\"support\",lane=\"",
    ] {
        daemon.wait_for("/metrics", |answer| answer.contains(metric)).await;
    }

    daemon.wait_for("/", |answer| answer.contains("<a href=\"/streams/support\">support</a>")).await;
    // What is not in memory is asked of the warehouse.
    daemon.wait_for("/windows/1000000", |answer| answer.contains("404")).await;

    daemon.signal("-TERM").await;
    let ended = tokio::time::timeout(Duration::from_secs(10), daemon.child.wait()).await.expect("within 10 s");
    assert_eq!(ended.expect("its end").code(), Some(0));
    let pool = database.pool().await;
    let (leases, outcome): (i64, Option<String>) = sqlx::query_as(
        "select (select count(*) from koresync.windows where owner is not null), (select max(outcome) from koresync.runs)",
    )
    .fetch_one(&pool)
    .await
    .expect("an answer");
    assert_eq!((leases, outcome.as_deref()), (0, Some("done")));
    // The server's processes notice a moment later than we do.
    let began = std::time::Instant::now();
    loop {
        let connections: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where application_name = 'koresync' and datname = current_database()",
        )
        .fetch_one(&pool)
        .await
        .expect("an answer");
        if connections == 0 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{connections} connections are still open");
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test]
async fn the_daemon_waits_for_its_database_and_bears_its_loss() {
    let mut postgres = cluster().await;
    postgres.create_database("warehouse").await.expect("a database");
    let koresync = Koresync::new(&postgres.url("warehouse"));
    koresync.run(&["migrate"]).await.expect(0);
    postgres.stop().await.expect("a stop");
    let mut daemon = Daemon::start(&koresync).await;
    assert!(daemon.get("/readyz").await.contains("database: waiting"));
    assert!(daemon.get("/livez").await.starts_with("HTTP/1.1 200"));
    postgres.restart().await.expect("a restart");
    daemon.wait_for("/readyz", |answer| answer.contains("\nready\n")).await;
    postgres.crash().await.expect("a crash");
    daemon.wait_for("/readyz", |answer| answer.contains("database: failing")).await;
    postgres.restart().await.expect("a restart");
    daemon.wait_for("/readyz", |answer| answer.contains("\nready\n")).await;
    // A stop while the database is away ends in order as well.
    postgres.crash().await.expect("a crash");
    daemon.wait_for("/readyz", |answer| answer.contains("database: failing")).await;
    daemon.signal("-INT").await;
    let ended = tokio::time::timeout(Duration::from_secs(10), daemon.child.wait()).await.expect("within 10 s");
    assert_eq!(ended.expect("its end").code(), Some(0));
}

#[tokio::test]
async fn a_taken_port_exits_78_and_names_the_key() {
    let (_database, koresync) = migrated().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let configuration = std::fs::read_to_string(koresync.configuration()).expect("the configuration");
    let second = Koresync::with(&configuration.replace("127.0.0.1:0", &address));
    second.run(&["run"]).await.expect(78).tells("server.listen");
}

#[tokio::test]
async fn a_stop_ends_once_as_partly_done() {
    let (database, koresync) = migrated().await;
    let configuration = std::fs::read_to_string(koresync.configuration()).expect("the configuration");
    let patient = Koresync::with(&configuration.replace("give_up = \"1s\"", "give_up = \"10m\""));
    let mut child = patient.command(&["run", "--once", "--log-format", "json"]).spawn().expect("a process");
    let mut lines = BufReader::new(child.stderr.take().expect("its log")).lines();
    let pid = child.id().expect("a running process").to_string();
    // Once the database was prepared it asks the vendor, in vain.
    let pool = database.pool().await;
    loop {
        let runs: i64 =
            sqlx::query_scalar("select count(*) from koresync.runs").fetch_one(&pool).await.expect("a count");
        if runs > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let sent = Command::new("kill").args(["-TERM", &pid]).status().await.expect("a signal");
    assert!(sent.success());
    while let Ok(Some(_)) = lines.next_line().await {}
    assert_eq!(child.wait().await.expect("its end").code(), Some(3));
}
