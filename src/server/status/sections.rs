//! What goes on beside the streams' cards, a section each; one that has nothing to say is short or not there.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::actions;
use super::overview::moment;
use super::words::{in_, minute, percent};
use crate::domain::{coarse, grouped};
use crate::status::{BackfillReport, BudgetStatus, MinuteOfSpending, Report, shortened, span};

const MINUTES: i64 = 60;
/// Drawn from the ground up.
const LANES: [(&str, &str); 3] = [("live", "l"), ("backfill", "b"), ("recheck", "d")];

pub(super) fn troubled(report: &Report) -> Markup {
    html! {
        @if !report.troubled.is_empty() {
            section {
                h2 id="troubled" { "Windows in trouble" }
                div.scroll tabindex="0" role="region" aria-labelledby="troubled" {
                    table {
                        thead { tr { th { "Window" } th { "Stream" } th { "Span" } th { "State" } th.n { "Tries" } th { "Next" } th { "Why" } } }
                        tbody {
                            @for window in &report.troubled {
                                tr {
                                    td { a href={ "/windows/" (window.id) } { (window.id) } }
                                    td { (window.stream) }
                                    td { (minute(window.from_at)) " – " (minute(window.to_at)) }
                                    td { (window.kind) }
                                    td.n { (window.attempts) }
                                    td { (in_(window.due_at, report.at)) }
                                    td.words { (window.last_error.as_deref().unwrap_or("its count does not agree with the vendor's")) }
                                }
                            }
                        }
                    }
                }
                @let all = report.streams.iter().map(|s| s.status.windows_failing + s.status.windows_unverified).sum::<i64>();
                @let told = i64::try_from(report.troubled.len()).unwrap_or(i64::MAX);
                @if all > told { p { "and " (grouped(all - told)) " more." } }
            }
        }
    }
}

pub(super) fn backfills(report: &Report, has_actions: bool) -> Markup {
    html! {
        @if !report.backfills.is_empty() {
            section {
                h2 id="backfills" { "Backfills" }
                div.scroll tabindex="0" role="region" aria-labelledby="backfills" {
                    table {
                        thead { tr { th { "No." } th { "Stream" } th { "Span" } th { "State" } th { "Read" } th.n { "Contacts" } th.n { "a second" } th { "Left" } th.n { "Requests" } @if has_actions { th { "Action" } } } }
                        tbody { @for backfill in &report.backfills { (backfill_row(backfill, has_actions)) } }
                    }
                }
            }
        }
    }
}

fn backfill_row(report: &BackfillReport, has_actions: bool) -> Markup {
    let backfill = &report.backfill;
    let is_running = backfill.state == "running";
    html! {
        tr {
            td { (backfill.id) }
            td { (backfill.stream) }
            td { (minute(backfill.from_at)) " – " (minute(backfill.to_at)) }
            td { (backfill.state) }
            td {
                progress aria-label={ "Backfill " (backfill.id) } max="1" value=(format!("{:.3}", report.progress)) {}
                " " (format!("{:.1} %", report.progress * 100.0))
            }
            td.n { (grouped(backfill.contacts)) }
            td.n { @if let Some(rate) = report.contacts_per_second { (format!("{rate:.1}")) } @else { "–" } }
            td { @if let Some(left) = report.seconds_left { (span(TimeDelta::seconds(left))) } @else { "–" } }
            td.n { (grouped(backfill.requests)) }
            @if has_actions {
                td {
                    @let (verb, words) = if is_running { ("pause", "Pause") } else { ("resume", "Resume") };
                    (actions::form(&format!("/backfills/{}/{verb}", backfill.id), words))
                }
            }
        }
    }
}

pub(super) fn budget(report: &Report) -> Markup {
    html! {
        @if !report.budgets.is_empty() {
            section {
                h2 id="budget" { "The vendor's rate limit, over the last hour" }
                @for budget in &report.budgets { (account(budget, report)) }
            }
        }
    }
}

