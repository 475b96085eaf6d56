//! What must never be told, whatever goes wrong and however much is logged.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use koresync::simulate::{Fault, FaultRate, Options, RetryAfter};
use serde_json::Value;

use crate::support::mirror::population;
use crate::support::postgres::{TestDatabase, cluster};
use crate::support::process::{Configuration, LOOK, Program, Stream};
use crate::support::site::Site;

const PASSWORD: &str = "Planted-Passw0rd-Of-The-Database";
const WRONG_SECRET: &str = "Planted-Wrong-Secret-Long-Enough-For-HS256";
const RIGHT_SECRET: &str = "Planted-Right-Secret-Long-Enough-For-HS256";
const SOON: Duration = Duration::from_mins(1);

/// Faults that a request meets, each made sure of; the last three of them stop the account for seconds.
const OF_REQUESTS: [Fault; 12] = [
    Fault::Http500,
    Fault::Http503,
    Fault::Reset,
    Fault::Stall,
    Fault::Truncated,
    Fault::Html200,
    Fault::RateLimited,
    Fault::RateLimited429,
    Fault::RateLimited403,
    Fault::RateLimited400,
    Fault::RateLimited200,
    Fault::RateLimited503,
];
/// Of those, the ones that cost nothing.
const QUICK: usize = 6;
const OF_PAGES: [Fault; 5] =
    [Fault::Duplicated, Fault::Slid, Fault::Shuffled, Fault::InsertWhilePaging, Fault::SwapWhilePaging];
const OF_RECORDS: [Fault; 7] = [
    Fault::Malformed,
    Fault::Drifted,
    Fault::Late,
    Fault::ScoredLater,
    Fault::Changed,
    Fault::Vanished,
    Fault::RepeatedIds,
];

/// Every record is in some way not as it should be, and so is every page.
fn faulty() -> Options {
    let rates = |faults: &[Fault], probability: f64| -> Vec<FaultRate> {
        faults.iter().map(|fault| FaultRate { fault: *fault, probability }).collect()
    };
    Options {
        contacts: 400,
        days: 2,
        faults: [rates(&OF_PAGES, 0.2), rates(&OF_RECORDS, 0.2)].concat(),
        client_secret: Some(RIGHT_SECRET.to_owned()),
        retry_after: RetryAfter::Seconds,
        stall_for: Duration::from_millis(200),
        latency: Duration::from_millis(50),
        ..population()
    }
}

fn hits(site: &Site, fault: Fault) -> u64 {
    site.vendor.stats().requests.values().filter_map(|outcomes| outcomes.get(&fault.to_string())).sum()
}

/// Everything personal that the warehouse holds.
async fn personal(site: &Site) -> BTreeSet<String> {
    let mut connection = site.connection().await;
    let texts: Vec<String> = sqlx::query_scalar(
        "select agent_name from kore.agents where agent_name is not null \
         union select agent_email from kore.agents where agent_email is not null \
         union select auditor_name from kore.contacts where auditor_name is not null \
         union select value from kore.contacts, jsonb_each_text(custom_fields) \
         union select justification from kore.metric_justifications where justification is not null",
    )
    .fetch_all(&mut connection)
    .await
    .expect("what is personal");
    let payloads: Vec<Vec<u8>> =
        sqlx::query_scalar("select payload from koresync.quarantined_records where payload <> ''")
            .fetch_all(&mut connection)
            .await
            .expect("what was set aside");
    let mut personal: BTreeSet<String> = texts.into_iter().collect();
    for payload in payloads {
        let text = zstd::stream::decode_all(payload.as_slice()).expect("a packed text");
        if let Ok(record) = serde_json::from_slice(&text) {
            persons(&record, false, &mut personal);
        }
    }
    personal.retain(|text| !text.trim().is_empty());
    personal
}

/// Texts of a record under keys that tell of people.
fn persons(value: &Value, is_personal: bool, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if is_personal && text.trim().len() > 3 => drop(found.insert(text.clone())),
        Value::Array(values) => values.iter().for_each(|value| persons(value, is_personal, found)),
        Value::Object(members) => {
            for (key, value) in members {
                let key = key.to_lowercase();
                let tells =
                    ["agent name", "agentname", "email", "auditor", "custom"].iter().any(|word| key.contains(word));
                persons(value, is_personal || tells, found);
            }
        }
        _ => {}
    }
}

