//! What must never be told, whatever goes wrong and however much is logged.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use koresync::simulate::{Fault, FaultRate, Options};

use crate::support::mirror::population;
use crate::support::postgres::TestDatabase;
use crate::support::process::{Configuration, Program};
use crate::support::site::Site;

const PASSWORD: &str = "Planted-Passw0rd-Of-The-Database";
const WRONG_SECRET: &str = "Planted-Wrong-Secret-Long-Enough-For-HS256";
const RIGHT_SECRET: &str = "Planted-Right-Secret-Long-Enough-For-HS256";
const SOON: Duration = Duration::from_mins(1);

/// One request in five fails, and every third record is not as it should be.
fn faulty() -> Options {
    let faults = [
        (Fault::Http500, 0.05),
        (Fault::Reset, 0.05),
        (Fault::Truncated, 0.05),
        (Fault::Html200, 0.05),
        (Fault::Duplicated, 0.05),
        (Fault::Malformed, 0.3),
        (Fault::Drifted, 0.3),
    ];
    let faults = faults.map(|(fault, probability)| FaultRate { fault, probability }).to_vec();
    let client_secret = Some(RIGHT_SECRET.to_owned());
    Options { contacts: 400, days: 2, faults, client_secret, ..population() }
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
    texts.into_iter().filter(|text| !text.trim().is_empty()).collect()
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

/// A refused run, then a daemon that catches up among faults, then what an operator looks at. Gives all that was told.
async fn everything_told(site: &Site, log_level: &'static str, log_format: &'static str, flags: &[&str]) -> String {
    let configuration = Configuration { log_level, log_format, page_size: 100, ..site.configuration() };
    let refused = Program::new(&Configuration { client_secret: WRONG_SECRET.to_owned(), ..configuration.clone() });
    let with = |words: &[&'static str]| [flags, words].concat();
    let (exit, mut told) = refused.run(&with(&["run", "--once"]), SOON).await;
    assert_eq!(exit, Some(77), "{told}");

    let program = Program::new(&Configuration { client_secret: RIGHT_SECRET.to_owned(), ..configuration });
    let mut daemon = program.spawn(&with(&["run"]));
    let began = Instant::now();
    while !site.is_caught_up().await {
        assert!(daemon.is_running() && began.elapsed() < SOON, "it does not catch up:\n{}", daemon.told());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for path in ["/metrics", "/readyz", "/livez"] {
        told += &daemon.page(path).await;
    }
    daemon.terminate();
    assert_eq!(daemon.ended(SOON).await.code(), Some(0));
    told += &daemon.told();
    for command in [&["status"][..], &["backfill", "list"], &["quarantine", "list"], &["config", "show"]] {
        told += &program.run(&[flags, command].concat(), SOON).await.1;
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_and_no_secret_is_told() {
    let ours_and_all = [("info", &["-vv"][..]), ("trace,koresync=trace", &[])];
    for (log_level, flags) in ours_and_all {
        for log_format in ["text", "json"] {
            let database = TestDatabase::create().await;
            let site = Site::start(&with_password(database.url()), faulty()).await;
            let told = everything_told(&site, log_level, log_format, flags).await;
            println!("{log_level} {flags:?} as {log_format}: {} bytes told", told.len());
            assert!(told.contains("A window was written.") && told.contains("koresync_contacts_total"), "{told}");
            let mut hidden = personal(&site).await;
            assert!(hidden.len() > 50, "{hidden:?}");
            hidden.extend([PASSWORD, WRONG_SECRET, RIGHT_SECRET, "eyJ", "@example.com"].map(str::to_owned));
            let leaks: Vec<String> = hidden
                .iter()
                .filter(|hidden| holds(&told, hidden))
                .map(|hidden| {
                    let line = told.lines().find(|line| holds(line, hidden)).unwrap_or_default();
                    format!("{hidden}: {}", line.chars().take(400).collect::<String>())
                })
                .collect();
            assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks[..leaks.len().min(20)].join("\n"));
        }
    }
}
