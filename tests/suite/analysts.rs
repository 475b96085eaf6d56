//! What analysts are shown: every number of the views against the payloads, read by SQL that knows nothing of the mapper.

mod panels;
mod questions;

use chrono::{DateTime, Utc};
use koresync::simulate;
use koresync::warehouse::days::Keeping;
use koresync::warehouse::rebuilds::RebuildScope;
use sqlx::{AssertSqlSafe, PgPool};

use crate::rebuilding::rebuild_all;
use crate::support::days::{assert_days_hold, keep_all_days, marked_days};
use crate::support::mirror::{Mirror, Settings, make_schema, population};
use crate::support::postgres::TestDatabase;

const REFERENCE: &str = include_str!("analysts/reference.sql");
const COMPARED: &str = include_str!("analysts/compared.sql");

const VIEWS: [&str; 9] = [
    "contact_overview",
    "agent_daily_scorecard",
    "queue_daily",
    "metric_compliance_daily",
    "metric_evidence",
    "topic_daily",
    "emotion_daily",
    "sentiment_daily",
    "evaluation_backlog",
];

/// By both changes of clocks in March 2026: America's on the 8th, Europe's on the 29th.
fn after_both_changes() -> DateTime<Utc> {
    "2026-04-05T00:00:00Z".parse().expect("a time")
}

#[tokio::test]
async fn every_number_of_the_views_is_in_the_payloads_in_any_time_zone() {
    let population = simulate::Options {
        days: 35,
        end: Some(after_both_changes()),
        faults: vec!["scored_later=0.1".parse().expect("a fault")],
        ..population()
    };
    let settings = Settings { history: chrono::TimeDelta::days(40), ..Settings::default() };
    let mut mirror = Mirror::start(population, settings).await;
    mirror.run_once().await;
    let pool = mirror.database.pool().await;
    let is_kept = mirror.warehouse().keeping().await.expect("an answer") == Keeping::Kept;
    assert!(keep_all_days(&mirror.warehouse()).await > 30 || !is_kept, "few days were marked");
    sqlx::raw_sql("update kore.contacts set removed_at = now() where hashtext(conversation_id) % 10 = 0")
        .execute(&pool)
        .await
        .expect("some contacts that are gone");
    for zone in ["America/New_York", "Europe/Berlin"] {
        mirror.settings.time_zone = zone.parse().expect("a zone");
        let scope = RebuildScope { time_zone: Some(mirror.settings.time_zone), ..RebuildScope::default() };
        rebuild_all(&mirror, &scope).await;
        // Days that moved while they were kept; then the same, kept anew.
        assert!(marked_days(&pool).await > 30 || !is_kept, "the days moved, and are not marked");
        assert_views_tell_the_payloads(&pool, zone).await;
        keep_all_days(&mirror.warehouse()).await;
        assert_eq!(marked_days(&pool).await, 0);
        assert!(assert_days_hold(&pool).await > 300 || !is_kept, "hardly a row is kept");
        assert_views_tell_the_payloads(&pool, zone).await;
    }
}

async fn assert_views_tell_the_payloads(pool: &PgPool, zone: &str) {
    make_reference(pool, zone).await;
    for view in VIEWS {
        let columns: Vec<String> = sqlx::query_scalar(
            "select quote_ident(attname) from pg_attribute where attrelid = ('reference.' || $1)::regclass and attnum > 0 \
             and attname not like 'allocated%'",
        )
        .bind(view)
        .fetch_all(pool)
        .await
        .expect("the columns");
        let columns = columns.join(", ");
        for (one, other) in [("reference", "shown"), ("shown", "reference")] {
            let sql = format!(
                "select count(*), min(to_jsonb(d)::text) from (select {columns} from {one}.{view} except all select {columns} from {other}.{view}) d"
            );
            let (differing, example): (i64, Option<String>) =
                sqlx::query_as(AssertSqlSafe(sql)).fetch_one(pool).await.unwrap_or_else(|e| panic!("{view}: {e}"));
            assert_eq!(differing, 0, "{view} in {zone}: in {one} alone are {differing} rows, as {example:?}");
        }
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from shown.{view}")))
            .fetch_one(pool)
            .await
            .expect("a count");
        assert!(rows > 0, "{view} is empty");
    }
    assert_totals_add_up(pool, "agent_daily_scorecard", "agent", zone).await;
    assert_totals_add_up(pool, "queue_daily", "queue", zone).await;
}

