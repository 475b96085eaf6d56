//! The engine's life: a planner, workers side by side, and the decision when it is over.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::futures::Notified;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::board::{Board, DATABASE_PAUSE};
use super::hands::Hands;
use super::keeping::{Rounds, keep_days};
use super::look::{Look, StreamLook};
use super::planner::{self, Until};
use super::source::{Options, Source};
use super::worker::Bench;
use crate::domain::Settle;
use crate::warehouse::error::Remedy;
use crate::warehouse::windows::Scope;
use crate::warehouse::{Warehouse, WarehouseError};

/// How long the engine works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Until stopped, or until every stream is refused.
    Forever,
    /// Until every stream is verified up to the settled present of the start, open backfills included, and the
    /// rechecks that were due then are done.
    Once,
    /// Until this backfill is read.
    Backfill(i64),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Stopped from outside, or all done.
    Done,
    /// Some streams failed, or windows stayed unverified.
    Partly(String),
    /// The API or the database did not answer for too long.
    OutOfReach(String),
    /// The API or the database refused everything.
    Refused(String),
}

/// Reads streams into a warehouse. Several may work on one warehouse.
#[derive(Debug)]
pub struct Engine {
    bench: Bench,
    /// Owns the leases of this process.
    owner: String,
    stop: CancellationToken,
    board: Arc<Board>,
}

/// Contacts, and payloads, let go of in one transaction; and transactions between two looks at what is to be read.
const LET_GO_AT_ONCE: i64 = 500;
const LET_GO_TURNS: u32 = 20;

impl Engine {
    /// `stop` ends requests in flight and takes no more work; what is being committed is finished.
    pub fn new(
        warehouse: Warehouse,
        options: Options,
        sources: Vec<Source>,
        owner: String,
        stop: CancellationToken,
    ) -> Self {
        Self { bench: Bench::new(warehouse, options, sources), owner, stop, board: Arc::default() }
    }

    /// Grows while the planner looks and plans, at least once a poll even when there is nothing to do:
    /// a watchdog may look at it.
    pub fn progress(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let board = Arc::clone(&self.board);
        move || board.looks.load(Ordering::Relaxed)
    }

    /// Works as long as `mode` says. Errors only when a task of the engine dies.
    pub async fn run(self, mode: Mode) -> anyhow::Result<Outcome> {
        let scope = Scope {
            streams: self.bench.sources.iter().map(|source| source.stream.clone()).collect(),
            backfill_id: if let Mode::Backfill(id) = mode { Some(id) } else { None },
        };
        let working = self.stop.child_token();
        let hands = Hands::new(self.bench.clone(), Arc::clone(&self.board), self.owner.clone());
        let mut tasks = JoinSet::new();
        for _ in 0..self.bench.options.workers.max(1) {
            tasks.spawn(hands.clone().work(scope.clone(), working.clone()));
        }
        if scope.backfill_id.is_none() {
            tasks.spawn(hands.work_live(scope.streams.clone(), working.clone()));
        }
        // Nothing waits for it, and its end comes after all that others need.
        let keeping = (mode == Mode::Forever)
            .then(|| tokio::spawn(keep_days(self.bench.warehouse.clone(), working.clone(), Rounds::Many)));
        let supervision = self.supervise(mode, &scope, &working);
        tokio::pin!(supervision);
        let outcome = tokio::select! {
            outcome = &mut supervision => Ok(outcome),
            Some(ended) = tasks.join_next(), if !working.is_cancelled() => match ended {
                Err(died) => Err(anyhow::anyhow!("a worker of the engine died: {died}")),
                // Told to stop in the same moment.
                Ok(()) if working.is_cancelled() => Ok(supervision.await),
                Ok(()) => Err(anyhow::anyhow!("a worker of the engine ended by itself")),
            },
        };
        working.cancel();
        while let Some(ended) = tasks.join_next().await {
            if let Err(died) = ended {
                return Err(anyhow::anyhow!("a worker of the engine died: {died}"));
            }
        }
        if let Err(error) = self.bench.warehouse.give_back_all(&self.owner).await {
            tracing::debug!(%error, "The leases could not be given back; they will end by themselves.");
        }
        if let Some(keeping) = keeping
            && let Err(died) = keeping.await
        {
            tracing::warn!(%died, "What keeps days for the views died; they count days when they are asked.");
        }
        // What earlier runs loaded is quiet by now.
        if mode == Mode::Once && matches!(outcome, Ok(Outcome::Done | Outcome::Partly(_))) {
            Box::pin(keep_days(self.bench.warehouse.clone(), self.stop.clone(), Rounds::One)).await;
        }
        outcome
    }

