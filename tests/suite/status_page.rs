//! The status page: what it tells of a ledger, of a warehouse that is away, and who may act from it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use koresync::config::Loader;
use koresync::domain::clock::SharedClock;
use koresync::server::{self, Readiness};
use koresync::status::board::see;
use koresync::status::{Board, look};
use koresync::warehouse::Warehouse;
use koresync::warehouse::windows::Lane;
use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::StatusCode;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::support::mirror::{Mirror, STREAM, Settings, connect, make_schema, population};
use crate::support::postgres::TestDatabase;
use crate::support::process::LOOK;
use crate::support::proxy::Proxy;
use crate::support::standing::StandingClock;

const TOKEN: &str = "a token of the tests";
/// A page that is larger takes its time on a bad line.
const PAGE_BYTES_MOST: usize = 300_000;

fn now() -> DateTime<Utc> {
    "2026-03-31T12:30:00Z".parse().expect("a time")
}

struct Page {
    board: Board,
    warehouse: Warehouse,
    address: SocketAddr,
    stopping: CancellationToken,
    client: reqwest::Client,
}

impl Page {
    async fn start(url: &str, clock: SharedClock, server: &str) -> Self {
        let text = format!(
            "[api]\naccount_id = \"acc-1\"\norg_id = \"o-1\"\ntoken = \"t\"\n[server]\n{server}\n\
             [streams.support]\nstream_id = \"st-1\"\nstart = \"2026-03-01T00:00:00Z\"\n"
        );
        let settings = Arc::new(Loader::default().load_text("test.toml", &text).expect("settings"));
        let board = Board::new(settings, Arc::clone(&clock));
        let warehouse = Warehouse::new(&connect(url), clock, chrono_tz::UTC, Duration::from_mins(1));
        board.open(warehouse.clone());
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let bound = server::bind(([127, 0, 0, 1], 0).into(), Readiness::default(), None, metrics, board.clone());
        let bound = bound.await.expect("a listener");
        let (address, stopping) = (bound.address, CancellationToken::new());
        tokio::spawn(bound.run(stopping.clone()));
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
        Self { board, warehouse, address, stopping, client: client.expect("a client") }
    }

    async fn ask(&self, path: &str) -> (StatusCode, String) {
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await.expect("an answer");
        let policy =
            answer.headers().get("content-security-policy").map(|value| value.to_str().expect("text").to_owned());
        assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'none'")), "{path} has no policy");
        (answer.status(), answer.text().await.expect("a text"))
    }

