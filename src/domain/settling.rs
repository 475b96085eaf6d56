//! How late things come: delays of which each is known only to lie between two looks.

use std::collections::BTreeMap;
use std::time::Duration;

/// Buckets a doubling: a quantile is told to a fifth.
const PER_DOUBLING: f64 = 4.0;
/// The last bucket ends after two years.
const LAST: u16 = 104;
/// What was noted loses half of its weight in so long, so that the sketch follows changes.
const HALF_LIFE_SECONDS: f64 = 14.0 * 86_400.0;
/// A pair that weighs less is dropped.
const LEAST_WEIGHT: f64 = 0.01;
const ROUNDS: usize = 500;

/// In force until enough is known, with `sync.settle = "auto"`.
pub const SAFE: Duration = Duration::from_mins(15);
/// Bounds of what is learned: what comes later than the longest is for rechecks to find.
pub const SHORTEST: Duration = Duration::from_mins(1);
pub const LONGEST: Duration = Duration::from_hours(2);
/// Contacts that must have been seen before anything is concluded.
pub const ENOUGH: f64 = 200.0;
/// The part of contacts that may come later than the settle time allows; more is told as an alert.
pub const LATE_PART_MOST: f64 = 0.05;
/// So many are there when it is worth looking sooner.
const ALL_BUT_ALL: f64 = 0.99;

/// `sync.settle`: nothing closer to now is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    Fixed(Duration),
    /// As long as the stream was learned to need.
    Learned,
}

impl Settle {
    /// In force for a stream of which this much was learned, seconds.
    pub fn of(self, learned_seconds: Option<i64>) -> Duration {
        match self {
            Self::Fixed(span) => span,
            Self::Learned => learned_seconds.and_then(|s| u64::try_from(s).ok()).map_or(SAFE, Duration::from_secs),
        }
    }
}

/// The next length of a learned settle time: a tenth shorter while all but all contacts are there at the
/// first look, half as long again at most while too many are not. `None` leaves it.
pub fn next_settle(current: Duration, listed: &Delays) -> Option<Duration> {
    if listed.weight() < ENOUGH {
        return None;
    }
    let next = if listed.known_later_than(current) > LATE_PART_MOST {
        let needed = listed.quantile(1.0 - LATE_PART_MOST).unwrap_or(current);
        needed.min(current.mul_f64(1.5)).max(current)
    } else if listed.later_than(current) < 1.0 - ALL_BUT_ALL {
        current.mul_f64(0.9)
    } else {
        current
    };
    let next = Duration::from_secs(next.as_secs()).clamp(SHORTEST, LONGEST);
    (next != current).then_some(next)
}

/// Delays by the two looks between which each ended, in buckets that grow by a fifth. A look that came
/// first of all has nothing before it: what it shows took at most so long. Two sketches are merged by
/// adding their weights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delays {
    /// Weight by the bucket of the last look that lacked it (0: there was none), and of the one that showed it.
    pairs: BTreeMap<(u16, u16), f64>,
}

/// The bucket in which a delay ends: from 1; bucket b ends at 2^(b/4) seconds.
fn bucket(seconds: f64) -> u16 {
    let bucket = (seconds.max(1.0).log2() * PER_DOUBLING).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what there is")]
    let bucket = bucket.clamp(1.0, f64::from(LAST)) as u16;
    bucket
}

fn edge(bucket: u16) -> Duration {
    Duration::from_secs_f64((f64::from(bucket) / PER_DOUBLING).exp2())
}

