//! Half-open spans of time.

use std::fmt;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::faults::{Defect, is_planted};

/// The span `[from, to)`. Both ends are whole seconds, since the vendor's dates have no finer parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

impl Window {
    /// `None` when the span is empty or reversed.
    pub fn new(from: DateTime<Utc>, to: DateTime<Utc>) -> Option<Self> {
        (from < to).then_some(Self { from, to })
    }

    pub fn length(self) -> TimeDelta {
        self.to - self.from
    }

    pub fn contains(self, moment: DateTime<Utc>) -> bool {
        let is_at_end = is_planted(Defect::EdgeCounted) && moment == self.to;
        self.from <= moment && moment < self.to || is_at_end
    }

    /// What to ask the vendor for: `[from − 1 s, to]`.
    ///
    /// Its dates have seconds while starts have milliseconds, and nobody says whether its ends are
    /// inclusive; a second before and the end itself make the answer cover the window either way.
    pub fn request_range(self) -> (DateTime<Utc>, DateTime<Utc>) {
        (self.from - TimeDelta::seconds(1), self.to)
    }

    /// Two windows that together are this one, cut at `at` (whole seconds); `None` outside it.
    pub fn split_at(self, at: DateTime<Utc>) -> Option<(Self, Self)> {
        let at = floor_to_second(at);
        Some((Self::new(self.from, at)?, Self::new(at, self.to)?))
    }

    /// Cut in half; `None` when it is a single second.
    pub fn halved(self) -> Option<(Self, Self)> {
        self.split_at(self.from + self.length() / 2)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.from.format("%Y-%m-%dT%H:%M:%SZ"), self.to.format("%Y-%m-%dT%H:%M:%SZ"))
    }
}

pub fn floor_to_second(moment: DateTime<Utc>) -> DateTime<Utc> {
    moment.duration_trunc(TimeDelta::seconds(1)).unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a valid time")
    }

    #[test]
    fn a_window_holds_its_start_and_not_its_end() {
        let window = Window::new(at(10), at(20)).expect("a window");
        assert!(window.contains(at(10)));
        assert!(window.contains(at(20) - TimeDelta::milliseconds(1)));
        assert!(!window.contains(at(20)));
        assert!(!window.contains(at(10) - TimeDelta::milliseconds(1)));
        assert_eq!(Window::new(at(10), at(10)), None);
    }

    #[test]
    fn halves_meet_and_a_second_is_not_halved() {
        let window = Window::new(at(10), at(13)).expect("a window");
        let (early, late) = window.halved().expect("halves");
        assert_eq!((early.from, early.to, late.from, late.to), (at(10), at(11), at(11), at(13)));
        assert_eq!(early.halved(), None);
    }

    #[test]
    fn the_vendor_is_asked_for_a_second_more_at_the_front_and_for_the_end() {
        let window = Window::new(at(10), at(20)).expect("a window");
        assert_eq!(window.request_range(), (at(9), at(20)));
        assert_eq!(window.to_string(), "1970-01-01T00:00:10Z/1970-01-01T00:00:20Z");
    }
}
