//! The real binary on a real database: what each command answers, and how it exits.

mod daemon;
mod misconfigured;
mod schema;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::support::postgres::TestDatabase;

/// Nobody listens there.
const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";

/// The binary with a configuration file of its own.
struct Koresync {
    folder: tempfile::TempDir,
}

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    #[track_caller]
    fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    fn tells(&self, words: &str) -> &Self {
        assert!(self.stderr.contains(words), "not told: {words}\nstderr: {}", self.stderr);
        self
    }

    #[track_caller]
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {}", self.stdout))
    }
}

impl Koresync {
    /// One stream, `support`, of a vendor that nobody reaches; every patience is a second.
    fn new(warehouse: &str) -> Self {
        Self::of_account(warehouse, "account-1")
    }

    fn of_account(warehouse: &str, account: &str) -> Self {
        Self::with(&format!(
            "[warehouse]\nurl = \"{warehouse}\"\n\
             [api]\nbase_url = \"http://127.0.0.1:1\"\naccount_id = \"{account}\"\norg_id = \"org-1\"\ntoken = \"t\"\n\
             requests_per_minute = 60000\n\
             [streams.support]\nstream_id = \"st-1\"\nstart = \"2026-01-01T00:00:00Z\"\n\
             [sync]\ngive_up = \"1s\"\nworkers = 2\n\
             [server]\nlisten = \"127.0.0.1:0\"\n"
        ))
    }

    fn with(configuration: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("koresync.toml"), configuration).expect("a configuration");
        Self { folder }
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("koresync.toml")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_koresync"));
        let inherited = std::env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| name.to_string_lossy().starts_with("KORESYNC_")) {
            command.env_remove(name);
        }
        command.arg("--config").arg(self.configuration()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments).spawn().expect("a process")).await
    }
}

async fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().await.expect("its end");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