    /// Plans, and decides when it is over.
    async fn supervise(&self, mode: Mode, scope: &Scope, working: &CancellationToken) -> Outcome {
        let clock = self.bench.warehouse.clock();
        let until = match mode {
            Mode::Once => Until::SettledAt(clock.now()),
            _ => Until::Settled,
        };
        let (mut seen, mut seen_at) = ((u64::MAX, None), clock.now());
        while !working.is_cancelled() {
            // From here on no change is missed, however long the planning takes.
            let mut changed = std::pin::pin!(self.board.changed.notified());
            changed.as_mut().enable();
            let planned = match self.plan_and_look(scope, until).await {
                Err(error) => Err(self.bench.warehouse.explain(error).await),
                look => look,
            };
            self.board.looks.fetch_add(1, Ordering::Relaxed);
            // What other processes get done, or an operator paused, is no standstill either.
            let progress = self.board.progress.load(Ordering::Relaxed);
            let progress = (progress, planned.as_ref().ok().and_then(|look| look.verified_at).or(seen.1));
            let is_paused = planned.as_ref().is_ok_and(|look| look.is_backfill_paused);
            if progress != seen || is_paused {
                (seen, seen_at) = (progress, clock.now());
            }
            self.board.database(planned.as_ref().err());
            match planned {
                Err(error) => {
                    tracing::warn!(%error, "The warehouse does not answer as it should; trying again.");
                    if let Some(outcome) = self.over_for_database(mode, &error, seen_at) {
                        return outcome;
                    }
                    working.run_until_cancelled(tokio::time::sleep(DATABASE_PAUSE)).await;
                }
                Ok(look) => {
                    self.give_back_owed().await;
                    if let Some(outcome) = self.over(mode, &look, until, seen_at) {
                        return outcome;
                    }
                    if mode == Mode::Forever && look.is_idle() {
                        self.let_go(working).await;
                    }
                    self.wait(mode, working, changed).await;
                }
            }
        }
        Outcome::Done
    }

    /// A server that was away for a moment would otherwise hold up its windows for the rest of their leases.
    async fn give_back_owed(&self) {
        for (claim, failure) in self.board.take_owed() {
            if let Err(error) = self.bench.warehouse.give_back(&claim, Some(&failure), TimeDelta::zero(), 0).await {
                tracing::debug!(%error, window.id = claim.id, "A window still cannot be given back.");
                self.board.owe(claim, failure);
            }
        }
    }

