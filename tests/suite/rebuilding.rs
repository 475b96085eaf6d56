//! Rows made anew from the kept payloads: what was spoilt is mended, what is right is not written, and
//! whoever dies or writes meanwhile does no harm.

use std::time::Duration;

use chrono::TimeDelta;
use koresync::domain::Window;
use koresync::normalise::MAPPER_VERSION;
use koresync::simulate::{Fault, FaultRate, Options};
use koresync::sync::{Outcome, rebuild};
use koresync::warehouse::WarehouseError;
use koresync::warehouse::rebuilds::{Rebuild, RebuildScope};
use koresync::warehouse::windows::Scope;
use tokio_util::sync::CancellationToken;

use crate::support::mirror::{Mirror, STREAM, Settings, end, entry, population};
use crate::support::planting::plant;
use crate::support::postgres::TestDatabase;
use crate::support::process::{Configuration, Program};
use crate::support::site::Site;
use crate::support::waiting::waits;

const A_WHILE: Duration = Duration::from_mins(1);

/// Every row of the contacts that are left alone: those whose id does not end in 0, 1 or 2.
const ROWS_LEFT_ALONE: &str = "select count(*) + sum(hashtextextended(tableoid::text || ctid::text || xmin::text, 0) % 1000003)::bigint from ( \
    select contact_key, tableoid, ctid, xmin from kore.contacts union all select contact_key, tableoid, ctid, xmin from kore.contact_agents union all \
    select contact_key, tableoid, ctid, xmin from kore.contact_metrics union all select contact_key, tableoid, ctid, xmin from kore.contact_topics union all \
    select contact_key, tableoid, ctid, xmin from kore.contact_emotions union all select contact_key, tableoid, ctid, xmin from koresync.raw_contacts) t \
    where contact_key::text !~ '[012]$'";

/// Damages three sorts of contacts, and takes their whole rows from some.
const SPOIL: &str = "update kore.contacts set sentiment = 'spoilt', started_at = (started_at at time zone 'UTC' - interval '1 day') at time zone 'UTC', extra = '{\"a\": 1}' where contact_key::text ~ '0$'; \
    delete from kore.contact_topics where contact_key::text ~ '1$'; \
    update kore.contact_metrics set weight = 99 where contact_key::text ~ '1$'; \
    delete from kore.contact_agents where contact_key::text ~ '2$'; delete from kore.contacts where contact_key::text ~ '2$'; \
    insert into kore.contact_queues select contact_key, 99, min(queue_key), false from kore.contact_queues where contact_key::text ~ '0$' group by 1; \
    update koresync.raw_contacts set mapper_version = 0";

pub async fn spoil(database: &TestDatabase) {
    plant(&database.pool().await, SPOIL).await;
}

pub async fn rebuild_all(mirror: &Mirror, scope: &RebuildScope) -> Rebuild {
    try_to_rebuild(mirror, scope).await.expect("a rebuild")
}

