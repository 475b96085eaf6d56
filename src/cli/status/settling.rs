//! How late contacts and their scores come, in words.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cli::table::{Align, Table};
use crate::domain::coarse;
use crate::status::settling::{Quantiles, SettlingReport};

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
            let [p50, p95, p99] = words(quantiles);
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

/// Of 50, 95 and 99 %; empty while unknown.
fn words(quantiles: Quantiles) -> [String; 3] {
    let told = |seconds: Option<f64>| seconds.map_or_else(String::new, |s| coarse(Duration::from_secs_f64(s)));
    [quantiles.p50, quantiles.p95, quantiles.p99].map(told)
}
