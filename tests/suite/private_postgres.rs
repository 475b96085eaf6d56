//! The private server: whoever starts it and however it ends, it works and leaves nothing behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use koresync::demo::postgres::{Error, Options, PrivatePostgres};
use sqlx::{Connection, PgConnection};

use crate::support::postgres::{TestDatabase, cluster, options};

async fn number(url: &str, query: &'static str) -> i32 {
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    sqlx::query_scalar(query).fetch_one(&mut connection).await.expect("an answer")
}

async fn execute(url: &str, statement: &'static str) {
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    sqlx::raw_sql(statement).execute(&mut connection).await.expect("an executed statement");
}

fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Looks again until something has come about.
fn wait_until(claim: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "not within 30 s: {claim}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A folder that the server's user can reach, with a space and a comma in its name.
fn reachable_folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("koresync, test ").tempdir_in("/tmp").expect("a folder");
    set_mode(folder.path(), 0o755);
    folder
}

fn set_mode(path: &Path, mode: u32) {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(path, permissions).expect("permissions set");
}

#[tokio::test]
async fn a_private_server_starts_as_any_user_and_leaves_nothing_behind() {
    let postgres = PrivatePostgres::start(Options::default()).await.expect("a private server");
    assert_eq!(postgres.note(), None);
    postgres.create_database("first \"quoted\"").await.expect("a database");
    postgres.create_database("first \"quoted\"").await.expect("no complaint about one that is there");
    assert_eq!(number(&postgres.url("postgres"), "select 1").await, 1);
    let socket = postgres.socket_directory().join(format!(".s.PGSQL.{}", postgres.port()));
    assert!(socket.exists(), "no socket at {}", socket.display());

    let (folder, port) = (postgres.directory().to_owned(), postgres.port());
    drop(postgres);
    assert!(!folder.exists(), "{} was left", folder.display());
    assert!(!listens(port), "the server was left");
}

#[tokio::test]
async fn kept_data_is_there_on_the_next_start() {
    let parent = reachable_folder();
    let directory = parent.path().join("a server");
    let kept = || Options { directory: Some(directory.clone()), keep_data: true, durable: true, ..options() };

    let first = PrivatePostgres::start(kept()).await.expect("a private server");
    assert_eq!(first.directory(), directory);
    execute(&first.url("postgres"), "create table kept as select 42 as n").await;
    let second = PrivatePostgres::start(kept()).await;
    assert!(matches!(second, Err(Error::DidNotStart { .. })), "two servers on one folder: {second:?}");
    assert_eq!(number(&first.url("postgres"), "select n from kept").await, 42);
    drop(first);
    assert!(directory.join("data").exists());
    assert!(!directory.join("data/postmaster.pid").exists(), "the server was not shut down");

    let next = PrivatePostgres::start(kept()).await.expect("a server on the kept data");
    assert_eq!(number(&next.url("postgres"), "select n from kept").await, 42);
}

#[tokio::test]
async fn data_not_to_be_kept_leaves_no_trace_in_the_given_folder() {
    let parent = reachable_folder();
    // Too long a path for a socket, which then lives elsewhere.
    let directory = parent.path().join("long".repeat(25));
    let options = Options { directory: Some(directory.clone()), ..options() };
    let postgres = PrivatePostgres::start(options).await.expect("a private server");
    let socket = postgres.socket_directory().to_owned();
    assert!(!socket.starts_with(&directory) && socket.exists());
    drop(postgres);
    assert!(!directory.exists() && !socket.exists());
}

#[tokio::test]
async fn a_folder_with_other_files_is_left_alone() {
    let folder = reachable_folder();
    std::fs::write(folder.path().join("thesis.txt"), "three years").expect("a file");
    let options = Options { directory: Some(folder.path().to_owned()), ..options() };
    assert!(matches!(PrivatePostgres::start(options).await, Err(Error::Occupied(_))));
    assert!(folder.path().join("thesis.txt").exists());
}