/// What is divided is right to the rounding of a weight, and adds up exactly.
async fn assert_totals_add_up(pool: &PgPool, view: &str, who: &str, zone: &str) {
    let wrong: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
        "select count(*) from shown.{view} s full join reference.{view} r \
           on r.started_on = s.started_on and r.stream = s.stream and r.{who} is not distinct from s.{who} \
         where coalesce(abs(r.allocated_contacts - s.allocated_contacts) > 1e-6 * r.contacts \
           or abs(r.allocated_evaluated_contacts - s.allocated_evaluated_contacts) > 1e-6 * r.contacts \
           or abs(r.allocated_evaluation_score_sum - s.allocated_evaluation_score_sum) > 1e-4 * r.contacts \
           or (r.allocated_evaluation_score_sum is null) <> (s.allocated_evaluation_score_sum is null) \
           or abs(r.allocated_judged_contacts - s.allocated_judged_contacts) > 1e-6 * r.contacts \
           or abs(r.allocated_passed_contacts - s.allocated_passed_contacts) > 1e-6 * r.contacts, \
           r.contacts is null or s.contacts is null)"
    )))
    .fetch_one(pool)
    .await
    .expect("a count");
    assert_eq!(wrong, 0, "{view} in {zone}: divided sums are wrong");
    let days: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "select to_jsonb(t)::text from ( \
           select c.started_on, c.contacts, v.contacts as shown from \
             (select started_on, count(*) as contacts, count(score) as evaluated, sum(score) as score, count(is_passed) as judged, \
                count(*) filter (where is_passed) as passed from reference.contacts group by 1) c \
             full join (select started_on, sum(allocated_contacts) as contacts, sum(allocated_evaluated_contacts) as evaluated, \
                sum(allocated_evaluation_score_sum) as score, sum(allocated_judged_contacts) as judged, \
                sum(allocated_passed_contacts) as passed from kore.{view} group by 1) v using (started_on) \
           where (c.contacts, c.evaluated, c.score, c.judged, c.passed) is distinct from (v.contacts, v.evaluated, v.score, v.judged, v.passed)) t"
    )))
    .fetch_all(pool)
    .await
    .expect("the days");
    assert!(days.is_empty(), "{view} in {zone}: totals do not add up to those of contacts: {days:?}");
}

/// The payloads as they were received, and what follows from them.
async fn make_reference(pool: &PgPool, zone: &str) {
    sqlx::raw_sql(
        "drop schema if exists reference, shown cascade; create schema reference; \
         create table reference.payloads (stream text, conversation_id text, is_removed boolean, record jsonb); \
         create table reference.zone (name text)",
    )
    .execute(pool)
    .await
    .expect("tables for the payloads");
    sqlx::query("insert into reference.zone values ($1)").bind(zone).execute(pool).await.expect("the zone");
    let payloads: Vec<(String, String, bool, Vec<u8>)> = sqlx::query_as(
        "select c.stream, c.conversation_id, c.removed_at is not null, r.payload \
         from koresync.raw_contacts r join kore.contacts c on c.contact_key = r.contact_key",
    )
    .fetch_all(pool)
    .await
    .expect("the payloads");
    assert!(payloads.len() > 100, "only {} payloads", payloads.len());
    for some in payloads.chunks(500) {
        let records = |payload: &[u8]| {
            String::from_utf8(zstd::decode_all(payload).expect("a payload packed with zstd")).expect("a text")
        };
        sqlx::query("insert into reference.payloads select s, c, g, r::jsonb from unnest($1::text[], $2::text[], $3::bool[], $4::text[]) u (s, c, g, r)")
            .bind(some.iter().map(|(stream, ..)| stream.as_str()).collect::<Vec<_>>())
            .bind(some.iter().map(|(_, conversation, ..)| conversation.as_str()).collect::<Vec<_>>())
            .bind(some.iter().map(|(_, _, is_removed, _)| *is_removed).collect::<Vec<_>>())
            .bind(some.iter().map(|(.., payload)| records(payload)).collect::<Vec<_>>())
            .execute(pool)
            .await
            .expect("payloads as jsonb");
    }
    sqlx::raw_sql(REFERENCE).execute(pool).await.expect("the reference");
    sqlx::raw_sql(COMPARED).execute(pool).await.expect("what is compared");
    sqlx::raw_sql("analyze").execute(pool).await.expect("statistics");
}

