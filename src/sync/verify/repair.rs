//! Which ranges to read again, so that what differs is set right at the price of few requests.

use chrono::{DateTime, TimeDelta, Utc};

use super::Comparison;
use crate::domain::Window;
use crate::domain::window::floor_to_second;

/// Parts of a stream's usual window that are worth reading to save a read of their own: a page's worth.
const GAPS_OF_A_SPAN: i32 = 25;

/// A range to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    pub range: Window,
    /// Whether it must be read in one window: only a read that covers the one that last delivered a
    /// contact can show that it is gone.
    pub is_whole: bool,
}

impl Order {
    /// May be read in windows of any size.
    pub fn part(range: Window) -> Self {
        Self { range, is_whole: false }
    }

    /// What is left of it when contacts are kept from this moment on; `None` when all of it is older.
    pub fn kept_from(self, kept_from: Option<DateTime<Utc>>) -> Option<Self> {
        let from = kept_from.map_or(self.range.from, |kept| kept.max(self.range.from));
        Some(Self { range: Window::new(from, self.range.to)?, ..self })
    }
}

/// Collects the ranges of differences; it grows with the ranges that differ, not with the contacts.
#[derive(Debug, Default)]
pub struct Orders {
    again: Vec<Window>,
    removals: Vec<Window>,
}

impl Orders {
    /// Notes what a comparison asks to be read again. `gap` is the span of a page.
    pub fn note(&mut self, comparison: &Comparison, is_by_start: bool, span: TimeDelta) {
        let gap = (span / GAPS_OF_A_SPAN).max(TimeDelta::seconds(1));
        let differing = comparison.missing_here.iter().chain(&comparison.different);
        for moment in differing.map(|differing| differing.started_at) {
            // Where the vendor filters by another time, or there is no start, only the same window will
            // bring it again.
            let second = moment.filter(|at| is_by_start && comparison.window.contains(*at)).and_then(second_of);
            self.again.push(second.unwrap_or(comparison.window));
        }
        if comparison.proof.is_none() {
            self.again.push(comparison.window);
        }
        for unseen in &comparison.gone_there {
            let delivered = unseen.requested_from.zip(unseen.requested_to);
            let range = delivered.and_then(|(from, to)| Window::new(from + TimeDelta::seconds(1), to));
            self.removals.push(range.unwrap_or(comparison.window));
        }
        merge(&mut self.again, gap);
        // Those that only touch stay apart: together they may be too much for one window.
        merge(&mut self.removals, TimeDelta::microseconds(-1));
    }

    pub fn is_empty(&self) -> bool {
        self.again.is_empty() && self.removals.is_empty()
    }

    /// The ranges in order of time, none inside another.
    pub fn ranges(&self) -> Vec<Order> {
        let is_covered =
            |range: &Window| self.removals.iter().any(|whole| whole.from <= range.from && range.to <= whole.to);
        let again = self.again.iter().filter(|range| !is_covered(range));
        let again = again.map(|range| Order::part(*range));
        let removals = self.removals.iter().map(|range| Order { range: *range, is_whole: true });
        let mut orders: Vec<Order> = again.chain(removals).collect();
        orders.sort_by_key(|order| order.range);
        orders
    }
}

fn second_of(moment: DateTime<Utc>) -> Option<Window> {
    let second = floor_to_second(moment);
    Window::new(second, second + TimeDelta::seconds(1))
}

/// Makes one of ranges that overlap or lie at most `gap` apart.
fn merge(ranges: &mut Vec<Window>, gap: TimeDelta) {
    ranges.sort_unstable();
    ranges.dedup_by(|later, earlier| {
        let is_near = later.from <= earlier.to + gap;
        if is_near {
            earlier.to = earlier.to.max(later.to);
        }
        is_near
    });
}

#[cfg(test)]
mod tests {
    use super::super::Differing;
    use super::*;
    use crate::warehouse::load::Proof;
    use crate::warehouse::verification::Unseen;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    fn window(from: i64, to: i64) -> Window {
        Window::new(at(from), at(to)).expect("a window")
    }

