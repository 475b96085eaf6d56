//! How long the next window is: by count, so that a request is a full page wherever contacts are
//! dense, and long spans of nothing cost few requests.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::Window;

/// Full pages in a window: the last page is half empty on average, so the waste is a fiftieth.
const PAGES: u64 = 25;
/// The longest window.
pub const LONGEST: TimeDelta = TimeDelta::days(7);
/// How fast windows grow over empty time, and shrink over dense time.
const GROWTH: i32 = 8;
/// After ids repeated, windows hold one page for so long: one answer is a snapshot, whatever repeats.
const REPEATS_MATTER_FOR: TimeDelta = TimeDelta::hours(24);

/// What bounds a window's records.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Records a page.
    pub limit: u32,
    /// Pages after which the server refuses the offset.
    pub pages_max: Option<u32>,
    pub max_window_bytes: usize,
    /// Mean size of a record.
    pub record_bytes: Option<f64>,
    pub repeats_seen_at: Option<DateTime<Utc>>,
    pub now: DateTime<Utc>,
}

impl Bounds {
    /// Records that a window should hold.
    pub fn records(&self) -> u64 {
        let page = u64::from(self.limit.max(1));
        if self.repeats_seen_at.is_some_and(|at| self.now - at < REPEATS_MATTER_FOR) {
            // Room for half a page more than expected.
            return (page * 2 / 3).max(1);
        }
        let by_pages = page * PAGES.min(self.pages_max.map_or(PAGES, u64::from));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of at least 0, cut on purpose"
        )]
        let by_memory =
            self.record_bytes.map_or(u64::MAX, |bytes| (self.max_window_bytes as f64 / bytes.max(1.0)) as u64);
        by_pages.min(by_memory.max(page))
    }
}

/// The span for the windows after one of `length` that held `records`, when windows of `span` were
/// planned and `target` records are wanted.
pub fn next_span(span: TimeDelta, length: TimeDelta, records: u64, target: u64) -> TimeDelta {
    if records == 0 {
        // An empty window shorter than planned (a poll, a remainder) says little.
        return if length * 2 >= span { longer(length).clamp(span, LONGEST.max(span)) } else { span };
    }
    let is_telling = records * 2 >= target || length * 2 >= span;
    if !is_telling {
        return span;
    }
    let exact = i128::from(length.num_milliseconds()) * i128::from(target) / i128::from(records);
    let exact = i64::try_from(exact).map_or(LONGEST, |ms| LONGEST.min(TimeDelta::milliseconds(ms)));
    let shortest = (length / GROWTH).max(TimeDelta::seconds(1));
    TimeDelta::seconds(exact.clamp(shortest, longer(length).max(shortest)).num_seconds().max(1)).min(LONGEST)
}

fn longer(length: TimeDelta) -> TimeDelta {
    length.checked_mul(GROWTH).unwrap_or(LONGEST)
}

/// Cuts a window that turned out to hold `records` into equal parts of about `target`; `None` when it
/// cannot be cut.
pub fn cut(window: Window, records: u64, target: u64) -> Option<Vec<Window>> {
    let seconds = window.length().num_seconds();
    let parts = i64::try_from(records.div_ceil(target.max(1))).unwrap_or(i64::MAX).clamp(2, 64).min(seconds);
    if parts < 2 {
        return None;
    }
    let edge = |part: i64| window.from + TimeDelta::seconds(seconds * part / parts);
    (0..parts).map(|part| Window::new(edge(part), if part + 1 == parts { window.to } else { edge(part + 1) })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            limit: 100,
            pages_max: None,
            max_window_bytes: 1 << 30,
            record_bytes: Some(10_000.0),
            repeats_seen_at: None,
            now: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn nine_empty_months_take_few_windows() {
        let (mut span, mut left, mut windows) = (TimeDelta::hours(1), TimeDelta::days(274), 0);
        while left > TimeDelta::zero() {
            // Two windows are planned before the first is read.
            left -= span * 2;
            windows += 2;
            span = next_span(span, span, 0, 2500);
        }
        assert!(windows <= 50, "{windows} windows");
    }

    #[test]
    fn a_busy_window_leads_to_full_ones() {
        let span = next_span(TimeDelta::hours(1), TimeDelta::hours(1), 417, 2500);
        assert_eq!(span.num_minutes(), 359);
        let span = next_span(span, span, 5000, 2500);
        assert_eq!(span.num_minutes(), 179);
        let poll = next_span(span, TimeDelta::minutes(1), 7, 2500);
        assert_eq!(poll, span, "a poll says nothing about long windows");
    }

    #[test]
    fn memory_pages_and_repeats_bound_a_window() {
        assert_eq!(bounds().records(), 2500);
        assert_eq!(Bounds { max_window_bytes: 8_000_000, ..bounds() }.records(), 800);
        assert_eq!(Bounds { max_window_bytes: 1, ..bounds() }.records(), 100);
        assert_eq!(Bounds { pages_max: Some(2), ..bounds() }.records(), 200);
        assert_eq!(Bounds { repeats_seen_at: Some(DateTime::UNIX_EPOCH), ..bounds() }.records(), 66);
    }

    #[test]
    fn parts_are_the_whole() {
        let at = |s| DateTime::from_timestamp(s, 0).expect("a valid time");
        let window = Window::new(at(0), at(10)).expect("a window");
        let parts = cut(window, 7000, 2500).expect("parts");
        assert_eq!(
            parts.iter().map(|p| (p.from.timestamp(), p.to.timestamp())).collect::<Vec<_>>(),
            [(0, 3), (3, 6), (6, 10)]
        );
        assert_eq!(cut(Window::new(at(0), at(1)).expect("a window"), 7000, 2500), None);
    }

    #[test]
    fn two_seconds_are_cut_in_two_and_one_is_not() {
        let window = |to: i64| {
            Window::new(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + TimeDelta::seconds(to)).expect("a window")
        };
        let lengths = |parts: Vec<Window>| parts.into_iter().map(|p| p.length().num_seconds()).collect::<Vec<_>>();
        assert_eq!(cut(window(2), 500, 100).map(lengths), Some(vec![1, 1]));
        assert_eq!(cut(window(1), 500, 100), None);
    }

    #[test]
    fn a_short_window_tells_of_density_once_it_holds_half_of_what_is_wanted() {
        let (span, length) = (TimeDelta::hours(10), TimeDelta::hours(1));
        assert_eq!(next_span(span, length, 1_249, 2_500), span);
        assert_eq!(next_span(span, length, 1_250, 2_500), TimeDelta::hours(2));
    }

    #[test]
    fn repeats_matter_for_a_day() {
        let after = |passed: TimeDelta| {
            Bounds { repeats_seen_at: Some(DateTime::UNIX_EPOCH), now: DateTime::UNIX_EPOCH + passed, ..bounds() }
                .records()
        };
        assert_eq!(after(REPEATS_MATTER_FOR - TimeDelta::seconds(1)), 66);
        assert_eq!(after(REPEATS_MATTER_FOR), 2_500);
    }
}
