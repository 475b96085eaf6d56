//! `verify`: what differs between the vendor and the tables is found in both directions and repaired; what is
//! equal costs no write.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use koresync::domain::SystemClock;
use koresync::domain::clock::Clock as _;
use koresync::simulate::{Fault, FaultRate, Filter, Options, TotalCounts};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::support::mirror::population;
use crate::support::planting::plant;
use crate::support::postgres::TestDatabase;
use crate::support::process::{Configuration, Program};
use crate::support::site::Site;

const SOON: Duration = Duration::from_mins(1);

/// The tables whose rows belong to a contact.
const CONTACT_TABLES: [&str; 13] = [
    "kore.justification_messages",
    "kore.metric_justifications",
    "kore.contact_metrics",
    "kore.generated_intent_keywords",
    "kore.generated_intents",
    "kore.contact_agents",
    "kore.contact_queues",
    "kore.contact_emotions",
    "kore.speaking_rates",
    "kore.contact_topics",
    "koresync.raw_contacts",
    "kore.contact_changes",
    "kore.contacts",
];

/// A warehouse that holds all that the vendor has. So many contacts a day that the end of each window meets a few:
/// they show by which time the vendor filters.
async fn mirrored(options: Options) -> (TestDatabase, Site, Program) {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), Options { contacts: 1_200, days: 1, ..options }).await;
    let program = Program::new(&site.configuration());
    let (exit, told) = program.run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    (database, site, program)
}

/// Runs `verify` with these arguments. Gives its exit code, its lines and what it said.
async fn verify(program: &Program, arguments: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let mut process = program.spawn(&[&["verify"], arguments].concat());
    let status = process.ended(SOON).await;
    let lines = process.printed().lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    (status.code(), lines, process.told())
}

/// The ids under a key, of all windows.
fn ids(lines: &[Value], key: &str) -> Vec<String> {
    let windows = lines.iter().filter_map(|line| line[key].as_array());
    windows.flatten().map(|id| id.as_str().expect("an id").to_owned()).collect()
}

/// The last line's number under a key.
fn total(lines: &[Value], key: &str) -> u64 {
    lines.last().and_then(|line| line[key].as_u64()).unwrap_or_else(|| panic!("no {key} in {:?}", lines.last()))
}

/// Every version of every row, but for the account's slots.
async fn versions(site: &Site) -> String {
    let mut connection = site.connection().await;
    let query: String = sqlx::query_scalar(
        "select string_agg(format('select %L, count(*), sum(hashtextextended(ctid::text || xmin::text, 0) %% 1000003) from %I.%I', \
           tablename, schemaname, tablename), ' union all ' order by tablename) \
         from pg_tables where schemaname in ('kore', 'koresync') and tablename <> 'api_budgets'",
    )
    .fetch_one(&mut connection)
    .await
    .expect("the tables");
    let versions = format!("select string_agg(v::text, ' ' order by v::text) from ({query}) v");
    let versions = sqlx::query_scalar(AssertSqlSafe(versions)).fetch_one(&mut connection).await.expect("the versions");
    connection.close().await.ok();
    versions
}

async fn execute(site: &Site, statement: &str) {
    let mut connection = site.connection().await;
    plant(&mut connection, statement).await;
    connection.close().await.ok();
}

/// The id of the contact at this place of a stream, by start.
async fn id_at(site: &Site, stream: &str, place: i32) -> String {
    let mut connection = site.connection().await;
    let id = sqlx::query_scalar(
        "select conversation_id from kore.contacts where stream = $1 order by started_at offset $2 limit 1",
    )
    .bind(stream)
    .bind(place)
    .fetch_one(&mut connection)
    .await
    .expect("a contact");
    connection.close().await.ok();
    id
}

fn key_of(id: &str) -> String {
    format!("(select contact_key from kore.contacts where stream = 'history' and conversation_id = '{id}')")
}

/// The statements that take a contact out of the tables whole.
fn without(id: &str) -> String {
    let key = key_of(id);
    CONTACT_TABLES
        .iter()
        .map(|table| format!("delete from {table} where contact_key = {key}"))
        .collect::<Vec<_>>()
        .join("; ")
}

