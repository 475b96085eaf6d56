//! The workers of a process: which window each takes next, so that no stream keeps all of them, nor any account.

use std::collections::{BTreeMap, BTreeSet};
use std::panic;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::board::{Board, DATABASE_PAUSE};
use super::shares::part;
use super::worker::{self, Bench};
use crate::faults::{Defect, is_planted};
use crate::warehouse::windows::{Claim, Scope};

/// A worker without work looks again after so long, or when something was planned or done.
const IDLE_PAUSE: Duration = Duration::from_secs(2);

/// What the workers of a process have in common.
#[derive(Debug, Clone)]
pub(super) struct Hands {
    bench: Bench,
    board: Arc<Board>,
    owner: String,
    /// Windows of each stream in a worker's hand. Locked while one is claimed, so that two at once keep the rule.
    held: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Hands {
    pub(super) fn new(bench: Bench, board: Arc<Board>, owner: String) -> Self {
        Self { bench, board, owner, held: Arc::default() }
    }

    /// One worker's life: claims what is most urgent and works on it. Of several accounts none has all workers, since windows of
    /// one wait for its limit together, and of several streams of an account none has all that the account may have.
    pub(super) async fn work(self, scope: Scope, working: CancellationToken) {
        while !working.is_cancelled() {
            let changed = self.board.changed.notified();
            let pause = match self.claim(&scope, &working).await {
                Ok(Some(claim)) => {
                    let stream = claim.stream.clone();
                    let pause = self.work_on(claim).await;
                    self.release(&stream).await;
                    match pause {
                        None => continue,
                        Some(pause) => pause,
                    }
                }
                Ok(None) => IDLE_PAUSE,
                Err(pause) => pause,
            };
            tokio::select! {
                () = changed => {}
                () = self.bench.warehouse.clock().sleep(pause) => {}
                () = working.cancelled() => {}
            }
        }
    }

    /// Beside the workers, one live window of each stream: while they are busy with history, or wait for a stream that is
    /// slow, what is new still comes in time.
    pub(super) async fn work_live(self, streams: Vec<String>, working: CancellationToken) {
        if is_planted(Defect::FirstComeFirstServed) {
            return working.cancelled().await;
        }
        let mut tasks: JoinSet<String> = JoinSet::new();
        let mut busy: BTreeSet<String> = BTreeSet::new();
        while !working.is_cancelled() {
            let changed = self.board.changed.notified();
            let free: Vec<String> = streams.iter().filter(|stream| !busy.contains(*stream)).cloned().collect();
            let claimed =
                if free.is_empty() { Ok(None) } else { self.bench.warehouse.claim_live(&self.owner, free).await };
            let pause = match claimed {
                Ok(Some(claim)) => {
                    let (hands, stream) = (self.clone(), claim.stream.clone());
                    busy.insert(stream.clone());
                    tasks.spawn(async move {
                        // Who has to wait is told by the ledger and by `retry_at` of the stream.
                        let _pause = hands.work_on(claim).await;
                        stream
                    });
                    continue;
                }
                Ok(None) => IDLE_PAUSE,
                Err(error) => {
                    tracing::debug!(%error, "No live window could be claimed.");
                    DATABASE_PAUSE
                }
            };
            tokio::select! {
                () = changed => {}
                () = self.bench.warehouse.clock().sleep(pause) => {}
                () = working.cancelled() => {}
                Some(done) = tasks.join_next(), if !tasks.is_empty() => {
                    busy.remove(&ended(done));
                }
            }
        }
        while let Some(done) = tasks.join_next().await {
            ended(done);
        }
    }

    /// The most urgent window of a stream that has not as many workers already as it and its account may; a pause when the
    /// database gives no answer.
    async fn claim(&self, scope: &Scope, working: &CancellationToken) -> Result<Option<Claim>, Duration> {
        let mut held = self.held.lock().await;
        if working.is_cancelled() {
            return Ok(None);
        }
        let account = |stream| self.bench.source(stream).map(|source| source.budget.account_id()).unwrap_or_default();
        let streams: Vec<(&str, &str)> =
            scope.streams.iter().map(|stream| (stream.as_str(), account(stream.as_str()))).collect();
        let streams = with_room(&streams, &held, self.bench.options.workers);
        let scope = Scope { streams, backfill_id: scope.backfill_id };
        match self.bench.warehouse.claim(&self.owner, &scope).await {
            Ok(claim) => {
                if let Some(claim) = &claim {
                    *held.entry(claim.stream.clone()).or_default() += 1;
                }
                Ok(claim)
            }
            Err(error) => {
                tracing::debug!(%error, "No window could be claimed.");
                Err(DATABASE_PAUSE)
            }
        }
    }

    async fn release(&self, stream: &str) {
        if let Some(count) = self.held.lock().await.get_mut(stream) {
            *count = count.saturating_sub(1);
        }
    }

    /// Works on a window and notes what became of it; a pause when the next one would probably fare no better.
    async fn work_on(&self, claim: Claim) -> Option<Duration> {
        let source = Arc::clone(self.bench.source(&claim.stream)?);
        let stream = claim.stream.clone();
        let done = worker::work(&self.bench, &source, claim).await;
        self.board.note(&stream, done)
    }
}

/// Those of these streams, each with its account, that may have one worker more.
fn with_room(streams: &[(&str, &str)], held: &BTreeMap<String, usize>, workers: usize) -> Vec<String> {
    // Of each account its streams, and the windows of all of them in hand.
    let mut accounts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let in_hand = |stream: &str| held.get(stream).copied().unwrap_or_default();
    for (stream, account) in streams {
        let account = accounts.entry(account).or_default();
        *account = (account.0 + 1, account.1 + in_hand(stream));
    }
    let of_an_account = part(workers, 1, accounts.len());
    let has_room = |(stream, account): &&(&str, &str)| {
        let (siblings, in_all) = accounts.get(account).copied().unwrap_or_default();
        in_all < of_an_account && in_hand(stream) < part(of_an_account, 1, siblings)
    };
    streams.iter().filter(has_room).map(|(stream, _)| (*stream).to_owned()).collect()
}

/// What a task brought; a panic goes on in whoever waits for it.
fn ended<T>(done: Result<T, JoinError>) -> T {
    match done {
        Ok(brought) => brought,
        // Nobody aborts these tasks: each ends by itself or panics.
        Err(error) => panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(streams: &[(&str, &str)], held: &[(&str, usize)], workers: usize) -> Vec<String> {
        let held = held.iter().map(|(stream, count)| ((*stream).to_owned(), *count)).collect();
        with_room(streams, &held, workers)
    }

    #[test]
    fn no_stream_and_no_account_has_all_workers() {
        let one = [("a", "x"), ("b", "x")];
        assert_eq!(room(&one, &[("a", 2)], 4), ["a", "b"]);
        assert_eq!(room(&one, &[("a", 3)], 4), ["b"], "the last one is for the other stream");
        assert_eq!(room(&[("a", "x")], &[("a", 3)], 4), ["a"], "alone it may have all");

        let two = [("a", "x"), ("b", "x"), ("c", "y")];
        assert_eq!(
            room(&two, &[("a", 2)], 4),
            ["b", "c"],
            "the third is for the other stream, the last for the other account"
        );
        assert_eq!(room(&two, &[("a", 2), ("b", 1)], 4), ["c"]);
        assert_eq!(room(&two, &[("a", 2), ("c", 1)], 4), ["b", "c"]);
        // Too few to leave one to everybody: each may have one.
        assert_eq!(room(&two, &[], 1), ["a", "b", "c"]);
        assert_eq!(room(&two, &[("a", 1)], 2), ["c"]);
    }
}
