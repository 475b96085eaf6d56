//! The report, put together from what the warehouse tells.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::settling::{self, SettlingReport};
use super::span;
use super::verdict::{Verdict, judge};
use crate::config::Settings;
use crate::domain::coarse;
use crate::sync::recheck::cost;
use crate::warehouse::backfills::Backfill;
use crate::warehouse::drift::NewField;
use crate::warehouse::ledger::{FaultExample, HourOfContacts, LedgerWindow, MinuteOfSpending, Pace, Proved, RunStatus};
use crate::warehouse::rechecks::RecheckStatus;
use crate::warehouse::status::{BudgetStatus, StreamStatus, WindowCount};
use crate::warehouse::{Warehouse, WarehouseError};

/// A field that has no column is new for so long.
const NEW_FOR: TimeDelta = TimeDelta::days(7);
/// New fields that are told; SQL tells the others.
const NEW_FIELDS: i64 = 10;
/// Windows in trouble that are told one by one.
const TROUBLED: i64 = 20;
const RUNS: i64 = 10;
/// Contacts are told by the hour for so long.
pub(super) const HOURS_OF_CONTACTS: i64 = 24;
/// The use of the budget is told by the minute for so long.
pub(super) const MINUTES_OF_SPENDING: i64 = 60;
/// What the pace of a backfill is measured over.
const PACE_OVER: TimeDelta = TimeDelta::minutes(10);

/// How things stand at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub at: DateTime<Utc>,
    pub is_behind: bool,
    pub verdict: Verdict,
    pub streams: Vec<StreamReport>,
    /// Configured, and not in the warehouse yet.
    pub never_run: Vec<String>,
    pub windows: Vec<WindowCount>,
    /// Windows that failed or could not be verified, those tried most often first: twenty at most.
    pub troubled: Vec<LedgerWindow>,
    /// The open ones.
    pub backfills: Vec<BackfillReport>,
    pub budgets: Vec<BudgetStatus>,
    /// Requests by minute and lane, over the last hour.
    pub spending: Vec<MinuteOfSpending>,
    /// Records that could not be read, by reason.
    pub quarantine: Vec<FaultExample>,
    /// What drifted for the first time in the last seven days, the latest first: ten at most.
    pub new_fields: Vec<NewField>,
    /// How many there are in all.
    pub new_fields_count: i64,
    pub rechecks: Vec<RecheckReport>,
    pub settling: Vec<SettlingReport>,
    /// The processes seen last, those at work first.
    pub runs: Vec<RunStatus>,
}

#[derive(Debug, Clone, Serialize)]
pub struct StreamReport {
    #[serde(flatten)]
    pub status: StreamStatus,
    /// From the watermark to what is settled by now.
    pub lag_seconds: i64,
    pub state: &'static str,
    /// In words; empty when nothing is behind.
    pub behind: Vec<String>,
    /// What is proved, without gaps in each.
    pub proved: Vec<Proved>,
    /// Contacts by the hour of their start, over the last 24 hours; an hour without any is left out.
    pub hours: Vec<HourOfContacts>,
}

