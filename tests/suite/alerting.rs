//! What alerts are told from is there and right from the first moment on, of a daemon that has just been started as of the one
//! beside it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use koresync::domain::SystemClock;
use koresync::domain::clock::Clock as _;
use koresync::warehouse::Warehouse;
use koresync::warehouse::gauges::{AccountGauges, StreamGauges};
use sqlx::PgPool;

use crate::support::mirror::{connect, make_schema};
use crate::support::postgres::TestDatabase;
use crate::support::process::{Configuration, LOOK, Process, Program, Stream};

const SOON: Duration = Duration::from_secs(30);
/// A server that nobody has: whatever is asked of it fails.
const NOBODY: &str = "http://127.0.0.1:9";

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_774_224_000 + seconds, 0).expect("a time")
}

async fn plant(pool: &PgPool, sql: &'static str) {
    sqlx::raw_sql(sql).execute(pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Two streams of one account, and one that is no longer configured. Times count from 2026-03-23.
async fn planted() -> (TestDatabase, PgPool, Warehouse) {
    let database = TestDatabase::create().await;
    make_schema(database.url()).await;
    let pool = database.pool().await;
    plant(
        &pool,
        "insert into koresync.streams (stream, account_id, stream_id, start_at, frontier, watermark, is_configured, span_seconds, created_at) \
         select s, case s when 'gone' then 'acc-old' else 'acc-1' end, s, '2026-03-01', '2026-03-22', '2026-03-01', s <> 'gone', 3600, '2026-03-22' \
         from unnest(array['older', 'newer', 'gone']) s; \
         insert into koresync.api_budgets (account_id, requests_per_minute, share, next_slot_at) \
         values ('acc-1', 60, 0.6, '2026-03-23'), ('acc-old', 60, 1, '2026-03-23');",
    )
    .await;
    let lease = Duration::from_mins(1);
    let warehouse = Warehouse::new(&connect(database.url()), Arc::new(SystemClock), chrono_tz::UTC, lease);
    (database, pool, warehouse)
}

async fn told(warehouse: &Warehouse, stream: &str) -> StreamGauges {
    let gauges = warehouse.stream_gauges().await.expect("gauges");
    assert_eq!(gauges.iter().map(|told| told.stream.as_str()).collect::<Vec<_>>(), ["newer", "older"]);
    gauges.into_iter().find(|told| told.stream == stream).expect("the stream")
}

#[tokio::test]
async fn windows_that_fail_again_and_again_are_counted_unless_their_backfill_is_paused() {
    let (_database, pool, warehouse) = planted().await;
    let untouched = told(&warehouse, "older").await;
    let none = StreamGauges {
        stream: "older".to_owned(),
        windows_failing: 0,
        backfills_running: 0,
        backfills_paused: 0,
        backfill_progress_at: None,
        quarantine_last_new_at: None,
        unknown_field_last_new_at: None,
    };
    assert_eq!(untouched, none);
    plant(
        &pool,
        "insert into koresync.backfills (id, stream, from_at, to_at, planned_down_to, origin, created_at, state) values \
           (1, 'older', '2026-01-01', '2026-02-01', '2026-01-20', 'operator', '2026-03-22', 'paused'), \
           (2, 'older', '2026-02-01', '2026-03-01', '2026-02-01', 'operator', '2026-03-22', 'done'); \
         insert into koresync.windows (stream, lane, backfill_id, from_at, to_at, due_at, created_at, attempts, owner) values \
           ('older', 'live', null, '2026-03-21 00:00', '2026-03-21 01:00', '2026-03-23', '2026-03-23', 2, null), \
           ('older', 'live', null, '2026-03-21 01:00', '2026-03-21 02:00', '2026-03-23', '2026-03-23', 3, null), \
           ('older', 'live', null, '2026-03-21 02:00', '2026-03-21 03:00', '2026-03-23', '2026-03-23', 9, 'somebody'), \
           ('older', 'backfill', 1, '2026-01-30', '2026-02-01', '2026-03-23', '2026-03-23', 9, null), \
           ('older', 'backfill', 2, '2026-02-28', '2026-03-01', '2026-03-23', '2026-03-23', 9, null), \
           ('newer', 'recheck', null, '2026-03-21 00:00', '2026-03-21 01:00', '2026-03-23', '2026-03-23', 3, null), \
           ('gone', 'live', null, '2026-03-21 00:00', '2026-03-21 01:00', '2026-03-23', '2026-03-23', 9, null); \
         insert into koresync.windows (stream, lane, from_at, to_at, due_at, created_at, attempts, state) \
         values ('older', 'live', '2026-03-21 03:00', '2026-03-21 04:00', '2026-03-23', '2026-03-23', 9, 'unverified');",
    )
    .await;
    assert_eq!(
        (told(&warehouse, "older").await.windows_failing, told(&warehouse, "newer").await.windows_failing),
        (3, 1)
    );
    let older = told(&warehouse, "older").await;
    assert_eq!((older.backfills_running, older.backfills_paused, older.backfill_progress_at), (0, 1, None));
    let accounts = warehouse.account_gauges().await.expect("gauges");
    assert_eq!(accounts, [AccountGauges { account_id: "acc-1".to_owned(), share: 0.6 }]);
}

#[tokio::test]
async fn a_backfill_gets_on_with_its_own_windows_and_with_those_that_have_their_turn_before_it() {
    let (_database, pool, warehouse) = planted().await;
    // The range of `older` ends where the one of `newer` begins.
    plant(
        &pool,
        "insert into koresync.backfills (id, stream, from_at, to_at, planned_down_to, origin, created_at) values \
           (1, 'older', '2026-01-01', '2026-02-01', '2026-01-25', 'operator', '2026-03-23 01:00'), \
           (2, 'newer', '2026-02-01', '2026-03-01', '2026-02-20', 'operator', '2026-03-23 00:30');",
    )
    .await;
    let progress = async || {
        let (older, newer) = (told(&warehouse, "older").await, told(&warehouse, "newer").await);
        assert_eq!((older.backfills_running, newer.backfills_running), (1, 1));
        (older.backfill_progress_at, newer.backfill_progress_at)
    };
    let hour = 3_600;
    assert_eq!(progress().await, (Some(at(hour)), Some(at(hour / 2))), "filed, and no more");
    plant(
        &pool,
        "insert into koresync.windows (stream, lane, backfill_id, from_at, to_at, due_at, created_at, state) \
         values ('older', 'backfill', 1, '2026-01-25', '2026-02-01', '2026-03-23', '2026-03-23', 'planned'); \
         insert into koresync.windows (stream, lane, backfill_id, from_at, to_at, due_at, created_at, state, rows, \"distinct\", repeated, \
           inserted, changed, unchanged, quarantined, erased, verified_by, verified_at, finished_at) \
         values ('newer', 'backfill', 2, '2026-02-25', '2026-03-01', '2026-03-23', '2026-03-23', 'verified', 0, 0, 0, 0, 0, 0, 0, 0, 'snapshot', \
           '2026-03-23 02:00', '2026-03-23 02:00');",
    )
    .await;
    assert_eq!(
        progress().await,
        (Some(at(2 * hour)), Some(at(2 * hour))),
        "newer history of another stream comes first"
    );
    plant(
        &pool,
        "update koresync.windows set finished_at = '2026-03-23 03:00', state = 'unverified', verified_by = null, verified_at = null \
         where backfill_id = 2;",
    )
    .await;
    assert_eq!(progress().await, (Some(at(hour)), Some(at(hour / 2))), "what is read in vain is no progress");
    plant(
        &pool,
        "insert into koresync.windows (stream, lane, backfill_id, from_at, to_at, due_at, created_at, state, rows, \"distinct\", repeated, \
           inserted, changed, unchanged, quarantined, erased, verified_by, verified_at, finished_at) \
         values ('older', 'backfill', 1, '2026-01-24', '2026-01-25', '2026-03-23', '2026-03-23', 'verified', 0, 0, 0, 0, 0, 0, 0, 0, 'snapshot', \
           '2026-03-23 04:00', '2026-03-23 04:00');",
    )
    .await;
    // That of `newer` stands still while older history is read: it should have its turn.
    assert_eq!(progress().await, (Some(at(4 * hour)), Some(at(hour / 2))));
}

/// Waits until a page of the daemon holds all these lines.
async fn tells(daemon: &mut Process, lines: &[String]) -> String {
    let began = Instant::now();
    loop {
        let page = daemon.page("/metrics").await;
        let lacking: Vec<&String> = lines.iter().filter(|line| !page.lines().any(|told| told == *line)).collect();
        if lacking.is_empty() {
            return page;
        }
        assert!(began.elapsed() < SOON, "the daemon does not tell {lacking:?}:\n{page}");
        tokio::time::sleep(LOOK * 20).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_just_started_tells_what_was_before_and_counts_from_zero() {
    let database = TestDatabase::create().await;
    make_schema(database.url()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    // {"exp":"1774261123.9"}
    std::fs::write(&token, "eyJhbGciOiJub25lIn0.eyJleHAiOiIxNzc0MjYxMTIzLjkifQ.x\n").expect("a token");
    let start = SystemClock.now() - TimeDelta::days(3);
    let mut streams = vec![Stream::new("older", "st-1", start), Stream::new("newer", "st-2", start)];
    streams[1].overrides = format!("token_file = \"{}\"", token.display());
    let program = Program::new(&Configuration::new(database.url(), NOBODY, streams));
    let pool = database.pool().await;

    let mut daemon = program.spawn(&["run"]);
    let first = daemon.page("/metrics").await;
    for stream in ["older", "newer"] {
        for counter in [
            format!("koresync_api_requests_total{{stream=\"{stream}\",outcome=\"rate_limited\"}}"),
            format!("koresync_api_requests_total{{stream=\"{stream}\",outcome=\"ok\"}}"),
            format!("koresync_api_retries_total{{stream=\"{stream}\",reason=\"rate_limited\"}}"),
            format!("koresync_contacts_total{{stream=\"{stream}\",outcome=\"removed\"}}"),
            format!("koresync_lane_requests_total{{stream=\"{stream}\",lane=\"backfill\"}}"),
            format!("koresync_records_quarantined_total{{stream=\"{stream}\",reason=\"no_conversation_id\"}}"),
            format!("koresync_unknown_fields_total{{stream=\"{stream}\"}}"),
        ] {
            assert!(first.contains(&format!("\n{counter} 0\n")), "{counter} does not begin at 0:\n{first}");
        }
    }
    assert!(first.contains("\nkoresync_api_budget_wait_seconds_total{account=\"acc-1\"} 0\n"), "{first}");
    // The first start files history as a backfill, which nobody answers.
    let backfills = |state, number| format!("koresync_backfills_open{{stream=\"older\",state=\"{state}\"}} {number}");
    tells(&mut daemon, &[backfills("running", 1), backfills("paused", 0)]).await;
    let planned = || async {
        sqlx::query_scalar::<_, i64>(
            "select count(*) from koresync.windows where stream = 'older' and state = 'planned'",
        )
        .fetch_one(&pool)
        .await
        .expect("a count")
    };
    let began = Instant::now();
    while planned().await == 0 {
        assert!(began.elapsed() < SOON, "nothing is planned");
        tokio::time::sleep(LOOK).await;
    }
    daemon.kill().await;

    plant(
        &pool,
        "update koresync.backfills set created_at = '2026-03-23 01:00' where stream = 'older'; \
         update koresync.api_budgets set share = 0.7, share_changed_at = clock_timestamp() + interval '1 hour'; \
         update koresync.windows set attempts = 7 where stream = 'older'; \
         insert into koresync.quarantined_records (stream, payload, raw_hash, reason, fault_path, first_seen_at, last_tried_at, \
           requested_from, requested_to, mapper_version) \
         select 'newer', '', h, 'no_conversation_id', '$', t, '2026-03-23 09:00', '2026-03-22', '2026-03-23', 1 \
         from (values ('a'::bytea, '2026-03-23 00:00'::timestamptz), ('b', '2026-03-23 02:00')) v (h, t); \
         insert into koresync.unknown_fields (stream, path, kind, first_seen_at, last_seen_at, count, example_type) values \
           ('newer', '$.a', 'unknown', '2026-03-23 03:00', '2026-03-23 09:00', 9, 'string'), \
           ('newer', '$.b', 'not_a_number', '2026-03-23 01:00', '2026-03-23 09:00', 9, 'string');",
    )
    .await;
    let failing = planned().await;
    assert!(failing > 0);
    let gauge = |name: &str, stream: &str, value: i64| format!("koresync_{name}{{stream=\"{stream}\"}} {value}");
    let hour = |hours: i64| at(hours * 3_600).timestamp();
    let mut expected = vec![
        backfills("running", 1),
        gauge("backfill_progress_timestamp_seconds", "older", hour(1)),
        gauge("windows_failing", "older", failing),
        gauge("windows_failing", "newer", 0),
        gauge("quarantine_last_new_timestamp_seconds", "older", 0),
        gauge("quarantine_last_new_timestamp_seconds", "newer", hour(2)),
        gauge("unknown_field_last_new_timestamp_seconds", "older", 0),
        gauge("unknown_field_last_new_timestamp_seconds", "newer", hour(3)),
        gauge("token_expires_timestamp_seconds", "newer", 1_774_261_123),
        "koresync_api_budget_share_ratio{account=\"acc-1\"} 0.7".to_owned(),
    ];
    let mut replicas = [program.spawn(&["run"]), program.spawn(&["run"])];
    for replica in &mut replicas {
        let page = tells(replica, &expected).await;
        // A token is made for each request of `older`.
        assert!(!page.contains("koresync_token_expires_timestamp_seconds{stream=\"older\"}"), "{page}");
        assert!(!page.contains("eyJ"), "{page}");
    }
    // {"appId":"cs-1"}: the end of the token before is told no more.
    std::fs::write(&token, "eyJhbGciOiJub25lIn0.eyJhcHBJZCI6ImNzLTEifQ.x\n").expect("a token");
    expected.clear();
    expected.push("koresync_token_expires_timestamp_seconds{stream=\"newer\"} inf".to_owned());
    for replica in &mut replicas {
        tells(replica, &expected).await;
    }
}