/// A contact that the vendor never had, delivered like the one with this id.
fn superfluous(id: &str) -> String {
    let key = key_of(id);
    format!(
        "insert into koresync.raw_contacts select (jsonb_populate_record(r, '{{\"contact_key\": \"ffffffff-ffff-8fff-bfff-ffffffffffff\"}}')).* \
           from koresync.raw_contacts r where contact_key = {key}; \
         insert into kore.contacts select (jsonb_populate_record(c, '{{\"contact_key\": \"ffffffff-ffff-8fff-bfff-ffffffffffff\", \
           \"conversation_id\": \"superfluous\"}}')).* from kore.contacts c where contact_key = {key}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_history_is_0_and_writes_nothing() {
    let (_database, site, program) = mirrored(population()).await;
    let before = versions(&site).await;
    let (exit, lines, told) = verify(&program, &[]).await;
    assert_eq!(exit, Some(0), "{told}");
    let held = site.number("select count(*) from kore.contacts").await.cast_unsigned();
    let compared: u64 =
        lines.iter().filter(|line| line["windows"].is_u64()).map(|line| line["compared"].as_u64().unwrap_or(0)).sum();
    assert_eq!(compared, held, "each contact is compared, and once");
    assert!(lines.iter().all(|line| line["is_equal"] == true), "{lines:?}");
    let (exit, _, told) = verify(&program, &["--repair"]).await;
    assert_eq!(exit, Some(0), "{told}");
    assert_eq!(versions(&site).await, before, "a row was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_a_changed_and_a_superfluous_contact_are_found_and_repaired() {
    let (_database, site, program) = mirrored(population()).await;
    let (missing, changed, neighbour) =
        (id_at(&site, "history", 10).await, id_at(&site, "history", 100).await, id_at(&site, "history", 200).await);
    execute(&site, &without(&missing)).await;
    let key = key_of(&changed);
    let change = format!(
        "update koresync.raw_contacts set raw_hash = sha256('x'), canonical_hash = substr(sha256('x'), 1, 16) where contact_key = {key}; \
         update koresync.raw_contacts set raw_hash = canonical_hash where contact_key = {key}; \
         update kore.contacts set evaluation_score = -99, audit_status = 'planted' where contact_key = {key}"
    );
    execute(&site, &change).await;
    execute(&site, &superfluous(&neighbour)).await;

    let before = versions(&site).await;
    let (exit, lines, told) = verify(&program, &["--stream", "history"]).await;
    assert_eq!(exit, Some(3), "{told}");
    assert_eq!(ids(&lines, "missing_here"), [missing.as_str()], "{told}");
    assert_eq!(ids(&lines, "different"), [changed.as_str()], "{told}");
    assert_eq!(ids(&lines, "gone_there"), ["superfluous"], "{told}");
    assert_eq!(versions(&site).await, before, "a look alone wrote a row");
    let (exit, _, told) = verify(&program, &["--stream", "fresh"]).await;
    assert_eq!(exit, Some(0), "{told}");

    let (exit, lines, told) = verify(&program, &["--repair"]).await;
    assert_eq!(exit, Some(0), "{told}");
    let (found, after): (Vec<Value>, Vec<Value>) = lines.into_iter().partition(|line| line["is_repaired"] == false);
    assert_eq!(ids(&found, "missing_here").len() + ids(&found, "different").len() + ids(&found, "gone_there").len(), 3);
    assert!(!after.is_empty() && after.iter().all(|line| line["is_equal"] == true), "{after:?}");
    let removed = site
        .number("select count(*) from kore.contacts where removed_at is not null and conversation_id = 'superfluous'")
        .await;
    assert_eq!(removed, 1, "what is gone there is marked, and kept");
    assert_eq!(site.number("select count(*) from kore.contacts where removed_at is not null").await, 1);
    let (exit, _, told) = verify(&program, &[]).await;
    assert_eq!(exit, Some(0), "{told}");
    // But for what is kept of the contact that the vendor never had, the tables are what they were.
    execute(&site, &without("superfluous")).await;
    site.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_reads_little_more_than_what_differs() {
    let (_database, site, program) = mirrored(population()).await;
    execute(&site, &without(&id_at(&site, "history", 50).await)).await;
    let (exit, _, told) = verify(&program, &["--stream", "history", "--repair"]).await;
    assert_eq!(exit, Some(0), "{told}");
    let (seconds, requests) = (
        site.number("select max(extract(epoch from to_at - from_at))::bigint from koresync.backfills where origin = 'operator'").await,
        site.number("select sum(w.requests)::bigint from koresync.windows w join koresync.backfills b on b.id = w.backfill_id where b.origin = 'operator'").await,
    );
    assert_eq!((seconds, requests), (1, 1));
    site.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_reads_nothing_that_is_older_than_contacts_are_kept() {
    let (_database, site, _) = mirrored(population()).await;
    let mut streams = site.streams.clone();
    streams.last_mut().expect("a stream").overrides = "[retention]\ncontacts = \"1d\"".into();
    let program = Program::new(&Configuration { streams, ..site.configuration() });
    execute(&site, &superfluous(&id_at(&site, "history", 250).await)).await;
    // Delivered by a read that began before contacts are kept, as it is the next day.
    execute(
        &site,
        "update koresync.raw_contacts set requested_from = (requested_from at time zone 'UTC' - interval '1 day') at time zone 'UTC' \
         where contact_key = 'ffffffff-ffff-8fff-bfff-ffffffffffff'",
    )
    .await;
    let began = SystemClock.now();
    let (_, lines, told) = verify(&program, &["--stream", "history", "--repair"]).await;
    assert!(ids(&lines, "gone_there").contains(&"superfluous".to_owned()), "{told}");
    let mut connection = site.connection().await;
    let from: Vec<DateTime<Utc>> =
        sqlx::query_scalar("select from_at from koresync.backfills where origin = 'operator' order by 1")
            .fetch_all(&mut connection)
            .await
            .expect("the backfills of the repair");
    connection.close().await.ok();
    assert!(!from.is_empty(), "nothing was read again: {told}");
    assert!(from.iter().all(|from| *from >= began - TimeDelta::hours(24) - TimeDelta::seconds(1)), "{from:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_sends_the_requests_that_it_says_and_finds_a_contact_missing() {
    let (_database, site, program) = mirrored(population()).await;
    let asked = |site: &Site| site.vendor.stats().requests.values().flat_map(|by| by.values()).sum::<u64>();
    let from = (site.end - chrono::TimeDelta::days(20)).to_rfc3339();
    let to = site.end.to_rfc3339();
    let before = asked(&site);
    let arguments = ["--stream", "history", "--from", &from, "--to", &to, "--count"];
    let (exit, lines, told) = verify(&program, &arguments).await;
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains("history: counting in 3 requests"), "{told}");
    assert_eq!(asked(&site) - before, 3);
    assert_eq!(lines.len(), 3);
    execute(&site, &without(&id_at(&site, "history", 50).await)).await;
    let (exit, lines, told) = verify(&program, &arguments).await;
    assert_eq!(exit, Some(3), "{told}");
    assert_eq!(lines.iter().filter(|line| line["is_equal"] == false).count(), 1, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_works_beside_a_running_daemon() {
    let (_database, site, program) = mirrored(population()).await;
    let mut daemon = program.spawn(&["run"]);
    daemon.address().await;
    execute(&site, &without(&id_at(&site, "history", 50).await)).await;
    let (exit, _, told) = verify(&program, &["--repair"]).await;
    assert_eq!(exit, Some(0), "{told}");
    assert!(daemon.is_running(), "{}", daemon.told());
    daemon.terminate();
    assert_eq!(daemon.ended(SOON).await.code(), Some(0), "{}", daemon.told());
    site.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_in_quarantine_and_other_totals_are_no_difference() {
    for (options, has_quarantine) in [
        (Options { faults: vec![FaultRate { fault: Fault::Malformed, probability: 0.3 }], ..population() }, true),
        (Options { total_counts: TotalCounts::Inflated, ..population() }, false),
    ] {
        let (_database, _site, program) = mirrored(options).await;
        let (exit, lines, told) = verify(&program, &["--stream", "history"]).await;
        assert_eq!(exit, Some(0), "{told}");
        assert_eq!(total(&lines, "quarantined") > 0, has_quarantine, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_called_gone_where_the_vendor_filters_by_another_time() {
    let (_database, site, program) = mirrored(Options { filter: Filter::End, ..population() }).await;
    execute(&site, &superfluous(&id_at(&site, "history", 50).await)).await;
    let (exit, lines, told) = verify(&program, &["--stream", "history"]).await;
    assert_eq!(exit, Some(0), "{told}");
    assert_eq!(total(&lines, "gone_there"), 0);
    assert!(told.contains("not known to filter by the start"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_away_or_refuses_ends_verify_with_69_or_77() {
    let (_database, site, program) = mirrored(population()).await;
    let secret = "not the one that the vendor knows".to_owned();
    let refused = Program::new(&Configuration { client_secret: secret, ..site.configuration() });
    let (exit, _, told) = verify(&refused, &[]).await;
    assert_eq!(exit, Some(77), "{told}");
    let away = Configuration { base_url: "http://127.0.0.1:1".to_owned(), give_up: "1s", ..site.configuration() };
    let (exit, _, told) = verify(&Program::new(&away), &["--count"]).await;
    assert_eq!(exit, Some(69), "{told}");
    for wrong in [&["--stream", "nobody"][..], &["--from", "2026-01-02", "--to", "2026-01-01"], &["--keys", "--count"]]
    {
        let (exit, _, told) = verify(&program, wrong).await;
        assert_eq!(exit, Some(2), "{told}");
    }
}
