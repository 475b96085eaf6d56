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
pub struct JumpingClock {
    clock: StandingClock,
    /// Milliseconds that the next sleep takes too long.
    oversleeps: Arc<AtomicI64>,
}

impl JumpingClock {
    pub fn new(moment: DateTime<Utc>) -> Self {
        Self { clock: StandingClock::new(moment), oversleeps: Arc::default() }
    }

    pub fn pass(&self, span: TimeDelta) {
        self.clock.pass(span);
    }

    /// The next sleep ends so much too late, as in a process that stood still.
    pub fn oversleep(&self, span: TimeDelta) {
        self.oversleeps.store(span.num_milliseconds(), Ordering::SeqCst);
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // A millisecond is the clock's finest part.
        let late = TimeDelta::milliseconds(1 + self.oversleeps.swap(0, Ordering::SeqCst));
        self.clock.pass(TimeDelta::from_std(span).unwrap_or_default() + late);
        Box::pin(std::future::ready(()))
    }

    fn database_time(&self) -> Option<DateTime<Utc>> {
        Some(self.now())
    }
}
