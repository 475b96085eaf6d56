//! What the rule costs in requests, and what is given up when an account's budget does not carry it.

use chrono::TimeDelta;

use super::{Fill, Rule};

/// A day's part of the budget that the round of all history may use, of what is left.
pub const SPARE_SHARE: f64 = 0.1;
/// All history is counted so often, in ranges of this length; no settled window is read again sooner.
pub const WEEK: TimeDelta = TimeDelta::days(7);
const DAY_SECONDS: f64 = 86_400.0;

/// What a stream brings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    pub contacts_per_day: f64,
    /// Between two polls.
    pub poll: TimeDelta,
    pub fill: Fill,
}

impl Demand {
    /// Requests a day of the live lane: each poll is one at least.
    pub fn live(&self) -> f64 {
        let polls = DAY_SECONDS / self.poll.as_seconds_f64().max(1.0);
        polls * (self.contacts_per_day / polls / self.fill.page as f64).ceil().max(1.0)
    }

    /// Requests a day of each rung.
    pub fn rungs(&self, rule: &Rule) -> Vec<f64> {
        let per_second = self.contacts_per_day / DAY_SECONDS;
        let rungs = (1_i16..).take(rule.rungs().len());
        rungs
            .map(|rung| {
                let gathered = rule.gathering(rung).as_seconds_f64().clamp(1.0, super::LONGEST.as_seconds_f64());
                let records = per_second * gathered;
                let room = self.fill.room() as f64;
                if records < room {
                    // A page that is not full, each time.
                    DAY_SECONDS / gathered
                } else {
                    self.contacts_per_day / room
                }
            })
            .collect()
    }
}

/// How many rungs, from the first, an account's budget of so many requests a day carries beside its live lanes: the
/// later ones are given up first, the first never.
pub fn carried(rule: &Rule, demands: &[Demand], budget_per_day: f64) -> usize {
    let mut left = budget_per_day - demands.iter().map(Demand::live).sum::<f64>();
    let rungs = rule.rungs().len();
    let fits = (0..rungs).take_while(|rung| {
        left -= demands.iter().map(|demand| demand.rungs(rule).get(*rung).copied().unwrap_or_default()).sum::<f64>();
        left >= 0.0
    });
    fits.count().max(1).min(rungs)
}

/// How long the round of all history takes: so many contacts in pages of `page`, within its share of the budget, and
/// a week at least.
pub fn pass(contacts: u64, page: u64, requests_per_minute: f64) -> TimeDelta {
    let requests = contacts.div_ceil(page.max(1)) as f64;
    let minutes = requests / (requests_per_minute * SPARE_SHARE).max(f64::MIN_POSITIVE);
    #[expect(clippy::cast_possible_truncation, reason = "seconds, cut to what a span holds")]
    let seconds = (minutes * 60.0).min(1e11) as i64;
    TimeDelta::seconds(seconds).max(WEEK)
}
