//! A stream: its months, and the days of one of them.

use chrono::{Datelike as _, NaiveDate};
use maud::{Markup, html};

use super::grid;
use super::layout::{Life, shell};
use super::overview::{badge, facts, verdict};
use crate::status::board::Seen;
use crate::status::grid::Ground;
use crate::status::{Report, StreamReport, Stretch};

pub(super) fn page(
    stream: &StreamReport,
    report: &Report,
    stretches: &[Stretch],
    (first, last): (NaiveDate, NaiveDate),
    seen: &Seen,
) -> Markup {
    let name = &stream.status.stream;
    let ground = Ground::of(stream, stretches, report.backfills.iter().map(|b| &b.backfill));
    let main = html! {
        @if seen.away.is_some() { (verdict(seen)) }
        h1 { (name) " " (badge(stream)) }
        @for words in &stream.behind { p.behind { (words) } }
        (facts(stream, report.settling.iter().find(|s| s.stream == *name), seen, report.at))
        h2 { (first.format("%B %Y")) }
        (grid::months(name, &ground.months(report.at), first.with_day(1)))
        (grid::legend())
        (grid::table(name, &ground.days(first, last)))
    };
    shell(&format!("{name}, {} – koresync", first.format("%B %Y")), Life::Refreshed, &main)
}