/// Files a rebuild, or goes on with the open one.
pub async fn try_to_rebuild(mirror: &Mirror, scope: &RebuildScope) -> Result<Rebuild, WarehouseError> {
    let warehouse = mirror.warehouse();
    let id = rebuild::file(&warehouse, scope).await?;
    warehouse.hold_rebuild(id, "test").await?;
    while rebuild::step(&warehouse, id, "test", scope.time_zone).await? {}
    warehouse.rebuild(id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_mends_what_was_spoilt_and_writes_nothing_else() {
    let faults = [Fault::Drifted, Fault::Malformed].map(|fault| FaultRate { fault, probability: 0.2 }).to_vec();
    let mirror = Mirror::start(Options { faults, ..population() }, Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    mirror.assert_equal().await;
    let right = rebuild_all(&mirror, &RebuildScope::default()).await;
    assert_eq!((right.state.as_str(), right.rewritten, right.refused), ("done", 0, 0), "nothing was wrong");
    assert!(right.visited > 100 && right.visited == right.expected, "{right:?}");

    spoil(&mirror.database).await;
    let rows = mirror.number("select count(*) from koresync.raw_contacts where contact_key::text ~ '[012]$'").await;
    let sent = mirror.vendor.stats().requests;
    sqlx::query("update koresync.raw_contacts set mapper_version = $1 where contact_key::text !~ '[012]$'")
        .bind(MAPPER_VERSION)
        .execute(&mirror.database.pool().await)
        .await
        .expect("an update");
    let before = mirror.number(ROWS_LEFT_ALONE).await;
    let mended = rebuild_all(&mirror, &RebuildScope::default()).await;
    assert!(mended.rewritten > 0 && mended.rewritten <= rows, "{mended:?} of {rows}");
    mirror.assert_equal().await;
    assert_eq!(mirror.number(ROWS_LEFT_ALONE).await, before, "a row was written that was right");
    assert_eq!(mirror.number("select count(*) from kore.contact_changes").await, 0, "no content changed");
    assert_eq!(mirror.number("select count(*) from koresync.raw_contacts where mapper_version = 0").await, 0);
    assert_eq!(mirror.vendor.stats().requests, sent, "the vendor was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_of_a_range_leaves_the_rest_as_it_is() {
    let mirror = Mirror::start(population(), Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let pool = mirror.database.pool().await;
    sqlx::query("update kore.contacts set language = 'spoilt'").execute(&pool).await.expect("damage");
    // One that moved into the range keeps the key of its first start.
    let middle = end() - TimeDelta::days(5);
    let outside: i64 = sqlx::query_scalar("select count(*) from kore.contacts where started_at < $1")
        .bind(middle)
        .fetch_one(&pool)
        .await
        .expect("a count");
    let scope = RebuildScope { stream: Some(STREAM.to_owned()), from: Some(middle), ..RebuildScope::default() };
    let done = rebuild_all(&mirror, &scope).await;
    assert_eq!(done.state, "done");
    assert_eq!(mirror.number("select count(*) from kore.contacts where language = 'spoilt'").await, outside);
    sqlx::query(
        "update kore.contacts set started_at = (started_at at time zone 'UTC' + interval '5 days') at time zone 'UTC' where contact_key = (select contact_key from kore.contacts order by 1 limit 1)",
    )
    .execute(&pool)
    .await
    .expect("a contact that moved");
    rebuild_all(&mirror, &scope).await;
    assert_eq!(mirror.number("select count(*) from kore.contacts where language = 'spoilt'").await, outside - 1);
    rebuild_all(&mirror, &RebuildScope { to: Some(middle), ..RebuildScope::default() }).await;
    mirror.assert_equal().await;
}

/// A mirror whose rows are spoilt, rebuilt while somebody else's changes, made before, are committed on the way.
async fn rebuilt_beside(changes: &[&'static str]) -> Mirror {
    let mirror = Mirror::start(population(), Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let pool = mirror.database.pool().await;
    sqlx::query("update kore.contacts set language = 'spoilt'").execute(&pool).await.expect("damage");
    let mut later = pool.begin().await.expect("a transaction");
    for statement in changes {
        assert_eq!(sqlx::query(*statement).execute(&mut *later).await.expect("a change").rows_affected(), 1);
    }
    let warehouse = mirror.warehouse();
    let scope = RebuildScope::default();
    let id = rebuild::file(&warehouse, &scope).await.expect("a rebuild");
    warehouse.hold_rebuild(id, "test").await.expect("nobody else");
    let rebuilding =
        tokio::spawn(async move { while rebuild::step(&warehouse, id, "test", None).await.expect("a step") {} });
    while waits(&pool).await == 0 {
        assert!(!rebuilding.is_finished(), "the rebuild did not wait for who writes the contact");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    later.commit().await.expect("a commit");
    rebuilding.await.expect("no panic");
    assert_eq!(mirror.number("select count(*) from kore.contacts where language = 'spoilt'").await, 0);
    mirror
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_came_later_than_a_rebuilds_payload_wins() {
    let mirror = rebuilt_beside(&[
        "update kore.contacts set language = 'later' where contact_key = (select min(contact_key::text)::uuid from kore.contacts)",
        "update koresync.raw_contacts set raw_hash = sha256('later') where contact_key = (select min(contact_key::text)::uuid from kore.contacts)",
    ])
    .await;
    assert_eq!(mirror.number("select count(*) from kore.contacts where language = 'later'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_is_told_while_a_rebuild_waits_is_kept() {
    let removal = "update kore.contacts set removed_at = now() where contact_key = (select min(contact_key::text)::uuid from kore.contacts)";
    let mirror = rebuilt_beside(&[removal]).await;
    assert_eq!(mirror.number("select count(*) from kore.contacts where removed_at is not null").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_rebuild_goes_on_where_it_was_beside_a_daemon() {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), Site::slow_population()).await;
    let program = Program::new(&Configuration { lease: "5s", ..site.configuration() });
    let (exit, told) = program.run(&["run", "--once"], A_WHILE).await;
    assert_eq!(exit, Some(0), "{told}");
    let mut connection = site.connection().await;
    plant(&mut connection, SPOIL).await;
    // Each step takes a while, and the history is read again meanwhile.
    sqlx::raw_sql(
        "create function linger() returns trigger language plpgsql as $$ begin perform pg_sleep(0.3); return new; end $$; \
         create trigger linger before update of visited on koresync.rebuilds for each row execute function linger(); \
         alter table koresync.rebuilds enable always trigger linger; \
         insert into koresync.backfills (stream, from_at, to_at, planned_down_to, origin, created_at) \
         select stream, start_at, frontier, frontier, 'operator', now() from koresync.streams",
    )
    .execute(&mut connection)
    .await
    .expect("a slower rebuild");
    let mut daemon = program.spawn(&["run"]);
    daemon.tells("A window was written.").await;
    let killed = program.spawn(&["rebuild"]);
    let halfway = "select count(*) from koresync.rebuilds where visited >= 1000";
    site.becomes(1, halfway, A_WHILE).await;
    killed.kill().await;
    let visited = site.number("select visited from koresync.rebuilds").await;
    let expected = site.number("select expected from koresync.rebuilds").await;
    assert!(visited < expected, "it was over before it was killed");
    let (exit, told) = program.run(&["rebuild"], A_WHILE).await;
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains("going on with rebuild 1"), "{told}");
    assert_eq!(site.number("select count(*) from koresync.rebuilds").await, 1, "it began anew");
    assert_eq!(site.number("select visited from koresync.rebuilds").await, expected, "some were visited twice");
    assert!(daemon.is_running(), "{}", daemon.told());
    site.becomes(0, "select count(*) from koresync.backfills where state = 'running'", A_WHILE).await;
    daemon.terminate();
    assert_eq!(daemon.ended(A_WHILE).await.code(), Some(0), "{}", daemon.told());
    site.assert_equal().await;
    assert_eq!(site.number("select count(*) from kore.contact_changes").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_time_zone_is_refused_until_all_days_are_moved() {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), Site::slow_population()).await;
    let utc = Program::new(&site.configuration());
    let (exit, told) = utc.run(&["run", "--once"], A_WHILE).await;
    assert_eq!(exit, Some(0), "{told}");
    let zone = Program::new(&Configuration { time_zone: "Asia/Tokyo", ..site.configuration() });
    let (exit, told) = zone.run(&["run", "--once"], A_WHILE).await;
    assert_eq!(exit, Some(78), "{told}");
    assert!(told.contains("rebuild --time-zone Asia/Tokyo"), "{told}");
    let (exit, told) = zone.run(&["rebuild", "--time-zone", "Asia/Tokyo", "--stream", "fresh"], A_WHILE).await;
    assert_eq!(exit, Some(2), "{told}");
    let mut connection = site.connection().await;
    let half = "insert into koresync.rebuilds (time_zone, mapper_version, expected, created_at) values ('Asia/Tokyo', $1, 0, now())";
    sqlx::query(half).bind(MAPPER_VERSION).execute(&mut connection).await.expect("a move that was interrupted");
    let (exit, told) = utc.run(&["run", "--once"], A_WHILE).await;
    assert_eq!(exit, Some(78), "{told}");

    let (exit, told) = utc.run(&["rebuild", "--time-zone", "Asia/Tokyo"], A_WHILE).await;
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains("now set warehouse.time_zone = \"Asia/Tokyo\""), "{told}");
    let wrong = "select count(*) from kore.contacts where started_on <> (started_at at time zone 'Asia/Tokyo')::date";
    assert_eq!(site.number(wrong).await, 0);
    let (exit, told) = utc.run(&["run", "--once"], A_WHILE).await;
    assert_eq!(exit, Some(78), "{told}");
    let (exit, told) = zone.run(&["run", "--once"], A_WHILE).await;
    assert_eq!(exit, Some(0), "{told}");
    let (exit, told) = zone.run(&["rebuild"], A_WHILE).await;
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains(" 0 written anew"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_counts_days_in_a_former_zone_writes_nothing() {
    let mirror = Mirror::start(population(), Settings::default()).await;
    // Registers the stream; nothing is read.
    drop(mirror.engine(CancellationToken::new()).await);
    let warehouse = mirror.warehouse();
    let range = Window::new(end() - TimeDelta::days(1), end()).expect("a range");
    let backfill = warehouse.file_backfill(STREAM, range, None).await.expect("a backfill");
    warehouse.plan_backfill(backfill, TimeDelta::days(1), 1).await.expect("a window");
    let scope = Scope { streams: vec![STREAM.to_owned()], backfill_id: Some(backfill) };
    let claim = warehouse.claim("test", &scope).await.expect("a claim").expect("a window");
    let tokyo = RebuildScope { time_zone: Some(chrono_tz::Asia::Tokyo), ..RebuildScope::default() };
    rebuild::file(&warehouse, &tokyo).await.expect("a move");
    let entry = entry(claim.window, 0, None);
    let refused = warehouse.open_commit(&claim, entry).await;
    assert!(matches!(refused, Err(WarehouseError::TimeZone { .. })), "{refused:?}");
}