impl StreamReport {
    /// Contacts of the last 24 hours, and how many of them have a score.
    pub fn recent(&self) -> (i64, i64) {
        self.hours.iter().fold((0, 0), |(contacts, scored), hour| (contacts + hour.contacts, scored + hour.scored))
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct RecheckReport {
    #[serde(flatten)]
    pub status: RecheckStatus,
    /// The rungs of `sync.recheck` that are given up, seconds.
    pub rungs_given_up: Vec<u64>,
    /// What is due and why, in words.
    pub why: String,
    /// How long the round of all history takes within its part of the account's budget.
    pub pass_seconds: i64,
}

#[derive(Debug, Clone, Serialize)]
pub struct BackfillReport {
    #[serde(flatten)]
    pub backfill: Backfill,
    /// 0 to 1.
    pub progress: f64,
    /// Over the last ten minutes; `null` while nothing was read in them.
    pub contacts_per_second: Option<f64>,
    /// At that pace; `null` where it is not known, or nothing goes on.
    pub seconds_left: Option<i64>,
}

impl From<Backfill> for BackfillReport {
    fn from(backfill: Backfill) -> Self {
        Self { progress: backfill.progress(), backfill, contacts_per_second: None, seconds_left: None }
    }
}

impl BackfillReport {
    /// Each with its pace over the last ten minutes.
    pub async fn measured(warehouse: &Warehouse, backfills: Vec<Backfill>) -> Result<Vec<Self>, WarehouseError> {
        let at = warehouse.now().await?;
        let paces = warehouse.backfill_paces(at - PACE_OVER).await?;
        Ok(backfills.into_iter().map(|backfill| Self::at_pace(backfill, &paces, at)).collect())
    }

    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a guess for people")]
    fn at_pace(backfill: Backfill, paces: &[Pace], at: DateTime<Utc>) -> Self {
        let over = (at - backfill.created_at).min(PACE_OVER).as_seconds_f64().max(1.0);
        let pace = paces.iter().find(|pace| pace.backfill_id == backfill.id && pace.read_seconds > 0.0);
        let left = (backfill.to_at - backfill.from_at).as_seconds_f64() - backfill.read_seconds;
        let is_running = backfill.state == "running";
        Self {
            contacts_per_second: pace.map(|pace| pace.contacts as f64 / over),
            seconds_left: pace.filter(|_| is_running).map(|pace| (left.max(0.0) * over / pace.read_seconds) as i64),
            ..Self::from(backfill)
        }
    }
}

/// Asks the warehouse for everything, of all configured streams or one.
pub async fn look(warehouse: &Warehouse, settings: &Settings, only: Option<&str>) -> Result<Report, WarehouseError> {
    let mut report = look_at_ledger(warehouse, settings, only).await?;
    match recent_contacts(warehouse, report.at).await {
        Ok(hours) => report.tell_hours(&hours),
        // Somebody holds their table: all else is told.
        Err(error) => tracing::warn!(%error, "The contacts of the last 24 hours could not be counted."),
    }
    Ok(report)
}

/// The same without the contacts of the last 24 hours, so that nothing is asked but the daemon's own tables: whoever holds
/// those of analysts holds up nobody who only looks.
pub(super) async fn look_at_ledger(
    warehouse: &Warehouse,
    settings: &Settings,
    only: Option<&str>,
) -> Result<Report, WarehouseError> {
    if let Some(stream) = only {
        warehouse.stream_state(stream).await?;
    }
    let is_wanted = |stream: &str| only.is_none_or(|only| only == stream);
    let at = warehouse.now().await?;
    let paces = warehouse.backfill_paces(at - PACE_OVER).await?;
    let mut backfills = warehouse.open_backfills().await?;
    backfills.retain(|backfill| is_wanted(&backfill.stream));
    let settlings = warehouse.settlings().await?;
    let mut proved = warehouse.proved().await?;
    let streams: Vec<_> = warehouse
        .stream_statuses()
        .await?
        .into_iter()
        .filter(|status| is_wanted(&status.stream))
        .map(|status| {
            let learned = settlings.iter().find(|s| s.stream == status.stream).and_then(|s| s.settle_seconds);
            let judged = judge(status, &backfills, settings, settings.sync.settle.of(learned), at);
            let name = &judged.status.stream;
            let proved = proved.extract_if(.., |span| span.stream == *name).collect();
            StreamReport { proved, ..judged }
        })
        .collect();
    let never_run: Vec<String> = settings
        .streams
        .keys()
        .filter(|name| is_wanted(name) && streams.iter().all(|stream| stream.status.stream != **name))
        .cloned()
        .collect();
    let mut windows = warehouse.window_counts().await?;
    windows.retain(|count| streams.iter().any(|stream| stream.status.stream == count.stream));
    let verdict = Verdict::of(&streams, &never_run, &backfills, at);
    let statuses = warehouse.recheck_statuses(at).await?;
    let rechecks = statuses
        .iter()
        .filter(|status| is_wanted(&status.stream))
        .map(|status| recheck(status, &statuses, settings, at))
        .collect();
    let mut quarantine = warehouse.fault_examples().await?;
    quarantine.retain(|example| is_wanted(&example.stream));
    let mut troubled = warehouse.troubled_windows(at, TROUBLED).await?;
    troubled.retain(|window| is_wanted(&window.stream));
    let new_fields = warehouse.new_fields(only, at - NEW_FOR, NEW_FIELDS).await?;
    Ok(Report {
        at,
        is_behind: verdict.is_behind,
        verdict,
        never_run,
        windows,
        troubled,
        backfills: backfills.into_iter().map(|backfill| BackfillReport::at_pace(backfill, &paces, at)).collect(),
        budgets: warehouse.budget_statuses().await?,
        spending: warehouse.spending_by_minute(at - TimeDelta::minutes(MINUTES_OF_SPENDING)).await?,
        quarantine,
        new_fields_count: new_fields.first().map_or(0, |field| field.of),
        new_fields,
        rechecks,
        settling: settlings.iter().filter(|s| is_wanted(&s.stream)).map(|s| settling::report(s, settings)).collect(),
        runs: warehouse.recent_runs(RUNS).await?,
        streams,
    })
}

impl Report {
    pub(super) fn tell_hours(&mut self, hours: &[HourOfContacts]) {
        for stream in &mut self.streams {
            stream.hours = hours.iter().filter(|hour| hour.stream == stream.status.stream).cloned().collect();
        }
    }
}

pub(super) async fn recent_contacts(
    warehouse: &Warehouse,
    at: DateTime<Utc>,
) -> Result<Vec<HourOfContacts>, WarehouseError> {
    let hour = super::grid::floor_to_hour(at);
    warehouse.contacts_by_hour(hour - TimeDelta::hours(HOURS_OF_CONTACTS - 1)).await
}

fn recheck(status: &RecheckStatus, all: &[RecheckStatus], settings: &Settings, at: DateTime<Utc>) -> RecheckReport {
    let rungs = &settings.sync.recheck;
    let carried = status.rungs_carried.and_then(|carried| usize::try_from(carried).ok()).unwrap_or(rungs.len());
    let given_up = rungs.get(carried..).unwrap_or_default();
    let rung = status.due_rung.and_then(|rung| rungs.get(usize::try_from(rung - 1).ok()?));
    let mut why = Vec::new();
    if status.due > 0 {
        let rung = rung.map_or_else(String::new, |rung| format!(", of the {} rung first", coarse(*rung)));
        let since = status.due_since.map_or_else(String::new, |since| format!(", since {}", span(at - since)));
        why.push(format!("{} windows are due{rung}{since}", status.due));
    }
    if status.counts_due > 0 {
        why.push(format!("{} weekly counts", status.counts_due));
    }
    if status.counts_differed > 0 {
        why.push(format!("{} counts differed", status.counts_differed));
    }
    if !given_up.is_empty() {
        let rungs: Vec<String> = given_up.iter().map(|rung| coarse(*rung)).collect();
        why.push(format!("the budget does not carry the rungs {}: {} windows wait", rungs.join(", "), status.given_up));
    }
    // The round takes the streams of an account in turn.
    let stream = settings.streams.get(&status.stream);
    let is_sibling = |name: &str| {
        settings.streams.get(name).map(|other| &other.api.account_id) == stream.map(|stream| &stream.api.account_id)
    };
    let contacts: i64 = all.iter().filter(|other| is_sibling(&other.stream)).map(|other| other.settled_contacts).sum();
    let (page, rate) = stream.map_or((100, 60), |stream| (stream.api.page_size, stream.api.requests_per_minute));
    let pass = cost::pass(contacts.unsigned_abs(), u64::from(page), f64::from(rate));
    RecheckReport {
        status: status.clone(),
        rungs_given_up: given_up.iter().map(Duration::as_secs).collect(),
        why: why.join("; "),
        pass_seconds: pass.num_seconds(),
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

    #[test]
    fn what_is_read_again_and_what_is_given_up_is_told_with_its_reason() {
        let settings =
            Loader::default().load_text("t", "[sync]\nrecheck = [\"1h\", \"1d\", \"7d\"]\n").expect("settings");
        let status = RecheckStatus {
            stream: "support".into(),
            rungs_carried: Some(1),
            due: 3,
            due_rung: Some(1),
            due_since: Some(at(-60)),
            given_up: 5,
            next_at: None,
            open_rung: 0,
            open_count: 0,
            open_spare: 0,
            settled: 0,
            settled_contacts: 10_950_000,
            settled_read_at: None,
            counted: 0,
            counts_due: 2,
            counts_differed: 0,
            requests_today: 0,
            requests_yesterday: 0,
        };
        let told = recheck(&status, std::slice::from_ref(&status), &settings, at(0));
        assert_eq!(told.rungs_given_up, [86_400, 7 * 86_400]);
        assert_eq!(
            told.why,
            "3 windows are due, of the 1h 0m rung first, since 1m 0s; 2 weekly counts; \
             the budget does not carry the rungs 1d 0h, 7d 0h: 5 windows wait"
        );
        assert_eq!(told.pass_seconds / 86_400, 12);
    }

    #[test]
    fn what_is_left_of_a_backfill_is_told_by_its_last_minutes() {
        let backfill =
            Backfill { created_at: at(-4_000), read_seconds: 40_000.0, ..samples::backfill(at(-100_000), at(0)) };
        let pace = Pace { backfill_id: 7, read_seconds: 6_000.0, contacts: 300 };
        let told = BackfillReport::at_pace(backfill.clone(), std::slice::from_ref(&pace), at(0));
        // Ten seconds of history a second, and 60,000 are left.
        assert_eq!((told.seconds_left, told.contacts_per_second), (Some(6_000), Some(0.5)));
        // Just begun: the pace is that of its own minute, not of ten.
        let young = Backfill { created_at: at(-60), ..backfill.clone() };
        assert_eq!(BackfillReport::at_pace(young, std::slice::from_ref(&pace), at(0)).seconds_left, Some(600));
        let paused = Backfill { state: "paused".into(), ..backfill.clone() };
        assert_eq!(BackfillReport::at_pace(paused, &[pace], at(0)).seconds_left, None);
        assert_eq!(BackfillReport::at_pace(backfill, &[], at(0)).seconds_left, None);
    }
}