/// A ledger made by hand: what is proved, what is not, what was never read, what is kept no more.
const LEDGER: &str = "
insert into kore.settings (time_zone) values ('Europe/Berlin');
insert into koresync.streams (stream, account_id, stream_id, start_at, frontier, watermark, span_seconds, created_at, filter_lag_seconds, kept_from)
values ('first', 'a', '1', '2026-03-01T00:00Z', '2026-04-01T00:00Z', '2026-03-01T04:00Z', 3600, now(), 0, null),
       ('lagging', 'a', '2', '2026-03-01T00:00Z', '2026-03-02T00:00Z', '2026-03-02T00:00Z', 3600, now(), 600, null),
       ('retained', 'a', '3', '2026-03-01T00:00Z', '2026-04-01T00:00Z', '2026-04-01T00:00Z', 3600, now(), 0, '2026-03-28T12:00Z'),
       ('new', 'a', '4', '2026-03-01T00:00Z', '2026-03-01T00:00Z', '2026-03-01T00:00Z', 3600, now(), 0, null);
update koresync.streams set is_configured = false where stream = 'lagging';
insert into koresync.windows (stream, lane, from_at, to_at, state, due_at, created_at, verified_by, verified_at, rows)
select stream, lane, from_at::timestamptz, to_at::timestamptz, state, now(), now(), 'count', now(), 0 from (values
    ('first', 'backfill', '2026-03-01T00:00Z', '2026-03-01T01:00Z', 'verified'),
    ('first', 'backfill', '2026-03-01T01:00Z', '2026-03-01T04:00Z', 'verified'),
    ('first', 'backfill', '2026-03-01T04:00Z', '2026-03-01T05:00Z', 'unverified'),
    ('first', 'backfill', '2026-03-01T05:00Z', '2026-03-01T06:00Z', 'unverified'),
    ('first', 'backfill', '2026-03-01T06:00Z', '2026-03-02T00:00Z', 'planned'),
    ('first', 'backfill', '2026-03-02T00:00Z', '2026-03-28T23:00Z', 'cancelled'),
    ('first', 'live', '2026-03-28T23:00Z', '2026-03-29T22:00Z', 'verified'),
    ('first', 'live', '2026-03-30T00:00Z', '2026-04-01T00:00Z', 'verified'),
    ('first', 'recheck', '2026-03-30T00:00Z', '2026-04-01T00:00Z', 'planned'),
    ('lagging', 'live', '2026-03-01T00:00Z', '2026-03-01T00:05Z', 'verified'),
    ('lagging', 'live', '2026-03-01T00:05Z', '2026-03-02T00:00Z', 'verified'),
    ('retained', 'backfill', '2026-03-01T00:00Z', '2026-03-28T18:00Z', 'unverified'),
    ('retained', 'backfill', '2026-03-28T18:00Z', '2026-04-01T00:00Z', 'verified')
) w (stream, lane, from_at, to_at, state)";

async fn lines(pool: &PgPool, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(pool).await.expect("lines")
}

