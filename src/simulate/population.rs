//! When contacts start: arithmetic in the index, so that a range of time is a range of indices.
//!
//! Starts never descend with the index. Some tie exactly with their neighbour, all have millisecond
//! parts. Beyond the last index of the population time goes on at the same rate: those are the
//! contacts of the present.

use std::ops::Range;

use super::dice::keyed;

const HOUR: i64 = 3_600_000;
pub const DAY: i64 = 24 * HOUR;
/// From 06:00 to 22:00 UTC.
const DAYTIME: i64 = 16 * HOUR;
/// At night a contact is ten times as rare.
const NIGHT_FACTOR: i64 = 10;
const WEIGHT_OF_DAY: i64 = DAYTIME + (DAY - DAYTIME) / NIGHT_FACTOR;

/// How densely time is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    pub quiet_nights: bool,
    /// A stretch without any contact, in milliseconds since the epoch; a whole number of days long.
    pub empty: Option<(i64, i64)>,
}

impl Shape {
    /// The amount of filled time before a moment, from a fixed origin. Never descends.
    fn weight_at(self, moment: i64) -> i64 {
        let packed = match self.empty {
            Some((from, to)) if moment >= to => moment - (to - from),
            Some((from, _)) if moment >= from => from,
            _ => moment,
        };
        if !self.quiet_nights {
            return packed;
        }
        let (day, rest) = ((packed - 6 * HOUR).div_euclid(DAY), (packed - 6 * HOUR).rem_euclid(DAY));
        let rest = if rest < DAYTIME { rest } else { DAYTIME + (rest - DAYTIME) / NIGHT_FACTOR };
        day * WEIGHT_OF_DAY + rest
    }

    /// The first moment with that amount of filled time before it.
    fn moment_at(self, weight: i64) -> i64 {
        let packed = if self.quiet_nights {
            let (day, rest) = (weight.div_euclid(WEIGHT_OF_DAY), weight.rem_euclid(WEIGHT_OF_DAY));
            let rest = if rest < DAYTIME { rest } else { DAYTIME + (rest - DAYTIME) * NIGHT_FACTOR };
            day * DAY + rest + 6 * HOUR
        } else {
            weight
        };
        match self.empty {
            Some((from, to)) if packed >= from => packed + (to - from),
            _ => packed,
        }
    }
}

/// The contacts of a stream by their starts. Times are milliseconds since the epoch.
#[derive(Debug, Clone)]
pub struct Population {
    key: u64,
    begin_weight: i64,
    span_weight: i64,
    count: u64,
    goes_on: bool,
    shape: Shape,
}

impl Population {
    /// `count` contacts that start in `[begin, end)`; afterwards as many in the same time if it `goes_on`.
    pub fn new(key: u64, count: u64, begin: i64, end: i64, shape: Shape, goes_on: bool) -> Self {
        let begin_weight = shape.weight_at(begin);
        let span_weight = (shape.weight_at(end) - begin_weight).max(1);
        Self { key, begin_weight, span_weight, count, goes_on, shape }
    }

    /// The moment at which the share `part` of `whole` of the span has passed.
    pub fn moment_of_share(&self, part: i64, whole: i64) -> i64 {
        self.shape.moment_at(self.begin_weight + self.span_weight / whole.max(1) * part)
    }

    /// When contact `index` starts.
    pub fn start(&self, index: u64) -> i64 {
        // A tie takes the start of the contact before, whose own start is then never a tie.
        let tied = index > 0 && self.is_tie(index) && !self.is_tie(index - 1);
        self.own_start(if tied { index - 1 } else { index })
    }

    fn is_tie(&self, index: u64) -> bool {
        keyed(self.key, &[index, 0x71e]).is_multiple_of(40)
    }

    fn own_start(&self, index: u64) -> i64 {
        let (span, count) = (i128::from(self.span_weight), i128::from(self.count.max(1)));
        let base = i64::try_from(i128::from(index) * span / count).unwrap_or(i64::MAX / 4);
        let step = u64::try_from(span / count).unwrap_or(0);
        let jitter = if step > 1 { keyed(self.key, &[index, 0x57a]) % step } else { 0 };
        self.shape.moment_at(self.begin_weight + base + i64::try_from(jitter).unwrap_or(0))
    }

