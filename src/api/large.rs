//! Large answers are in memory one at a time: six of `max_body_bytes` side by side would be no bound.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A page of a hundred contacts is a third of this. Up to here answers are read side by side.
pub(super) const LARGE_BYTES: u64 = 2 << 20;

/// The right to hold a large answer, shared by all clients that are given the same one. Whoever waits for it does so
/// within the deadline of the request.
#[derive(Debug, Clone)]
pub struct LargeAnswers(Arc<Semaphore>);

impl Default for LargeAnswers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// Held for as long as the answer is.
pub(super) type Right = Arc<OwnedSemaphorePermit>;

impl LargeAnswers {
    /// `None` only if the semaphore was closed, which nobody does.
    pub(super) async fn right(&self) -> Option<Right> {
        Arc::clone(&self.0).acquire_owned().await.ok().map(Arc::new)
    }
}
