//! Quarantine to the end: what reads well at a later look leaves it, never over newer content; and what drifts is named.

use std::time::Duration;

use chrono::TimeDelta;
use koresync::domain::ContentHash;
use koresync::simulate::{Fault, FaultRate, Options};
use koresync::sync::Outcome;
use serde_json::Value;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rereading::reread;
use crate::support::mirror::{Mirror, STREAM_ID, Settings, end, population};
use crate::support::planting;
use crate::support::process::{Configuration, LOOK, Program, Stream};

const SOON: Duration = Duration::from_mins(1);

const CHILDREN: [&str; 11] = [
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
];

async fn mirror(fault: Option<(Fault, f64)>) -> Mirror {
    mirror_of(200, fault.as_slice()).await
}

async fn mirror_of(contacts: u64, faults: &[(Fault, f64)]) -> Mirror {
    let faults = faults.iter().map(|&(fault, probability)| FaultRate { fault, probability }).collect();
    let mirror = Mirror::start(Options { contacts, faults, ..population() }, Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    mirror
}

pub fn program(mirror: &Mirror) -> Program {
    let stream = Stream::new("support", STREAM_ID, end() - TimeDelta::days(10));
    Program::new(&Configuration::new(mirror.database.url(), &mirror.vendor.url(), vec![stream]))
}

async fn execute(pool: &PgPool, statement: &str) {
    planting::plant(pool, statement).await;
}

/// Puts the payload of the contact at this place into quarantine, as if an older mapper had failed on it: with or
/// without its id, received so many hours after the contact was.
async fn plant(pool: &PgPool, place: i32, has_id: bool, hours: i32) {
    sqlx::query(
        "insert into koresync.quarantined_records (stream, conversation_id, payload, raw_hash, reason, fault_path, \
           first_seen_at, last_tried_at, requested_from, requested_to, mapper_version, received_at) \
         select c.stream, case when $2 then c.conversation_id end, r.payload, r.raw_hash, 'no_conversation_id', '$', \
           r.read_at + make_interval(hours => $3), r.read_at, r.requested_from, r.requested_to, 0, r.read_at + make_interval(hours => $3) \
         from kore.contacts c join koresync.raw_contacts r using (contact_key) order by c.started_at, c.conversation_id offset $1 limit 1",
    )
    .bind(place)
    .bind(has_id)
    .bind(hours)
    .execute(pool)
    .await
    .expect("a record in quarantine");
}

/// Takes the contact of the last planted record out of the tables.
async fn take_out(pool: &PgPool) {
    let key = "(select contact_key from koresync.raw_contacts where raw_hash = \
               (select raw_hash from koresync.quarantined_records order by id desc limit 1))";
    let mut statements: Vec<String> =
        vec![format!("create temp table planted on commit drop as select {key} as contact_key")];
    for table in CHILDREN.iter().chain(&["kore.contacts"]) {
        statements.push(format!("delete from {table} where contact_key = (select contact_key from planted)"));
    }
    execute(pool, &statements.join("; ")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_read_empties_quarantine_once_the_vendor_mends_its_records() {
    empties_once_mended(&mirror(Some((Fault::Malformed, 0.4))).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_drifted_records_the_few_malformed_ones_are_set_aside_and_come_back_too() {
    let mirror = mirror_of(2_000, &[(Fault::Malformed, 0.05), (Fault::Drifted, 0.4)]).await;
    assert!(mirror.number("select count(*) from koresync.unknown_fields where kind = 'unknown'").await > 0, "no drift");
    empties_once_mended(&mirror).await;
}

async fn empties_once_mended(mirror: &Mirror) {
    mirror.assert_equal().await;
    // Among so few contacts none crosses the end of a window, so nothing has shown by which time the vendor filters.
    execute(&mirror.database.pool().await, "update koresync.streams set filter_field = 'start'").await;
    let without_id =
        mirror.number("select count(*) from koresync.quarantined_records where conversation_id is null").await;
    let with_id =
        mirror.number("select count(*) from koresync.quarantined_records where conversation_id is not null").await;
    assert!(without_id > 0 && with_id > 0, "{without_id} without an id, {with_id} with one");
    // Still malformed: they stay, each once, and the attempts are counted.
    reread(mirror).await;
    mirror.assert_equal().await;
    assert_eq!(mirror.number("select count(*) from koresync.quarantined_records where attempts < 2").await, 0);
    mirror.vendor.set_fault(Fault::Malformed, 0.0).expect("a fault");
    reread(mirror).await;
    assert_eq!(mirror.number("select count(*) from koresync.quarantined_records").await, 0);
    mirror.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_as_it_is_leaves_quarantine_too_but_never_what_came_later() {
    let mirror = mirror(None).await;
    let pool = mirror.database.pool().await;
    // An earlier version of a contact that reads well again, unchanged.
    plant(&pool, 3, true, -1).await;
    execute(&pool, "update koresync.quarantined_records set raw_hash = '\\x01'").await;
    // The same text, whose id could not be read at the time: of a contact that is held, and of one that is not.
    plant(&pool, 5, false, -1).await;
    plant(&pool, 7, false, -1).await;
    take_out(&pool).await;
    // A version that came after every read of this test.
    plant(&pool, 9, true, 100_000).await;
    execute(
        &pool,
        "update koresync.quarantined_records set raw_hash = '\\x02' where received_at > now() + interval '1 year'",
    )
    .await;
    reread(&mirror).await;
    let left: Vec<Vec<u8>> = sqlx::query_scalar("select raw_hash from koresync.quarantined_records order by raw_hash")
        .fetch_all(&pool)
        .await
        .expect("what is left");
    assert_eq!(left, [vec![2]]);
    execute(&pool, "delete from koresync.quarantined_records").await;
    mirror.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_loads_what_reads_well_and_counts_an_attempt_for_the_rest() {
    let mirror = mirror(None).await;
    let pool = mirror.database.pool().await;
    let asked = |mirror: &Mirror| mirror.vendor.stats().rows_served;
    for place in [3, 5, 7, 9] {
        plant(&pool, place, place == 3, 0).await;
        take_out(&pool).await;
    }
    // Older content of a contact that was received anew since.
    let old = br#"{"Conversation ID":"ID","Conversation Start Time":"2026-03-25T10:00:00.000Z","Language":"planted"}"#;
    let id: String =
        sqlx::query_scalar("select conversation_id from kore.contacts order by started_at offset 20 limit 1")
            .fetch_one(&pool)
            .await
            .expect("an id");
    let old = String::from_utf8_lossy(old).replace("ID\":\"ID", &format!("ID\":\"{id}"));
    plant(&pool, 20, false, -1).await;
    let bad = b"{\"Conversation ID\": null}".to_vec();
    for (raw, place) in [(old.clone().into_bytes(), 20), (bad, 21)] {
        if place == 21 {
            plant(&pool, 21, false, 0).await;
        }
        sqlx::query("update koresync.quarantined_records set payload = $1, raw_hash = $2 where id = (select max(id) from koresync.quarantined_records)")
            .bind(zstd::bulk::compress(&raw, 3).expect("packed"))
            .bind(ContentHash::of(&raw).0.as_slice())
            .execute(&pool)
            .await
            .expect("a payload");
    }
    let before = asked(&mirror);
    let program = program(&mirror);
    let one: i64 = mirror.number("select min(id) from koresync.quarantined_records").await;
    let (exit, told) = program.run(&["quarantine", "retry", "--id", &one.to_string()], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    assert_eq!(mirror.number("select count(*) from koresync.quarantined_records").await, 5);
    let (exit, told) = program.run(&["quarantine", "retry", "--reason", "not_json"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains("0 records tried again"), "{told}");

    let mut process = program.spawn(&["quarantine", "retry", "--json"]);
    assert_eq!(process.ended(SOON).await.code(), Some(3), "{}", process.told());
    let sum: Value = serde_json::from_str(&process.printed()).expect("JSON");
    assert_eq!((&sum["tried"], &sum["read_well"], &sum["still_failing"]), (&5.into(), &4.into(), &1.into()));
    assert_eq!(asked(&mirror), before, "the API was asked");
    let (attempts, reason): (i32, String) = sqlx::query_as("select attempts, reason from koresync.quarantined_records")
        .fetch_one(&pool)
        .await
        .expect("one record");
    assert_eq!((attempts, reason.as_str()), (2, "no_conversation_id"));
    execute(&pool, "delete from koresync.quarantined_records").await;
    assert_eq!(mirror.number("select count(*) from kore.contact_changes").await, 0, "older content was written");
    mirror.assert_equal().await;
    let (exit, told) = program.run(&["quarantine", "retry", "--stream", "nobody"], SOON).await;
    assert_eq!(exit, Some(1), "{told}");

    // The same content, received after what is held, is a change like any other.
    plant(&pool, 20, false, 1).await;
    sqlx::query("update koresync.quarantined_records set payload = $1, raw_hash = $2")
        .bind(zstd::bulk::compress(old.as_bytes(), 3).expect("packed"))
        .bind(ContentHash::of(old.as_bytes()).0.as_slice())
        .execute(&pool)
        .await
        .expect("a payload");
    let (exit, told) = program.run(&["quarantine", "retry", "--stream", "support"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    let changed = mirror.number("select count(*) from kore.contacts c join kore.contact_changes using (contact_key) where language = 'planted'").await;
    assert_eq!(changed, 1);
    mirror.assert_keys_hold().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_metrics_count_quarantine_by_reason() {
    let mirror = mirror(Some((Fault::Malformed, 0.4))).await;
    let program = program(&mirror);
    let mut process = program.spawn(&["status", "--json"]);
    process.ended(SOON).await;
    let report: Value = serde_json::from_str(&process.printed()).expect("JSON");
    let counts = report["quarantine"].as_array().expect("counts");
    let sum: i64 = counts.iter().filter_map(|count| count["records"].as_i64()).sum();
    assert!(
        counts.len() > 1 && sum == mirror.number("select count(*) from koresync.quarantined_records").await,
        "{report}"
    );
    let reason = counts[0]["reason"].as_str().expect("a reason").to_owned();
    let (_, told) = program.run(&["status"], SOON).await;
    assert!(told.contains("QUARANTINED FOR") && told.contains(&reason), "{told}");

    let mut daemon = program.spawn(&["run"]);
    let address = daemon.address().await;
    let gauge =
        format!("koresync_quarantined_records{{stream=\"support\",reason=\"{reason}\"}} {}", counts[0]["records"]);
    let waiting = async {
        while !get(&address, "/metrics").await.contains(&gauge) {
            tokio::time::sleep(LOOK * 10).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("no {gauge}"));
    daemon.terminate();
    daemon.ended(SOON).await;
}

pub async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a listener");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn status_names_new_fields_by_their_shape_and_never_their_value() {
    let mirror = mirror(Some((Fault::Drifted, 0.5))).await;
    let pool = mirror.database.pool().await;
    let shown: Vec<(String, Option<String>)> =
        sqlx::query_as("select example_type, example_shape from koresync.unknown_fields")
            .fetch_all(&pool)
            .await
            .expect("fields");
    assert!(shown.iter().any(|(kind, _)| kind == "string"), "no text drifted: {shown:?}");
    for (kind, shape) in &shown {
        assert_eq!(kind == "string", shape.is_some(), "{kind} {shape:?}");
        let signs = shape.as_deref().and_then(|shape| shape.split_once(": ")).map_or("", |(_, signs)| signs);
        assert!(signs.chars().all(|c| !c.is_alphanumeric() || matches!(c, 'a' | 'A' | '9')), "{shape:?}");
    }
    execute(
        &pool,
        "update koresync.unknown_fields set first_seen_at = now() - interval '8 days'; \
         insert into koresync.unknown_fields (stream, path, kind, first_seen_at, last_seen_at, count, example_type, example_shape) \
         select 'support', 'New field ' || n, 'unknown', now() - make_interval(mins => n), now(), n, 'string', '1-8: aaa-999' \
         from generate_series(1, 13) n",
    )
    .await;
    let program = program(&mirror);
    let (_, told) = program.run(&["status"], SOON).await;
    assert!(told.contains("New field 10 ") && !told.contains("New field 11"), "{told}");
    assert!(told.contains("string 1-8: aaa-999") && told.contains("and 3 more: select"), "{told}");
    let mut process = program.spawn(&["status", "--json"]);
    process.ended(SOON).await;
    let report: Value = serde_json::from_str(&process.printed()).expect("JSON");
    assert_eq!((report["new_fields"].as_array().map(Vec::len), &report["new_fields_count"]), (Some(10), &13.into()));
    assert_eq!(
        (&report["new_fields"][0]["path"], &report["new_fields"][0]["count"]),
        (&"New field 1".into(), &1.into())
    );
}