async fn migrated() -> (TestDatabase, Koresync) {
    let database = TestDatabase::create().await;
    let koresync = Koresync::new(database.url());
    koresync.run(&["migrate"]).await.expect(0);
    (database, koresync)
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

#[tokio::test]
async fn a_database_out_of_reach_ends_one_shot_commands_with_69_after_give_up() {
    let koresync = Koresync::new(NOWHERE);
    let began = Instant::now();
    for arguments in [
        &["migrate"][..],
        &["migrate", "status"],
        &["status"],
        &["run", "--once"],
        &["backfill", "list"],
        &["backfill", "--stream", "support", "--from", "2026-01-01", "--to", "2026-01-02"],
        &["quarantine", "list"],
        &["verify", "--keys"],
    ] {
        koresync.run(arguments).await.expect(69).tells("out of reach");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "patience was not bounded by give_up");
}

#[tokio::test]
async fn a_faulty_configuration_exits_78_before_any_connection() {
    let koresync = Koresync::with(&format!("[warehouse]\nurl = \"{NOWHERE}\"\n[sync]\npol_interval = \"1m\"\n"));
    for arguments in [&["migrate"][..], &["status"], &["run"], &["run", "--once"], &["check"], &["quarantine", "list"]]
    {
        let ended = koresync.run(arguments).await;
        ended.expect(78);
        assert!(format!("{}{}", ended.stderr, ended.stdout).contains("poll_interval"), "{}", ended.stderr);
    }
    let without_streams = Koresync::with(&format!("[warehouse]\nurl = \"{NOWHERE}\"\n"));
    without_streams.run(&["run", "--once"]).await.expect(78).tells("no stream is configured");
    let missing = without_streams.folder.path().join("missing");
    let without_secret = Koresync::with(&format!(
        "[warehouse]\nurl = \"{NOWHERE}\"\n[api]\naccount_id = \"a\"\norg_id = \"o\"\ntoken_file = {}\n\
         [streams.support]\nstream_id = \"st-1\"\nstart = \"2026-01-01T00:00:00Z\"\n",
        quoted(&missing)
    ));
    without_secret.run(&["run"]).await.expect(78).tells("missing");
}

#[tokio::test]
async fn status_names_the_mend_and_tells_a_stream_that_never_ran() {
    let database = TestDatabase::create().await;
    let koresync = Koresync::new(database.url());
    koresync.run(&["status"]).await.expect(1).tells("koresync migrate");
    koresync.run(&["migrate"]).await.expect(0);
    let status = koresync.run(&["status"]).await;
    assert!(status.expect(3).stdout.contains("support: never run"), "{}", status.stdout);
    let json = koresync.run(&["status", "--json"]).await.json();
    assert_eq!((&json["is_behind"], &json["never_run"][0]), (&true.into(), &"support".into()));
}

#[tokio::test]
async fn an_api_out_of_reach_is_told_and_ends_once_with_69() {
    let (_database, koresync) = migrated().await;
    koresync.run(&["run", "--once"]).await.expect(69).tells("support: the API is unavailable");
    let json = koresync.run(&["status", "--json"]).await.json();
    let stream = &json["streams"][0];
    assert_eq!((&stream["stream"], &json["is_behind"]), (&"support".into(), &true.into()));
    assert_eq!(json["backfills"][0]["origin"], "first start");
    assert_eq!(json["budgets"][0]["account_id"], "account-1");
    let shown = koresync.run(&["status"]).await;
    shown.expect(3);
    assert!(shown.stdout.contains("its history is under way"), "{}", shown.stdout);
}

#[tokio::test]
async fn another_account_under_a_known_name_exits_78() {
    let (database, koresync) = migrated().await;
    koresync.run(&["run", "--once"]).await.expect(69);
    let other = Koresync::of_account(database.url(), "account-2");
    other.run(&["run", "--once"]).await.expect(78).tells("two vendors' data would mix");
    other.run(&["run"]).await.expect(78).tells("account-1");
    let check = other.run(&["check"]).await;
    check.expect(78);
    assert!(check.stdout.contains("✗ support identity"), "{}", check.stdout);
    koresync.run(&["run", "--once"]).await.expect(69);
}

#[tokio::test]
async fn another_time_zone_exits_78() {
    let (database, koresync) = migrated().await;
    koresync.run(&["run", "--once"]).await.expect(69);
    let moved = std::fs::read_to_string(koresync.configuration()).expect("the configuration");
    let moved = Koresync::with(&moved.replace("[warehouse]\n", "[warehouse]\ntime_zone = \"Europe/Berlin\"\n"));
    moved.run(&["run", "--once"]).await.expect(78).tells("time zone UTC");
    drop(database);
}

#[tokio::test]
async fn a_backfill_is_filed_steered_and_followed_by_one_process_alone() {
    let (database, koresync) = migrated().await;
    let file = ["backfill", "--stream", "support", "--from", "2026-01-01", "--to", "2026-01-08"];
    let filed = koresync.run(&[&file[..], &["--detach"]].concat()).await;
    let id = filed.expect(0).stdout.trim().to_owned();
    let again = koresync.run(&[&file[..], &["--detach"]].concat()).await;
    assert_eq!(again.expect(0).stdout.trim(), id, "the same open range was filed twice");
    let shown = koresync.run(&["--json", "backfill", "show", &id]).await.json();
    assert_eq!((&shown["state"], &shown["progress"]), (&"running".into(), &0.0.into()));

    let pool = database.pool().await;
    sqlx::query("update koresync.backfills set follower = 'another', follower_seen_at = clock_timestamp() + interval '1 minute'")
        .execute(&pool)
        .await
        .expect("a follower");
    koresync.run(&file).await.expect(75).tells("another process follows");
    sqlx::query("update koresync.backfills set follower = null").execute(&pool).await.expect("no follower");
    // Nobody reaches the vendor, so it gives up, and leaves the backfill for later.
    koresync.run(&file).await.expect(69);
    let (state, follower): (String, Option<String>) =
        sqlx::query_as("select state, follower from koresync.backfills where origin = 'operator'")
            .fetch_one(&pool)
            .await
            .expect("the backfill");
    assert_eq!((state.as_str(), follower), ("running", None));

    koresync.run(&["backfill", "pause", &id]).await.expect(0).tells("paused");
    koresync.run(&["backfill", "pause", &id]).await.expect(1).tells("is paused, not running");
    koresync.run(&["backfill", "resume", &id]).await.expect(0).tells("running");
    koresync.run(&["backfill", "cancel", &id]).await.expect(0).tells("cancelled");
    let list = koresync.run(&["backfill", "list"]).await;
    assert!(list.expect(0).stdout.contains("cancelled"), "{}", list.stdout);
    koresync.run(&["backfill", "show", "4711"]).await.expect(1).tells("no backfill 4711");
    let unknown = ["backfill", "--stream", "sales", "--from", "2026-01-01", "--to", "2026-01-08"];
    koresync.run(&unknown).await.expect(2).tells("support");
}

#[tokio::test]
async fn quarantine_shows_a_record_whole() {
    let (database, koresync) = migrated().await;
    koresync.run(&["quarantine", "list"]).await.expect(0).tells("no record");
    let pool = database.pool().await;
    let payload = zstd::bulk::compress(br#"{"Conversation ID": "c-1", "Start Time": "never"}"#, 3).expect("packed");
    let id: i64 = sqlx::query_scalar(
        "insert into koresync.quarantined_records (stream, conversation_id, payload, raw_hash, reason, fault_path, \
           first_seen_at, last_tried_at, requested_from, requested_to, mapper_version) \
         values ('support', 'c-1', $1, '\\x00', 'no usable start', 'Start Time', now(), now(), now(), now(), 1) returning id",
    )
    .bind(payload)
    .fetch_one(&pool)
    .await
    .expect("a record");
    let list = koresync.run(&["quarantine", "list", "--json"]).await;
    assert_eq!(list.expect(0).json()[0]["fault_path"], "Start Time");
    assert!(!list.stdout.contains("never"), "a list must not show payloads");
    let shown = koresync.run(&["quarantine", "show", &id.to_string()]).await;
    assert!(shown.expect(0).tells("no usable start").stdout.contains("\"never\""), "{}", shown.stdout);
    koresync.run(&["quarantine", "show", "4711"]).await.expect(1);
}

#[tokio::test]
async fn check_tells_each_thing_with_its_mend() {
    let database = TestDatabase::create().await;
    let koresync = Koresync::new(database.url());
    let before = koresync.run(&["check"]).await;
    // The API is out of reach, and the schema is missing: not that alone.
    before.expect(1);
    for line in ["✓ configuration", "✗ support host", "! support token", "✗ support request", "✗ schema"] {
        assert!(before.stdout.contains(line), "{line} in {}", before.stdout);
    }
    koresync.run(&["migrate"]).await.expect(0);
    let after = koresync.run(&["check"]).await;
    after.expect(69);
    assert!(after.stdout.contains("✓ schema: up to date") && after.stdout.contains("✓ rights"), "{}", after.stdout);
    let json = koresync.run(&["check", "--json"]).await;
    let findings = json.expect(69).json();
    assert!(findings.as_array().is_some_and(|all| all.iter().any(|f| f["check"] == "database clock")), "{findings}");
}
