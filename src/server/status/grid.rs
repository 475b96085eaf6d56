//! The grid: a row a day, a column an hour; and a strip of months.

use maud::{Markup, html};

use super::words::{exact, minute, short};
use crate::domain::grouped;
use crate::status::grid::{Cell, Day, Kind, Month};

/// Said of a cell that has no number, so that nobody needs to tell colours apart.
fn mark(kind: Kind) -> &'static str {
    match kind {
        Kind::Outside | Kind::Verified => "",
        Kind::Waiting => "·",
        Kind::Backfilling => "…",
        Kind::Due => "↻",
        Kind::Unread => "×",
        Kind::Unverified => "?",
        Kind::Failed => "!",
        Kind::Running => "▸",
    }
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Outside => "o",
        Kind::Verified => "v",
        Kind::Waiting => "w",
        Kind::Backfilling => "b",
        Kind::Due => "d",
        Kind::Unread => "x",
        Kind::Unverified => "u",
        Kind::Failed => "f",
        Kind::Running => "r",
    }
}

pub(super) fn legend() -> Markup {
    html! {
        ul.legend aria-label="Legend" {
            @for kind in Kind::TOLD {
                li { span class=(format!("key {}", class(kind))) aria-hidden="true" { (mark(kind)) } (kind.words()) }
            }
        }
    }
}

pub(super) fn table(stream: &str, days: &[Day]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label={ "Hours of " (stream) } {
            table.grid {
                caption.hidden { "Windows of " (stream) " by day and hour; the number is that of contacts, with “of” that of a longer window" }
                thead {
                    tr {
                        th scope="col" { span.hidden { "Day" } }
                        @for hour in 0..24 { th scope="col" { (format!("{hour:02}")) } }
                    }
                }
                tbody {
                    @for day in days {
                        tr {
                            th scope="row" { (day.date.format("%a %m-%d")) }
                            @for cell in &day.cells { (hour(stream, cell)) }
                        }
                    }
                }
            }
        }
    }
}

fn hour(stream: &str, cell: &Cell) -> Markup {
    let columns = (cell.hours > 1).then_some(cell.hours);
    if cell.kind == Kind::Outside {
        return html! { td.o colspan=[columns] {} };
    }
    let is_read = matches!(cell.kind, Kind::Verified | Kind::Due | Kind::Unverified);
    html! {
        td class=(class(cell.kind)) colspan=[columns] {
            a href=(address(stream, cell)) title=(told(cell)) {
                @if cell.kind != Kind::Verified { i { (mark(cell.kind)) } }
                // What reaches further is not a number of this cell; where windows meet there is none to tell.
                @if is_read && cell.is_exact { (short(cell.contacts)) }
                @else if is_read && cell.part_of.is_some() && cell.hours > 1 { "of " (short(cell.contacts)) }
            }
        }
    }
}

fn address(stream: &str, cell: &Cell) -> String {
    cell.window_id.map_or_else(
        || format!("/streams/{stream}/windows?from={}&to={}", exact(cell.from), exact(cell.to())),
        |id| format!("/windows/{id}"),
    )
}

fn told(cell: &Cell) -> String {
    let span = format!("{}–{}", cell.from.format("%H:%M"), cell.to().format("%H:%M"));
    let kind = cell.kind.words();
    let contacts = grouped(cell.contacts);
    match (cell.part_of, cell.windows) {
        (Some((from, to)), _) => {
            format!("{span} {kind}: part of {} to {}, {contacts} contacts", minute(from), minute(to))
        }
        (None, 0) => format!("{span} {kind}"),
        (None, windows) if !cell.is_exact => format!("{span} {kind}: {windows} windows reach into it"),
        (None, 1) => format!("{span} {kind}: {contacts} contacts"),
        (None, windows) => format!("{span} {kind}: {contacts} contacts, {windows} windows"),
    }
}

/// All of a stream's history, a link a month.
pub(super) fn months(stream: &str, months: &[Month], shown: Option<chrono::NaiveDate>) -> Markup {
    let years = months.chunk_by(|a, b| chrono::Datelike::year(&a.first) == chrono::Datelike::year(&b.first));
    html! {
        nav.months aria-label={ "Months of " (stream) } {
            @for year in years {
                span.year { (year[0].first.format("%Y")) }
                @for month in year {
                    a class=(class(month.kind)) href={ "/streams/" (stream) "?month=" (month.first.format("%Y-%m")) }
                        aria-current=[(Some(month.first) == shown).then_some("page")]
                        title={ (month.first.format("%Y-%m")) ": " (format!("{:.0}", (month.proved * 100.0).floor())) " % verified" } {
                        (month.first.format("%-m"))
                    }
                }
                " "
            }
        }
    }
}