    /// The indices of the contacts that start in `[from, to)`.
    pub fn indices(&self, from: i64, to: i64) -> Range<u64> {
        let first = self.first_from(from);
        first..self.first_from(to).max(first)
    }

    /// The first index whose start is not before `moment`; the number of contacts when there is none.
    fn first_from(&self, moment: i64) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let passed = i128::from(self.shape.weight_at(moment) - self.begin_weight).max(0);
        let estimate = passed * i128::from(self.count) / i128::from(self.span_weight);
        let mut low = 0;
        let mut high = u64::try_from(estimate).unwrap_or(u64::MAX / 4) + 4;
        while self.start(high) < moment {
            high *= 2;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.start(middle) < moment {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if self.goes_on { low } else { low.min(self.count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: i64 = 1_767_225_600_000;

    fn shapes() -> [Shape; 4] {
        let empty = Some((BEGIN + 5 * DAY, BEGIN + 15 * DAY));
        [
            Shape::default(),
            Shape { quiet_nights: true, empty: None },
            Shape { quiet_nights: false, empty },
            Shape { quiet_nights: true, empty },
        ]
    }

    #[test]
    fn starts_never_descend_and_stay_in_the_span() {
        for shape in shapes() {
            let population = Population::new(9, 20_000, BEGIN, BEGIN + 30 * DAY, shape, true);
            let starts: Vec<i64> = (0..20_000).map(|i| population.start(i)).collect();
            assert!(starts.is_sorted(), "{shape:?}");
            assert!(starts[0] >= BEGIN && starts[19_999] < BEGIN + 30 * DAY, "{shape:?}");
            assert!(starts.windows(2).any(|pair| pair[0] == pair[1]), "no ties in {shape:?}");
            assert!(starts.iter().any(|start| start % 1000 != 0));
            if let Some((from, to)) = shape.empty {
                assert!(starts.iter().all(|start| *start < from || *start >= to));
            }
        }
    }

    #[test]
    fn a_range_of_time_is_a_range_of_indices() {
        for shape in shapes() {
            let population = Population::new(9, 3_000, BEGIN, BEGIN + 30 * DAY, shape, false);
            let starts: Vec<i64> = (0..3_000).map(|i| population.start(i)).collect();
            for from in (BEGIN - DAY..BEGIN + 32 * DAY).step_by(7_919_333) {
                let to = from + 11_000_000;
                let expected = starts.partition_point(|s| *s < from)..starts.partition_point(|s| *s < to);
                let found = population.indices(from, to);
                assert_eq!(found.start..found.end, expected.start as u64..expected.end as u64, "{shape:?} {from}");
            }
            assert_eq!(population.indices(starts[7], starts[7]).count(), 0);
        }
    }

    #[test]
    fn more_contacts_than_milliseconds_are_found_too() {
        let population = Population::new(1, 5_000, BEGIN, BEGIN + 1_000, Shape::default(), false);
        assert_eq!(population.indices(BEGIN, BEGIN + 1_000), 0..5_000);
        assert_eq!(
            population.indices(BEGIN, BEGIN + 500).count() + population.indices(BEGIN + 500, BEGIN + 1_000).count(),
            5_000
        );
    }

    #[test]
    fn the_present_goes_on_at_the_same_rate_unless_told_not_to() {
        let going = Population::new(2, 1_000, BEGIN, BEGIN + 10 * DAY, Shape::default(), true);
        let later = going.indices(BEGIN + 10 * DAY, BEGIN + 20 * DAY);
        assert_eq!(later.end - later.start, 1_000);
        let still = Population::new(2, 1_000, BEGIN, BEGIN + 10 * DAY, Shape::default(), false);
        assert!(still.indices(BEGIN + 10 * DAY, BEGIN + 20 * DAY).is_empty());
        assert!(
            Population::new(2, 0, BEGIN, BEGIN + DAY, Shape::default(), true).indices(0, BEGIN + 90 * DAY).is_empty()
        );
    }
}
