//! How late contacts and their scores come is learned from what the looks can tell, `sync.settle = "auto"` follows it,
//! and backfills teach nothing.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use koresync::domain::settling::{ENOUGH, LATE_PART_MOST, SAFE};
use koresync::domain::{Delays, Settle, Window};
use koresync::simulate::{Fault, FaultRate, Options};
use koresync::sync::{Mode, Outcome};
use koresync::warehouse::settling::Settling;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::quarantine::{get, program};
use crate::rechecks::standing;
use crate::support::mirror::{Mirror, STREAM, STREAM_ID, Settings, end, population};
use crate::support::process::LOOK;
use crate::support::standing::StandingClock;

const SOON: Duration = Duration::from_mins(1);

/// Two days of contacts, enough of each hour to learn from.
fn busy() -> Options {
    Options { contacts: 1_600, days: 2, ..population() }
}

/// So that all of them are read live.
fn from_the_start() -> Settings {
    Settings {
        history: TimeDelta::days(2),
        afterwards: TimeDelta::hours(1) - TimeDelta::days(2),
        ..Settings::default()
    }
}

async fn learned(mirror: &Mirror) -> Settling {
    mirror.warehouse().settlings().await.expect("what was learned").pop().expect("something")
}

async fn frontier(mirror: &Mirror) -> DateTime<Utc> {
    mirror.warehouse().stream_state(STREAM).await.expect("the stream").frontier
}

/// Reads every so often for so long.
async fn live(mirror: &Mirror, clock: &StandingClock, every: TimeDelta, times: usize) {
    let mut reached = DateTime::UNIX_EPOCH;
    for _ in 0..times {
        clock.pass(every);
        assert_eq!(mirror.run_once().await, Outcome::Done);
        let frontier = frontier(mirror).await;
        assert!(frontier >= reached, "the frontier went back from {reached} to {frontier}");
        reached = frontier;
    }
}

/// The delay that a part of all stays within, seconds.
fn quantile(mut delays: Vec<f64>, part: f64) -> f64 {
    delays.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a length")]
    let place = (delays.len() as f64 * part) as usize;
    delays[place.min(delays.len() - 1)]
}

