//! How late contacts and their scores come, and whether `sync.settle` allows for it.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::coarse;
use crate::cli::table::{Align, Table};
use crate::config::Settings;
use crate::domain::Delays;
use crate::domain::settling::LATE_PART_MOST;
use crate::warehouse::settling::Settling;

/// Delays that this part of all stays within, seconds; `null` while none is known.
#[derive(Debug, Clone, Copy, Serialize)]
struct Quantiles {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

impl Quantiles {
    fn of(delays: &Delays) -> Self {
        let at = |part| delays.quantile(part).map(|span| span.as_secs_f64().round());
        Self { p50: at(0.50), p95: at(0.95), p99: at(0.99) }
    }

    fn told(self) -> [String; 3] {
        let told = |seconds: Option<f64>| seconds.map_or_else(String::new, |s| coarse(Duration::from_secs_f64(s)));
        [self.p50, self.p95, self.p99].map(told)
    }
}

#[derive(Debug, Serialize)]
pub(super) struct SettlingReport {
    pub stream: String,
    /// In force: nothing closer to now is read.
    settle_seconds: u64,
    is_learned: bool,
    /// Contacts that the figures rest on; older ones count for less.
    contacts: f64,
    /// From the end of a contact to its first sight.
    appeared: Quantiles,
    /// From its start to its first sight: what the settle time has to cover.
    listed: Quantiles,
    /// From its end to its first score, of those that have one.
    scored: Quantiles,
    /// The part of contacts that comes later than the settle time allows, 0 to 1; `null` while too little is known.
    late_part: Option<f64>,
    /// Whether that is more than a twentieth.
    pub is_exceeded: bool,
}

pub(super) fn report(settling: &Settling, settings: &Settings) -> SettlingReport {
    let settle = settings.sync.settle;
    let late_part = settling.late_part(settle);
    SettlingReport {
        stream: settling.stream.clone(),
        settle_seconds: settle.of(settling.settle_seconds).as_secs(),
        is_learned: settle == crate::domain::Settle::Learned && settling.settle_seconds.is_some(),
        contacts: settling.listed.weight(),
        appeared: Quantiles::of(&settling.appeared),
        listed: Quantiles::of(&settling.listed),
        scored: Quantiles::of(&settling.scored),
        late_part,
        is_exceeded: late_part.is_some_and(|part| part > LATE_PART_MOST),
    }
}

/// A table, and a line for each stream whose contacts come too late.
pub(super) fn told(reports: &[SettlingReport]) -> String {
    let mut table = Table::new([
        ("how late", Align::Left),
        ("settle", Align::Right),
        ("contacts", Align::Right),
        ("after", Align::Left),
        ("50 %", Align::Right),
        ("95 %", Align::Right),
        ("99 %", Align::Right),
    ]);
    for report in reports {
        let settle = coarse(Duration::from_secs(report.settle_seconds));
        for (what, quantiles) in
            [("end, seen", report.appeared), ("start, seen", report.listed), ("end, scored", report.scored)]
        {
            let [p50, p95, p99] = quantiles.told();
            let (stream, contacts) = (report.stream.clone(), format!("{:.0}", report.contacts));
            table.row([stream, settle.clone(), contacts, what.to_owned(), p50, p95, p99]);
        }
    }
    let mut text = table.render();
    for report in reports.iter().filter(|report| report.is_exceeded) {
        let part = report.late_part.unwrap_or_default() * 100.0;
        let _ = writeln!(
            text,
            "{}: {part:.0} % of its contacts come later than sync.settle ({}) allows: they are not seen before a recheck",
            report.stream,
            coarse(Duration::from_secs(report.settle_seconds)),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loader;

    fn settling(late: u32) -> Settling {
        let mut delays = Delays::default();
        for _ in 0..1000 {
            delays.note(None, 900.0);
        }
        for _ in 0..late {
            delays.note(Some(1_200.0), 7_200.0);
        }
        Settling {
            stream: "support".into(),
            appeared: delays.clone(),
            listed: delays,
            scored: Delays::default(),
            settle_seconds: Some(900),
        }
    }

    #[test]
    fn contacts_that_come_too_late_are_told_once_they_are_more_than_a_twentieth() {
        let settings = Loader::default().load_text("t", "[sync]\nsettle = \"auto\"\n").expect("settings");
        let few = report(&settling(50), &settings);
        assert!(!few.is_exceeded && few.is_learned, "{few:?}");
        let many = report(&settling(60), &settings);
        assert!(many.is_exceeded, "{many:?}");
        let text = told(&[few, many]);
        assert_eq!(text.lines().filter(|line| line.contains("come later than sync.settle (15m 0s) allows")).count(), 1);
        assert!(text.contains("end, scored"), "{text}");
        let fixed = Loader::default().load_text("t", "[sync]\nsettle = \"3h\"\n").expect("settings");
        assert!(!report(&settling(600), &fixed).is_exceeded);
    }
}
