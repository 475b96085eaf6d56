//! How far a long command has come: a bar on a terminal, a line now and then elsewhere.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::domain::coarse;

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Progress on stderr. Nothing is shown to who asked for quiet.
#[derive(Debug)]
pub struct Progress {
    label: String,
    unit: &'static str,
    shown: Shown,
    pace: Pace,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines { every: Duration, last: Option<Instant> },
    Nothing,
}

impl Progress {
    /// `label` says what is going on, `unit` what is counted: `backfill of support`, `contacts`.
    pub fn new(label: impl Into<String>, unit: &'static str, is_quiet: bool) -> Self {
        let shown = match (is_quiet, std::io::stderr().is_terminal()) {
            (true, _) => Shown::Nothing,
            (false, true) => Shown::Bar(bar()),
            (false, false) => Shown::Lines { every: LINE_EVERY, last: None },
        };
        Self { label: label.into(), unit, shown, pace: Pace::new(Instant::now()) }
    }

    /// `share` of the whole that is done, from 0 to 1; `count` of the unit so far.
    pub fn update(&mut self, share: f64, count: u64) {
        let now = Instant::now();
        self.pace.set(share, count);
        match &self.shown {
            Shown::Bar(bar) => {
                bar.set_position(self.pace.permille());
                bar.set_message(self.words(now));
            }
            Shown::Lines { .. } => {
                if let Some(line) = self.line_at(now) {
                    super::output::say(&line);
                }
            }
            Shown::Nothing => {}
        }
    }

    /// Takes the bar away, and says how it went.
    pub fn finish(self, words: &str) {
        match self.shown {
            Shown::Bar(bar) => {
                bar.finish_and_clear();
                super::output::say(&format!("{}: {words}", self.label));
            }
            Shown::Lines { .. } => super::output::say(&format!("{}: {words}", self.label)),
            Shown::Nothing => {}
        }
    }

    /// The line that is due now; none while the last one is fresh.
    fn line_at(&mut self, now: Instant) -> Option<String> {
        let Shown::Lines { every, last } = &mut self.shown else { return None };
        if last.is_some_and(|last| now.saturating_duration_since(last) < *every) {
            return None;
        }
        *last = Some(now);
        Some(self.words(now))
    }

    fn words(&self, now: Instant) -> String {
        let Self { label, unit, pace, .. } = self;
        let mut words = format!("{label}: {}.{} %, {} {unit}", pace.permille() / 10, pace.permille() % 10, pace.count);
        if let Some(rate) = pace.rate(now) {
            let _ = write!(words, ", {rate:.0} {unit}/s");
        }
        if let Some(left) = pace.left(now) {
            let _ = write!(words, ", {} left", coarse(left));
        }
        words
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1_000), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("{bar:30} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// How fast it goes, measured over the whole of this run.
#[derive(Debug)]
struct Pace {
    started: Instant,
    /// Where this run began: what an earlier one did says nothing of the speed.
    first: Option<(f64, u64)>,
    share: f64,
    count: u64,
}

impl Pace {
    fn new(started: Instant) -> Self {
        Self { started, first: None, share: 0.0, count: 0 }
    }

    fn set(&mut self, share: f64, count: u64) {
        self.share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        self.count = count;
        self.first.get_or_insert((self.share, self.count));
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the share is within 0 and 1")]
    fn permille(&self) -> u64 {
        (self.share * 1_000.0) as u64
    }

    /// Of the unit, a second.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn rate(&self, now: Instant) -> Option<f64> {
        let (_, first) = self.first?;
        let seconds = now.saturating_duration_since(self.started).as_secs_f64();
        (seconds >= 1.0 && self.count > first).then(|| (self.count - first) as f64 / seconds)
    }

    fn left(&self, now: Instant) -> Option<Duration> {
        let (first, _) = self.first?;
        let done = self.share - first;
        let elapsed = now.saturating_duration_since(self.started).as_secs_f64();
        let seconds = elapsed * (1.0 - self.share) / done;
        (done > 0.0 && elapsed >= 1.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(started: Instant) -> Progress {
        let shown = Shown::Lines { every: LINE_EVERY, last: None };
        Progress { label: "backfill of support".into(), unit: "contacts", shown, pace: Pace::new(started) }
    }

    #[test]
    fn a_line_tells_share_rate_and_time_left() {
        let started = Instant::now();
        let mut progress = lines(started);
        progress.pace.set(0.25, 1_000);
        assert_eq!(progress.line_at(started).as_deref(), Some("backfill of support: 25.0 %, 1000 contacts"));
        progress.pace.set(0.5, 2_000);
        let line = progress.line_at(started + Duration::from_secs(100));
        // Resumed at a quarter: the second quarter took 100 s, so the half that is left takes 200.
        assert_eq!(line.as_deref(), Some("backfill of support: 50.0 %, 2000 contacts, 10 contacts/s, 3m 20s left"));
    }

    #[test]
    fn lines_come_only_now_and_then() {
        let started = Instant::now();
        let mut progress = lines(started);
        progress.pace.set(0.1, 1);
        assert!(progress.line_at(started).is_some());
        assert_eq!(progress.line_at(started + LINE_EVERY / 2), None);
        assert!(progress.line_at(started + LINE_EVERY).is_some());
    }

    #[test]
    fn odd_shares_are_harmless() {
        let started = Instant::now();
        let mut pace = Pace::new(started);
        for share in [f64::NAN, f64::INFINITY, -1.0, 2.0, 0.0, 1.0] {
            pace.set(share, 0);
            assert!(pace.permille() <= 1_000);
            assert!(pace.left(started + Duration::from_secs(5)).is_none_or(|left| left < Duration::from_mins(1)));
        }
    }
}
