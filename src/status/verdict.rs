//! One sentence: is the copy true, through when, and what is behind.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::report::StreamReport;
use super::{clock_time, span};
use crate::config::Settings;
use crate::warehouse::backfills::Backfill;
use crate::warehouse::status::StreamStatus;

/// The state of a stream that has no reason to be behind.
pub(super) const UP_TO_DATE: &str = "up to date";

/// How much it asks of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Good,
    /// Something is behind, and is being worked on.
    Attention,
    /// Something does not get on by itself, or has not yet.
    Bad,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub level: Level,
    pub words: String,
    #[serde(skip)]
    pub is_behind: bool,
}

impl Verdict {
    pub(super) fn of(
        streams: &[StreamReport],
        never_run: &[String],
        backfills: &[Backfill],
        at: DateTime<Utc>,
    ) -> Self {
        let all = streams.len() + never_run.len();
        if streams.is_empty() {
            let words = match never_run {
                [] => "No stream is configured".to_owned(),
                [one] => format!("{one} has never run"),
                many => format!("None of the {} streams has run yet", many.len()),
            };
            return Self { level: Level::Bad, words, is_behind: true };
        }
        let well: Vec<_> = streams.iter().filter(|stream| stream.behind.is_empty()).collect();
        let through = well.iter().map(|stream| stream.status.watermark).min().map(|moment| clock_time(moment, at));
        let mut words = vec![match (through, well.len()) {
            (Some(through), 1) if all == 1 => format!("{} is complete through {through}", well[0].status.stream),
            (Some(through), count) if count == all => format!("All {all} streams are complete through {through}"),
            (Some(through), count) => format!("{count} of {all} streams complete through {through}"),
            (None, _) if all == 1 => {
                let status = &streams[0].status;
                if status.watermark > status.start_at {
                    format!("{} is complete only through {}", status.stream, clock_time(status.watermark, at))
                } else {
                    format!("{} is not complete yet", status.stream)
                }
            }
            (None, _) => format!("None of the {all} streams is up to date"),
        }];
        let sum = |count: fn(&StreamStatus) -> i64| streams.iter().map(|s| count(&s.status)).sum::<i64>();
        let named = |state: &str| {
            let names: Vec<_> = streams.iter().filter(|s| s.state == state).map(|s| s.status.stream.as_str()).collect();
            (!names.is_empty()).then(|| listed(&names))
        };
        words.extend(named("refused").map(|names| format!("refused: {names}")));
        words.extend(counted(sum(|status| status.windows_failing), "window fails", "windows fail"));
        words.extend(counted(sum(|status| status.windows_unverified), "window unverified", "windows unverified"));
        words.extend(counted(sum(|status| status.quarantined), "record in quarantine", "records in quarantine"));
        let histories: Vec<_> = backfills.iter().filter(|backfill| backfill.origin != "operator").collect();
        words.extend(match histories.as_slice() {
            [] => None,
            [one] => Some(format!("{:.0} % of the history of {} is read", one.progress() * 100.0, one.stream)),
            many => Some(format!("the history of {} streams is being read", many.len())),
        });
        words.extend(streams.iter().filter(|stream| stream.state == "behind").max_by_key(|s| s.lag_seconds).map(
            |stream| format!("{} is behind by {}", stream.status.stream, span(TimeDelta::seconds(stream.lag_seconds))),
        ));
        words.extend((!never_run.is_empty()).then(|| format!("never run: {}", listed(never_run))));
        let is_bad = |stream: &StreamReport| matches!(stream.state, "refused" | "failing");
        let is_behind = well.len() < all;
        let level = match is_behind {
            _ if !never_run.is_empty() || streams.iter().any(is_bad) => Level::Bad,
            true => Level::Attention,
            false => Level::Good,
        };
        Self { level, words: words.join("; "), is_behind }
    }
}

