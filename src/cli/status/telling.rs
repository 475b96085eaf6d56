//! The report as a person reads it.

use std::fmt::Write as _;

use chrono::TimeDelta;

use crate::cli::paint::{Colour, painted};
use crate::cli::table::{Align, Table};
use crate::status::grid::floor_to_hour;
use crate::status::{Level, MinuteOfSpending, Report, shortened, span, time};

/// Eighths of a line, for a bar an hour.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const LANES: [&str; 3] = ["live", "backfill", "recheck"];
/// Processes that have ended are told so many of.
const ENDED_RUNS: usize = 3;

pub(super) fn render(report: &Report, is_coloured: bool) -> String {
    let mut text = verdict(report, is_coloured);
    text.push_str(&streams_table(report).render());
    for stream in &report.never_run {
        let _ = writeln!(text, "{stream}: never run; `koresync run` begins with it");
    }
    for stream in &report.streams {
        for words in &stream.behind {
            let _ = writeln!(text, "{}: {}", stream.status.stream, words.replace(char::is_control, " "));
        }
    }
    text.push_str(&recent(report));
    text.push_str(&troubled(report));
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
        let spent = |account: &str, lane: &str| -> i64 {
            let is_it = |s: &&MinuteOfSpending| s.account_id == account && s.lane == lane;
            report.spending.iter().filter(is_it).map(|spent| spent.requests).sum()
        };
        let mut table = Table::new([
            ("account", Align::Left),
            ("requests/min", Align::Right),
            ("in the last hour", Align::Right),
            ("live", Align::Right),
            ("backfill", Align::Right),
            ("recheck", Align::Right),
            ("used share", Align::Right),
            ("refusals", Align::Right),
            ("closed until", Align::Left),
        ]);
        for budget in &report.budgets {
            let gate = budget.gate_until.filter(|until| *until > report.at);
            table.row([
                budget.account_id.clone(),
                budget.requests_per_minute.to_string(),
                LANES.iter().map(|lane| spent(&budget.account_id, lane)).sum::<i64>().to_string(),
                spent(&budget.account_id, "live").to_string(),
                spent(&budget.account_id, "backfill").to_string(),
                spent(&budget.account_id, "recheck").to_string(),
                format!("{:.0} %", budget.share * 100.0),
                budget.refusals.to_string(),
                gate.map_or_else(String::new, time),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    text.push_str(&unread(report));
    text.push_str(&runs(report));
    text
}

fn verdict(report: &Report, is_coloured: bool) -> String {
    let (mark, colour) = match report.verdict.level {
        Level::Good => ('✓', Colour::Green),
        Level::Attention => ('!', Colour::Yellow),
        Level::Bad => ('✗', Colour::Red),
    };
    let line = format!("{mark} {}", report.verdict.words.replace(char::is_control, " "));
    format!("{}\n\n", painted(is_coloured, colour, &line))
}

/// The last 24 hours of each stream: a bar an hour, the last one still under way.
fn recent(report: &Report) -> String {
    let mut table = Table::new([
        ("last 24 h", Align::Left),
        ("an hour", Align::Left),
        ("contacts", Align::Right),
        ("scored", Align::Right),
    ]);
    let first = floor_to_hour(report.at) - TimeDelta::hours(23);
    for stream in report.streams.iter().filter(|stream| !stream.hours.is_empty()) {
        let most = stream.hours.iter().map(|hour| hour.contacts).max().unwrap_or(0).max(1);
        let bar = |place: i64| {
            let hour = stream.hours.iter().find(|hour| hour.hour == first + TimeDelta::hours(place));
            let eighths = hour.map_or(0, |hour| (hour.contacts * 7 + most - 1) / most);
            usize::try_from(eighths).ok().and_then(|eighths| BARS.get(eighths)).copied().unwrap_or(' ')
        };
        let (contacts, scored) = stream.recent();
        let share = if contacts == 0 { 0 } else { scored * 100 / contacts };
        table.row([
            stream.status.stream.clone(),
            (0..24).map(bar).collect(),
            contacts.to_string(),
            format!("{share} %"),
        ]);
    }
    if table.is_empty() { String::new() } else { format!("\n{}", table.render()) }
}

/// Windows that do not get on, one by one.
fn troubled(report: &Report) -> String {
    let mut table = Table::new([
        ("window", Align::Right),
        ("stream", Align::Left),
        ("from", Align::Left),
        ("to", Align::Left),
        ("state", Align::Left),
        ("tries", Align::Right),
        ("next", Align::Left),
    ]);
    for window in &report.troubled {
        table.row([
            window.id.to_string(),
            window.stream.clone(),
            time(window.from_at),
            time(window.to_at),
            window.kind.clone(),
            window.attempts.to_string(),
            if window.due_at <= report.at {
                "now".to_owned()
            } else {
                format!("in {}", span(window.due_at - report.at))
            },
        ]);
    }
    if table.is_empty() { String::new() } else { format!("\n{}", table.render()) }
}

/// Who is at work, and who was lately.
fn runs(report: &Report) -> String {
    let mut table = Table::new([
        ("process", Align::Left),
        ("command", Align::Left),
        ("version", Align::Left),
        ("began", Align::Left),
        ("last seen", Align::Left),
        ("outcome", Align::Left),
    ]);
    let (at_work, ended): (Vec<_>, Vec<_>) = report.runs.iter().partition(|run| run.ended_at.is_none());
    for run in at_work.into_iter().chain(ended.into_iter().take(ENDED_RUNS)) {
        table.row([
            run.worker.clone(),
            run.command.clone(),
            run.program.clone(),
            time(run.started_at),
            format!("{} ago", span(report.at - run.seen_at)),
            run.outcome.clone().unwrap_or_else(|| "at work".to_owned()),
        ]);
    }
    if table.is_empty() { String::new() } else { format!("\n{}", table.render()) }
}

/// What could not be read: records in quarantine by reason, and what has no column since lately.
fn unread(report: &Report) -> String {
    let mut text = String::new();
    if !report.quarantine.is_empty() {
        let mut table = Table::new([
            ("stream", Align::Left),
            ("quarantined for", Align::Left),
            ("records", Align::Right),
            ("at, for one", Align::Left),
        ]);
        for count in &report.quarantine {
            let place = shortened(&count.fault_path);
            table.row([count.stream.clone(), count.reason.clone(), count.records.to_string(), place]);
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
