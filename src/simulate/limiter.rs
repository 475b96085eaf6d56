//! The rate limit: so many requests in any 60 seconds, of an account, without a burst allowance.

use std::collections::{HashMap, VecDeque};

const MINUTE: i64 = 60_000;

/// Times are milliseconds since the epoch, of the clock that the simulator was given.
#[derive(Debug, Default)]
pub struct Limiter {
    granted: HashMap<String, VecDeque<i64>>,
}

impl Limiter {
    /// Takes a place for a request at `now`, or says in how many milliseconds there is one.
    pub fn take(&mut self, account: &str, now: i64, limit: u32) -> Result<(), i64> {
        if limit == 0 {
            return Ok(());
        }
        let granted = self.granted.entry(account.to_owned()).or_default();
        while granted.front().is_some_and(|at| *at <= now - MINUTE) {
            granted.pop_front();
        }
        if granted.len() < limit as usize {
            granted.push_back(now);
            return Ok(());
        }
        Err(granted.front().map_or(MINUTE, |at| at + MINUTE - now))
    }
}

/// The most events in any 60 seconds.
#[derive(Debug, Default)]
pub struct BusiestMinute {
    recent: VecDeque<i64>,
    most: usize,
}

impl BusiestMinute {
    pub fn note(&mut self, now: i64) {
        while self.recent.front().is_some_and(|at| *at <= now - MINUTE) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.most = self.most.max(self.recent.len());
    }

    pub fn most(&self) -> usize {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sixty_seconds_hold_more_than_the_limit() {
        let mut limiter = Limiter::default();
        let mut granted = Vec::new();
        for now in (0..300_000).step_by(700) {
            if limiter.take("a", now, 60).is_ok() {
                granted.push(now);
            }
        }
        for start in &granted {
            let within = granted.iter().filter(|at| (*start..start + MINUTE).contains(at)).count();
            assert!(within <= 60, "{within} from {start}");
        }
        assert!(granted.len() >= 295, "only {} were granted", granted.len());
    }

    #[test]
    fn a_place_is_free_exactly_a_minute_later_and_for_others_at_once() {
        let mut limiter = Limiter::default();
        assert_eq!(limiter.take("a", 5, 1), Ok(()));
        assert_eq!(limiter.take("a", 6, 1), Err(MINUTE - 1));
        assert_eq!(limiter.take("b", 6, 1), Ok(()));
        assert_eq!(limiter.take("a", 5 + MINUTE - 1, 1), Err(1));
        assert_eq!(limiter.take("a", 5 + MINUTE, 1), Ok(()));
        assert_eq!(limiter.take("a", 5 + MINUTE, 0), Ok(()));
    }

    #[test]
    fn the_busiest_minute_is_remembered() {
        let mut busiest = BusiestMinute::default();
        for now in [0, 10, 20, MINUTE + 5, MINUTE + 15, 10 * MINUTE] {
            busiest.note(now);
        }
        assert_eq!(busiest.most(), 3);
    }
}
