//! A window with all that the ledger knows of it, and the windows of a span.

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::actions;
use super::layout::{Life, shell};
use super::words::{exact, minute, second};
use crate::domain::grouped;
use crate::status::LedgerWindow;
use crate::status::board::WINDOWS_MOST;

fn badge(window: &LedgerWindow) -> Markup {
    let class = match window.kind.as_str() {
        "verified" => "good",
        "failed" | "unverified" => "bad",
        _ => "attention",
    };
    html! { span.badge.(class) { (window.kind) } }
}

pub(super) fn page(window: &LedgerWindow, has_actions: bool) -> Markup {
    let LedgerWindow { id, stream, from_at, to_at, .. } = window;
    let month = from_at.format("%Y-%m");
    let can_retry = matches!(window.kind.as_str(), "failed" | "unverified" | "waiting" | "backfilling" | "due")
        && window.verified_at.is_none();
    let main = html! {
        p.path { a href={ "/streams/" (stream) "?month=" (month) } { (stream) ", " (month) } }
        h1 { "Window " (id) " " (badge(window)) }
        p { (second(*from_at)) " – " (second(*to_at)) }
        @if let Some(error) = &window.last_error {
            h2 { "What went wrong" }
            pre.error { (error) }
            p { "Tried " (window.attempts) " times; next at " (second(window.due_at)) "." }
        } @else if window.kind == "unverified" {
            p { "It was read and what came is kept, but the count does not agree with the vendor's. It is read again at " (second(window.due_at)) "." }
        }
        @if has_actions && can_retry { (actions::form(&format!("/windows/{id}/retry"), "Try again now")) }
        h2 { "To run again" }
        p { "Compare it with the vendor, and read again what differs:" }
        (command(1, &format!("koresync verify --stream {stream} --from {} --to {} --repair", exact(*from_at), exact(*to_at))))
        p { "Read all of it again:" }
        (command(2, &format!("koresync backfill --stream {stream} --from {} --to {}", exact(*from_at), exact(*to_at))))
        h2 { "What the ledger holds" }
        dl.ledger {
            @for (name, value) in ledger(window) { dt { (name) } dd { (value) } }
        }
    };
    shell(&format!("Window {id} of {stream} – koresync"), Life::Refreshed, &main)
}

/// Can be copied where a script runs, and marked by hand where none does.
fn command(number: u8, text: &str) -> Markup {
    html! {
        div.command {
            code id={ "command-" (number) } { (text) }
            button type="button" hidden data-copy={ "command-" (number) } { "Copy" }
        }
    }
}

fn ledger(window: &LedgerWindow) -> Vec<(&'static str, String)> {
    let number = |name, value: Option<i64>| value.map(|value| (name, grouped(value)));
    let time = |name, value: Option<DateTime<Utc>>| value.map(|value| (name, second(value)));
    let asked = window.requested_from.zip(window.requested_to);
    [
        Some(("Lane", window.lane.clone())),
        window.reason.clone().map(|reason| ("Read again for", reason)),
        window.backfill_id.map(|id| ("Backfill", id.to_string())),
        Some(("Failed tries", window.attempts.to_string())),
        Some(("Requests", grouped(window.requests))),
        asked.map(|(from, to)| ("Asked for", format!("{} – {}", second(from), second(to)))),
        number("The vendor's total", window.total),
        number("Records received", window.rows),
        number("Different ones", window.distinct),
        number("Repeated", window.repeated),
        number("Started within", window.in_window),
        number("Inserted", window.inserted),
        number("Changed", window.changed),
        number("Unchanged", window.unchanged),
        number("Quarantined", window.quarantined),
        number("Of erased people", window.erased),
        window.verified_by.clone().map(|proof| ("Verified by", proof)),
        time("Verified at", window.verified_at),
        time("Finished at", window.finished_at),
        time("Read again at", window.recheck_at),
        time("Leased until", window.lease_expires_at),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The windows of a span of a stream.
pub(super) fn list(stream: &str, (from, to): (DateTime<Utc>, DateTime<Utc>), windows: &[LedgerWindow]) -> Markup {
    let month = from.format("%Y-%m");
    let is_cut = i64::try_from(windows.len()).is_ok_and(|told| told == WINDOWS_MOST);
    let main = html! {
        p.path { a href={ "/streams/" (stream) "?month=" (month) } { (stream) ", " (month) } }
        h1 id="windows" { "Windows of " (stream) }
        p { (minute(from)) " – " (minute(to)) }
        @if windows.is_empty() { p { "The ledger has none here." } }
        @else {
            div.scroll tabindex="0" role="region" aria-labelledby="windows" {
                table {
                    thead { tr { th { "Window" } th { "Span" } th { "State" } th { "Lane" } th.n { "Contacts" } th.n { "Requests" } th.n { "Tries" } th { "Proof" } } }
                    tbody {
                        @for window in windows {
                            tr {
                                td { a href={ "/windows/" (window.id) } { (window.id) } }
                                td { (second(window.from_at)) " – " (second(window.to_at)) }
                                td { (badge(window)) }
                                td { (window.lane) }
                                td.n { @if let Some(contacts) = window.in_window { (grouped(contacts)) } @else { "–" } }
                                td.n { (grouped(window.requests)) }
                                td.n { (window.attempts) }
                                td { (window.verified_by.as_deref().unwrap_or("–")) }
                            }
                        }
                    }
                }
            }
            @if is_cut { p { "The first " (WINDOWS_MOST) "." } }
        }
    };
    shell(&format!("Windows of {stream} – koresync"), Life::Refreshed, &main)
}
