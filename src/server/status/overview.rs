//! The overview: one sentence, a card a stream, and everything that goes on.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::layout::{Life, shell};
use super::words::{ago, in_, minute, percent, second, seconds};
use super::{Shown, actions, grid, sections};
use crate::domain::grouped;
use crate::server::readiness::CheckState;
use crate::status::board::{DAYS, Overview, Seen};
use crate::status::grid::{Ground, floor_to_hour};
use crate::status::settling::{Quantiles, SettlingReport};
use crate::status::{HourOfContacts, Level, StreamReport, clock_time, span};

const HOURS: i64 = 24;

pub(super) fn page(seen: &Seen, shown: &Shown) -> Markup {
    let title = match (&seen.away, &seen.overview) {
        (Some(_), _) | (None, None) => "No answer – koresync".to_owned(),
        (None, Some(overview)) => format!("{} – koresync", overview.report.verdict.words),
    };
    let main = html! {
        (verdict(seen))
        (readiness(shown))
        @if let Some(overview) = &seen.overview { (body(overview, seen, shown.board.settings().server.actions)) }
    };
    shell(&title, Life::Refreshed, &main)
}

/// The sentence. Whatever is shown below an answer that failed to come is from before.
pub(super) fn verdict(seen: &Seen) -> Markup {
    let (class, mark, words) = match (&seen.away, &seen.overview) {
        (Some(away), _) => ("bad", "✗", format!("The warehouse is out of reach: {}", away.why)),
        (None, Some(overview)) => match overview.report.verdict.level {
            Level::Good => ("good", "✓", overview.report.verdict.words.clone()),
            Level::Attention => ("attention", "!", overview.report.verdict.words.clone()),
            Level::Bad => ("bad", "✗", overview.report.verdict.words.clone()),
        },
        (None, None) => ("bad", "✗", "Nothing is known yet".to_owned()),
    };
    html! {
        div.verdict.(class) {
            span.mark aria-hidden="true" { (mark) }
            div {
                h1 id="verdict" { (words) }
                @if let Some(away) = &seen.away {
                    p {
                        "Since " (second(away.since)) ". It is asked again and again; nothing is lost meanwhile. "
                        @if let Some(overview) = &seen.overview { "What follows is from " (second(overview.report.at)) "." }
                    }
                } @else if let Some(overview) = &seen.overview {
                    p { "As of " time datetime=(overview.report.at.to_rfc3339()) { (second(overview.report.at)) } " UTC" }
                }
            }
        }
    }
}

/// What `/readyz` says, where it says no.
fn readiness(shown: &Shown) -> Markup {
    let failing: Vec<_> = shown
        .readiness
        .checks()
        .into_iter()
        .filter_map(|(name, state)| match state {
            CheckState::Passing => None,
            CheckState::Waiting => Some((name, "is being waited for".to_owned())),
            CheckState::Failing(why) => Some((name, why)),
        })
        .collect();
    html! {
        @if !failing.is_empty() {
            ul.checks aria-label="Not ready" {
                @for (name, why) in &failing { li { b { (name) } ": " (why) } }
            }
        }
    }
}

fn body(overview: &Overview, seen: &Seen, has_actions: bool) -> Markup {
    let report = &overview.report;
    html! {
        @for name in &report.never_run {
            p.behind { b { (name) } " is configured and has never run; " code { "koresync run" } " begins with it." }
        }
        @if !report.streams.is_empty() { (grid::legend()) }
        @for stream in &report.streams {
            (card(&StreamReport { hours: seen.hours_of(&stream.status.stream), ..stream.clone() }, overview, seen, has_actions))
        }
        (sections::troubled(report))
        (sections::backfills(report, has_actions))
        (sections::budget(report))
        (sections::rechecks(report))
        (sections::quarantine(report))
        (sections::fields(report))
        (sections::runs(report))
    }
}

