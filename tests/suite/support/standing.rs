//! A clock that stands still until it is moved.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use koresync::domain::clock::Clock;

/// What sleeps on it waits a blink, and finds that no time has passed.
#[derive(Debug, Clone)]
pub struct StandingClock(Arc<AtomicI64>);

const BLINK: Duration = Duration::from_millis(20);

impl StandingClock {
    pub fn new(moment: DateTime<Utc>) -> Self {
        Self(Arc::new(AtomicI64::new(moment.timestamp_millis())))
    }

    pub fn pass(&self, span: TimeDelta) {
        self.0.fetch_add(span.num_milliseconds(), Ordering::SeqCst);
    }
}

impl Clock for StandingClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0.load(Ordering::SeqCst)).unwrap_or_default()
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(span.min(BLINK)))
    }

    fn database_time(&self) -> Option<DateTime<Utc>> {
        Some(self.now())
    }
}