fn account(budget: &BudgetStatus, report: &Report) -> Markup {
    const HEIGHT: f64 = 60.0;
    let first = report.at - TimeDelta::minutes(MINUTES);
    let mut minutes: BTreeMap<i64, Vec<&MinuteOfSpending>> = BTreeMap::new();
    for spent in report.spending.iter().filter(|spent| spent.account_id == budget.account_id) {
        minutes.entry((spent.minute - first).num_minutes().clamp(0, MINUTES)).or_default().push(spent);
    }
    let of =
        |lane: &str| minutes.values().flatten().filter(|spent| spent.lane == lane).map(|s| s.requests).sum::<i64>();
    let used: i64 = LANES.iter().map(|(lane, _)| of(lane)).sum();
    let most = minutes.values().map(|spent| spent.iter().map(|s| s.requests).sum::<i64>()).max().unwrap_or(0);
    let scale = HEIGHT / budget.requests_per_minute.max(float(most)).max(1.0);
    let limit = HEIGHT - budget.requests_per_minute * scale;
    let allowed = whole(budget.requests_per_minute) * MINUTES;
    let gate = budget.gate_until.filter(|until| *until > report.at);
    html! {
        h3 { "Account " (budget.account_id) }
        svg.chart.wide viewBox="0 0 610 62" role="img"
            aria-label=(format!("Requests a minute over the last hour: {used} of {allowed}, at most {most} in a minute of {} allowed", budget.requests_per_minute)) {
            @for (place, spent) in &minutes {
                g {
                    title { (minute(first + TimeDelta::minutes(*place))) @for s in spent { ", " (s.lane) " " (s.requests) } }
                    @for (class, from, height) in stacked(spent, scale) {
                        rect class=(class) x=(place * 10) width="8" y=(format!("{:.1}", HEIGHT - from - height)) height=(format!("{height:.1}")) {}
                    }
                }
            }
            path.limit d=(format!("M0 {limit:.1}H610")) {}
            path d="M0 61H610" {}
        }
        p {
            (grouped(used)) " of " (grouped(allowed)) " requests (" (percent(used, allowed)) "): "
            @for (place, (lane, class)) in LANES.iter().enumerate() {
                @if place > 0 { ", " }
                span class=(format!("swatch {class}")) aria-hidden="true" {} (lane) " " (grouped(of(lane)))
            }
            ". A request counts when its window is done with."
        }
        @if budget.share < 1.0 { p { "Used up to " (format!("{:.0} %", budget.share * 100.0)) " of the limit, since the vendor refused; that grows again by 2 % a minute." } }
        @if let Some(until) = gate { p.behind { "Closed by the vendor until " (minute(until)) ", " (in_(until, report.at)) "." } }
        @if budget.refusals > 0 { p.quiet { (grouped(budget.refusals)) " refusals by the rate limit so far." } }
    }
}

/// Class, bottom and height of each lane's part.
fn stacked<'a>(spent: &[&MinuteOfSpending], scale: f64) -> Vec<(&'a str, f64, f64)> {
    let mut from = 0.0;
    LANES
        .iter()
        .filter_map(|(lane, class)| {
            let requests: i64 = spent.iter().filter(|s| s.lane == *lane).map(|s| s.requests).sum();
            let height = float(requests) * scale;
            let part = (requests > 0).then_some((*class, from, height));
            from += height;
            part
        })
        .collect()
}

