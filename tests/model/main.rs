//! Random sequences of what can befall the engine, each judged after every step by a model that is written apart from it.
//!
//! `KORESYNC_MODEL_SEED=17` runs that sequence alone. `make soak` runs many.

#[path = "../suite/support/citus.rs"]
mod citus;
mod clock;
mod judge;
mod operations;
#[path = "../suite/support/postgres.rs"]
mod postgres;
mod site;
mod vendor;
mod world;

use std::time::{Duration, Instant};

use koresync::warehouse::{ConnectOptions, migrate};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use secrecy::SecretString;

use operations::{LONGEST, Sequence, sequence};
use postgres::TestDatabase;

/// Sequences are tried for so long in the ordinary suite.
const FOR: Duration = Duration::from_secs(20);
/// Shorter sequences that are tried after a failure.
const SHRINKS: u32 = 80;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What was killed or left frozen holds connections for as long as this process lives.
async fn end_connections(database: &TestDatabase) {
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
        .execute(&database.pool().await)
        .await
        .expect("an end of connections");
}

/// Runs the sequence of a seed; the shortest failing one that was found, and why it fails.
fn try_seed(runtime: &tokio::runtime::Runtime, seed: u64) -> Result<(), (Sequence, String)> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let shrinks = number("KORESYNC_MODEL_SHRINKS").and_then(|n| u32::try_from(n).ok()).unwrap_or(SHRINKS);
    let config = Config { cases: 1, max_shrink_iters: shrinks, failure_persistence: None, ..Config::default() };
    let first = std::cell::RefCell::new(None);
    let outcome = TestRunner::new_with_rng(config, rng).run(&sequence(), |sequence| {
        let database = runtime.block_on(empty_warehouse());
        let tried = std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                tokio::time::timeout(LONGEST, Box::pin(sequence.run(&database))).await.expect("an end");
            });
        });
        let tried = std::panic::catch_unwind(tried);
        runtime.block_on(end_connections(&database));
        tried.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let why = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
            first.borrow_mut().get_or_insert_with(|| why.clone());
            TestCaseError::fail(why)
        })
    });
    match outcome {
        Ok(()) => Ok(()),
        // A shorter sequence may fail for another reason.
        Err(TestError::Fail(why, sequence)) => {
            let first = first.take().unwrap_or_default();
            let shortest = why.to_string();
            let why = if shortest.contains(&first) { first } else { format!("{first}\nand the shortest: {shortest}") };
            Err((sequence, why))
        }
        Err(TestError::Abort(why)) => panic!("no sequence of seed {seed}: {why}"),
    }
}

/// Runs a sequence that is told step by step.
fn run_by_hand(sequence: impl AsyncFnOnce(&TestDatabase)) {
    let _scenario = fail::FailScenario::setup();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let database = empty_warehouse().await;
        Box::pin(sequence(&database)).await;
        end_connections(&database).await;
    });
}

async fn empty_warehouse() -> TestDatabase {
    let database = TestDatabase::create().await;
    let options = ConnectOptions::new(&SecretString::from(database.url()), false, 1).expect("a URL");
    migrate::up(&options).await.expect("a schema");
    citus::spread(database.url()).await;
    database
}

/// What one engine received before another one's look, and writes after it.
#[test]
fn content_received_later_is_never_overwritten() {
    run_by_hand(operations::older_beside_newer);
}

#[test]
fn nobody_is_called_gone_by_a_single_count() {
    run_by_hand(operations::slid_through);
}

#[test]
fn random_sequences_agree_with_the_model() {
    let _scenario = fail::FailScenario::setup();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let first = number("KORESYNC_MODEL_SEED");
    let seeds = number("KORESYNC_MODEL_SEEDS").or(first.map(|_| 1));
    let (first, began) = (first.unwrap_or_else(rand::random), Instant::now());
    let mut tried = 0;
    while seeds.map_or_else(|| began.elapsed() < FOR, |seeds| tried < seeds) {
        let seed = first.wrapping_add(tried);
        if let Err((sequence, why)) = try_seed(&runtime, seed) {
            panic!("KORESYNC_MODEL_SEED={seed} fails: {why}\nThe shortest sequence found:\n{sequence}");
        }
        tried += 1;
    }
    println!("{tried} sequences from KORESYNC_MODEL_SEED={first} on, in {:.0} s", began.elapsed().as_secs_f64());
}