impl Delays {
    /// Notes a delay that was over by `seen`, and not yet at `missed` when there was such a look. Seconds.
    pub fn note(&mut self, missed: Option<f64>, seen: f64) {
        let seen = bucket(seen);
        // Both in one bucket: it ended there.
        let missed = missed.filter(|s| *s > 0.0).map_or(0, |missed| bucket(missed).min(seen - 1));
        *self.pairs.entry((missed, seen)).or_default() += 1.0;
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub fn merge(&mut self, other: &Self) {
        for (pair, weight) in &other.pairs {
            *self.pairs.entry(*pair).or_default() += weight;
        }
    }

    /// Takes weight from what was noted before so many seconds passed.
    pub fn fade(&mut self, seconds: f64) {
        let factor = (-seconds.max(0.0) / HALF_LIFE_SECONDS).exp2();
        for weight in self.pairs.values_mut() {
            *weight *= factor;
        }
        self.pairs.retain(|_, weight| *weight >= LEAST_WEIGHT);
    }

    /// How many delays are known, the older ones for less.
    pub fn weight(&self) -> f64 {
        self.pairs.values().sum()
    }

    /// As kept in the database.
    pub fn triples(&self) -> Vec<(u16, u16, f64)> {
        self.pairs.iter().map(|((missed, seen), weight)| (*missed, *seen, *weight)).collect()
    }

    pub fn from_triples(triples: &[(u16, u16, f64)]) -> Self {
        let fits = |(missed, seen, weight): &&(u16, u16, f64)| missed < seen && *seen <= LAST && *weight > 0.0;
        Self { pairs: triples.iter().filter(fits).map(|(missed, seen, weight)| ((*missed, *seen), *weight)).collect() }
    }

    /// The delay that this part of all (0 to 1) stays within: the upper end of what the looks allow, so
    /// never too short. `None` when nothing is known.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let shares = self.shares();
        let mut sum = 0.0;
        let reached = shares.iter().find(|(_, share)| {
            sum += share;
            sum >= part - 1e-6
        });
        reached.or(shares.last()).map(|(bucket, _)| edge(*bucket))
    }

    /// The same of those alone that an earlier look lacked. What a first look shows late, as of the day before a first
    /// start or after an outage, may have come long before.
    pub fn known_later_than(&self, span: Duration) -> f64 {
        let within = bucket(span.as_secs_f64()) + 1;
        let is_late = |((missed, seen), _): &(&(u16, u16), &f64)| *missed > 0 && *seen > within;
        let later: f64 = self.pairs.iter().filter(is_late).map(|(_, weight)| weight).sum();
        if later > 0.0 { later / self.weight() } else { 0.0 }
    }

    /// The part of all that takes longer by more than looks can tell apart: a bucket or two, 19 to 41 %.
    pub fn later_than(&self, span: Duration) -> f64 {
        // Looks are made from `span` on, so its own bucket may hold next to none of them.
        let within = bucket(span.as_secs_f64()) + 1;
        self.shares().iter().filter(|(bucket, _)| *bucket > within).map(|(_, share)| share).sum()
    }

