//! What is older than it may be goes; what was proved stays proved.

use std::time::Duration;

use chrono::TimeDelta;
use koresync::sync::{Mode, Outcome, Retention};
use koresync::warehouse::retention::Cutoffs;
use tokio_util::sync::CancellationToken;

use crate::support::days::{assert_days_hold, keep_all_days};
use crate::support::mirror::{Mirror, Settings, end, population};
use crate::support::process::LOOK;
use crate::support::waiting::waits;

const A_DAY: Duration = Duration::from_hours(24);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_retention_goes_and_the_watermark_stays() {
    let mut mirror = Mirror::start(population(), Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let watermark = "select extract(epoch from min(watermark))::bigint from koresync.streams";
    let verified = "select count(*) + sum(rows)::bigint from koresync.windows where state = 'verified'";
    let (proved_to, proved) = (mirror.number(watermark).await, mirror.number(verified).await);
    let pool = mirror.database.pool().await;
    let older = |days: i64| {
        let pool = pool.clone();
        async move {
            let before = end() - TimeDelta::days(days);
            let counts: (i64, i64) = sqlx::query_as(
                "select count(*), count(*) filter (where r.payload <> '') from kore.contacts c \
                 join koresync.raw_contacts r using (contact_key) where c.started_at < $1",
            )
            .bind(before)
            .fetch_one(&pool)
            .await
            .expect("counts");
            counts
        }
    };
    let before = older(4).await;
    assert!(before.0 > 50 && before.0 == before.1, "{before:?}");
    let young = mirror.number("select count(*) from kore.contacts where started_at >= '2026-03-25T00:00:00Z'").await;

    keep_all_days(&mirror.warehouse()).await;
    mirror.settings.retention = Retention { payloads: Some(4 * A_DAY), contacts: Some(7 * A_DAY) };
    let stop = CancellationToken::new();
    let daemon = tokio::spawn(mirror.engine(stop.clone()).await.run(Mode::Forever));
    let began = std::time::Instant::now();
    while older(7).await.0 > 0 || older(4).await.1 > 0 {
        assert!(began.elapsed() < Duration::from_mins(1), "still there: {:?} {:?}", older(7).await, older(4).await);
        tokio::time::sleep(LOOK).await;
    }
    stop.cancel();
    assert_eq!(daemon.await.expect("no panic").expect("an engine that lives"), Outcome::Done);
    mirror.assert_keys_hold().await;
    assert_days_hold(&pool).await;
    assert!(older(4).await.0 > 0, "contacts are kept for longer than their payloads");
    assert_eq!(
        mirror.number("select count(*) from kore.contacts where started_at >= '2026-03-25T00:00:00Z'").await,
        young
    );
    assert!(mirror.number(watermark).await >= proved_to, "the watermark went back");
    assert!(mirror.number(verified).await >= proved, "the ledger lost a window");

    // A record whose payload is gone is still known: read again it is unchanged, and its rows are not written.
    let rows = "select sum(hashtextextended(ctid::text || xmin::text, 0) % 1000003)::bigint from kore.contacts";
    let written = mirror.number(rows).await;
    let range = koresync::domain::Window::new(end() - TimeDelta::days(6), end()).expect("a range");
    let id = mirror.warehouse().file_backfill(crate::support::mirror::STREAM, range, None).await.expect("a backfill");
    let engine = mirror.engine(CancellationToken::new()).await;
    assert_eq!(engine.run(Mode::Backfill(id)).await.expect("an engine that lives"), Outcome::Done);
    assert_eq!(mirror.number(rows).await, written);
    assert_eq!(older(4).await.1, 0, "a payload came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_starts_later_by_the_time_it_is_locked_is_kept() {
    let mirror = Mirror::start(population(), Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let pool = mirror.database.pool().await;
    let held = mirror.number("select count(*) from kore.contacts").await;
    let mut later = pool.begin().await.expect("a transaction");
    sqlx::query("update kore.contacts set started_at = now() where contact_key = (select min(contact_key::text)::uuid from kore.contacts)")
        .execute(&mut *later)
        .await
        .expect("a change");
    let warehouse = mirror.warehouse();
    let cutoffs = Cutoffs { payloads: None, contacts: Some(end() - TimeDelta::days(7)) };
    let letting_go = tokio::spawn(async move { warehouse.let_go(&cutoffs, 500).await.expect("a step") });
    while waits(&pool).await == 0 {
        assert!(!letting_go.is_finished(), "it did not wait for who writes the contact");
        tokio::time::sleep(LOOK).await;
    }
    later.commit().await.expect("a commit");
    let gone = letting_go.await.expect("no panic");
    assert!(gone > 0, "nothing was let go");
    assert_eq!(mirror.number("select count(*) from kore.contacts where started_at > '2026-04-01T00:00:00Z'").await, 1);
    assert_eq!(mirror.number("select count(*) from kore.contacts").await, held - gone.cast_signed());
}
