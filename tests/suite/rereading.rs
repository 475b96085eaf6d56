//! Ranges that are read again: what changed is replaced and remembered, what did not costs no write;
//! and two engines at once are as good as one.

use chrono::TimeDelta;
use koresync::domain::{ContentHash, Window};
use koresync::simulate::{Fault, FaultRate, Options};
use koresync::sync::{Mode, Outcome};
use koresync::warehouse::WarehouseError;
use koresync::warehouse::load::Proof;
use koresync::warehouse::windows::Scope;
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::mirror::{Mirror, STREAM, Settings, end, entry, population};

/// Reads the whole history again.
pub async fn reread(mirror: &Mirror) -> i64 {
    let range = Window::new(end() - mirror.settings.history, end()).expect("a range");
    let engine = mirror.engine(CancellationToken::new()).await;
    let id = mirror.warehouse().file_backfill(STREAM, range, None).await.expect("a backfill");
    assert_eq!(engine.run(Mode::Backfill(id)).await.expect("an engine that lives"), Outcome::Done);
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_contact_is_replaced_and_its_earlier_content_kept() {
    let faults = [Fault::ScoredLater, Fault::Changed].map(|fault| FaultRate { fault, probability: 0.3 }).to_vec();
    let mirror = Mirror::start(Options { faults, ..population() }, Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    assert_eq!(mirror.number("select count(*) from kore.contact_changes").await, 0);
    let unscored = mirror.number("select count(*) from kore.contacts where evaluation_score is null").await;

    let mirror = mirror.later(TimeDelta::days(300)).await;
    let id = reread(&mirror).await;
    mirror.assert_equal().await;
    let changed = mirror.number("select sum(changed)::bigint from koresync.windows").await;
    assert!(changed > 50, "only {changed} contacts changed");
    assert_eq!(mirror.warehouse().backfill(id).await.expect("the backfill").changed, changed);
    assert_eq!(mirror.number("select count(*) from kore.contact_changes").await, changed);
    let scored = mirror
        .number(
            "select sum(case when c.new_values ->> 'evaluation_score' is null then -1 \
                             when c.old_values ->> 'evaluation_score' is null then 1 else 0 end)::bigint \
             from kore.contact_changes c join kore.contacts k using (contact_key) \
             where c.version = 1 and c.valid_from < c.valid_to and c.valid_to = k.updated_at \
               and 'evaluation_score' = any(c.changed_columns) \
               and (c.new_values ->> 'evaluation_score')::numeric is not distinct from k.evaluation_score",
        )
        .await;
    let still = mirror.number("select count(*) from kore.contacts where evaluation_score is null").await;
    assert_eq!(scored, unscored - still, "each score that came later, or went, is in the history");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reread_of_unchanged_contacts_writes_no_row() {
    const VERSIONS: &str = "select count(*) + sum(hashtextextended(tableoid::text || ctid::text || xmin::text, 0) % 1000003)::bigint from ( \
        select tableoid, ctid, xmin from kore.contacts union all select tableoid, ctid, xmin from kore.agents union all \
        select tableoid, ctid, xmin from kore.contact_metrics union all select tableoid, ctid, xmin from kore.contact_topics union all \
        select tableoid, ctid, xmin from koresync.raw_contacts) t";
    let mirror = Mirror::start(population(), Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let before = mirror.number(VERSIONS).await;
    let id = reread(&mirror).await;
    let backfill = mirror.warehouse().backfill(id).await.expect("the backfill");
    assert_eq!((backfill.inserted, backfill.changed), (0, 0));
    assert!(backfill.unchanged >= backfill.contacts && backfill.contacts > 100, "{backfill:?}");
    assert_eq!(mirror.number(VERSIONS).await, before, "a row was written anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_held_no_more_when_its_window_is_written_is_not_taken_for_unchanged() {
    let mirror = Mirror::start(population(), Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let warehouse = mirror.warehouse();
    let range = Window::new(end() - TimeDelta::days(1), end()).expect("a range");
    let backfill = warehouse.file_backfill(STREAM, range, None).await.expect("a backfill");
    warehouse.plan_backfill(backfill, TimeDelta::days(7), 1).await.expect("a window");
    let scope = Scope { streams: vec![STREAM.to_owned()], backfill_id: Some(backfill) };
    let claim = warehouse.claim("a test", &scope).await.expect("a claim").expect("a window");
    let entry = entry(claim.window, 2, Some(Proof::Snapshot));

    let mut connection = sqlx::PgConnection::connect(mirror.database.url()).await.expect("a connection");
    let held: Vec<(Uuid, Vec<u8>)> =
        sqlx::query_as("select contact_key, raw_hash from koresync.raw_contacts order by contact_key limit 2")
            .fetch_all(&mut connection)
            .await
            .expect("two payloads");
    let held: Vec<(Uuid, ContentHash)> =
        held.into_iter().map(|(key, hash)| (key, ContentHash(hash.try_into().expect("16 bytes")))).collect();
    let mut commit = warehouse.open_commit(&claim, entry.clone()).await.expect("a commit");
    commit.confirm_unchanged(&held).await.expect("both are held");
    assert_eq!(commit.outcomes.unchanged, 2);
    drop(commit);

    // Another content meanwhile; and a server that was restored to an earlier state.
    let other = [held[0], (held[1].0, ContentHash::of(b"another text"))];
    let mut commit = warehouse.open_commit(&claim, entry.clone()).await.expect("a commit");
    let moved = commit.confirm_unchanged(&other).await;
    assert!(matches!(moved, Err(WarehouseError::Moved)), "{moved:?}");
    drop(commit);
    sqlx::query("delete from koresync.raw_contacts where contact_key = $1")
        .bind(held[0].0)
        .execute(&mut connection)
        .await
        .expect("a payload less");
    let mut commit = warehouse.open_commit(&claim, entry).await.expect("a commit");
    let moved = commit.confirm_unchanged(&held).await;
    assert!(matches!(moved, Err(WarehouseError::Moved)), "{moved:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_on_one_warehouse_are_as_good_as_one() {
    let mirror = Mirror::start(population(), Settings { page_size: 10, ..Settings::default() }).await;
    let (one, other) = (mirror.engine(CancellationToken::new()).await, mirror.engine(CancellationToken::new()).await);
    let (one, other) = tokio::join!(tokio::spawn(one.run(Mode::Once)), tokio::spawn(other.run(Mode::Once)));
    assert_eq!(one.expect("no panic").expect("an engine that lives"), Outcome::Done);
    assert_eq!(other.expect("no panic").expect("an engine that lives"), Outcome::Done);
    mirror.assert_equal().await;
    let twice = mirror
        .number("select count(*) from koresync.windows a join koresync.windows b on a.id < b.id and a.from_at < b.to_at and b.from_at < a.to_at")
        .await;
    assert_eq!(twice, 0, "no span was planned twice");
}
