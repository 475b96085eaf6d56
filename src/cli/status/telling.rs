//! The report as a person reads it.

use std::fmt::Write as _;

use chrono::TimeDelta;

use super::{Report, span, time};
use crate::cli::table::{Align, Table};

pub(super) fn render(report: &Report) -> String {
    let mut text = streams_table(report).render();
    for stream in &report.never_run {
        let _ = writeln!(text, "{stream}: never run; `koresync run` begins with it");
    }
    for stream in &report.streams {
        for words in &stream.behind {
            let _ = writeln!(text, "{}: {}", stream.status.stream, words.replace(char::is_control, " "));
        }
    }
    if !report.windows.is_empty() {
        let mut table = Table::new([
            ("stream", Align::Left),
            ("lane", Align::Left),
            ("windows", Align::Left),
            ("count", Align::Right),
        ]);
        for count in &report.windows {
            table.row([count.stream.clone(), count.lane.clone(), count.state.clone(), count.windows.to_string()]);
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    if !report.backfills.is_empty() {
        text.push('\n');
        text.push_str(&crate::cli::backfill::table(&report.backfills).render());
    }
    if !report.rechecks.is_empty() {
        text.push('\n');
        text.push_str(&rechecks_table(report).render());
        for recheck in report.rechecks.iter().filter(|recheck| !recheck.why.is_empty()) {
            let _ = writeln!(text, "{}: to be read again: {}", recheck.status.stream, recheck.why);
        }
    }
    if !report.settling.is_empty() {
        text.push('\n');
        text.push_str(&super::settling::told(&report.settling));
    }
    if !report.budgets.is_empty() {
        let mut table = Table::new([
            ("account", Align::Left),
            ("requests/min", Align::Right),
            ("used share", Align::Right),
            ("refusals", Align::Right),
            ("closed until", Align::Left),
        ]);
        for budget in &report.budgets {
            let gate = budget.gate_until.filter(|until| *until > report.at);
            table.row([
                budget.account_id.clone(),
                budget.requests_per_minute.to_string(),
                format!("{:.0} %", budget.share * 100.0),
                budget.refusals.to_string(),
                gate.map_or_else(String::new, time),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    text.push_str(&unread(report));
    text
}

/// What could not be read: records in quarantine by reason, and what has no column since lately.
fn unread(report: &Report) -> String {
    let mut text = String::new();
    if !report.quarantine.is_empty() {
        let mut table =
            Table::new([("stream", Align::Left), ("quarantined for", Align::Left), ("records", Align::Right)]);
        for count in &report.quarantine {
            table.row([count.stream.clone(), count.reason.clone(), count.records.to_string()]);
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    if !report.new_fields.is_empty() {
        let mut table = Table::new([
            ("stream", Align::Left),
            ("new field", Align::Left),
            ("kind", Align::Left),
            ("type", Align::Left),
            ("first seen", Align::Left),
            ("count", Align::Right),
        ]);
        for field in &report.new_fields {
            let shape = field.example_shape.as_ref().map_or_else(String::new, |shape| format!(" {shape}"));
            table.row([
                field.stream.clone(),
                shortened(&field.path),
                field.kind.clone(),
                format!("{}{shape}", field.example_type),
                time(field.first_seen_at),
                field.count.to_string(),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render());
        let more = report.new_fields_count - i64::try_from(report.new_fields.len()).unwrap_or_default();
        if more > 0 {
            let _ = writeln!(
                text,
                "and {more} more: select * from koresync.unknown_fields where first_seen_at > now() - interval '7 days' order by first_seen_at desc"
            );
        }
    }
    text
}

/// A path may be as long as the keys in it.
fn shortened(path: &str) -> String {
    const LONGEST: usize = 60;
    if path.chars().nth(LONGEST).is_none() {
        return path.to_owned();
    }
    path.chars().take(LONGEST - 1).chain(['…']).collect()
}

fn rechecks_table(report: &Report) -> Table {
    let mut table = Table::new([
        ("rechecks of", Align::Left),
        ("due", Align::Right),
        ("under way", Align::Right),
        ("next", Align::Left),
        ("all rungs climbed", Align::Right),
        ("counted weekly", Align::Right),
        ("whole pass", Align::Right),
        ("requests today", Align::Right),
        ("yesterday", Align::Right),
    ]);
    for recheck in &report.rechecks {
        let status = &recheck.status;
        table.row([
            status.stream.clone(),
            (status.due + status.counts_due).to_string(),
            (status.open_rung + status.open_count + status.open_spare).to_string(),
            status.next_at.map_or_else(String::new, time),
            status.settled.to_string(),
            status.counted.to_string(),
            span(TimeDelta::seconds(recheck.pass_seconds)),
            status.requests_today.to_string(),
            status.requests_yesterday.to_string(),
        ]);
    }
    table
}

fn streams_table(report: &Report) -> Table {
    let mut table = Table::new([
        ("stream", Align::Left),
        ("state", Align::Left),
        ("watermark", Align::Left),
        ("lag", Align::Right),
        ("verified", Align::Right),
        ("waiting", Align::Right),
        ("running", Align::Right),
        ("failing", Align::Right),
        ("unverified", Align::Right),
        ("contacts", Align::Right),
        ("quarantined", Align::Right),
        ("unknown fields", Align::Right),
    ]);
    for stream in &report.streams {
        let status = &stream.status;
        table.row([
            status.stream.clone(),
            stream.state.to_owned(),
            time(status.watermark),
            span(TimeDelta::seconds(stream.lag_seconds)),
            status.windows_verified.to_string(),
            status.windows_waiting.to_string(),
            status.windows_running.to_string(),
            status.windows_failing.to_string(),
            status.windows_unverified.to_string(),
            status.contacts.to_string(),
            status.quarantined.to_string(),
            status.unknown_fields.to_string(),
        ]);
    }
    table
}