/// Three names, then how many more.
fn listed(names: &[impl AsRef<str>]) -> String {
    let told: Vec<_> = names.iter().take(3).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(3) {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

fn counted(count: i64, one: &str, many: &str) -> Option<String> {
    (count > 0).then(|| format!("{count} {}", if count == 1 { one } else { many }))
}

/// What of a stream is behind, worst first.
pub(super) fn judge(
    status: StreamStatus,
    backfills: &[Backfill],
    settings: &Settings,
    settle: Duration,
    at: DateTime<Utc>,
) -> StreamReport {
    let poll = settings
        .streams
        .get(&status.stream)
        .map_or(settings.sync.poll_interval, |stream| settings.poll_interval(stream));
    let lag = (at - settle - status.watermark).max(TimeDelta::zero());
    let history = backfills.iter().find(|b| b.stream == status.stream && b.origin != "operator");
    let mut reasons = Vec::new();
    if status.paused_at.is_some() {
        reasons.push(("refused", format!("refused: {}", status.paused_reason.as_deref().unwrap_or("no reason told"))));
    }
    if status.windows_failing > 0 {
        let why = status.last_error.as_deref().unwrap_or("no error told");
        let windows = counted(status.windows_failing, "window failed and is", "windows failed and are");
        reasons.push(("failing", format!("{} tried again: {why}", windows.unwrap_or_default())));
    }
    if let Some(windows) = counted(status.windows_unverified, "window is", "windows are") {
        reasons.push(("unverified", format!("{windows} kept but not verified")));
    }
    if let Some(history) = history {
        let share = history.progress() * 100.0;
        let word = if history.state == "paused" { "paused" } else { "under way" };
        reasons.push(("history", format!("its history is {word}: {share:.1} % (backfill {})", history.id)));
    } else if lag > TimeDelta::from_std(poll * 2).unwrap_or(TimeDelta::MAX) {
        reasons.push(("behind", format!("the watermark is behind by {}", span(lag))));
    }
    StreamReport {
        lag_seconds: lag.num_seconds(),
        state: reasons.first().map_or(UP_TO_DATE, |(state, _)| *state),
        behind: reasons.into_iter().map(|(_, words)| words).collect(),
        status,
        proved: Vec::new(),
        hours: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::config::Loader;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_774_261_000 + seconds, 0).expect("a time")
    }

    fn stream(watermark: DateTime<Utc>) -> StreamStatus {
        samples::stream(at(-900_000), watermark)
    }

    #[test]
    fn a_stream_is_behind_only_past_two_polls() {
        let settings = Loader::default().load_text("t", "[sync]\nsettle = \"15m\"\npoll_interval = \"1m\"\n");
        let settings = settings.expect("settings");
        let judged = |watermark| judge(stream(watermark), &[], &settings, Duration::from_mins(15), at(0));
        let fresh = judged(at(-900 - 120));
        assert_eq!((fresh.state, fresh.lag_seconds, fresh.behind.len()), ("up to date", 120, 0));
        let late = judged(at(-900 - 121));
        assert_eq!((late.state, late.behind), ("behind", vec!["the watermark is behind by 2m 1s".to_owned()]));
        let mut refused = stream(at(-900));
        (refused.paused_at, refused.paused_reason) = (Some(at(-5)), Some("401".into()));
        assert_eq!(judge(refused, &[], &settings, Duration::from_mins(15), at(0)).behind, ["refused: 401"]);
    }

    /// Streams of these names, each late by so many seconds.
    fn verdict(late: &[(&str, i64)], never_run: &[&str], change: impl Fn(&mut StreamStatus)) -> Verdict {
        let settings = Loader::default().load_text("t", "[sync]\nsettle = \"0s\"\npoll_interval = \"1m\"\n");
        let settings = settings.expect("settings");
        let streams: Vec<_> = late
            .iter()
            .map(|(name, seconds)| {
                let mut status = StreamStatus { stream: (*name).to_owned(), ..stream(at(-seconds)) };
                change(&mut status);
                judge(status, &[], &settings, Duration::ZERO, at(0))
            })
            .collect();
        let never_run: Vec<String> = never_run.iter().map(|name| (*name).to_owned()).collect();
        Verdict::of(&streams, &never_run, &[], at(0))
    }

    #[test]
    fn one_sentence_tells_how_many_are_complete_and_what_of_the_others() {
        let told = |verdict: Verdict| (verdict.level, verdict.words, verdict.is_behind);
        let through = at(-60).format("%H:%M UTC");
        let all = verdict(&[("a", 30), ("b", 60)], &[], |_| ());
        assert_eq!(told(all), (Level::Good, format!("All 2 streams are complete through {through}"), false));
        let late = verdict(&[("a", 60), ("b", 7_200)], &[], |_| ());
        let words = format!("1 of 2 streams complete through {through}; b is behind by 2h 0m");
        assert_eq!(told(late), (Level::Attention, words, true));
        let refused = verdict(&[("a", 60), ("b", 60)], &[], |status| {
            status.paused_at = (status.stream == "b").then(|| at(-5));
        });
        let words = format!("1 of 2 streams complete through {through}; refused: b");
        assert_eq!(told(refused), (Level::Bad, words, true));
        let kept = verdict(&[("a", 60)], &[], |status| (status.windows_unverified, status.quarantined) = (2, 1));
        let words = format!("a is complete only through {through}; 2 windows unverified; 1 record in quarantine");
        assert_eq!(told(kept), (Level::Attention, words, true));
        let some = verdict(&[("a", 60)], &["b", "c", "d", "e"], |_| ());
        let words = format!("1 of 5 streams complete through {through}; never run: b, c, d and 1 more");
        assert_eq!(told(some), (Level::Bad, words, true));
        assert_eq!(told(verdict(&[], &["b"], |_| ())), (Level::Bad, "b has never run".to_owned(), true));
    }
}