    /// Lets go of what is older than it may be, a little at a time.
    async fn let_go(&self, working: &CancellationToken) {
        let Bench { warehouse, options, .. } = &self.bench;
        for _ in 0..LET_GO_TURNS {
            let cutoffs = options.retention.cutoffs(warehouse.clock().now());
            match warehouse.let_go(&cutoffs, LET_GO_AT_ONCE).await {
                Ok(gone) if gone > 0 && !working.is_cancelled() => {
                    // However long all turns take together, each is a sign of life.
                    self.board.looks.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(gone, "Let go of what is older than retention allows.");
                }
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "What is older than retention allows could not be let go; trying again later.");
                    return;
                }
            }
        }
    }

    /// Until something changed or the next poll is due.
    async fn wait(&self, mode: Mode, working: &CancellationToken, changed: Pin<&mut Notified<'_>>) {
        let pause = match mode {
            Mode::Forever => self.bench.options.poll_interval,
            _ => Duration::from_secs(1).min(self.bench.options.poll_interval),
        };
        let clock = self.bench.warehouse.clock();
        tokio::select! {
            () = changed => {}
            () = clock.sleep(pause) => {}
            () = working.cancelled() => {}
        }
    }

    /// Lets the learned settle times follow what was seen.
    async fn judge_settle(&self, scope: &Scope) -> Result<(), WarehouseError> {
        for stream in &scope.streams {
            if let Some((before, now)) = self.bench.warehouse.judge_settle(stream).await? {
                let (before, now) = (before.as_secs(), now.as_secs());
                tracing::info!(stream, before, now, "The learned settle time changes, in seconds.");
            }
        }
        Ok(())
    }

    async fn plan_and_look(&self, scope: &Scope, until: Until) -> Result<Look, WarehouseError> {
        let Bench { warehouse, options, sources, .. } = &self.bench;
        let silent = warehouse.end_silent_copies().await?;
        if silent > 0 {
            tracing::warn!(silent, "Ended transactions of workers that lost their leases in the middle of a COPY.");
        }
        if options.settle == Settle::Learned {
            self.judge_settle(scope).await?;
        }
        let planned = planner::plan(warehouse, options, sources, scope, until).await?;
        if planned > 0 {
            self.board.changed.notify_waiters();
        }
        let states = warehouse.stream_states().await?;
        for state in states.iter().filter(|state| state.paused_at.is_some()) {
            if let Some(source) = self.bench.source(&state.stream)
                && source.client.has_new_secret().await
            {
                tracing::info!(stream = %state.stream, "The secret changed; trying the paused stream again.");
                warehouse.wake_stream(&state.stream).await?;
            }
        }
        Look::take(&self.bench, scope, until, states).await
    }

    fn over(&self, mode: Mode, look: &Look, until: Until, seen_at: DateTime<Utc>) -> Option<Outcome> {
        let clock = self.bench.warehouse.clock();
        let is_stuck = (clock.now() - seen_at).to_std().is_ok_and(|stuck| stuck >= self.bench.options.give_up);
        match (mode, until) {
            (Mode::Forever, _) => {
                let refused: Vec<&str> =
                    look.streams.iter().filter(|s| s.is_refused).filter_map(|s| s.reason.as_deref()).collect();
                (!look.streams.is_empty() && refused.len() == look.streams.len())
                    .then(|| Outcome::Refused(refused.join("; ")))
            }
            (Mode::Backfill(_), _) if !look.is_backfill_open => Some(Outcome::Done),
            (Mode::Once, Until::SettledAt(_)) if look.streams.iter().all(StreamLook::is_over) => Some(look.gaps()),
            _ => {
                let late = |stream: &&StreamLook| match until {
                    Until::SettledAt(_) => !stream.is_done(),
                    Until::Settled => true,
                };
                let late: Vec<&StreamLook> = look.streams.iter().filter(late).collect();
                let all_refused = !late.is_empty() && late.iter().all(|stream| stream.is_refused);
                (is_stuck || all_refused).then(|| self.verdict(look, &late))
            }
        }
    }

    /// What to say when it does not get on.
    fn verdict(&self, look: &Look, late: &[&StreamLook]) -> Outcome {
        let troubles = self.board.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let told: Vec<String> = late
            .iter()
            .map(|stream| {
                let what = stream.reason.clone().or_else(|| troubles.get(&stream.stream).map(|t| t.what.clone()));
                let what = what.unwrap_or_else(|| match stream.unverified {
                    0 => "no window was read for as long as sync.give_up allows".to_owned(),
                    unverified => format!("{unverified} windows could not be verified"),
                });
                format!("{}: {what}", stream.stream)
            })
            .collect();
        let told = told.join("; ");
        let failed = late.iter().filter(|stream| !stream.is_only_unverified()).count();
        if late.len() < look.streams.len() || failed == 0 {
            Outcome::Partly(told)
        } else if late.iter().all(|s| s.is_refused || troubles.get(&s.stream).is_some_and(|t| t.is_refusal)) {
            Outcome::Refused(told)
        } else if late.iter().any(|s| s.is_only_unverified()) {
            Outcome::Partly(told)
        } else {
            Outcome::OutOfReach(told)
        }
    }

    fn over_for_database(&self, mode: Mode, error: &WarehouseError, seen_at: DateTime<Utc>) -> Option<Outcome> {
        let clock = self.bench.warehouse.clock();
        let is_over = (clock.now() - seen_at).to_std().is_ok_and(|stuck| stuck >= self.bench.options.give_up);
        if error.remedy() == Remedy::Operator && error.is_refusal() {
            return Some(Outcome::Refused(error.to_string()));
        }
        (mode != Mode::Forever && is_over).then(|| Outcome::OutOfReach(error.to_string()))
    }

    /// What the database said last, if it is not well.
    pub fn database_check(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let board = Arc::clone(&self.board);
        move || board.database_trouble().map_or(Ok(()), |trouble| Err(trouble.what))
    }
}
