//! Time as a dependency. The whole daemon reads the clock through [`Clock`], so that a test can run
//! a month in a minute, or stand still.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// A source of time. All times are UTC.
pub trait Clock: Debug + Send + Sync {
    fn now(&self) -> DateTime<Utc>;

    /// Waits for a span of this clock's time.
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// The time to give to SQL in place of the server's own clock, or `None` to use the server's.
    ///
    /// Leases, gates and slots are shared between machines, so they live by the database's clock;
    /// only an accelerated clock must say what time it is.
    fn database_time(&self) -> Option<DateTime<Utc>> {
        None
    }
}

pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// A clock that started at `origin` and runs `factor` times as fast as the machine's.
#[derive(Debug, Clone)]
pub struct ScaledClock {
    origin: DateTime<Utc>,
    started: Instant,
    factor: f64,
}

impl ScaledClock {
    pub fn new(origin: DateTime<Utc>, factor: f64) -> Self {
        Self { origin, started: Instant::now(), factor }
    }
}

impl Clock for ScaledClock {
    fn now(&self) -> DateTime<Utc> {
        let elapsed = self.started.elapsed().mul_f64(self.factor);
        self.origin + TimeDelta::from_std(elapsed).unwrap_or(TimeDelta::MAX)
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(span.div_f64(self.factor)))
    }

    fn database_time(&self) -> Option<DateTime<Utc>> {
        Some(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scaled_clock_runs_ahead_by_its_factor() {
        let origin = DateTime::from_timestamp(1_774_261_123, 0).expect("a valid time");
        let clock = ScaledClock::new(origin, 10_000.0);
        clock.sleep(Duration::from_secs(100)).await;
        let passed = clock.now() - origin;
        assert!(passed >= TimeDelta::seconds(100), "only {passed} passed");
        assert!(clock.database_time().is_some());
    }
}