#[tokio::test]
async fn a_folder_out_of_the_servers_reach_is_replaced_and_told() {
    let parent = reachable_folder();
    let directory = parent.path().join("server");
    set_mode(parent.path(), 0o700);
    let options = Options { directory: Some(directory.clone()), keep_data: true, ..options() };
    let postgres = PrivatePostgres::start(options).await.expect("a private server");
    let used = postgres.directory().to_owned();
    match postgres.note() {
        // Only a server that root lends to another user is kept out.
        None => assert_eq!(used, directory),
        Some(note) => {
            assert!(note.contains(&directory.display().to_string()), "{note}");
            assert!(!directory.exists());
            drop(postgres);
            assert!(!used.exists());
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let wrong = Options { settings: vec![("work_mem".into(), "plenty".into())], ..options() };
    let error = PrivatePostgres::start(wrong).await.expect_err("no such setting").to_string();
    assert!(error.contains("invalid value for parameter \"work_mem\""), "{error}");
}

#[tokio::test]
async fn a_crashed_server_recovers_every_commit_on_its_old_port() {
    let mut postgres = cluster().await;
    let url = postgres.url("postgres");
    execute(&url, "create table committed as select 7 as n").await;
    let mut open = PgConnection::connect(&url).await.expect("a connection");
    let (port, pid) = (postgres.port(), postgres.pid());

    postgres.crash().await.expect("a crash");
    assert_eq!(postgres.pid(), None);
    assert!(!listens(port));
    assert!(open.ping().await.is_err(), "a session outlived the crash");

    postgres.restart().await.expect("a restart");
    assert_ne!(postgres.pid(), pid);
    assert_eq!(number(&url, "select n from committed").await, 7);

    postgres.stop().await.expect("a shutdown");
    postgres.stop().await.expect("no complaint about a stopped server");
    postgres.restart().await.expect("a second restart");
    assert_eq!(number(&url, "select n from committed").await, 7);
}

/// Run again in a process of its own with this set, the test below is the parent that gets killed.
const DOOMED: &str = "KORESYNC_TEST_DOOMED_PARENT";

#[tokio::test]
async fn a_killed_parent_takes_its_server_along() {
    if std::env::var_os(DOOMED).is_some() {
        let postgres = cluster().await;
        println!("\nserver {} {}", postgres.port(), postgres.directory().display());
        std::io::stdout().flush().expect("a reader");
        // Until it is killed, or until the test is gone.
        std::io::stdin().read_to_end(&mut Vec::new()).expect("an open pipe");
        return;
    }
    let name = concat!(module_path!(), "::a_killed_parent_takes_its_server_along");
    let name = name.split_once("::").expect("a crate's name first").1;
    let mut parent = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture"])
        .env(DOOMED, "yes")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a parent");
    let lines = BufReader::new(parent.stdout.take().expect("its output")).lines();
    let (port, folder) = lines
        .map_while(Result::ok)
        .find_map(|line| {
            let (port, folder) = line.strip_prefix("server ")?.split_once(' ')?;
            Some((port.parse::<u16>().ok()?, PathBuf::from(folder)))
        })
        .expect("the parent's server");
    assert!(listens(port) && folder.exists());

    parent.kill().expect("a SIGKILL");
    parent.wait().expect("its end");
    wait_until("the server is gone", || !listens(port));
    wait_until("its files are gone", || !folder.exists());
}

#[tokio::test]
async fn databases_made_side_by_side_do_not_see_each_other() {
    let (one, other) = tokio::join!(TestDatabase::create(), TestDatabase::create());
    assert_ne!(one.url(), other.url());
    let (one_pool, other_pool) = tokio::join!(one.pool(), other.pool());
    for pool in [&one_pool, &other_pool] {
        let tables: i64 = sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'public'")
            .fetch_one(pool)
            .await
            .expect("a count");
        assert_eq!(tables, 0);
        sqlx::raw_sql("create table mine (n int)").execute(pool).await.expect("a table");
    }
    one_pool.close().await;
    other_pool.close().await;
}

#[tokio::test]
async fn servers_started_side_by_side_get_ports_of_their_own() {
    let (one, two, three) = tokio::join!(cluster(), cluster(), cluster());
    let ports = std::collections::BTreeSet::from([one.port(), two.port(), three.port()]);
    assert_eq!(ports.len(), 3);
    for server in [&one, &two, &three] {
        assert_eq!(number(&server.url("postgres"), "select 1").await, 1);
    }
}