/// Whether a text holds another one, as it is, as JSON writes it, or as Rust's debug format does.
fn holds(text: &str, hidden: &str) -> bool {
    let json = serde_json::to_string(hidden).expect("JSON");
    let debug = format!("{hidden:?}");
    [hidden, json.trim_matches('"'), debug.trim_matches('"')].iter().any(|form| text.contains(form))
}

fn with_password(url: &str) -> String {
    let (user, rest) = url.split_once('@').expect("a URL with a user");
    assert_eq!(user.matches(':').count(), 1, "no password of its own in {url}");
    format!("{user}:{PASSWORD}@{rest}")
}

/// A refused run; then a daemon that meets every fault of the vendor and loses its backends, and catches up; then what
/// an operator looks at. Gives all that was told. Of the faults that stop the account some are met: `stops`.
async fn everything_told(
    site: &Site,
    (log_level, log_format): (&'static str, &'static str),
    flags: &[&str],
    stops: &[Fault],
) -> String {
    let configuration = Configuration { log_level, log_format, page_size: 10, ..site.configuration() };
    let refused = Program::new(&Configuration { client_secret: WRONG_SECRET.to_owned(), ..configuration.clone() });
    let with = |words: &[&'static str]| [flags, words].concat();
    let (exit, mut told) = refused.run(&with(&["run", "--once"]), SOON).await;
    assert_eq!(exit, Some(77), "{told}");

    let program = Program::new(&Configuration { client_secret: RIGHT_SECRET.to_owned(), ..configuration });
    let mut daemon = program.spawn(&with(&["run"]));
    daemon.tells("A window was written.").await;
    let killed = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
        where datname = current_database() and application_name = 'koresync'";
    assert!(site.number(killed).await > 0);
    for fault in OF_REQUESTS[..QUICK].iter().chain(stops) {
        let before = hits(site, *fault);
        site.vendor.set_fault(*fault, 1.0).expect("a probability");
        let began = Instant::now();
        while hits(site, *fault) == before {
            assert!(daemon.is_running() && began.elapsed() < SOON, "{fault} was never met:\n{}", daemon.told());
            tokio::time::sleep(LOOK).await;
        }
        site.vendor.set_fault(*fault, 0.0).expect("a probability");
    }
    for fault in OF_PAGES {
        site.vendor.set_fault(fault, 0.0).expect("a probability");
    }
    let began = Instant::now();
    while !site.is_caught_up().await {
        assert!(daemon.is_running() && began.elapsed() < SOON, "it does not catch up:\n{}", daemon.told());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for path in ["/metrics", "/readyz", "/livez", "/"] {
        told += &daemon.page(path).await;
    }
    daemon.terminate();
    assert_eq!(daemon.ended(SOON).await.code(), Some(0));
    told += &daemon.told();
    for command in [&["status"][..], &["backfill", "list"], &["quarantine", "list"], &["config", "show"], &["check"]] {
        told += &program.run(&[flags, command].concat(), SOON).await.1;
    }
    told
}

fn assert_told_without(told: &str, hidden: &BTreeSet<String>) {
    let leaks: Vec<String> = hidden
        .iter()
        .filter(|hidden| holds(told, hidden))
        .map(|hidden| {
            let line = told.lines().find(|line| holds(line, hidden)).unwrap_or_default();
            format!("{hidden}: {}", line.chars().take(400).collect::<String>())
        })
        .collect();
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks[..leaks.len().min(20)].join("\n"));
}

async fn tells_nothing(log: (&'static str, &'static str), flags: &[&str], stops: &[Fault]) {
    let database = TestDatabase::create().await;
    let site = Site::start(&with_password(database.url()), faulty()).await;
    let told = everything_told(&site, log, flags, stops).await;
    println!("{log:?} {flags:?}: {} bytes told", told.len());
    assert!(told.contains("A window was written.") && told.contains("koresync_contacts_total"), "{told}");
    assert!(told.contains("terminating connection"), "the killed backends are not told of");
    let mut hidden = personal(&site).await;
    assert!(hidden.len() > 50, "{hidden:?}");
    hidden.extend([PASSWORD, WRONG_SECRET, RIGHT_SECRET, "eyJ", "@example.com"].map(str::to_owned));
    assert_told_without(&told, &hidden);
}

const OURS: (&str, &[&str]) = ("info", &["-vv"]);
const ALL: (&str, &[&str]) = ("trace,koresync=trace", &[]);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_and_no_secret_is_told_as_text() {
    tells_nothing((OURS.0, "text"), OURS.1, &OF_REQUESTS[QUICK..QUICK + 3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_and_no_secret_is_told_as_json() {
    tells_nothing((OURS.0, "json"), OURS.1, &OF_REQUESTS[QUICK + 3..]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_and_no_secret_is_told_as_text_by_any_crate() {
    tells_nothing((ALL.0, "text"), ALL.1, &OF_REQUESTS[QUICK + 3..]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_and_no_secret_is_told_as_json_by_any_crate() {
    tells_nothing((ALL.0, "json"), ALL.1, &OF_REQUESTS[QUICK..QUICK + 3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_the_server_refuses_is_77_and_not_told() {
    let mut postgres = cluster().await;
    postgres.create_database("warehouse").await.expect("a database");
    let site = Site::start(&postgres.url("warehouse"), Options { contacts: 50, days: 2, ..population() }).await;
    let rules = postgres.directory().join("data/pg_hba.conf");
    let held = std::fs::read_to_string(&rules).expect("rules");
    std::fs::write(&rules, format!("host all guarded 127.0.0.1/32 scram-sha-256\n{held}")).expect("rules");
    let right = PASSWORD.to_lowercase();
    let role = format!("create role guarded login password '{right}' in role kore_writer");
    sqlx::raw_sql(sqlx::AssertSqlSafe(role)).execute(&mut site.connection().await).await.expect("a role");
    postgres.restart().await.expect("a restart");
    let with = |password: &str| site.database_url.replace("postgres@", &format!("guarded:{password}@"));
    for (log_level, log_format) in [("trace", "text"), ("trace,koresync=trace", "json")] {
        let configured = |database_url| Configuration { database_url, log_level, log_format, ..site.configuration() };
        let mut all = String::new();
        for arguments in [&["run", "--once"][..], &["run"], &["status"], &["check"], &["migrate"]] {
            let (exit, told) = Program::new(&configured(with(PASSWORD))).run(arguments, SOON).await;
            assert_eq!(exit, Some(77), "{arguments:?}: {told}");
            assert!(told.contains("password authentication failed"), "{arguments:?}: {told}");
            all += &told;
        }
        let (exit, told) = Program::new(&configured(with(&right))).run(&["run", "--once"], SOON).await;
        assert_eq!(exit, Some(0), "{told}");
        let hidden = [PASSWORD, &right, "SCRAM-SHA-256$"].map(str::to_owned).into();
        assert_told_without(&(all + &told), &hidden);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_file_that_everybody_can_read_is_warned_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef").expect("a file");
    let streams = vec![Stream::new("support", "st-1", "2026-01-01T00:00:00Z".parse().expect("a time"))];
    let nowhere = "postgres://nobody@127.0.0.1:1/nothing";
    let privacy = format!("key_file = \"{}\"", key.display());
    let configuration = Configuration {
        privacy,
        give_up: "1s",
        log_level: "warn",
        ..Configuration::new(nowhere, "http://127.0.0.1:1", streams)
    };
    let mend = format!("chmod 600 {}", key.display());
    for (mode, is_open) in [(0o644, true), (0o600, false), (0o440, false), (0o400, false)] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("a mode");
        for arguments in [&["run", "--once"][..], &["check"], &["config", "validate"]] {
            let (_, told) = Program::new(&configuration).run(arguments, SOON).await;
            assert_eq!(told.contains(&mend), is_open, "{arguments:?} with {mode:o}: {told}");
        }
    }
}