fn card(stream: &StreamReport, overview: &Overview, seen: &Seen, has_actions: bool) -> Markup {
    let report = &overview.report;
    let name = &stream.status.stream;
    let ground = Ground::of(stream, &overview.stretches, report.backfills.iter().map(|b| &b.backfill));
    let today = report.at.date_naive();
    let days = ground.days(today - TimeDelta::days(DAYS - 1), today);
    html! {
        section.stream aria-labelledby={ "s-" (name) } {
            div.facts {
                h2 id={ "s-" (name) } { a href={ "/streams/" (name) } { (name) } " " (badge(stream)) }
                @for words in &stream.behind { p.behind { (words) } }
                @if stream.status.paused_at.is_some() {
                    @if let Some(retry_at) = stream.status.retry_at {
                        p { "Tried again " (in_(retry_at, report.at)) ", and when a secret file changes." }
                    }
                    @if has_actions { (actions::form(&format!("/streams/{name}/retry"), "Try again now")) }
                }
                (facts(stream, report.settling.iter().find(|s| s.stream == *name), seen, report.at))
                @if seen.hours.is_some() { (chart(stream, report.at)) }
                @else { p.quiet { "The contacts of the last 24 hours are being counted." } }
            }
            div.time {
                (grid::table(name, &days))
                (grid::months(name, &ground.months(report.at), None))
            }
        }
    }
}

pub(super) fn badge(stream: &StreamReport) -> Markup {
    let class = match stream.state {
        "up to date" => "good",
        "refused" | "failing" => "bad",
        _ => "attention",
    };
    html! { span.badge.(class) { (stream.state) } }
}

pub(super) fn facts(
    stream: &StreamReport,
    settling: Option<&SettlingReport>,
    seen: &Seen,
    at: DateTime<Utc>,
) -> Markup {
    let status = &stream.status;
    let (recent, scored) = stream.recent();
    html! {
        dl {
            dt { "Complete through" }
            dd { time datetime=(status.watermark.to_rfc3339()) { (clock_time(status.watermark, at)) } }
            dt { "Behind by" }
            dd { (span(TimeDelta::seconds(stream.lag_seconds))) }
            dt { "Contacts held" }
            dd { (grouped(status.contacts)) }
            @if seen.hours.is_some() {
                dt { "Last 24 h" }
                dd { (grouped(recent)) ", " (percent(scored, recent)) " scored" }
            }
            @if let Some(settling) = settling {
                dt { "Seen after" }
                dd { (quantiles(settling.appeared)) }
                dt { "Scored after" }
                dd { (quantiles(settling.scored)) }
                dt { "Settles in" }
                dd {
                    (span(TimeDelta::seconds(i64::try_from(settling.settle_seconds).unwrap_or(i64::MAX))))
                    @if settling.is_learned { " (learned)" }
                    @if settling.is_exceeded { ", too short for " (format!("{:.0}", settling.late_part.unwrap_or_default() * 100.0)) " %" }
                }
            }
        }
    }
}

fn quantiles(quantiles: Quantiles) -> Markup {
    let told = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), seconds);
    html! {
        @if quantiles.p50.is_none() { "not known yet" }
        @else { (told(quantiles.p50)) " · 95 %: " (told(quantiles.p95)) " · 99 %: " (told(quantiles.p99)) }
    }
}

/// Contacts of the last 24 hours, a bar an hour; what has a score in the stronger colour.
fn chart(stream: &StreamReport, at: DateTime<Utc>) -> Markup {
    const HEIGHT: i64 = 40;
    let first = floor_to_hour(at) - TimeDelta::hours(HOURS - 1);
    let most = stream.hours.iter().max_by_key(|hour| hour.contacts);
    let Some(most) = most.filter(|hour| hour.contacts > 0) else {
        return html! { p.quiet { "No contact started in the last 24 hours." } };
    };
    let tall = |count: i64| (count * HEIGHT + most.contacts - 1) / most.contacts;
    let bars: Vec<(i64, &HourOfContacts)> =
        stream.hours.iter().map(|hour| ((hour.hour - first).num_hours(), hour)).collect();
    let words = format!(
        "Contacts an hour over the last 24 hours, {} at most, at {}",
        grouped(most.contacts),
        minute(most.hour)
    );
    html! {
        svg.chart viewBox="0 0 240 42" role="img" aria-label=(words) {
            @for (place, hour) in bars {
                g {
                    title { (hour.hour.format("%H:00")) " – " (grouped(hour.contacts)) " contacts, " (grouped(hour.scored)) " scored" }
                    rect.all x=(place * 10) y=(HEIGHT - tall(hour.contacts)) width="8" height=(tall(hour.contacts)) {}
                    rect.part x=(place * 10) y=(HEIGHT - tall(hour.scored)) width="8" height=(tall(hour.scored)) {}
                }
            }
            path d="M0 41H240" {}
        }
    }
}

/// How long ago, beside the moment itself.
pub(super) fn moment(moment: DateTime<Utc>, at: DateTime<Utc>) -> Markup {
    html! { time datetime=(moment.to_rfc3339()) title=(second(moment)) { (ago(moment, at)) } }
}
