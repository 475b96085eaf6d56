//! What the service manager is told: ready, alive, stopping.
//!
//! Without a service manager (`NOTIFY_SOCKET` unset) every call does nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// A sign of life, beaten by whatever must make progress, read by the watchdog.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    origin: Instant,
    /// Milliseconds since `origin` of the last beat.
    last: Arc<AtomicU64>,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { origin: Instant::now(), last: Arc::default() }
    }
}

impl Heartbeat {
    #[cfg(test)]
    pub(super) fn silent_for(duration: Duration) -> Self {
        Self { origin: Instant::now().checked_sub(duration).expect("a machine that is up"), ..Self::default() }
    }

    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    /// Time since the last beat, or since the start when there was none.
    pub fn age(&self) -> Duration {
        self.age_at(Instant::now())
    }

    fn beat_at(&self, now: Instant) {
        self.last.fetch_max(self.millis(now), Ordering::Relaxed);
    }

    fn age_at(&self, now: Instant) -> Duration {
        Duration::from_millis(self.millis(now).saturating_sub(self.last.load(Ordering::Relaxed)))
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.origin).as_millis()).unwrap_or(u64::MAX)
    }
}

pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A line for `systemctl status`.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Feeds the service manager's watchdog while the heart beats, so that a daemon which hangs is restarted. The watchdog
/// bites from ready on alone; before `started` more time is asked for as well, so that a daemon is not ended for waiting
/// for its database, but is for hanging. Ends at once where no watchdog is asked for, else with `stopping`.
pub async fn watchdog(heartbeat: Heartbeat, started: CancellationToken, stopping: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else { return };
    let more_time = NotifyState::ExtendTimeoutUsec(u32::try_from(limit.as_micros()).unwrap_or(u32::MAX));
    let mut tick = interval(limit / 3);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stopping.run_until_cancelled(tick.tick()).await.is_some() {
        let age = heartbeat.age();
        if age >= limit {
            tracing::error!(
                silent_seconds = age.as_secs(),
                "No progress for too long: the service manager is left to restart the daemon."
            );
        } else if started.is_cancelled() {
            tell(&[NotifyState::Watchdog]);
        } else {
            tell(&[NotifyState::Watchdog, more_time.clone()]);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(error = %error, "The service manager cannot be told.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heart_ages_from_its_last_beat_and_never_backwards() {
        let heartbeat = Heartbeat::default();
        let at = |seconds| heartbeat.origin + Duration::from_secs(seconds);
        assert_eq!(heartbeat.age_at(at(5)), Duration::from_secs(5));
        heartbeat.beat_at(at(8));
        heartbeat.beat_at(at(3));
        assert_eq!(heartbeat.age_at(at(10)), Duration::from_secs(2));
        assert_eq!(heartbeat.clone().age_at(at(7)), Duration::ZERO);
    }
}
