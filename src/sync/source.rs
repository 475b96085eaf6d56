//! A stream as the engine works on it, and the engine's settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;

use super::paging::Habit;
use super::recheck::Rule;
use crate::api::{BoxError, Budget, Client};
use crate::domain::Settle;
use crate::warehouse::budget::{AccountBudget, Turn};
use crate::warehouse::retention::Cutoffs;

/// How the engine works, whatever the stream.
#[derive(Debug, Clone)]
pub struct Options {
    /// Windows in hand at once.
    pub workers: usize,
    /// Pages of a window asked for at once.
    pub fetches: usize,
    /// Text of records that one window may hold.
    pub max_window_bytes: usize,
    pub poll_interval: Duration,
    /// Nothing closer to now is read.
    pub settle: Settle,
    /// How long `once` goes on without any progress.
    pub give_up: Duration,
    pub lease: Duration,
    /// When closed windows are read again.
    pub recheck: Rule,
    /// Ages beyond which the daemon lets payloads and contacts go when it has nothing to read.
    pub retention: Retention,
}

/// For how long after its start something is kept; `None` for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    pub payloads: Option<Duration>,
    pub contacts: Option<Duration>,
}

impl Retention {
    pub fn cutoffs(&self, now: DateTime<Utc>) -> Cutoffs {
        let before = |age: Duration| Some(now - TimeDelta::from_std(age).ok()?);
        Cutoffs { payloads: self.payloads.and_then(before), contacts: self.contacts.and_then(before) }
    }
}

/// A stream and the way to its server.
#[derive(Debug)]
pub struct Source {
    pub stream: String,
    pub client: Client,
    pub budget: Arc<AccountBudget>,
    pub page_size: u32,
    /// `None`: to be found out.
    pub paging: Option<Habit>,
    /// Whether records below the threshold are asked for: only then can their absence be noticed.
    pub include_below_threshold: bool,
    /// The least time between two polls, so that polling leaves half the account's budget.
    pub poll_interval: Duration,
}

/// Counts what a window spends.
#[derive(Debug)]
pub(super) struct Metered<'s> {
    budget: &'s AccountBudget,
    turn: Turn,
    requests: AtomicU64,
}

impl<'s> Metered<'s> {
    pub(super) fn new(budget: &'s AccountBudget, turn: Turn) -> Self {
        Self { budget, turn, requests: AtomicU64::new(0) }
    }

    pub(super) fn turn(&self) -> Turn {
        self.turn
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Budget for Metered<'_> {
    fn acquire(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            self.budget.acquire(self.turn).await?;
            self.requests.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
    }

    fn refused(&self, retry_after: Option<Duration>) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move { Ok(self.budget.refused(retry_after).await?) })
    }
}
