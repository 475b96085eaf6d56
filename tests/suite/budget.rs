//! The account's slots, as any number of processes draw them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, stream};
use koresync::domain::clock::{Clock as _, SharedClock};
use koresync::warehouse::Warehouse;
use koresync::warehouse::budget::{AccountBudget, Turn};
use tokio_util::sync::CancellationToken;

use crate::support::mirror::{ACCOUNT_ID, connect, end, make_schema};
use crate::support::postgres::TestDatabase;
use crate::support::standing::JumpingClock;

/// Ten a second.
const RATE: f64 = 600.0;

/// The budget as one process has it.
async fn process(database: &TestDatabase, clock: &JumpingClock) -> AccountBudget {
    let shared: SharedClock = Arc::new(clock.clone());
    let warehouse = Warehouse::new(&connect(database.url()), shared, chrono_tz::UTC, Duration::from_mins(1));
    AccountBudget::open(&warehouse, ACCOUNT_ID, RATE, CancellationToken::new()).await.expect("the account's budget")
}

async fn database() -> (TestDatabase, JumpingClock) {
    let database = TestDatabase::create().await;
    make_schema(database.url()).await;
    (database, JumpingClock::new(end()))
}

/// So many callers at once; whose turn it was, in the order in which they got their slots.
async fn acquired(budget: &AccountBudget, callers: &[Turn]) -> Vec<Turn> {
    let one = async |turn: Turn| {
        budget.acquire(turn).await.expect("a slot");
        turn
    };
    stream::iter(callers).map(|turn| one(*turn)).buffer_unordered(callers.len()).collect().await
}

/// Up to where slots are drawn.
async fn drawn(database: &TestDatabase) -> DateTime<Utc> {
    let next = "select next_slot_at from koresync.api_budgets";
    sqlx::query_scalar(next).fetch_one(&database.pool().await).await.expect("the next slot")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_whose_moment_has_passed_is_lost() {
    let (database, clock) = database().await;
    let budget = process(&database, &clock).await;
    // Nine slots are drawn, a second's worth; the process stands still before the first of them.
    let stood = clock.now() + TimeDelta::seconds(20);
    clock.oversleep(TimeDelta::seconds(20));
    acquired(&budget, &[Turn::First; 9]).await;
    let after = drawn(&database).await - stood;
    assert!(
        after >= TimeDelta::milliseconds(890),
        "nine slots were used, and after the standstill none was drawn: {after}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_slot_is_drawn_that_nobody_waits_for() {
    let (database, clock) = database().await;
    let (one, other) = (process(&database, &clock).await, process(&database, &clock).await);
    let began = clock.now();
    // Were each draw a second's worth, nine slots of ten would be lost.
    for _ in 0..20 {
        one.acquire(Turn::First).await.expect("a slot");
        other.acquire(Turn::Later).await.expect("a slot");
    }
    acquired(&one, &[Turn::First; 40]).await;
    acquired(&other, &[Turn::Later; 40]).await;
    let took = drawn(&database).await - began;
    assert!(took <= TimeDelta::milliseconds(13_200), "120 slots of a tenth of a second took {took}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_first_waits_for_one_slot_at_most() {
    let (database, clock) = database().await;
    let budget = process(&database, &clock).await;
    let mut callers = [Turn::Later; 30];
    callers[29] = Turn::First;
    let turns = acquired(&budget, &callers).await;
    let place = turns.iter().position(|turn| *turn == Turn::First).expect("its slot");
    assert!(place <= 1, "{place} pages of history went before a live one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_closes_the_gate_for_every_process() {
    let (database, clock) = database().await;
    let (one, other) = (process(&database, &clock).await, process(&database, &clock).await);
    one.acquire(Turn::Later).await.expect("a slot");
    let refused_at = clock.now();
    one.refused(Some(Duration::from_secs(30))).await.expect("a closed gate");
    for budget in [&other, &one] {
        budget.acquire(Turn::Later).await.expect("a slot");
        let waited = clock.now() - refused_at;
        assert!(waited >= TimeDelta::seconds(30), "asked again after {waited}");
    }
    let share: f64 = sqlx::query_scalar("select share::float8 from koresync.api_budgets")
        .fetch_one(&database.pool().await)
        .await
        .expect("the share");
    assert!((share - 0.9).abs() < 1e-6, "{share}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_drawn_by_a_clock_that_was_ahead_is_not_waited_for() {
    let (database, clock) = database().await;
    let budget = process(&database, &clock).await;
    let began = clock.now();
    sqlx::query("update koresync.api_budgets set next_slot_at = $1, gate_until = $1")
        .bind(began + TimeDelta::days(1))
        .execute(&database.pool().await)
        .await
        .expect("a slot far ahead");
    budget.acquire(Turn::Later).await.expect("a slot");
    let waited = clock.now() - began;
    assert!(waited <= TimeDelta::minutes(6), "{waited}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_while_it_drew_draws_again() {
    let (database, clock) = database().await;
    let pool = database.pool().await;
    let (budget, hour) = (process(&database, &clock).await, TimeDelta::hours(1));
    // Its draw waits for the account's row; an hour passes, in which others draw.
    let mut other = pool.begin().await.expect("a transaction");
    sqlx::query("update koresync.api_budgets set next_slot_at = $1")
        .bind(clock.now() + hour)
        .execute(&mut *other)
        .await
        .expect("a slot");
    let began = clock.now();
    let drawing = async { budget.acquire(Turn::First).await.expect("a slot") };
    let meanwhile = async {
        let waits =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&pool).await.expect("a count") == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        clock.pass(hour);
        other.commit().await.expect("a commit");
    };
    tokio::join!(drawing, meanwhile);
    let waited = clock.now() - began - hour;
    assert!(waited <= TimeDelta::seconds(1), "{waited} after the standstill");
}
