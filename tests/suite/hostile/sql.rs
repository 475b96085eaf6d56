//! SQL text is never built from data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use koresync::simulate::Options;
use koresync::sync::Outcome;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::mirror::{Mirror, Settings, population};
use crate::support::vendor::answering;

/// Where statements are made from pieces, or handed over as text that need not be a literal; sqlx takes literals alone
/// elsewhere. Each was read by a person: `(file, how many, what the pieces are)`.
const REVIEWED: [(&str, usize, &str); 11] = [
    ("demo/postgres.rs", 1, "the name of a database of a private server, quoted"),
    ("demo/questions.rs", 1, "a table's name out of the catalog, quoted"),
    ("demo/stage.rs", 1, "a password drawn by this program, of letters and digits"),
    ("warehouse/days.rs", 1, "names of tables and functions from KINDS"),
    ("warehouse/erasure.rs", 5, "names of tables and columns from TEXTS"),
    ("warehouse/load/compare.rs", 1, "names from the COPY lists, and keys, which are UUIDs"),
    ("warehouse/load/copy.rs", 1, "literals from load/tables.rs"),
    ("warehouse/load/replace.rs", 1, "names from CHILD_TABLES"),
    ("warehouse/rebuilds/step.rs", 1, "names from CHILD_TABLES"),
    ("warehouse/references.rs", 2, "names out of the catalog, quoted by the server"),
    ("warehouse/retention.rs", 1, "names from CHILD_TABLES"),
];

/// What lets a text that is no literal through to the server.
const DOORS: [&str; 5] = ["AssertSqlSafe(", ".copy_in_raw(", ".copy_out_raw(", "QueryBuilder", "SqlSafeStr"];

fn count_doors(folder: &Path, root: &Path, found: &mut BTreeMap<String, usize>) {
    for entry in std::fs::read_dir(folder).expect("the source") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            count_doors(&path, root, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let doors: usize = DOORS.iter().map(|door| text.matches(door).count()).sum();
            if doors > 0 {
                found.insert(path.strip_prefix(root).expect("within").display().to_string(), doors);
            }
        }
    }
}

#[test]
fn statements_are_made_from_pieces_in_reviewed_places_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    count_doors(&root, &root, &mut found);
    let reviewed: BTreeMap<String, usize> =
        REVIEWED.into_iter().map(|(file, count, _)| (file.to_owned(), count)).collect();
    assert_eq!(found, reviewed, "read what is new, bind what is data, and note the place in REVIEWED");
}

const PAGE: &str = include_str!("../../../src/normalise/testdata/vendor_page.json");

const INJECTIONS: [&str; 12] = [
    "'; drop table kore.contacts cascade; --",
    "\"; drop schema kore cascade; --",
    "$1 $2 $99",
    "$$; select pg_terminate_backend(pg_backend_pid()); $$",
    "\\'; truncate koresync.windows; --",
    "') ; delete from koresync.streams where ('' = '",
    "%s %1$s {} {0} :name ? @p",
    "\\N \\. \\\\ \\x41",
    "\tE'\\047'\r\n-- \n",
    "/* */ null, default)",
    "u&'\\0027' || chr(39)",
    "`'\"\\",
];

/// Puts an injection, told apart by a number, in the place of each text that is no time.
fn poison(value: &mut Value, planted: &mut Vec<String>) {
    match value {
        Value::String(text) if !is_time(text) => {
            let injection = INJECTIONS[planted.len() % INJECTIONS.len()];
            *text = format!("{injection}{}", planted.len());
            planted.push(text.clone());
        }
        Value::Array(values) => values.iter_mut().for_each(|value| poison(value, planted)),
        Value::Object(members) => members.values_mut().for_each(|value| poison(value, planted)),
        _ => {}
    }
}

fn is_time(text: &str) -> bool {
    text.starts_with("20") && text.contains(':')
}

/// Every text in every row of the schema `kore`, as it is.
async fn texts(pool: &PgPool) -> BTreeSet<String> {
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'kore' and tablename <> 'dates'")
            .fetch_all(pool)
            .await
            .expect("tables");
    let mut texts = BTreeSet::new();
    for table in tables {
        let sql = format!(
            "select v #>> '{{}}' from kore.{table} t, jsonb_path_query(to_jsonb(t), '$.**') v where jsonb_typeof(v) = 'string'"
        );
        let held: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap_or_else(|e| panic!("{table}: {e}"));
        texts.extend(held);
    }
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_would_be_sql_are_loaded_as_they_are() {
    let mut page: Value = serde_json::from_str(PAGE).expect("the vendor's sample");
    let mut planted = Vec::new();
    let results = page["results"].as_array_mut().expect("records");
    for record in results.iter_mut() {
        poison(record, &mut planted);
        record[INJECTIONS[0]] = INJECTIONS[1].into();
    }
    // One more, that is set aside under its id.
    let mut aside = results[0].clone();
    let start =
        aside.as_object().and_then(|r| r.keys().find(|key| key.contains("Start Time"))).expect("a start").clone();
    aside[&start] = INJECTIONS[0].into();
    aside["Conversation ID"] = INJECTIONS[2].into();
    results.push(aside);
    let records = results.len();
    page["totalResults"] = records.into();
    page["hasMore"] = false.into();

    let mut mirror = Mirror::start(Options { contacts: 1, ..population() }, Settings::default()).await;
    mirror.base_url = Some(answering(page.to_string()).await);
    let tables = "select count(*) from pg_tables where schemaname in ('kore', 'koresync')";
    let before = mirror.number(tables).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    assert_eq!(mirror.number(tables).await, before);
    assert_eq!(mirror.number("select count(*) from kore.contacts").await + 1, i64::try_from(records).expect("few"));
    mirror.assert_keys_hold().await;
    let pool = mirror.database.pool().await;
    // The mapper trims texts, and writes emotions small.
    let plain = |text: &String| text.trim().to_lowercase();
    let held: BTreeSet<String> = texts(&pool).await.iter().map(plain).collect();
    let lost: Vec<&String> = planted.iter().filter(|text| !held.contains(&plain(text))).collect();
    assert!(lost.is_empty(), "{} of {} texts are not there as they were: {lost:#?}", lost.len(), planted.len());
    let noted: Vec<String> =
        sqlx::query_scalar("select path from koresync.unknown_fields").fetch_all(&pool).await.expect("paths");
    assert!(noted.iter().any(|path| path.contains(INJECTIONS[0])), "{noted:?}");
    assert_eq!(mirror.number("select count(*) from koresync.quarantined_records").await, 1);
}
