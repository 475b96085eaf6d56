//! Time that passes only where everybody waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use koresync::domain::clock::Clock;

#[derive(Debug, Clone)]
pub struct ModelClock(Arc<AtomicI64>);

/// Whoever waits for so long at most is waited for: a gate, a backoff, a poll. A longer wait, as between two
/// renewals of a lease, goes by what the others make of the time.
const WAITED_FOR: Duration = Duration::from_secs(90);
/// Real time that a wait takes, whatever its length.
const BLINK: Duration = Duration::from_millis(10);

impl ModelClock {
    pub fn new(moment: DateTime<Utc>) -> Self {
        Self(Arc::new(AtomicI64::new(moment.timestamp_millis())))
    }

    pub fn pass(&self, span: TimeDelta) {
        self.0.fetch_add(span.num_milliseconds(), Ordering::SeqCst);
    }

    pub fn millis(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Clock for ModelClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.millis()).unwrap_or_default()
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let time = Arc::clone(&self.0);
        let deadline = self.millis() + i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 2);
        Box::pin(async move {
            if span < Duration::from_millis(1) {
                // No time passes in it.
                return tokio::task::yield_now().await;
            }
            tokio::time::sleep(BLINK).await;
            if span <= WAITED_FOR {
                time.fetch_max(deadline, Ordering::SeqCst);
            }
            while time.load(Ordering::SeqCst) < deadline {
                tokio::time::sleep(BLINK).await;
            }
        })
    }

    fn database_time(&self) -> Option<DateTime<Utc>> {
        Some(self.now())
    }
}