    fn comparison(window: Window, missing: &[i64], delivered: &[(i64, i64)]) -> Comparison {
        let differing = |at_second: &i64| Differing { id: "c".into(), started_at: Some(at(*at_second)) };
        let unseen = |(from, to): &(i64, i64)| Unseen {
            conversation_id: "c".into(),
            requested_from: Some(at(*from) - TimeDelta::seconds(1)),
            requested_to: Some(at(*to)),
        };
        Comparison {
            window,
            began: at(0),
            proof: Some(Proof::Count),
            doubt: None,
            compared: 0,
            equal: 0,
            quarantined: 0,
            by_id_alone: 0,
            missing_here: missing.iter().map(differing).collect(),
            gone_there: delivered.iter().map(unseen).collect(),
            different: Vec::new(),
            requests: 1,
        }
    }

    fn ranges(orders: &Orders) -> Vec<(i64, i64, bool)> {
        let told = |order: Order| (order.range.from.timestamp(), order.range.to.timestamp(), order.is_whole);
        orders.ranges().into_iter().map(told).collect()
    }

    #[test]
    fn what_differs_is_read_again_by_the_second_and_neighbours_together() {
        let mut orders = Orders::default();
        // A page of these windows is 40 s long.
        orders.note(&comparison(window(0, 1_000), &[100, 130, 900], &[]), true, TimeDelta::seconds(1_000));
        assert_eq!(ranges(&orders), [(100, 131, false), (900, 901, false)]);
        orders.note(&comparison(window(1_000, 2_000), &[1_000], &[]), false, TimeDelta::seconds(1_000));
        assert_eq!(ranges(&orders), [(100, 131, false), (900, 901, false), (1_000, 2_000, false)]);
        let mut unproved = comparison(window(5_000, 6_000), &[], &[]);
        unproved.proof = None;
        orders.note(&unproved, true, TimeDelta::seconds(1_000));
        assert_eq!(ranges(&orders).last(), Some(&(5_000, 6_000, false)));
    }

    #[test]
    fn what_is_older_than_contacts_are_kept_is_not_read_again() {
        let order = Order { range: window(100, 200), is_whole: true };
        let kept = |from| order.kept_from(from).map(|order| (order.range, order.is_whole));
        assert_eq!(kept(None), Some((window(100, 200), true)));
        assert_eq!(kept(Some(at(100))), Some((window(100, 200), true)));
        assert_eq!(kept(Some(at(101))), Some((window(101, 200), true)));
        assert_eq!(kept(Some(at(200))), None);
    }

    #[test]
    fn what_is_gone_is_looked_for_in_the_whole_range_that_delivered_it() {
        let mut orders = Orders::default();
        orders.note(
            &comparison(window(0, 1_000), &[300], &[(0, 500), (0, 500), (500, 1_200)]),
            true,
            TimeDelta::days(1),
        );
        assert_eq!(ranges(&orders), [(0, 500, true), (500, 1_200, true)]);
        assert!(Orders::default().is_empty());
    }

    #[test]
    fn one_difference_is_enough_and_a_range_that_sticks_out_is_read_by_itself() {
        let mut gone = Orders::default();
        gone.note(&comparison(window(0, 1_000), &[], &[(0, 500)]), true, TimeDelta::days(1));
        assert!(!gone.is_empty());
        let mut missing = Orders::default();
        missing.note(&comparison(window(0, 1_000), &[300], &[]), true, TimeDelta::seconds(25));
        assert!(!missing.is_empty());
        // Before what is read whole, at its front, inside, at its end and behind it.
        let mut both = Orders::default();
        let around = [95, 100, 150, 199, 205];
        both.note(&comparison(window(0, 1_000), &around, &[(100, 200)]), true, TimeDelta::seconds(1));
        assert_eq!(ranges(&both), [(95, 96, false), (100, 200, true), (205, 206, false)]);
    }
}