    /// Turnbull's estimate of a distribution from censored delays: the shares of the buckets that can hold any, which
    /// add up to 1. Of a stretch that no look divides the upper end stands for all.
    fn shares(&self) -> Vec<(u16, f64)> {
        let total = self.weight();
        if total <= 0.0 {
            return Vec::new();
        }
        // A bucket where a look showed something, and that a look lacking something directly precedes, can hold any:
        // of several in a row without such a look the first explains as much as the others.
        let ends: std::collections::BTreeSet<u16> = self.pairs.keys().map(|(_, seen)| *seen).collect();
        let mut starts: Vec<u16> = self.pairs.keys().map(|(missed, _)| *missed).collect();
        starts.dedup();
        let is_support = |end: &u16| {
            let before = ends.range(..*end).next_back().copied();
            starts.iter().any(|start| start < end && before.is_none_or(|before| before <= *start))
        };
        let support: Vec<u16> = ends.iter().copied().filter(is_support).collect();
        let mut shares = vec![1.0 / support.len().max(1) as f64; support.len()];
        for _ in 0..ROUNDS {
            let mut next = vec![0.0; support.len()];
            for ((missed, seen), weight) in &self.pairs {
                let first = support.partition_point(|bucket| bucket <= missed);
                let last = support.partition_point(|bucket| bucket <= seen);
                let within: f64 = shares[first..last].iter().sum();
                if within > 0.0 {
                    for (share, next) in shares[first..last].iter().zip(&mut next[first..last]) {
                        *next += weight * share / within / total;
                    }
                }
            }
            let moved: f64 = shares.iter().zip(&next).map(|(old, new)| (old - new).abs()).sum();
            shares = next;
            if moved < 1e-7 {
                break;
            }
        }
        support.into_iter().zip(shares).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: f64 = 60.0;

    fn seconds(span: Option<Duration>) -> f64 {
        span.expect("a delay").as_secs_f64()
    }

    #[test]
    fn what_is_first_looked_at_late_is_not_called_late() {
        let mut delays = Delays::default();
        for hour in 1..=24 {
            for _ in 0..20 {
                delays.note(None, f64::from(hour) * 60.0 * MINUTE);
            }
        }
        assert!(delays.later_than(SAFE) > 0.9, "nothing says that they came in time");
        assert!(delays.known_later_than(SAFE).abs() < 1e-9);
        assert_eq!(next_settle(SAFE, &delays), None, "nothing is concluded");
        for _ in 0..60 {
            delays.note(Some(16.0 * MINUTE), 60.0 * MINUTE);
        }
        let late = delays.known_later_than(SAFE);
        assert!((late - 60.0 / 540.0).abs() < 1e-9, "{late}");
        assert!(next_settle(SAFE, &delays).is_some_and(|next| next > SAFE));
    }

    #[test]
    fn what_a_first_look_shows_took_at_most_so_long() {
        let mut delays = Delays::default();
        assert_eq!(delays.quantile(0.5), None);
        for _ in 0..100 {
            delays.note(None, 20.0 * MINUTE);
        }
        // Where a look soon after shows all as well, none took longer.
        for _ in 0..10 {
            delays.note(None, 5.0 * MINUTE);
        }
        for part in [0.5, 0.99] {
            let told = seconds(delays.quantile(part));
            assert!((5.0 * MINUTE..6.0 * MINUTE).contains(&told), "{told} s at {part}");
        }
    }

    #[test]
    fn censored_looks_give_the_distribution_behind_them() {
        let mut delays = Delays::default();
        // True delays: 1 to 1000 s, evenly; each looked for after 100, 200, …, 1000 s, from a turn of its own on.
        for delay in 1..=1000 {
            let first = 100 * (1 + (delay * 7) % 5);
            let mut missed = None;
            let mut look = first;
            while look < delay {
                missed = Some(f64::from(look));
                look += 100;
            }
            delays.note(missed, f64::from(look));
        }
        for (part, truth) in [(0.5, 500.0), (0.95, 950.0)] {
            let told = seconds(delays.quantile(part));
            assert!(told >= truth * 0.8 && told <= truth * 1.35, "{told} s instead of {truth}");
        }
        let late = delays.later_than(Duration::from_secs(500));
        assert!((0.4..0.6).contains(&late), "{late}");
    }

    #[test]
    fn sketches_merge_and_fade_and_come_back_from_their_triples() {
        let (mut one, mut other) = (Delays::default(), Delays::default());
        one.note(None, 60.0);
        other.note(Some(60.0), 3_600.0);
        one.merge(&other);
        assert!((one.weight() - 2.0).abs() < 1e-9);
        assert_eq!(Delays::from_triples(&one.triples()), one);
        assert_eq!(one.quantile(0.9), other.quantile(0.9));
        let fortnight = 1_209_600.0;
        one.fade(fortnight);
        assert!((one.weight() - 1.0).abs() < 1e-9);
        one.fade(fortnight * 20.0);
        assert!(one.is_empty());
        assert_eq!(Delays::from_triples(&[(9, 3, 1.0), (1, 2, -1.0), (0, 900, 1.0)]), Delays::default());
    }

    #[test]
    fn a_learned_settle_time_moves_slowly_and_within_its_bounds() {
        let fixed = Duration::from_mins(15);
        let mut delays = Delays::default();
        for _ in 0..100 {
            delays.note(None, 15.0 * MINUTE);
        }
        assert_eq!(next_settle(fixed, &delays), None, "too little is known");
        for _ in 0..900 {
            delays.note(None, 15.0 * MINUTE);
        }
        assert_eq!(next_settle(fixed, &delays), Some(Duration::from_secs(810)));
        // Looked for sooner, too many are missing.
        for _ in 0..100 {
            delays.note(Some(16.0 * MINUTE), 70.0 * MINUTE);
        }
        let grown = next_settle(fixed, &delays).expect("it grows");
        assert_eq!(grown, Duration::from_secs(1350));
        let mut prompt = Delays::default();
        for _ in 0..1000 {
            prompt.note(None, 30.0);
        }
        assert_eq!(next_settle(SHORTEST, &prompt), None);
        let mut slow = Delays::default();
        for _ in 0..1000 {
            slow.note(Some(3_600.0), 90_000.0);
        }
        assert_eq!(next_settle(LONGEST, &slow), None);
        assert_eq!(next_settle(Duration::from_mins(100), &slow), Some(LONGEST));
        assert_eq!((Settle::Learned.of(None), Settle::Learned.of(Some(60))), (SAFE, SHORTEST));
        assert_eq!(Settle::Fixed(fixed).of(Some(60)), fixed);
    }

    fn noted(notes: &[(Option<f64>, f64, u32)]) -> Delays {
        let mut delays = Delays::default();
        for (missed, seen, times) in notes {
            (0..*times).for_each(|_| delays.note(*missed, *seen));
        }
        delays
    }

    #[test]
    fn a_settle_time_grows_to_what_most_need_and_stays_where_few_are_late() {
        let current = Duration::from_secs(1_000);
        // A tenth comes late, half of it by far: the length that 95 % need is enough.
        let late = noted(&[(None, 300.0, 900), (Some(1_250.0), 1_300.0, 60), (Some(30_000.0), 40_000.0, 40)]);
        assert_eq!(next_settle(current, &late), Some(Duration::from_secs(1_448)));
        let few = noted(&[(None, 300.0, 970), (Some(30_000.0), 40_000.0, 30)]);
        assert_eq!(next_settle(current, &few), None, "neither worth looking sooner nor too late");
        assert!(next_settle(current, &noted(&[(None, 300.0, 199)])).is_none());
        assert!(next_settle(current, &noted(&[(None, 300.0, 200)])).is_some(), "two hundred are enough");
    }

    #[test]
    fn what_looks_cannot_tell_apart_is_not_called_late() {
        // 900 s and 1,100 s are in buckets beside each other.
        assert!(noted(&[(Some(900.0), 1_100.0, 10)]).later_than(Duration::from_mins(15)).abs() < 1e-9);
        assert!((noted(&[(Some(900.0), 1_300.0, 10)]).later_than(Duration::from_mins(15)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_quantile_that_a_bucket_just_reaches_is_that_buckets() {
        let halves = noted(&[(None, 60.0, 1), (Some(60.0), 3_600.0, 1)]);
        assert!(seconds(halves.quantile(0.5)) < 70.0);
        assert!(seconds(halves.quantile(0.51)) > 3_000.0);
    }

    #[test]
    fn a_look_at_once_is_no_look() {
        assert_eq!(noted(&[(Some(0.0), 60.0, 1)]), noted(&[(None, 60.0, 1)]));
        assert!(!noted(&[(None, 60.0, 1)]).is_empty());
        let none = [(3, 3, 1.0), (0, 5, 0.0), (0, LAST + 1, 1.0)];
        assert_eq!(Delays::from_triples(&none), Delays::default());
        assert_eq!(Delays::from_triples(&[(0, LAST, 1.0)]).triples(), [(0, LAST, 1.0)]);
    }

    #[test]
    fn only_a_bucket_that_looks_divide_from_the_one_before_holds_any() {
        let buckets = |triples: &[(u16, u16, f64)]| -> Vec<u16> {
            Delays::from_triples(triples).shares().into_iter().map(|(bucket, _)| bucket).collect()
        };
        assert_eq!(buckets(&[(0, 10, 1.0), (0, 20, 1.0)]), [10]);
        assert_eq!(buckets(&[(0, 5, 1.0), (0, 10, 1.0), (10, 20, 1.0)]), [5, 20]);
        // Three of four that are known to the bucket are in the first; those seen in either follow them.
        let shares = Delays::from_triples(&[(0, 5, 3.0), (5, 10, 1.0), (0, 10, 4.0)]).shares();
        assert!(shares.len() == 2 && (shares[0].1 - 0.75).abs() < 1e-4, "{shares:?}");
    }
}
