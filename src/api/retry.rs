//! How long to wait before asking again.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// Exponential delays with full jitter: each is drawn evenly from zero to its ceiling, so that many
/// clients that failed together do not come back together.
///
/// The ceilings of the default policy are 0.5 s, 1 s, 2 s, 4 s, 8 s, 16 s, then 30 s each; the mean
/// delay is half of that, so about 25 attempts fit into the 5 minutes if each fails at once. A time
/// that the server asked for is waited out in full, and the drawn delay is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The first ceiling.
    pub initial: Duration,
    /// The largest ceiling.
    pub cap: Duration,
    /// From the first attempt, by the daemon's clock; no delay is begun that would end later.
    pub give_up: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { initial: Duration::from_millis(500), cap: Duration::from_secs(30), give_up: Duration::from_mins(5) }
    }
}

/// The delays of one call.
#[derive(Debug)]
pub(super) struct Delays {
    ceilings: ExponentialBackoff,
    give_up: Duration,
}

impl Delays {
    pub(super) fn new(policy: RetryPolicy) -> Self {
        // The jitter and the limit are ours: the crate's know neither our random source nor our clock.
        let ceilings = ExponentialBackoffBuilder::new()
            .with_initial_interval(policy.initial)
            .with_max_interval(policy.cap)
            .with_multiplier(2.0)
            .with_randomization_factor(0.0)
            .with_max_elapsed_time(None)
            .build();
        Self { ceilings, give_up: policy.give_up }
    }

    /// The next delay, or `None` when it is time to give up. `elapsed` counts from the first attempt,
    /// `asked` is the server's wish, `random` lies in [0, 1).
    pub(super) fn next(&mut self, elapsed: Duration, asked: Option<Duration>, random: f64) -> Option<Duration> {
        let ceiling = self.ceilings.next_backoff()?;
        let delay = ceiling.mul_f64(random.clamp(0.0, 1.0)) + asked.unwrap_or_default();
        (elapsed + delay <= self.give_up).then_some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_up_to_the_cap() {
        let mut delays = Delays::new(RetryPolicy::default());
        let ceilings: Vec<u128> =
            (0..8).filter_map(|_| delays.next(Duration::ZERO, None, 1.0)).map(|delay| delay.as_millis()).collect();
        assert_eq!(ceilings, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    }

    #[test]
    fn jitter_is_full_and_a_servers_wish_is_added_whole() {
        let mut delays = Delays::new(RetryPolicy::default());
        assert_eq!(delays.next(Duration::ZERO, None, 0.0), Some(Duration::ZERO));
        let asked = delays.next(Duration::ZERO, Some(Duration::from_secs(7)), 0.5).expect("a delay");
        assert_eq!(asked.as_millis(), 7_500);
    }

    #[test]
    fn no_delay_is_begun_that_would_end_after_the_limit() {
        let policy = RetryPolicy { give_up: Duration::from_secs(10), ..RetryPolicy::default() };
        let mut delays = Delays::new(policy);
        assert!(delays.next(Duration::from_secs(10), None, 0.0).is_some());
        assert!(delays.next(Duration::from_millis(9_500), None, 1.0).is_none());
        assert!(delays.next(Duration::from_secs(1), Some(Duration::from_secs(10)), 0.0).is_none());
    }
}
