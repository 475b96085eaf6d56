//! Databases for tests: a fresh, empty one for each, in a server that the test process shares or was given.

use std::path::Path;
use std::process::Command;

use koresync::demo::postgres::{Options, PrivatePostgres};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::sync::OnceCell;

use super::citus;

/// A server to use in place of a private one: a URL whose role may create databases.
const GIVEN_SERVER: &str = "KORESYNC_TEST_DATABASE_URL";

/// Linux's file system in memory, and the room in it from which on it is used.
const MEMORY: &str = "/dev/shm";
const ROOM_KIB_MIN: u64 = 2 * 1024 * 1024;

/// The server of this test process. Nothing drops it: its watchdog clears it away when the process ends.
static SHARED: OnceCell<PrivatePostgres> = OnceCell::const_new();

/// An empty database that no other test knows of.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    /// The database to drop at the end, and the URLs to do it from, one of each server; a private server goes as a whole.
    leftover: Option<(Vec<String>, String)>,
}

impl TestDatabase {
    pub async fn create() -> Self {
        let name = format!("koresync_test_{}", uuid::Uuid::new_v4().simple());
        if let Some(given) = given_server() {
            let url = with_database(&given, &name);
            let mut servers = vec![given.clone()];
            let mut workers = Vec::new();
            for node in citus::workers(&given).await.expect("the given server") {
                servers.push(node.url(&given));
                let worker = node.url(&url);
                workers.push((node, worker));
            }
            let turn = if workers.is_empty() { None } else { Some(citus::take_turn(&given).await.expect("a turn")) };
            for server in &servers {
                execute(server, &format!("create database {name}")).await.expect("a database in the given server");
            }
            if !workers.is_empty() {
                citus::join(&url, &workers).await.expect("a database over all nodes");
            }
            drop(turn);
            Self { url, leftover: Some((servers, name)) }
        } else {
            let server = SHARED.get_or_init(cluster).await;
            server.create_database(&name).await.expect("a database in the private server");
            Self { url: server.url(&name), leftover: None }
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A pool of its own, of at most eight connections.
    pub async fn pool(&self) -> PgPool {
        PgPoolOptions::new().max_connections(8).connect(&self.url).await.expect("a pool on the test's database")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some((servers, name)) = self.leftover.take() else { return };
        // A thread, because a runtime that is being dropped or is busy with this test runs nothing more.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let statement = format!("drop database if exists {name} with (force)");
            // The coordinator first, which holds connections to the others.
            servers
                .iter()
                .try_for_each(|server| runtime.block_on(execute(server, &statement)))
                .map_err(std::io::Error::other)
        });
        if !matches!(dropping.join(), Ok(Ok(()))) {
            eprintln!("a test database was left behind");
        }
    }
}

/// The server to use in place of a private one.
pub fn given_server() -> Option<String> {
    std::env::var(GIVEN_SERVER).ok().filter(|given| !given.is_empty())
}

/// A server that a test may stop and crash as it likes: never shared, never the given one.
pub async fn cluster() -> PrivatePostgres {
    PrivatePostgres::start(options()).await.expect("a private PostgreSQL")
}

/// A temporary server, copied from the template that all test processes share, in memory where there is room:
/// a cluster is a thousand small files, which many disks take a second to make.
pub fn options() -> Options {
    let templates = Path::new(env!("CARGO_TARGET_TMPDIR")).join("postgres");
    let directory = has_room(MEMORY).then(|| Path::new(MEMORY).join(format!("koresync-pg-{}", uuid::Uuid::new_v4())));
    Options { directory, templates: Some(templates), ..Options::default() }
}

/// Whether `df` tells of room enough for the data of several tests at once. A container's default is far less.
fn has_room(folder: &str) -> bool {
    let Ok(output) = Command::new("df").args(["-Pk", folder]).output() else { return false };
    let report = String::from_utf8_lossy(&output.stdout);
    let available = report.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    output.status.success() && available.is_some_and(|kibibytes| kibibytes >= ROOM_KIB_MIN)
}

async fn execute(url: &str, statement: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await?;
    connection.close().await
}

/// The URL with another database name; its query stays.
fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let authority = address.find("://").map_or(0, |at| at + 3);
    let end = address[authority..].find('/').map_or(address.len(), |at| authority + at);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}/{name}{query}", &address[..end])
}

#[test]
fn a_database_is_named_in_any_url() {
    for (given, named) in [
        ("postgres://u:p@h:5432/postgres?sslmode=disable", "postgres://u:p@h:5432/x?sslmode=disable"),
        ("postgres://h", "postgres://h/x"),
        ("postgres:///?host=/run/postgresql", "postgres:///x?host=/run/postgresql"),
    ] {
        assert_eq!(with_database(given, "x"), named);
    }
}
