//! What a mirror costs: requests are the scarcest good there is.

use chrono::TimeDelta;
use koresync::simulate::Options;
use koresync::sync::{Mode, Outcome};
use tokio_util::sync::CancellationToken;

use crate::support::mirror::{Mirror, STREAM_ID, Settings, contacts, population};

fn requests(mirror: &Mirror) -> u64 {
    mirror.vendor.stats().requests.get(STREAM_ID).map_or(0, |outcomes| outcomes.values().sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn nine_empty_months_cost_at_most_sixty_requests() {
    let settings = Settings {
        history: TimeDelta::zero(),
        afterwards: TimeDelta::days(274),
        time_scale: 100.0,
        ..Settings::default()
    };
    let mirror = Mirror::start(population(), settings).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let spent = requests(&mirror);
    println!("{spent} requests for 274 empty days");
    assert!(spent <= 60, "{spent} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_stream_costs_little_more_than_a_request_a_full_page() {
    // 10,000 contacts a day: a month of them when many are asked for, two days otherwise.
    let days = if contacts() >= 20_000 { 30 } else { 2 };
    let busy = Options { contacts: u64::from(days) * 10_000, days, ..population() };
    let settings = Settings {
        history: TimeDelta::days(i64::from(days)),
        max_window_bytes: Settings::default().max_window_bytes,
        ..Settings::default()
    };
    let mirror = Mirror::start(busy, settings).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let held = mirror.number("select count(*) from kore.contacts").await;
    let ratio = requests(&mirror) as f64 * 100.0 / held as f64;
    println!("{ratio:.3} requests per 100 contacts, {held} contacts");
    assert_eq!(held, i64::from(days) * 10_000);
    assert!(ratio <= 1.10, "{ratio:.3} requests per 100 contacts");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_day_is_there_within_two_minutes_and_the_watermark_follows_the_first_backfill() {
    let history = Options { contacts: contacts().max(2_000), days: 30, requests_per_minute: 60, ..population() };
    let settings =
        Settings { history: TimeDelta::days(30), requests_per_minute: 60.0, time_scale: 60.0, ..Settings::default() };
    let mirror = Mirror::start(history, settings).await;
    let began = mirror.clock.now();
    let stop = CancellationToken::new();
    let engine = mirror.engine(stop).await;
    let running = tokio::spawn(engine.run(Mode::Once));
    let settled = began - TimeDelta::minutes(15);
    let fresh_after = loop {
        let frontier_verified: bool = sqlx::query_scalar(
            "select coalesce(bool_or(span @> tstzrange($1, $2)), false) from (select unnest(range_agg(tstzrange(from_at, to_at))) as span \
             from koresync.windows where state = 'verified') v",
        )
        .bind(began - TimeDelta::hours(23))
        .bind(settled - TimeDelta::seconds(2))
        .fetch_one(&mirror.database.pool().await)
        .await
        .expect("a look at the ledger");
        if frontier_verified {
            break mirror.clock.now() - began;
        }
        mirror.clock.sleep(std::time::Duration::from_secs(1)).await;
    };
    assert!(!running.is_finished(), "the history takes longer than the last day");
    println!("the last day was there after {fresh_after}");
    assert!(fresh_after <= TimeDelta::minutes(2), "the last day took {fresh_after}");
    assert_eq!(running.await.expect("no panic").expect("an engine that lives"), Outcome::Done);
    mirror.assert_equal().await;
    assert_eq!(mirror.vendor.stats().refusals, 0);
    let behind = mirror.number("select extract(epoch from frontier - watermark)::bigint from koresync.streams").await;
    assert_eq!(behind, 0, "the watermark is where live has read to");
}