    async fn get(&self, path: &str) -> String {
        let (status, text) = self.ask(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        text
    }

    async fn act(&self, path: &str, token: &str) -> StatusCode {
        let form = format!("token={}", token.replace(' ', "+"));
        let request = self.client.post(format!("http://{}{path}", self.address));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        request.send().await.expect("an answer").status()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// A stream whose ledger has something of everything on 30 and 31 March.
async fn ledger(pool: &PgPool) {
    sqlx::raw_sql(
        "insert into koresync.streams (stream, account_id, stream_id, start_at, frontier, watermark, span_seconds, created_at) \
         values ('support', 'acc-1', 'st-1', '2026-03-01 00:00Z', '2026-03-31 12:00Z', '2026-03-30 04:00Z', 3600, '2026-03-01 00:00Z'); \
         insert into koresync.backfills (stream, from_at, to_at, planned_down_to, origin, created_at) \
         values ('support', '2026-03-01 00:00Z', '2026-03-30 00:00Z', '2026-03-15 00:00Z', 'operator', '2026-03-31 12:00Z'); \
         insert into koresync.windows (stream, lane, from_at, to_at, state, due_at, created_at, finished_at, requested_from, requested_to, \
           rows, \"distinct\", repeated, in_window, inserted, changed, unchanged, quarantined, erased, requests, verified_by, verified_at) \
         select 'support', 'live', h, h + interval '1 hour', 'verified', h, h, h, h, h, 7, 7, 0, 7, 7, 0, 0, 0, 0, 1, 'count', h \
         from generate_series('2026-03-30 00:00Z', '2026-03-31 10:00Z', interval '1 hour') h where h <> '2026-03-30 04:00Z'; \
         insert into koresync.windows (stream, lane, from_at, to_at, state, due_at, created_at, attempts, in_window, last_error) \
         values ('support', 'live', '2026-03-30 04:00Z', '2026-03-30 05:00Z', 'unverified', '2026-03-31 13:00Z', now(), 4, 12, null), \
           ('support', 'live', '2026-03-31 11:00Z', '2026-03-31 11:30Z', 'planned', '2026-03-31 12:35Z', now(), 2, null, \
            'the API answers 500: <script>alert(1)</script>'), \
           ('support', 'backfill', '2026-03-15 00:00Z', '2026-03-15 06:00Z', 'planned', '2026-03-31 12:00Z', now(), 0, null, null); \
         update koresync.windows set owner = 'w', lease_expires_at = now() + interval '1 hour' where from_at = '2026-03-31 10:00Z'; \
         update koresync.windows set backfill_id = (select id from koresync.backfills) where lane = 'backfill'; \
         insert into koresync.api_budgets (account_id, requests_per_minute, next_slot_at) values ('acc-1', 60, now()); \
         insert into koresync.spending_by_minute values ('2026-03-31 12:00Z', 'support', 'live', 40), \
           ('2026-03-31 12:00Z', 'support', 'backfill', 15), ('2026-03-31 11:00Z', 'support', 'live', 999); \
         insert into koresync.quarantined_records (stream, conversation_id, payload, raw_hash, reason, fault_path, first_seen_at, \
           last_tried_at, requested_from, requested_to, mapper_version) \
         values ('support', 'conversation-of-jane', 'Jane Doe', '\\x01', 'no start', '$.startTime', now(), now(), now(), now(), 1); \
         insert into koresync.unknown_fields values ('support', '$.mood', 'unknown', '2026-03-31 12:00Z', '2026-03-31 12:00Z', 3, 'string', 'aaa'); \
         insert into koresync.runs (worker, program, command, started_at, seen_at) \
         values ('host-1', '0.1.0', 'run', '2026-03-31 12:00Z', '2026-03-31 12:30Z'), ('host-2', '0.1.0', 'run', '2026-03-31 12:00Z', '2026-03-31 12:10Z')",
    )
    .execute(pool)
    .await
    .expect("a ledger");
}

async fn window_from(pool: &PgPool, from: &'static str) -> i64 {
    sqlx::query_scalar("select id from koresync.windows where from_at = $1::timestamptz")
        .bind(from.parse::<DateTime<Utc>>().expect("a time"))
        .fetch_one(pool)
        .await
        .expect("a window")
}

async fn site(server: &str) -> (TestDatabase, PgPool, Page) {
    let database = TestDatabase::create().await;
    make_schema(database.url()).await;
    let pool = database.pool().await;
    ledger(&pool).await;
    let page = Page::start(database.url(), Arc::new(StandingClock::new(now())), server).await;
    (database, pool, page)
}

#[tokio::test]
async fn the_page_tells_what_is_proved_what_is_not_and_why() {
    let (_database, pool, page) = site("").await;
    let text = page.get("/").await;
    let failing = window_from(&pool, "2026-03-31T11:00:00Z").await;
    let unverified = window_from(&pool, "2026-03-30T04:00:00Z").await;
    let running = window_from(&pool, "2026-03-31T10:00:00Z").await;
    let verified = window_from(&pool, "2026-03-30T05:00:00Z").await;
    for part in [
        "support is complete only through 2026-03-30 04:00 UTC; 1 window fails; 1 window unverified".to_owned(),
        format!(
            "<td class=\"v\"><a href=\"/windows/{verified}\" title=\"05:00–06:00 verified: 7 contacts\">7</a></td>"
        ),
        format!("<td class=\"u\"><a href=\"/windows/{unverified}\" title=\"04:00–05:00 unverified: 12 contacts\">"),
        format!("<td class=\"f\"><a href=\"/windows/{failing}\""),
        format!("<td class=\"r\"><a href=\"/windows/{running}\""),
        "<a class=\"b\" href=\"/streams/support?month=2026-03\" title=\"2026-03: 99 % verified\">3</a>".to_owned(),
        "the API answers 500: &lt;script&gt;alert(1)&lt;/script&gt;".to_owned(),
        "55 of 3,600 requests (2 %)".to_owned(),
        "<code>$.startTime</code>".to_owned(),
        "<code>$.mood</code>".to_owned(),
        "at work".to_owned(),
        "silent for 20m 0s".to_owned(),
    ] {
        assert!(text.contains(&part), "{part} is not in\n{text}");
    }
    for secret in ["Jane", "conversation-of-jane", "<script>alert"] {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
    let (status, json) = page.ask("/status.json").await;
    assert!(status.is_success() && json.contains("\"words\":\"support is complete only through"), "{json}");
    assert!(!json.contains("Jane"), "{json}");
}

#[tokio::test]
async fn a_window_tells_its_error_and_the_command_to_run_again() {
    let (_database, pool, page) = site("").await;
    let failing = window_from(&pool, "2026-03-31T11:00:00Z").await;
    let text = page.get(&format!("/windows/{failing}")).await;
    for part in [
        "<pre class=\"error\">the API answers 500: &lt;script&gt;",
        "Tried 2 times; next at 2026-03-31 12:35:00.",
        "koresync verify --stream support --from 2026-03-31T11:00:00Z --to 2026-03-31T11:30:00Z --repair</code>",
        "koresync backfill --stream support --from 2026-03-31T11:00:00Z --to 2026-03-31T11:30:00Z</code>",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("<form"), "it offers an action that is not allowed\n{text}");
    let month = page.get("/streams/support?month=2026-03").await;
    assert!(month.contains("March 2026") && month.contains(&format!("/windows/{failing}")), "{month}");
    // An hour of 15 March lies in one planned window of six; before it nothing is planned.
    assert!(month.contains("<td class=\"b\" colspan=\"6\">"), "{month}");
    let list = page.get("/streams/support/windows?from=2026-03-30T03:00:00Z&to=2026-03-30T06:00:00Z").await;
    assert_eq!(list.matches("<a href=\"/windows/").count(), 3, "{list}");
    for (path, status) in [
        ("/windows/999999", StatusCode::NOT_FOUND),
        ("/streams/nobody", StatusCode::NOT_FOUND),
        ("/streams/support?month=soon", StatusCode::BAD_REQUEST),
        ("/streams/support/windows?from=x&to=y", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(page.ask(path).await.0, status, "{path}");
    }
    for (path, kind) in [("/assets/page.css", "text/css"), ("/assets/page.js", "text/javascript")] {
        let answer = page.client.get(format!("http://{}{path}", page.address)).send().await.expect("an answer");
        assert!(answer.headers()["content-type"].to_str().expect("text").starts_with(kind), "{path}");
    }
}

#[tokio::test]
async fn an_operator_acts_with_the_token_alone() {
    let (_database, pool, page) = site(&format!("actions = true\ntoken = \"{TOKEN}\"")).await;
    let failing = window_from(&pool, "2026-03-31T11:00:00Z").await;
    let retry = format!("/windows/{failing}/retry");
    assert!(page.get(&format!("/windows/{failing}")).await.contains(&format!("action=\"{retry}\"")));
    let due = || async {
        sqlx::query_scalar::<_, DateTime<Utc>>("select due_at from koresync.windows where id = $1")
            .bind(failing)
            .fetch_one(&pool)
            .await
            .expect("a window")
    };
    let before = due().await;
    for wrong in ["", "another", "a token of the test"] {
        assert_eq!(page.act(&retry, wrong).await, StatusCode::FORBIDDEN, "{wrong}");
    }
    assert_eq!(due().await, before);
    assert_eq!(page.act(&retry, TOKEN).await, StatusCode::SEE_OTHER);
    assert_eq!(due().await, now());
    let verified = window_from(&pool, "2026-03-30T05:00:00Z").await;
    assert_eq!(page.act(&format!("/windows/{verified}/retry"), TOKEN).await, StatusCode::NOT_FOUND);

    let backfill: i64 = sqlx::query_scalar("select id from koresync.backfills").fetch_one(&pool).await.expect("one");
    let state = || async {
        sqlx::query_scalar::<_, String>("select state from koresync.backfills").fetch_one(&pool).await.expect("one")
    };
    for (verb, told, after) in [
        ("resume", StatusCode::CONFLICT, "running"),
        ("pause", StatusCode::SEE_OTHER, "paused"),
        ("cancel", StatusCode::NOT_FOUND, "paused"),
        ("resume", StatusCode::SEE_OTHER, "running"),
    ] {
        assert_eq!(page.act(&format!("/backfills/{backfill}/{verb}"), TOKEN).await, told, "{verb}");
        assert_eq!(state().await, after, "{verb}");
    }
    sqlx::query(
        "update koresync.streams set paused_at = now(), paused_reason = '401', retry_at = now() + interval '1 hour'",
    )
    .execute(&pool)
    .await
    .expect("a refused stream");
    assert_eq!(page.act("/streams/support/retry", TOKEN).await, StatusCode::SEE_OTHER);
    let paused: i64 = sqlx::query_scalar("select count(*) from koresync.streams where paused_at is not null")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(paused, 0);
}

#[tokio::test]
async fn nobody_acts_where_it_is_not_allowed() {
    let (_database, pool, page) = site(&format!("token = \"{TOKEN}\"")).await;
    let failing = window_from(&pool, "2026-03-31T11:00:00Z").await;
    assert_eq!(page.act(&format!("/windows/{failing}/retry"), TOKEN).await, StatusCode::NOT_FOUND);
    assert_eq!(page.act("/streams/support/retry", TOKEN).await, StatusCode::NOT_FOUND);
    assert_eq!(page.act(&format!("/windows/{failing}"), TOKEN).await, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_warehouse_that_is_away_is_told_above_what_was_seen_before() {
    let database = TestDatabase::create().await;
    make_schema(database.url()).await;
    ledger(&database.pool().await).await;
    let proxy = Proxy::start(database.url(), 1).await;
    let page = Page::start(proxy.url(), Arc::new(StandingClock::new(now())), "").await;
    assert!(page.get("/").await.contains("support is complete only through"));
    proxy.fall_silent(true);
    let away = page.becomes(|text| text.contains("The warehouse is out of reach")).await;
    assert!(away.contains("What follows is from 2026-03-31 12:30:00.") && away.contains("class=\"stream\""), "{away}");
    assert_eq!(page.ask("/status.json").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(page.ask("/windows/1").await.0, StatusCode::SERVICE_UNAVAILABLE);
    proxy.fall_silent(false);
    page.becomes(|text| !text.contains("out of reach")).await;
}

impl Page {
    async fn becomes(&self, holds: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let text = self.get("/").await;
            if holds(&text) {
                return text;
            }
            assert!(began.elapsed() < Duration::from_mins(1), "it never changed:\n{text}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[tokio::test]
async fn whoever_holds_the_contacts_holds_up_no_page() {
    let (_database, pool, page) = site("").await;
    let mut transaction = pool.begin().await.expect("a transaction");
    sqlx::query("lock table kore.contacts in access exclusive mode").execute(&mut *transaction).await.expect("a lock");
    let text = page.get("/").await;
    assert!(text.contains("support is complete only through") && text.contains("are being counted"), "{text}");
    let report = look(&page.warehouse, page.board.settings(), None).await.expect("a report all the same");
    assert!(
        report.streams[0].hours.is_empty() && report.verdict.words.starts_with("support is complete only"),
        "{report:?}"
    );
    transaction.rollback().await.expect("a rollback");
}

#[tokio::test]
async fn a_look_that_ended_late_never_takes_the_place_of_a_later_one() {
    let database = TestDatabase::create().await;
    make_schema(database.url()).await;
    ledger(&database.pool().await).await;
    let clock = StandingClock::new(now());
    let page = Page::start(database.url(), Arc::new(clock.clone()), "").await;
    let look = async || Arc::new(see(&page.warehouse, page.board.settings()).await.expect("a look"));
    let shown = async || page.board.overview().await.overview.expect("an overview").report.at;
    let early = look().await;
    clock.pass(TimeDelta::hours(1));
    let late = look().await;
    page.board.show(Arc::clone(&early)).await;
    assert_eq!(shown().await, now());
    page.board.show(late).await;
    assert_eq!(shown().await, now() + TimeDelta::hours(1));
    // It began before, and ends now.
    page.board.show(early).await;
    assert_eq!(shown().await, now() + TimeDelta::hours(1), "time went back");
}

#[tokio::test]
async fn readers_that_go_away_leave_nothing_open() {
    let (_database, pool, page) = site("").await;
    for millis in 0..40 {
        let reading = page.get("/");
        // Cut off anywhere in its way.
        let _ = tokio::time::timeout(Duration::from_millis(millis), reading).await;
    }
    page.get("/").await;
    let open: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'",
    )
    .fetch_one(&pool)
    .await
    .expect("a count");
    assert_eq!(open, 0);
}

#[tokio::test]
async fn ten_streams_of_three_years_fit_into_a_page() {
    let (_database, pool, page) = site("").await;
    sqlx::raw_sql(
        "insert into koresync.streams (stream, account_id, stream_id, start_at, frontier, watermark, span_seconds, created_at) \
         select 'stream-' || n, 'acc-1', 'st-' || n, '2023-03-31 00:00Z', '2026-03-31 12:00Z', '2026-03-31 12:00Z', 3600, now() \
         from generate_series(1, 9) n; \
         insert into koresync.windows (stream, lane, from_at, to_at, state, due_at, created_at, finished_at, \
           rows, \"distinct\", repeated, in_window, inserted, changed, unchanged, quarantined, erased, requests, verified_by, verified_at) \
         select 'stream-' || n, 'live', h, h + interval '1 hour', 'verified', h, h, h, 417, 417, 0, 417, 417, 0, 0, 0, 0, 5, 'count', h \
         from generate_series(1, 9) n, generate_series('2023-03-31 00:00Z', '2026-03-31 11:00Z', interval '1 hour') h",
    )
    .execute(&pool)
    .await
    .expect("a long ledger");
    let text = page.get("/").await;
    assert!(text.matches("<td class=\"v\">").count() > 9 * 6 * 24, "the grids are not whole");
    assert!(text.len() < PAGE_BYTES_MOST, "{} bytes", text.len());
    assert!(page.get("/streams/stream-1?month=2024-02").await.len() < PAGE_BYTES_MOST);
}

#[tokio::test]
async fn the_report_agrees_with_what_was_mirrored_and_spent() {
    let mirror = Mirror::start(population(), Settings::default()).await;
    mirror.run_once().await;
    let text = "[api]\naccount_id = \"acc-1\"\norg_id = \"o-1\"\ntoken = \"t\"\n\
                [streams.support]\nstream_id = \"st-1\"\nstart = \"2026-03-21T00:00:00Z\"\n";
    let settings = Loader::default().load_text("test.toml", text).expect("settings");
    let report = look(&mirror.warehouse(), &settings, Some(STREAM)).await.expect("a report");
    let stream = &report.streams[0];
    let since = report.at - TimeDelta::hours(24);
    let held: i64 = mirror
        .number("select count(*) from kore.contacts where started_at >= '2026-03-30 02:00Z' and removed_at is null")
        .await;
    assert!(since < "2026-03-30T02:00:00Z".parse::<DateTime<Utc>>().expect("a time"), "the clock ran too far");
    let told: i64 = stream
        .hours
        .iter()
        .filter(|h| h.hour >= "2026-03-30T02:00:00Z".parse::<DateTime<Utc>>().expect("a time"))
        .map(|h| h.contacts)
        .sum();
    assert!(told > 0 && told == held, "{told} contacts are told, {held} are held");
    let requests: u64 = mirror.vendor.stats().requests.values().flat_map(|outcomes| outcomes.values()).sum();
    let spent: i64 = report.spending.iter().map(|minute| minute.requests).sum();
    assert_eq!(spent.cast_unsigned(), requests);
    // Minutes are let go of after three hours.
    sqlx::query("insert into koresync.spending_by_minute values ('2026-03-30 00:00Z', 'support', 'live', 5)")
        .execute(&mirror.database.pool().await)
        .await
        .expect("an old minute");
    mirror.warehouse().note_spending(STREAM, Lane::Live, 2).await.expect("a note");
    let minutes = mirror.number("select sum(requests)::bigint from koresync.spending_by_minute").await;
    assert_eq!(minutes, spent + 2);
    let proved: Vec<_> = stream.proved.iter().map(|span| (span.from_at, span.to_at)).collect();
    assert_eq!(proved, [(stream.status.start_at, stream.status.watermark)]);
}
