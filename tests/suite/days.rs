//! Days that are kept as rows for the views: what changes one marks it, and only what a snapshot saw is kept of it.

use std::time::Duration;

use koresync::simulate::{Fault, FaultRate, Options};
use koresync::sync::{Mode, Outcome};
use koresync::warehouse::days::{Keeping, StreamDay};
use koresync::warehouse::{Warehouse, WarehouseError};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::rereading::reread;
use crate::support::days::{assert_days_hold, keep_all_days, marked_days};
use crate::support::mirror::{Mirror, STREAM, STREAM_ID, Settings, end, population};
use crate::support::process::{Configuration, LOOK, Program, Stream};
use crate::support::waiting::waits;

const A_WHILE: Duration = Duration::from_mins(1);
/// What marks are as old as, so that the daemon thinks the days quiet.
const OLDER: &str = "update koresync.changed_days set changed_at = changed_at - interval '1 hour'";

/// As the loader writes.
const UNCHECKED: &str = "set session_replication_role = replica;";
const CHECKED: &str = "; set session_replication_role = origin";

async fn loaded() -> (Mirror, PgPool) {
    let faults = [Fault::ScoredLater, Fault::Changed].map(|fault| FaultRate { fault, probability: 0.2 }).to_vec();
    let mirror = Mirror::start(Options { faults, ..population() }, Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let pool = mirror.database.pool().await;
    (mirror, pool)
}

async fn execute(pool: &PgPool, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(pool).await.expect(statement);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_changes_is_counted_until_it_is_kept_again() {
    let (mirror, pool) = loaded().await;
    let days = mirror.number("select count(distinct started_on) from kore.contacts").await;
    assert!(marked_days(&pool).await == days && days > 5, "a load marks what it brings");
    assert_eq!(assert_days_hold(&pool).await, 0, "nothing is kept yet");
    // Who may read the views may have a day counted.
    execute(&pool, "set role kore_reader; select count(*) from kore.topic_daily; select contacts from kore.queue_daily; reset role").await;
    assert_eq!(i64::from(keep_all_days(&mirror.warehouse()).await), days);
    assert!(assert_days_hold(&pool).await > 100, "hardly a row is kept");
    assert_eq!(marked_days(&pool).await, 0);

    let mirror = mirror.later(chrono::TimeDelta::days(300)).await;
    reread(&mirror).await;
    mirror.assert_equal().await;
    assert!(marked_days(&pool).await > 0, "contacts changed, and no day is marked");
    assert_days_hold(&pool).await;
    keep_all_days(&mirror.warehouse()).await;
    reread(&mirror).await;
    assert_eq!(marked_days(&pool).await, 0, "nothing changed, and days are marked");

    // By hand, on one day or from one to another.
    let day = "(select min(started_on) from kore.contacts)";
    for (change, marked) in [
        (format!("update kore.contacts set evaluation_score = 1 where started_on = {day}"), 1),
        (format!("update kore.contacts set started_on = started_on + 1 where started_on = {day}"), 2),
        (format!("update kore.contacts set removed_at = now() where started_on = {day}"), 1),
        ("update kore.contacts set language = 'x' where false".to_owned(), 0),
        (format!("delete from kore.contact_topics where contact_key in (select contact_key from kore.contacts where started_on = {day} + 1)"), 1),
        ("update kore.contact_metrics set qualification = 'NA' where contact_key = (select contact_key from kore.contact_metrics limit 1)".to_owned(), 1),
        // As the loader does. One day less is there by now, and two of them stay.
        (format!("{UNCHECKED} delete from kore.contacts where started_on > {day} + 1 {CHECKED}"), days - 3),
        ("truncate kore.contact_agents".to_owned(), 2),
        ("truncate kore.contacts cascade".to_owned(), 0),
    ] {
        execute(&pool, &change).await;
        assert_eq!(marked_days(&pool).await, marked, "{change}");
        assert_days_hold(&pool).await;
        keep_all_days(&mirror.warehouse()).await;
        assert_days_hold(&pool).await;
    }
    assert_eq!(mirror.number("select count(*) from koresync.kept_agent_days").await, 0, "days without contacts");
}

/// The latest day, and what holds up whoever keeps it between the first kinds and the last ones.
async fn half_way(warehouse: &Warehouse, pool: &PgPool) -> (StreamDay, Transaction<'static, Postgres>) {
    let day = warehouse.quiet_day(Duration::ZERO, &[]).await.expect("an answer").expect("a day");
    let mut gate = pool.begin().await.expect("a transaction");
    sqlx::query("lock table koresync.kept_metric_days in access exclusive mode")
        .execute(&mut *gate)
        .await
        .expect("a lock");
    (day, gate)
}

fn keep(warehouse: &Warehouse, day: &StreamDay, stop: &CancellationToken) -> JoinHandle<Result<bool, WarehouseError>> {
    let (warehouse, day, stop) = (warehouse.clone(), day.clone(), stop.clone());
    tokio::spawn(async move { warehouse.keep_day(&day, &stop).await })
}

/// Until somebody waits for the gate.
async fn is_reached(pool: &PgPool) {
    let began = std::time::Instant::now();
    while waits(pool).await == 0 {
        assert!(began.elapsed() < A_WHILE, "nobody came so far");
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_a_day_is_kept_marks_it_again() {
    let (mirror, pool) = loaded().await;
    let warehouse = mirror.warehouse();
    let (day, gate) = half_way(&warehouse, &pool).await;
    let keeping = keep(&warehouse, &day, &CancellationToken::new());
    is_reached(&pool).await;
    let changed = "update kore.contacts set removed_at = now() where contact_key = (select c.contact_key from kore.contacts c \
        where (c.stream, c.started_on) = ($1, $2) and exists (select from kore.contact_topics t where t.contact_key = c.contact_key) limit 1)";
    let done = sqlx::query(changed).bind(&day.stream).bind(day.started_on).execute(&pool).await.expect("a change");
    assert_eq!(done.rows_affected(), 1);
    gate.rollback().await.expect("a rollback");
    assert!(keeping.await.expect("no panic").expect("a day"), "the day was not kept");
    let marked: bool =
        sqlx::query_scalar("select exists (select from koresync.changed_days where stream = $1 and started_on = $2)")
            .bind(&day.stream)
            .bind(day.started_on)
            .fetch_one(&pool)
            .await
            .expect("an answer");
    assert!(marked, "the change left no mark");
    assert_days_hold(&pool).await;
    keep_all_days(&warehouse).await;
    assert_days_hold(&pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_keep_the_same_day_one_does_and_who_is_stopped_keeps_nothing() {
    let (mirror, pool) = loaded().await;
    let warehouse = mirror.warehouse();
    let (day, gate) = half_way(&warehouse, &pool).await;
    let stop = CancellationToken::new();
    let first = keep(&warehouse, &day, &stop);
    is_reached(&pool).await;
    // It does not wait for the other one.
    assert!(!keep(&warehouse, &day, &CancellationToken::new()).await.expect("no panic").expect("an answer"));
    // In the midst of a statement, and before the first one.
    stop.cancel();
    let first = tokio::time::timeout(A_WHILE, first).await.expect("an end, though the statement waits");
    assert!(!first.expect("no panic").expect("an answer"));
    assert!(!keep(&warehouse, &day, &stop).await.expect("no panic").expect("an answer"));
    gate.rollback().await.expect("a rollback");
    assert_eq!(assert_days_hold(&pool).await, 0, "half a day is kept");

    let four = [(); 4].map(|()| keep(&warehouse, &day, &CancellationToken::new()));
    let mut kept = 0;
    for one in four {
        kept += u32::from(one.await.expect("no panic").expect("an answer"));
    }
    assert_eq!(kept, 1);
    assert!(assert_days_hold(&pool).await > 0);
    // Nothing marks it any more.
    assert!(!keep(&warehouse, &day, &CancellationToken::new()).await.expect("no panic").expect("an answer"));
    let next = warehouse.quiet_day(Duration::ZERO, &[]).await.expect("an answer").expect("a day");
    let after =
        warehouse.quiet_day(Duration::ZERO, std::slice::from_ref(&next)).await.expect("an answer").expect("a day");
    assert!(next.started_on < day.started_on && after.started_on < next.started_on, "{day:?} {next:?} {after:?}");
    assert_eq!(warehouse.quiet_day(A_WHILE, &[]).await.expect("an answer"), None::<StreamDay>, "none is quiet yet");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_run_keeps_what_earlier_ones_loaded() {
    let (mirror, pool) = loaded().await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    assert!(marked_days(&pool).await > 5, "days that are not quiet were kept");
    execute(&pool, OLDER).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    assert_eq!(marked_days(&pool).await, 0);
    assert!(assert_days_hold(&pool).await > 100, "hardly a row is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_where_changes_are_not_marked() {
    let (mirror, pool) = loaded().await;
    let warehouse = mirror.warehouse();
    let keeping = async || warehouse.keeping().await.expect("an answer");
    assert_eq!(keeping().await, Keeping::Kept);
    keep_all_days(&warehouse).await;
    // As `pg_restore --disable-triggers` leaves them: what the loader does would not fire them.
    execute(&pool, "alter table kore.contacts disable trigger user; alter table kore.contacts enable trigger user")
        .await;
    assert_eq!(keeping().await, Keeping::Broken);
    execute(&pool, &format!("{UNCHECKED} update kore.contacts set removed_at = now() {CHECKED}")).await;
    assert_eq!(marked_days(&pool).await, 0, "a trigger that is not always fired was fired");
    let koresync = mirror_program(&mirror);
    let (_, told) = koresync.run(&["check"], A_WHILE).await;
    assert!(
        told.contains("triggers that mark changed days are missing") && told.contains("koresync.keep_days()"),
        "{told}"
    );

    execute(&pool, "set role kore_owner; select koresync.keep_days(); reset role").await;
    assert_eq!(keeping().await, Keeping::Kept);
    assert_days_hold(&pool).await;
    let (_, told) = koresync.run(&["check"], A_WHILE).await;
    assert!(told.contains("kept for the daily views"), "{told}");
    execute(&pool, "drop trigger mark_days_delete on kore.contact_topics").await;
    assert_eq!(keeping().await, Keeping::Broken);
    execute(&pool, "set role kore_owner; select koresync.count_every_day(); reset role").await;
    assert_eq!(keeping().await, Keeping::Counted);
    assert_eq!(keep_all_days(&warehouse).await, 0);
    assert_days_hold(&pool).await;
}

fn mirror_program(mirror: &Mirror) -> Program {
    let stream = Stream::new(STREAM, STREAM_ID, end() - chrono::TimeDelta::days(10));
    Program::new(&Configuration::new(mirror.database.url(), &mirror.vendor.url(), vec![stream]))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_keeps_days_that_are_quiet_and_no_others() {
    let (mirror, pool) = loaded().await;
    let days = marked_days(&pool).await;
    execute(&pool, OLDER).await;
    execute(&pool, "insert into koresync.changed_days (stream, started_on) select stream, max(started_on) from kore.contacts group by 1").await;
    let stop = CancellationToken::new();
    let daemon = tokio::spawn(mirror.engine(stop.clone()).await.run(Mode::Forever));
    let began = std::time::Instant::now();
    while marked_days(&pool).await != 1 {
        assert!(began.elapsed() < A_WHILE, "{} of {days} days are not kept", marked_days(&pool).await);
        tokio::time::sleep(LOOK).await;
    }
    assert!(days > 5 && assert_days_hold(&pool).await > 0);
    stop.cancel();
    assert_eq!(daemon.await.expect("no panic").expect("an engine that lives"), Outcome::Done);
    assert_eq!(marked_days(&pool).await, 1, "a day that is not quiet was kept");
}
