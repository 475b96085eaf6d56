//! The account's slots, as any number of processes draw them.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use koresync::domain::clock::{Clock as _, SharedClock};
use koresync::warehouse::budget::AccountBudget;
use koresync::warehouse::{Warehouse, migrate};
use tokio_util::sync::CancellationToken;

use crate::support::mirror::{ACCOUNT_ID, connect, end};
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
    migrate::up(&connect(database.url())).await.expect("a schema");
    (database, JumpingClock::new(end()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_whose_moment_has_passed_is_lost() {
    let (database, clock) = database().await;
    let budget = process(&database, &clock).await;
    budget.acquire().await.expect("a slot");
    // A second's worth was drawn. The process stands still for longer.
    clock.pass(TimeDelta::seconds(20));
    let mut moments = Vec::new();
    for _ in 0..20 {
        budget.acquire().await.expect("a slot");
        moments.push(clock.now());
    }
    let closest = moments.windows(2).map(|pair| pair[1] - pair[0]).min().expect("distances");
    assert!(closest >= TimeDelta::milliseconds(99), "two slots were {closest} apart: a burst after the standstill");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_closes_the_gate_for_every_process() {
    let (database, clock) = database().await;
    let (one, other) = (process(&database, &clock).await, process(&database, &clock).await);
    one.acquire().await.expect("a slot");
    let refused_at = clock.now();
    one.refused(Some(Duration::from_secs(30))).await.expect("a closed gate");
    for budget in [&other, &one] {
        budget.acquire().await.expect("a slot");
        let waited = clock.now() - refused_at;
        assert!(waited >= TimeDelta::seconds(30), "asked again after {waited}");
    }
    let share: f64 = sqlx::query_scalar("select share::float8 from koresync.api_budgets")
        .fetch_one(&database.pool().await)
        .await
        .expect("the share");
    assert!((share - 0.9).abs() < 1e-6, "{share}");
}