#[tokio::test]
async fn what_is_complete_is_told_by_stream_stretch_and_day() {
    let database = TestDatabase::create().await;
    make_schema(database.url()).await;
    let pool = database.pool().await;
    sqlx::raw_sql("set time zone 'UTC'").execute(&pool).await.expect("a zone");
    sqlx::raw_sql(LEDGER).execute(&pool).await.expect("a ledger");
    let stretches = lines(
        &pool,
        "select concat_ws(' ', stream, status, to_char(from_at at time zone 'UTC', 'MM-DD HH24:MI'), to_char(to_at at time zone 'UTC', 'MM-DD HH24:MI')) \
         from kore.data_completeness order by stream, from_at",
    )
    .await;
    assert_eq!(
        stretches,
        [
            "first complete 03-01 00:00 03-01 04:00",
            "first unverified 03-01 04:00 03-01 06:00",
            "first missing 03-01 06:00 03-28 23:00",
            "first complete 03-28 23:00 03-29 22:00",
            "first missing 03-29 22:00 03-30 00:00",
            "first complete 03-30 00:00 04-01 00:00",
            // A contact that starts less than ten minutes before the end may be listed after it.
            "lagging complete 03-01 00:00 03-01 23:50",
            "lagging missing 03-01 23:50 03-02 00:00",
            "retained unverified 03-28 12:00 03-28 18:00",
            "retained complete 03-28 18:00 04-01 00:00",
        ]
    );
    let streams = lines(
        &pool,
        "select concat_ws('|', stream, is_configured, to_char(complete_from at time zone 'UTC', 'MM-DD HH24:MI'), \
           to_char(complete_through at time zone 'UTC', 'MM-DD HH24:MI'), lag_seconds = extract(epoch from now() - complete_through)::bigint, \
           to_char(newest_complete_from at time zone 'UTC', 'MM-DD HH24:MI'), to_char(newest_complete_through at time zone 'UTC', 'MM-DD HH24:MI'), \
           complete_intervals, unverified_windows, unverified_ranges) from kore.data_freshness order by stream",
    )
    .await;
    assert_eq!(
        streams,
        [
            "first|t|03-01 00:00|03-01 04:00|t|03-30 00:00|04-01 00:00|3|2|2026-03-01 04:00:00 to 2026-03-01 06:00:00",
            "lagging|f|03-01 00:00|03-01 23:50|t|03-01 00:00|03-01 23:50|1|0",
            "new|t|03-01 00:00|03-01 00:00|t|0|0",
            "retained|t|03-28 12:00|04-01 00:00|t|03-28 18:00|04-01 00:00|1|1|2026-03-28 12:00:00 to 2026-03-28 18:00:00",
        ]
    );
    // The day on which clocks change has 23 hours in Berlin: all of them are there, and no other day's.
    let days = lines(
        &pool,
        "select concat_ws(' ', stream, to_char(started_on, 'MM-DD')) from kore.daily_completeness where is_complete order by stream, started_on",
    )
    .await;
    assert_eq!(
        days,
        ["first 03-29", "first 03-31", "lagging 03-01", "retained 03-29", "retained 03-30", "retained 03-31"]
    );
    let (first, last): (String, bool) = sqlx::query_as(
        "select to_char(min(started_on), 'MM-DD'), max(started_on) = (now() at time zone 'Europe/Berlin')::date \
         from kore.daily_completeness where stream = 'retained'",
    )
    .fetch_one(&pool)
    .await
    .expect("the days of a stream");
    assert_eq!((first.as_str(), last), ("03-28", true));
}

#[tokio::test]
async fn the_restricted_reader_sees_no_personal_column_and_every_other() {
    let database = TestDatabase::create().await;
    make_schema(database.url()).await;
    let pool = database.pool().await;
    let wrong = lines(
        &pool,
        "select format('%s.%s', c.relname, a.attname) from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
         where c.relnamespace = 'kore'::regnamespace and c.relkind in ('r', 'p', 'v') \
           and has_column_privilege('kore_reader_restricted', c.oid, a.attnum, 'select') \
             <> not (a.attname ~ '(agent|auditor)_(name|email)$' or a.attname in ('custom_fields', 'extra', 'old_values', 'new_values', \
               'justification', 'source_system_value', 'agent_mentioned_value', 'agent_entity', 'keyword', 'intent') \
               or (c.relname = 'generated_intents' and a.attname = 'topic'))",
    )
    .await;
    assert!(wrong.is_empty(), "open where it should be closed, or closed where open: {wrong:?}");
    let unknown = lines(
        &pool,
        "select format('%s.%s', table_name, column_name) from koresync.personal_columns p where not exists ( \
           select from pg_attribute a where a.attrelid = to_regclass('kore.' || p.table_name) and a.attname = p.column_name)",
    )
    .await;
    assert!(unknown.is_empty(), "personal columns that are not there: {unknown:?}");
    let open = lines(
        &pool,
        "select c.oid::regclass::text from pg_class c where c.relnamespace = 'koresync'::regnamespace and c.relkind in ('r', 'p', 'v') \
           and has_any_column_privilege('kore_reader_restricted', c.oid, 'select')",
    )
    .await;
    assert!(open.is_empty(), "the daemon's own schema is open: {open:?}");
}