fn assert_near(what: &str, delays: &Delays, part: f64, truth: f64) {
    let told = delays.quantile(part).expect("a quantile").as_secs_f64();
    println!("{what}, {part}: {told:.0} s told, {truth:.0} s true");
    assert!((truth * 0.8..truth * 1.5).contains(&told), "{what}: {told} s told for {part}, {truth} s are true");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_late_contacts_come_is_learned_from_looks_that_come_between() {
    let slow = Options { appear_within: Duration::from_mins(40), ..busy() };
    let (mirror, clock) = standing(slow, from_the_start()).await;
    live(&mirror, &clock, TimeDelta::minutes(45), 68).await;
    mirror.assert_equal().await;
    let known = learned(&mirror).await;
    let truth = mirror.vendor.delays(STREAM_ID);
    let seconds = |of: fn(&(TimeDelta, TimeDelta)) -> TimeDelta| truth.iter().map(|d| of(d).as_seconds_f64()).collect();
    let (listed, appeared): (Vec<f64>, Vec<f64>) = (seconds(|d| d.0), seconds(|d| d.1));
    for part in [0.5, 0.95] {
        assert_near("from the end", &known.appeared, part, quantile(appeared.clone(), part));
        assert_near("from the start", &known.listed, part, quantile(listed.clone(), part));
    }
    // All of them, each once, those of the first days for a little less.
    let weight = known.listed.weight();
    assert!((truth.len() as f64 * 0.9..=truth.len() as f64).contains(&weight), "{weight} of {}", truth.len());
    // Three in four come later than that, yet most of them before the first look at their range, which is up to 45 minutes after it.
    let late = known.late_part(Settle::Fixed(SAFE)).expect("a part");
    assert!((0.1..0.75).contains(&late), "{late}");
    assert!(known.late_part(Settle::Fixed(Duration::from_hours(2))).expect("a part") < 0.01);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_late_scores_come_is_learned() {
    // Half of the evaluations take one hour to three days.
    let faults = vec![FaultRate { fault: Fault::ScoredLater, probability: 0.5 }];
    let (mirror, clock) = standing(Options { faults, ..busy() }, from_the_start()).await;
    live(&mirror, &clock, TimeDelta::hours(2), 26).await;
    live(&mirror, &clock, TimeDelta::hours(12), 20).await;
    let scored = learned(&mirror).await.scored;
    // Of those that are scored at first sight it is known that they were by then.
    let early = scored.quantile(0.4).expect("a quantile");
    assert!(early <= Duration::from_hours(3), "{early:?}");
    // The others come evenly within three days: nine in ten by two and a half, the looks as far apart as the rungs.
    let late = scored.quantile(0.9).expect("a quantile");
    assert!((Duration::from_hours(40)..Duration::from_hours(10 * 24)).contains(&late), "{late:?}");
}

/// What is learned within two days where contacts come evenly within so long, seconds.
async fn learned_settle(appear_within: Duration) -> i64 {
    let settings = Settings { settle: Settle::Learned, ..from_the_start() };
    let (mirror, clock) = standing(Options { contacts: 3_200, appear_within, ..busy() }, settings).await;
    live(&mirror, &clock, TimeDelta::minutes(30), 2).await;
    let early = mirror.warehouse().stream_state(STREAM).await.expect("the stream");
    assert_eq!(early.settle_seconds, None, "a settle time was made of next to nothing");
    live(&mirror, &clock, TimeDelta::minutes(45), 46).await;
    let settle = learned(&mirror).await.settle_seconds.expect("a learned settle time");
    println!("{settle} s where contacts come within {appear_within:?}");
    settle
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learned_settle_time_grows_to_what_contacts_need() {
    // Up to eight minutes of call, one minute, and forty at most.
    let settle = learned_settle(Duration::from_mins(40)).await;
    assert!((33 * 60..61 * 60).contains(&settle), "{settle} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learned_settle_time_shrinks_where_contacts_come_at_once_and_covers_the_call() {
    // Up to eight minutes of call, and one.
    let settle = learned_settle(Duration::ZERO).await;
    assert!((5 * 60..11 * 60).contains(&settle), "{settle} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frontier_stays_where_it_is_when_the_settle_time_grows() {
    let settings = Settings { settle: Settle::Learned, ..from_the_start() };
    let (mirror, clock) = standing(busy(), settings).await;
    live(&mirror, &clock, TimeDelta::minutes(30), 8).await;
    let before = frontier(&mirror).await;
    sqlx::query("update koresync.streams set settle_seconds = 7200, settle_judged_at = now() + interval '100 years'")
        .execute(&mirror.database.pool().await)
        .await
        .expect("a longer settle time");
    let live_windows = "select count(*) from koresync.windows where lane = 'live'";
    let windows = mirror.number(live_windows).await;
    live(&mirror, &clock, TimeDelta::minutes(30), 3).await;
    assert_eq!(frontier(&mirror).await, before);
    assert!(mirror.number(live_windows).await <= windows, "something was planned twice");
    live(&mirror, &clock, TimeDelta::minutes(30), 1).await;
    assert!(frontier(&mirror).await > before, "it goes on where it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_that_begin_to_come_too_late_are_told() {
    let (mirror, clock) = standing(busy(), from_the_start()).await;
    let fixed = mirror.settings.settle;
    live(&mirror, &clock, TimeDelta::hours(2), 10).await;
    let part = learned(&mirror).await.late_part(fixed).expect("enough was seen");
    assert!(part < 0.01, "{part} are late");
    mirror.vendor.set_fault(Fault::Late, 0.4).expect("a fault");
    live(&mirror, &clock, TimeDelta::hours(2), 15).await;
    live(&mirror, &clock, TimeDelta::days(1), 5).await;
    let known = learned(&mirror).await;
    let part = known.late_part(fixed).expect("enough was seen");
    println!("{part} are late");
    assert!(part > LATE_PART_MOST && part < 0.4, "{part} are late");
    assert!(known.appeared.weight() > ENOUGH);

    // By everything that tells, of a program just started.
    let program = program(&mirror);
    let mut process = program.spawn(&["status", "--json"]);
    process.ended(SOON).await;
    let report: Value = serde_json::from_str(&process.printed()).expect("JSON");
    let settling = &report["settling"][0];
    assert_eq!((&settling["is_exceeded"], &settling["settle_seconds"]), (&json!(true), &json!(900)), "{report}");
    assert!(settling["appeared"]["p95"].as_f64() > settling["appeared"]["p50"].as_f64(), "{settling}");
    let (_, told) = program.run(&["status"], SOON).await;
    assert!(told.contains("of its contacts come later than sync.settle (15m 0s) allows"), "{told}");
    let mut daemon = program.spawn(&["run"]);
    let address = daemon.address().await;
    for gauge in [
        "koresync_settle_exceeded{stream=\"support\"} 1",
        "koresync_settle_seconds{stream=\"support\"} 900",
        "koresync_settle_late_ratio{stream=\"support\"} 0.",
        "koresync_appearance_seconds{stream=\"support\",quantile=\"0.95\"}",
        "koresync_scoring_seconds{stream=\"support\",quantile=\"0.5\"}",
    ] {
        let waiting = async {
            while !get(&address, "/metrics").await.contains(gauge) {
                tokio::time::sleep(LOOK * 10).await;
            }
        };
        tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("no {gauge}"));
    }
    daemon.tells("More contacts than a twentieth come later than sync.settle allows").await;
    daemon.terminate();
    assert_eq!(daemon.ended(SOON).await.code(), Some(0), "{}", daemon.told());
}

#[tokio::test(flavor = "multi_thread")]
async fn backfills_teach_nothing() {
    let late = vec![FaultRate { fault: Fault::Late, probability: 0.5 }];
    let settings = Settings { recheck: Vec::new(), ..Settings::default() };
    let (mirror, clock) = standing(Options { faults: late, ..busy() }, settings).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    // The first start reads the last day live, and files the rest.
    let live = mirror.number("select sum(inserted)::bigint from koresync.windows where lane = 'live'").await;
    let backfilled = mirror.number("select sum(inserted)::bigint from koresync.windows where lane = 'backfill'").await;
    let before = learned(&mirror).await;
    assert!(live > 100 && backfilled > 100, "{live} and {backfilled} contacts");
    // Those within the second before a window are the window's before.
    assert!(before.listed.weight() <= live as f64, "{} of {live}", before.listed.weight());
    clock.pass(TimeDelta::days(6));
    let range = Window::new(end() - TimeDelta::days(2), end()).expect("a range");
    let id = mirror.warehouse().file_backfill(STREAM, range, None).await.expect("a backfill");
    let engine = mirror.engine(CancellationToken::new()).await;
    assert_eq!(engine.run(Mode::Backfill(id)).await.expect("an engine that lives"), Outcome::Done);
    let found = mirror.warehouse().backfill(id).await.expect("the backfill").inserted;
    assert!(found > 300, "{found} contacts had come late");
    let after = learned(&mirror).await;
    assert_eq!((&after.listed, &after.appeared, &after.scored), (&before.listed, &before.appeared, &before.scored));
}
