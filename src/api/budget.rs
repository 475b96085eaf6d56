//! The permission to send a request: the vendor's limit belongs to an account, not to a client.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::domain::clock::SharedClock;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long a rate limit that names no time is taken to last: the vendor counts by the minute.
const LIMIT_WINDOW: Duration = Duration::from_mins(1);

/// The account's budget of requests. The futures are never cancelled by the client, so they may hold
/// a transaction.
pub trait Budget: Send + Sync {
    /// Waits for the moment at which one request may be sent. Called before every attempt.
    fn acquire(&self) -> BoxFuture<'_, Result<(), BoxError>>;

    /// The vendor answered with its rate limit: no request of the account may leave until it has
    /// passed, after `retry_after` if the vendor named a time. After this returns, [`Budget::acquire`]
    /// is what waits.
    fn refused(&self, retry_after: Option<Duration>) -> BoxFuture<'_, Result<(), BoxError>>;
}

/// A budget for a command that sends a request or two while no database keeps count: it waits only
/// after a rate limit, before the next request.
#[derive(Debug)]
pub struct Unmetered {
    clock: SharedClock,
    gate: Mutex<Option<Duration>>,
}

impl Unmetered {
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, gate: Mutex::new(None) }
    }
}

impl Budget for Unmetered {
    fn acquire(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            if let Some(wait) = gate {
                self.clock.sleep(wait).await;
            }
            Ok(())
        })
    }

    fn refused(&self, retry_after: Option<Duration>) -> BoxFuture<'_, Result<(), BoxError>> {
        *self.gate.lock().unwrap_or_else(PoisonError::into_inner) = Some(retry_after.unwrap_or(LIMIT_WINDOW));
        Box::pin(std::future::ready(Ok(())))
    }
}
