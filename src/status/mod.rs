//! How things stand: what the status page, `koresync status` and its JSON tell.
//!
//! Everything is read from the warehouse, so each replica and each command tells the same.

pub mod board;
pub mod grid;
mod report;
#[cfg(test)]
mod samples;
pub mod settling;
mod verdict;

pub use board::Board;
pub use report::{BackfillReport, RecheckReport, Report, StreamReport, look};
pub use verdict::{Level, Verdict};

pub use crate::warehouse::backfills::Verb;
pub use crate::warehouse::ledger::{HourOfContacts, LedgerWindow, MinuteOfSpending, Stretch};
pub use crate::warehouse::status::BudgetStatus;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::coarse;

/// As `2026-03-01T09:05:00Z`.
pub fn time(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// For people who look at it today: the day is told where it is another one.
pub fn clock_time(moment: DateTime<Utc>, at: DateTime<Utc>) -> String {
    let format = if moment.date_naive() == at.date_naive() { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" };
    moment.format(format).to_string()
}

/// In its largest two units; 0 for what lies in the future.
pub fn span(span: TimeDelta) -> String {
    coarse(span.to_std().unwrap_or_default())
}

/// A path of a record may be as long as the keys in it.
pub fn shortened(path: &str) -> String {
    const LONGEST: usize = 60;
    if path.chars().nth(LONGEST).is_none() {
        return path.to_owned();
    }
    path.chars().take(LONGEST - 1).chain(['…']).collect()
}
