//! Closed windows are read again: what came late, changed or vanished is found at the next look, the ledger
//! stays small and its sums right, and nothing is called gone without evidence.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use koresync::domain::Window;
use koresync::domain::clock::SharedClock;
use koresync::simulate::{Fault, FaultRate, Filter, Options};
use koresync::sync::recheck::cost::{Demand, pass};
use koresync::sync::recheck::{Fill, Rule};
use koresync::sync::{Mode, Outcome, Retention};
use koresync::warehouse::load::{Outcomes, Presence, Proof};
use koresync::warehouse::streams::Learned;
use koresync::warehouse::windows::{Errand, Scope};
use tokio_util::sync::CancellationToken;

use crate::support::mirror::{Mirror, STREAM, STREAM_ID, Settings, contacts, end, entry, population};
use crate::support::standing::StandingClock;

pub fn faulty(faults: &[(Fault, f64)]) -> Options {
    let faults = faults.iter().map(|(fault, probability)| FaultRate { fault: *fault, probability: *probability });
    Options { faults: faults.collect(), ..population() }
}

/// A mirror whose clock stands at so long after the end of the population.
pub async fn standing(population: Options, settings: Settings) -> (Mirror, StandingClock) {
    let clock = StandingClock::new(end() + settings.afterwards);
    let shared: SharedClock = Arc::new(clock.clone());
    (Mirror::start_by(shared, population, settings).await, clock)
}

/// Start, end and look of each verified window.
async fn looks(mirror: &Mirror) -> Vec<(DateTime<Utc>, DateTime<Utc>, DateTime<Utc>)> {
    sqlx::query_as("select from_at, to_at, read_at from koresync.windows where state = 'verified' order by 1")
        .fetch_all(&mirror.database.pool().await)
        .await
        .expect("the ledger")
}

/// Panics unless each contact is held as the vendor had it when its window was last looked at, and the ledger adds up.
async fn assert_as_looked(mirror: &Mirror, told: &str) {
    let looks = looks(mirror).await;
    let expected = mirror.vendor.expect_as_looked(STREAM_ID, STREAM, &|start| {
        // A request begins a second before its window and includes its end.
        let covers = |(from, to, _): &&(_, _, _)| *from - TimeDelta::seconds(1) <= start && start <= *to;
        looks.iter().filter(covers).map(|(.., read_at)| *read_at).max()
    });
    println!("{told}: {} windows", looks.len());
    // Names of agents and queues are those of the latest contact, though it may be gone.
    mirror.assert_holds(&expected, &["agents", "queues"]).await;
    for (claim, query) in [
        (
            "contacts held and counted in windows",
            "select (select coalesce(sum(in_window), 0)::bigint from koresync.windows where state = 'verified') \
               - (select count(*) from kore.contacts where removed_at is null)",
        ),
        (
            "contacts ever inserted and those there",
            "select (select coalesce(sum(inserted + inserted_before), 0)::bigint from koresync.windows) - (select count(*) from kore.contacts)",
        ),
        (
            "windows that overlap",
            "select count(*) from koresync.windows a join koresync.windows b on a.id < b.id and a.from_at < b.to_at and b.from_at < a.to_at",
        ),
        ("windows that are not verified", "select count(*) from koresync.windows where state <> 'verified'"),
        (
            "the first backfill, which no merging changes",
            "select count(*) from koresync.backfills b where b.state = 'done' and 1 <> \
               (select (b.merged_seconds + coalesce(sum(extract(epoch from to_at - from_at)), 0)) \
                  / extract(epoch from b.to_at - b.from_at) from koresync.windows w where w.backfill_id = b.id)",
        ),
        (
            "seconds proved apart from the watermark",
            "select (select sum(extract(epoch from to_at - from_at))::bigint from koresync.windows where state = 'verified') \
               - (select extract(epoch from watermark - start_at)::bigint from koresync.streams)",
        ),
    ] {
        assert_eq!(mirror.number(query).await, 0, "{told}: {claim}");
    }
}

/// Windows that are due and were not read.
const DUE: &str = "select count(*) from koresync.windows w, koresync.streams s where w.recheck_at <= s.last_success_at and w.state = 'verified'";

