//! Windows that are written side by side.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use koresync::domain::clock::Clock as _;
use koresync::domain::payload::Packer;
use koresync::domain::{ContentHash, SystemClock};
use koresync::normalise::{MAPPER_VERSION, normalise};
use koresync::simulate::Options;
use koresync::sync::Outcome;
use koresync::sync::requeue;
use koresync::warehouse::load::requeue::Selection;
use koresync::warehouse::load::{Incoming, Proof, WindowCommit};
use koresync::warehouse::streams::Learned;
use koresync::warehouse::windows::{Claim, Scope};
use koresync::warehouse::{Warehouse, WarehouseError};

use crate::support::mirror::{Mirror, Settings, connect, entry, make_schema, population, registration};
use crate::support::postgres::TestDatabase;

/// A commit of a window of two conversations.
async fn commit(warehouse: &Warehouse, claim: &Claim) -> WindowCommit {
    let entry = entry(claim.window, 2, Some(Proof::Snapshot));
    warehouse.open_commit(claim, entry).await.expect("a commit")
}

/// Writes a conversation that passed this queue.
async fn insert(commit: &mut WindowCommit, id: &str, queue: &str) -> Result<(), WarehouseError> {
    let text = format!(
        r#"{{"Conversation ID":"{id}","Conversation Start Time":"2026-03-23T10:19:04.612Z","Queues":[{{"Queue ID":"{queue}"}}]}}"#
    );
    let payloads = Packer::new()?.pack(&[text.as_bytes()])?;
    let normalised = normalise(text.as_bytes()).expect("a contact");
    let incoming = Incoming {
        contact: normalised.contact,
        payload: &payloads[0],
        raw_hash: ContentHash::of(text.as_bytes()),
        canonical_hash: normalised.canonical_hash,
        read_at: SystemClock.now(),
        mapper_version: MAPPER_VERSION,
        privacy_id: 0,
    };
    commit.insert(&[incoming]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_find_the_same_members_new_in_another_order_do_not_wait_for_each_other() {
    let database = TestDatabase::create().await;
    make_schema(database.url()).await;
    let lease = Duration::from_mins(1);
    let warehouse = Warehouse::new(&connect(database.url()), Arc::new(SystemClock), chrono_tz::UTC, lease);
    warehouse.settle_time_zone().await.expect("a time zone");
    let now = SystemClock.now();
    warehouse.register_streams(&[registration(now)]).await.expect("a stream");
    warehouse.plan_live("support", now, TimeDelta::hours(1), TimeDelta::zero(), 2).await.expect("two windows");
    let scope = Scope { streams: vec!["support".to_owned()], backfill_id: None };
    let early = warehouse.claim("one", &scope).await.expect("a claim").expect("a window");
    let late = warehouse.claim("other", &scope).await.expect("a claim").expect("another window");

    let (mut one, mut other) = (commit(&warehouse, &early).await, commit(&warehouse, &late).await);
    insert(&mut one, "c-1", "q-2").await.expect("a contact");
    insert(&mut other, "c-2", "q-1").await.expect("a contact");
    let (first, second) = tokio::join!(insert(&mut one, "c-3", "q-1"), insert(&mut other, "c-4", "q-2"));
    first.expect("the first window finds the other one's queue");
    second.expect("the second window finds the first one's queue");
    one.finish(&Learned::default()).await.expect("a commit");
    other.finish(&Learned::default()).await.expect("a commit");
    let pool = database.pool().await;
    let queues: i64 = sqlx::query_scalar("select count(distinct queue_key) from kore.contact_queues")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(queues, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_the_database_refuses_are_set_aside_and_cost_no_other() {
    // So many that a window's rows are sent in several parts.
    let mirror = Mirror::start(Options { contacts: 2_500, ..population() }, Settings::default()).await;
    let pool = mirror.database.pool().await;
    let constraint = "alter table kore.contacts add constraint refused check (conversation_id !~ '77$')";
    sqlx::query(constraint).execute(&pool).await.expect("a constraint");
    assert_eq!(mirror.run_once().await, Outcome::Done);

    let refused = "select count(*) from koresync.quarantined_records where reason = 'database_refused_23514'";
    let refused = mirror.number(refused).await;
    assert!(refused > 3, "{refused} refused");
    let others = "select count(*) from koresync.quarantined_records where (conversation_id ~ '77$') is not true";
    assert_eq!(mirror.number(others).await, 0, "records that nobody refused are in quarantine");
    assert_eq!(mirror.number("select count(*) from kore.contacts").await + refused, 2_500);
    let told = "select (sum(inserted) * 10000 + sum(quarantined))::bigint from koresync.windows";
    assert_eq!(mirror.number(told).await, (2_500 - refused) * 10_000 + refused, "the ledger tells otherwise");
    mirror.assert_keys_hold().await;

    sqlx::query("alter table kore.contacts drop constraint refused").execute(&pool).await.expect("no constraint");
    requeue::retry(&mirror.warehouse(), &Selection::default(), |_| true).await.expect("a retry");
    mirror.assert_equal().await;
}
