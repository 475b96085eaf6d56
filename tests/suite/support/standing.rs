//! Clocks that stand still until they are moved.

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

/// A clock that stands still but for sleeps, each of which is over at once and takes it to its end.
#[derive(Debug, Clone)]
pub struct JumpingClock(StandingClock);

impl JumpingClock {
    pub fn new(moment: DateTime<Utc>) -> Self {
        Self(StandingClock::new(moment))
    }

    pub fn pass(&self, span: TimeDelta) {
        self.0.pass(span);
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // A millisecond is the clock's finest part.
        self.pass(TimeDelta::from_std(span).unwrap_or_default() + TimeDelta::milliseconds(1));
        Box::pin(std::future::ready(()))
    }

    fn database_time(&self) -> Option<DateTime<Utc>> {
        Some(self.now())
    }
}