#[tokio::test(flavor = "multi_thread")]
async fn fifty_days_of_late_scored_changed_and_vanished_contacts_are_as_last_looked_at_and_equal_in_the_end() {
    let faults = [(Fault::Late, 0.1), (Fault::ScoredLater, 0.3), (Fault::Changed, 0.05), (Fault::Vanished, 0.02)];
    // Contacts come for so long; then it takes forty days until every change is over and looked at.
    let days: u32 = if contacts() < 5_000 { 10 } else { 40 };
    let history = TimeDelta::days(days.into());
    let settings = Settings { afterwards: TimeDelta::days(1) - history, history, ..Settings::default() };
    let (mirror, clock) = standing(Options { days, ..faulty(&faults) }, settings).await;
    let mut watermark = DateTime::UNIX_EPOCH;
    for day in 0..days + 40 {
        // Twice a day at first, so that each rung comes to its turn.
        for hours in if day < days + 30 { [2, 22] } else { [0, 24] } {
            clock.pass(TimeDelta::hours(hours));
            if hours > 0 {
                assert_eq!(mirror.run_once().await, Outcome::Done);
                assert_eq!(mirror.number(DUE).await, 0, "a difference is older than the ladder allows");
            }
        }
        assert_as_looked(&mirror, &format!("day {day}")).await;
        let reached = mirror.warehouse().stream_state(STREAM).await.expect("the stream").watermark;
        assert!(reached > watermark, "the watermark stood still or went back");
        watermark = reached;
    }
    // Every change is over, and the final rung has passed since.
    let climbing = mirror
        .number(
            "select count(*) from koresync.windows where to_at <= '2026-03-31T00:00:00Z' and recheck_at is not null",
        )
        .await;
    assert_eq!(climbing, 0, "windows that the final rung has not reached");
    mirror.assert_equal().await;
    let removed = mirror.number("select count(*) from kore.contacts where removed_at is not null").await;
    let vanished = mirror.number("select sum(removed)::bigint from koresync.windows").await;
    println!("{removed} contacts are gone, {vanished} in windows that are left");
    assert!(removed > 0, "nothing vanished for good");
    let windows = mirror.number("select count(*) from koresync.windows").await;
    let merged = mirror.number("select sum(merged)::bigint from koresync.windows").await;
    // Each version of a contact begins where the one before ended, removal and return included.
    let gaps = mirror
        .number(
            "select count(*) from (select h.valid_to, coalesce(lead(h.valid_from) over (partition by contact_key order by version), \
               c.updated_at) as next from kore.contact_changes h join kore.contacts c using (contact_key)) v where next <> valid_to",
        )
        .await;
    assert_eq!(gaps, 0, "versions of contacts that do not meet");
    let returns =
        mirror.number("select count(*) from kore.contact_changes where new_values @> '{\"removed_at\": null}'").await;
    // Of few contacts it may be that none comes back.
    assert!(returns > 0 || contacts() < 5_000, "nothing came back");
    let most = 60 + days * 2;
    assert!(windows < most.into() && merged > 100, "{windows} windows in the place of {merged}");
    // A row of a contact was replaced or deleted for each row of history, and for nothing else: what was read again
    // unchanged left no dead row. (The server counts with a delay.)
    let began = std::time::Instant::now();
    loop {
        let dead = mirror.number(
            "select (select n_tup_upd + n_tup_del from pg_stat_user_tables where schemaname = 'kore' and relname = 'contacts') \
               - (select count(*) from kore.contact_changes)",
        );
        let dead = dead.await;
        if dead == 0 {
            break;
        }
        assert!(dead < 0 && began.elapsed() < Duration::from_secs(20), "{dead} rows of contacts died for no change");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_and_goes_while_paging_with_the_total_unmoved_is_found_at_the_next_recheck() {
    let swapping = Options { contacts: contacts().max(400), ..faulty(&[(Fault::SwapWhilePaging, 1.0)]) };
    let (mirror, clock) = standing(swapping, Settings { page_size: 20, ..Settings::default() }).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let expected = mirror.expectation().tables["contacts"].rows.cast_signed();
    let held = mirror.number("select count(*) from kore.contacts").await;
    assert!(held < expected, "counts alone found what they cannot find: {held} of {expected}");
    mirror.vendor.set_fault(Fault::SwapWhilePaging, 0.0).expect("a fault");
    clock.pass(TimeDelta::minutes(59));
    assert_eq!(mirror.run_once().await, Outcome::Done);
    assert_eq!(mirror.number("select count(*) from kore.contacts").await, held, "nothing is due before an hour");
    clock.pass(TimeDelta::minutes(2));
    assert_eq!(mirror.run_once().await, Outcome::Done);
    mirror.assert_equal().await;
    assert_eq!(
        mirror.number("select sum(inserted)::bigint from koresync.windows where lane = 'recheck'").await,
        expected - held
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recheck_of_unchanged_contacts_writes_no_row() {
    const VERSIONS: &str = "select count(*) + sum(hashtextextended(tableoid::text || ctid::text || xmin::text, 0) % 1000003)::bigint from ( \
        select tableoid, ctid, xmin from kore.contacts union all select tableoid, ctid, xmin from kore.agents union all \
        select tableoid, ctid, xmin from kore.contact_metrics union all select tableoid, ctid, xmin from kore.contact_topics union all \
        select tableoid, ctid, xmin from koresync.raw_contacts) t";
    const DEAD: &str =
        "select coalesce(sum(n_tup_upd + n_tup_del), 0)::bigint from pg_stat_user_tables where schemaname = 'kore'";
    let (mirror, clock) = standing(population(), Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let before = (mirror.number(VERSIONS).await, mirror.number(DEAD).await);
    for days in [1, 7, 30] {
        clock.pass(TimeDelta::days(days));
        assert_eq!(mirror.run_once().await, Outcome::Done);
    }
    let unchanged = mirror.number("select sum(unchanged)::bigint from koresync.windows where lane = 'recheck'").await;
    assert!(unchanged >= contacts().cast_signed(), "{unchanged} contacts were read again");
    assert_eq!((mirror.number(VERSIONS).await, mirror.number(DEAD).await), before, "a row was written anew");
    // Nothing changed and all is scored: quiet.
    assert!(mirror.number("select count(*) from koresync.windows where is_quiet").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_lets_go_of_is_not_read_again() {
    let (mut mirror, clock) = standing(population(), Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    mirror.settings.retention = Retention { payloads: None, contacts: Some(Duration::from_hours(7 * 24)) };
    clock.pass(TimeDelta::days(2));
    assert_eq!(mirror.run_once().await, Outcome::Done);
    clock.pass(TimeDelta::days(8));
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let read_again =
        |condition: &str| format!("select count(*) from koresync.windows where lane = 'recheck' and {condition}");
    let kept = read_again("from_at >= '2026-03-26T00:00:00Z'");
    let gone = read_again("from_at < '2026-03-25T00:00:00Z'");
    let pool = mirror.database.pool().await;
    for (query, is_due) in [(kept, true), (gone, false)] {
        let windows: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(query.clone())).fetch_one(&pool).await.expect("a count");
        assert_eq!(windows > 0, is_due, "{windows}: {query}");
    }
    let due = mirror.warehouse().recheck_statuses(mirror.clock.now()).await.expect("the rechecks");
    assert!(due.iter().all(|stream| stream.due == 0 && stream.counts_due == 0), "{due:?}");
}

/// Writes a read of `window` that brought nothing at all.
async fn empty_read(mirror: &Mirror, window: Window, proof: Option<Proof>, learned: &Learned) -> Outcomes {
    let warehouse = mirror.warehouse();
    assert!(warehouse.file_recheck(STREAM, window, Errand::rung(1)).await.expect("an answer"), "a recheck is open");
    let scope = Scope { streams: vec![STREAM.to_owned()], backfill_id: None };
    let claim = warehouse.claim("test", &scope).await.expect("an answer").expect("the recheck");
    let entry = entry(window, 0, proof);
    let mut commit = warehouse.open_commit(&claim, entry).await.expect("a commit");
    let presence = Presence {
        ids: &[],
        seen: Some(&[]),
        read_at: mirror.clock.now() + TimeDelta::seconds(1),
        includes_below_threshold: true,
        filter_field: learned.filter_field,
    };
    commit.judge_presence(&presence).await.expect("a judgement");
    let outcomes = commit.finish(learned).await.expect("a commit");
    // So that the next one may be filed.
    sqlx::query("delete from koresync.windows where state = 'unverified'")
        .execute(warehouse.pool())
        .await
        .expect("a ledger without it");
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_is_called_gone_only_on_evidence_and_comes_back() {
    const GONE: &str = "select count(*) from kore.contacts where removed_at is not null";
    let (mirror, clock) = standing(population(), Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let (pool, nothing) = (mirror.database.pool().await, Learned::default());
    let (from, to): (DateTime<Utc>, DateTime<Utc>) = sqlx::query_as(
        "select from_at, to_at from koresync.windows where state = 'verified' order by in_window desc, from_at limit 1",
    )
    .fetch_one(&pool)
    .await
    .expect("a window");
    let window = Window::new(from, to).expect("a window");
    let held: i64 = sqlx::query_scalar("select count(*) from kore.contacts where started_at >= $1 and started_at < $2")
        .bind(from)
        .bind(to)
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert!(held > 10, "{held} contacts");

    let unverified = empty_read(&mirror, window, None, &nothing).await;
    assert_eq!(unverified.removed, 0, "an unverified read took contacts away");
    let by_another_time = Learned { filter_field: Some("other"), ..Learned::default() };
    sqlx::query("update koresync.streams set filter_field = null").execute(&pool).await.expect("a stream");
    let unknown = empty_read(&mirror, window, Some(Proof::Snapshot), &nothing).await;
    assert_eq!(unknown.removed, 0, "contacts were taken away though nobody knows what the vendor filters by");
    sqlx::query("update koresync.streams set filter_field = 'start'").execute(&pool).await.expect("a stream");
    let other = empty_read(&mirror, window, Some(Proof::Snapshot), &by_another_time).await;
    assert_eq!(other.removed, 0, "contacts were taken away by the read that shows another filter");
    sqlx::query("update koresync.streams set filter_field = 'start'").execute(&pool).await.expect("a stream");
    // Half of the range that delivered them.
    let (early, _) = window.halved().expect("halves");
    let narrow = empty_read(&mirror, early, Some(Proof::Snapshot), &nothing).await;
    assert_eq!(narrow.removed, 0, "contacts were taken away by a read that does not cover what brought them");
    assert_eq!(mirror.number(GONE).await, 0);
    clock.pass(TimeDelta::minutes(1));
    let whole = empty_read(&mirror, window, Some(Proof::Snapshot), &nothing).await;
    assert!(whole.removed.cast_signed() >= held, "{whole:?} of {held}");
    assert_eq!(mirror.number(GONE).await, whole.removed.cast_signed());

    clock.pass(TimeDelta::hours(2));
    assert_eq!(mirror.run_once().await, Outcome::Done);
    assert_eq!(mirror.number(GONE).await, 0, "what is there again is not gone");
    let returned = mirror.number("select sum(returned)::bigint from koresync.windows").await;
    assert_eq!(returned.cast_unsigned(), whole.removed);
    mirror.assert_equal().await;

    // Both are history, and a past moment tells who was gone then.
    let moments: Vec<DateTime<Utc>> = sqlx::query_scalar(
        "select distinct valid_to from kore.contact_changes where changed_columns = '{removed_at}' order by 1",
    )
    .fetch_all(&pool)
    .await
    .expect("moments");
    let [went, came] = moments[..] else { panic!("not one removal and one return: {moments:?}") };
    let rows = mirror.number("select count(*) from kore.contact_changes").await;
    assert_eq!(rows.cast_unsigned(), 2 * whole.removed, "a row for each removal and each return");
    let tick = TimeDelta::microseconds(1);
    for (moment, gone) in [(went - tick, 0), (went, whole.removed), (came - tick, whole.removed), (came, 0)] {
        let (known, removed, told): (i64, i64, Option<DateTime<Utc>>) =
            sqlx::query_as("select count(*), count(removed_at), min(removed_at) from kore.contacts_as_of($1)")
                .bind(moment)
                .fetch_one(&pool)
                .await
                .expect("contacts of a moment");
        assert_eq!(removed.cast_unsigned(), gone, "gone at {moment}");
        assert!(known >= held && told.is_none_or(|told| told == went), "{known} contacts, gone at {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn backfills_take_away_what_vanished_unless_the_filter_is_by_another_time() {
    for filter in [Filter::Start, Filter::End] {
        let (mirror, clock) =
            standing(Options { filter, ..faulty(&[(Fault::Vanished, 0.3)]) }, Settings::default()).await;
        assert_eq!(mirror.run_once().await, Outcome::Done);
        clock.pass(TimeDelta::days(300));
        let range = Window::new(end() - mirror.settings.history, end()).expect("a range");
        let id = mirror.warehouse().file_backfill(STREAM, range, None).await.expect("a backfill");
        let engine = mirror.engine(CancellationToken::new()).await;
        assert_eq!(engine.run(Mode::Backfill(id)).await.expect("an engine that lives"), Outcome::Done);
        let removed = mirror.number("select count(*) from kore.contacts where removed_at is not null").await;
        let backfill = mirror.warehouse().backfill(id).await.expect("the backfill");
        assert!((backfill.progress() - 1.0).abs() < 1e-9, "{backfill:?}");
        if filter == Filter::Start {
            // What brought a contact may lie across two windows of the backfill: then its removal waits.
            let there = mirror.number("select count(*) from kore.contacts").await - removed;
            let expected = mirror.expectation().tables["contacts"].rows.cast_signed();
            assert!(there >= expected, "{there} contacts are left of {expected} that the vendor lists");
            assert!(removed > 2 * (there - expected), "only {removed} contacts are gone, {} too few", there - expected);
        } else {
            assert_eq!(removed, 0, "contacts were taken away though the vendor filters by their end");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weekly_count_that_differs_is_halved_down_to_the_read_that_mends_it() {
    let settings = Settings {
        recheck: vec![Duration::from_hours(1)],
        page_size: 10,
        max_window_bytes: 1 << 18,
        ..Settings::default()
    };
    let (mirror, clock) = standing(population(), settings).await;
    let pool = mirror.database.pool().await;
    for hours in [0, 2, 2] {
        clock.pass(TimeDelta::hours(hours));
        assert_eq!(mirror.run_once().await, Outcome::Done);
    }
    let ranges = mirror.number("select count(*) from koresync.counted_ranges").await;
    assert!(ranges > 0, "nothing is counted");
    assert_eq!(mirror.number("select count(*) from koresync.counted_ranges where counted_at is not null").await, 0);
    clock.pass(TimeDelta::days(8));
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let agreed = "select count(*) from koresync.counted_ranges where counted_at is not null and differed_at is null";
    assert!(mirror.number(agreed).await >= ranges, "a count differs from what is held");
    let before = mirror.number("select sum(requests)::bigint from koresync.spending where lane = 'recheck'").await;
    // Three contacts in the middle of a counted week are held as gone though the vendor lists them.
    let forged = sqlx::query(
        "update kore.contacts set removed_at = now() where contact_key in (select contact_key from kore.contacts c, \
           (select from_at + (to_at - from_at) / 2 as middle from koresync.counted_ranges order by from_at limit 1) r \
           where c.started_at > r.middle order by c.started_at limit 3)",
    )
    .execute(&pool)
    .await
    .expect("a forgery");
    assert_eq!(forged.rows_affected(), 3);
    clock.pass(TimeDelta::days(8));
    assert_eq!(mirror.run_once().await, Outcome::Done);
    mirror.assert_equal().await;
    assert_eq!(mirror.number("select sum(returned)::bigint from koresync.windows").await, 3);
    let spent =
        mirror.number("select sum(requests)::bigint from koresync.spending where lane = 'recheck'").await - before;
    let whole = mirror.number("select sum(in_window)::bigint / 10 from koresync.windows").await;
    println!("{spent} requests found and mended it, {whole} pages are held");
    assert!(spent < whole * 3 / 4, "{spent} requests of {whole}");
    assert_as_looked(&mirror, "after the counts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rechecks_wait_until_the_accounts_backfills_are_done() {
    let (mirror, clock) = standing(population(), Settings { page_size: 10, ..Settings::default() }).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    clock.pass(TimeDelta::hours(2));
    let range = Window::new(end() - mirror.settings.history, end() - TimeDelta::days(5)).expect("a range");
    let span = Some(TimeDelta::hours(12));
    let id = mirror.warehouse().file_backfill(STREAM, range, span).await.expect("a backfill");
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let filled = mirror.number("select max(id) from koresync.windows where lane = 'backfill'").await;
    let again = mirror.number("select min(id) from koresync.windows where lane = 'recheck'").await;
    assert!(again > filled, "a recheck was planned beside backfill {id}");
    // The backfill was a read of its range: the rung is answered there.
    let twice = mirror
        .number("select count(*) from koresync.windows where lane = 'recheck' and to_at <= '2026-03-26T00:00:00Z'")
        .await;
    assert_eq!(twice, 0, "what the backfill had just read was read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_of_the_daemon_spends_on_rechecks_what_the_rule_says() {
    const DAYS: i64 = 30;
    let rungs = [Duration::from_hours(48), Duration::from_hours(8 * 24)];
    let poll = TimeDelta::hours(12);
    let settings = Settings {
        afterwards: TimeDelta::days(-DAYS),
        history: TimeDelta::days(DAYS),
        recheck: rungs.to_vec(),
        poll_interval: poll.to_std().expect("a span"),
        ..Settings::default()
    };
    let month = Options { days: 30, ..population() };
    let (mirror, clock) = standing(month, settings).await;
    let stop = CancellationToken::new();
    let engine = mirror.engine(stop.clone()).await;
    let looks = engine.progress();
    let running = tokio::spawn(engine.run(Mode::Forever));
    let open = "select count(*) from koresync.windows where state <> 'verified'";
    for _ in 0..2 * DAYS {
        clock.pass(poll);
        // Idle: nothing is open, nor planned by the next looks.
        loop {
            let was_idle = mirror.number(open).await == 0;
            let seen = looks();
            while looks() < seen + 3 {
                assert!(!running.is_finished(), "the engine ended by itself");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if was_idle && mirror.number(open).await == 0 {
                break;
            }
        }
    }
    stop.cancel();
    assert_eq!(running.await.expect("no panic").expect("an engine that lives"), Outcome::Done);
    mirror.assert_equal().await;

    let fill = Fill { page: 100, most: 2_500 };
    let per_day = contacts() as f64 / DAYS as f64;
    let told = Demand { contacts_per_day: per_day, poll, fill }.rungs(&Rule::new(&rungs));
    // Each rung comes to its turn once so long has passed; then counts, and a round that takes a week.
    let days_of = |rung: &Duration| DAYS as f64 - rung.as_secs_f64() / 86_400.0;
    let rungs_told: f64 = told.iter().zip(&rungs).map(|(cost, rung)| cost * days_of(rung)).sum();
    let counts = 4.0 * 3.0;
    let round =
        contacts() as f64 / 100.0 * DAYS as f64 / (pass(contacts(), 100, 60.0).as_seconds_f64() / 86_400.0) + 12.0;
    let spent =
        mirror.number("select sum(requests)::bigint from koresync.spending where lane = 'recheck'").await as f64;
    println!(
        "{spent} requests on rechecks; the rule says {rungs_told:.0} for rungs, up to {counts:.0} for counts and {round:.0} for the round"
    );
    assert!(spent <= rungs_told * 1.2 + counts + round, "{spent} requests");
    assert!(spent >= rungs_told * 0.5, "{spent} requests");
    let rounds = mirror.number("select count(*) from koresync.windows where reason = 'spare'").await;
    assert!(rounds > 0, "spare budget was left");
    let windows = mirror.number("select count(*) from koresync.windows").await;
    assert!(windows < 60, "{windows} windows");
}