pub(super) fn rechecks(report: &Report) -> Markup {
    html! {
        @if !report.rechecks.is_empty() {
            section {
                h2 id="rechecks" { "Read again" }
                div.scroll tabindex="0" role="region" aria-labelledby="rechecks" {
                    table {
                        thead { tr { th { "Stream" } th.n { "Due" } th.n { "Under way" } th { "Next" } th.n { "Settled" } th { "A whole pass takes" } th.n { "Requests today" } th { "Why" } } }
                        tbody {
                            @for recheck in &report.rechecks {
                                @let status = &recheck.status;
                                tr {
                                    td { (status.stream) }
                                    td.n { (grouped(status.due + status.counts_due)) }
                                    td.n { (grouped(status.open_rung + status.open_count + status.open_spare)) }
                                    td { @if let Some(next) = status.next_at { (in_(next, report.at)) } @else { "–" } }
                                    td.n { (grouped(status.settled)) }
                                    td { (span(TimeDelta::seconds(recheck.pass_seconds))) }
                                    td.n { (grouped(status.requests_today)) }
                                    td.words { (recheck.why) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn quarantine(report: &Report) -> Markup {
    html! {
        section {
            h2 id="quarantine" { "Quarantine" }
            @if report.quarantine.is_empty() { p.quiet { "Every record that came could be read." } }
            @else {
                div.scroll tabindex="0" role="region" aria-labelledby="quarantine" {
                    table {
                        thead { tr { th { "Stream" } th { "Reason" } th.n { "Records" } th { "At, for one" } th { "First" } th { "Last tried" } } }
                        tbody {
                            @for example in &report.quarantine {
                                tr {
                                    td { (example.stream) }
                                    td.words { (example.reason) }
                                    td.n { (grouped(example.records)) }
                                    td.words { code { (shortened(&example.fault_path)) } }
                                    td { (moment(example.first_seen_at, report.at)) }
                                    td { (moment(example.last_tried_at, report.at)) }
                                }
                            }
                        }
                    }
                }
                p { "They are kept whole, and their windows went on: " code { "koresync quarantine list" } " shows them, " code { "koresync quarantine retry" } " reads them again." }
            }
        }
    }
}

pub(super) fn fields(report: &Report) -> Markup {
    let told = i64::try_from(report.new_fields.len()).unwrap_or(i64::MAX);
    html! {
        @if !report.new_fields.is_empty() {
            section {
                h2 id="fields" { "New fields, of the last seven days" }
                div.scroll tabindex="0" role="region" aria-labelledby="fields" {
                    table {
                        thead { tr { th { "Stream" } th { "Field" } th { "Kind" } th { "Type" } th.n { "Seen" } th { "First" } } }
                        tbody {
                            @for field in &report.new_fields {
                                tr {
                                    td { (field.stream) }
                                    td.words { code { (shortened(&field.path)) } }
                                    td { (field.kind) }
                                    td { (field.example_type) @if let Some(shape) = &field.example_shape { " " code { (shape) } } }
                                    td.n { (grouped(field.count)) }
                                    td { (moment(field.first_seen_at, report.at)) }
                                }
                            }
                        }
                    }
                }
                @if report.new_fields_count > told { p { "and " (grouped(report.new_fields_count - told)) " more, in koresync.unknown_fields." } }
                p.quiet { "They are kept in contacts.extra; shapes stand for values, which are not shown." }
            }
        }
    }
}

pub(super) fn runs(report: &Report) -> Markup {
    html! {
        section {
            h2 id="runs" { "Last runs" }
            @if report.runs.is_empty() { p.quiet { "None yet." } }
            @else {
                div.scroll tabindex="0" role="region" aria-labelledby="runs" {
                    table {
                        thead { tr { th { "Process" } th { "Command" } th { "Version" } th { "Began" } th { "For" } th { "Outcome" } } }
                        tbody {
                            @for run in &report.runs {
                                tr {
                                    td { code { (run.worker) } }
                                    td { (run.command) }
                                    td { (run.program) }
                                    td { (moment(run.started_at, report.at)) }
                                    td { (span(run.ended_at.unwrap_or(run.seen_at) - run.started_at)) }
                                    td { (outcome(run.outcome.as_deref(), run.seen_at, report.at)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A process says every half minute that it lives.
fn outcome(told: Option<&str>, seen_at: DateTime<Utc>, at: DateTime<Utc>) -> String {
    let silent = (at - seen_at).to_std().unwrap_or_default();
    match told {
        Some(outcome) => outcome.to_owned(),
        None if silent.as_secs() < 90 => "at work".to_owned(),
        None => format!("silent for {}", coarse(silent)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "to draw it")]
fn float(number: i64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, reason = "a rate limit")]
fn whole(number: f64) -> i64 {
    number.round() as i64
}
