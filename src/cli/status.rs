//! `koresync status`

mod settling;
mod telling;

use std::io::IsTerminal as _;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde::Serialize;

use super::lifecycle::Lifecycle;
use super::progress::coarse;
use super::{Context, Exit, output, session};
use crate::config::Settings;
use crate::sync::recheck::cost;
use crate::warehouse::backfills::Backfill;
use crate::warehouse::drift::NewField;
use crate::warehouse::quarantine::ReasonCount;
use crate::warehouse::rechecks::RecheckStatus;
use crate::warehouse::status::{BudgetStatus, StreamStatus, WindowCount};
use crate::warehouse::{Warehouse, WarehouseError};

use settling::SettlingReport;

const WATCH_EVERY: Duration = Duration::from_secs(2);
/// A field that has no column is new for so long.
const NEW_FOR: TimeDelta = TimeDelta::days(7);
/// New fields that are told; SQL tells the others.
const NEW_FIELDS: i64 = 10;
const CLEAR_SCREEN: &str = "\u{1b}[H\u{1b}[2J";

/// Show each stream's watermark, lag, lanes, backfills, rechecks, quarantine, new fields and budget.
///
/// Exit 3 when something is behind: a stream refused, never run, still fetching its history, with
/// failing or unverified windows, or with a watermark older than two polls explain.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// One stream alone
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
    /// Show it again every two seconds until Ctrl-C
    #[arg(long)]
    pub watch: bool,
}

/// How things stand at one moment.
#[derive(Debug, Serialize)]
struct Report {
    at: DateTime<Utc>,
    is_behind: bool,
    streams: Vec<StreamReport>,
    /// Configured, and not in the warehouse yet.
    never_run: Vec<String>,
    windows: Vec<WindowCount>,
    /// The open ones.
    backfills: Vec<BackfillReport>,
    budgets: Vec<BudgetStatus>,
    /// Records that could not be read, by reason.
    quarantine: Vec<ReasonCount>,
    /// What drifted for the first time in the last seven days, the latest first: ten at most.
    new_fields: Vec<NewField>,
    /// How many there are in all.
    new_fields_count: i64,
    rechecks: Vec<RecheckReport>,
    settling: Vec<SettlingReport>,
}

#[derive(Debug, Serialize)]
struct StreamReport {
    #[serde(flatten)]
    status: StreamStatus,
    /// From the watermark to what is settled by now.
    lag_seconds: i64,
    state: &'static str,
    /// In words; empty when nothing is behind.
    behind: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RecheckReport {
    #[serde(flatten)]
    status: RecheckStatus,
    /// The rungs of `sync.recheck` that are given up, seconds.
    rungs_given_up: Vec<u64>,
    /// What is due and why, in words.
    why: String,
    /// How long the round of all history takes within its part of the account's budget.
    pass_seconds: i64,
}

#[derive(Debug, Serialize)]
pub(super) struct BackfillReport {
    #[serde(flatten)]
    pub backfill: Backfill,
    /// 0 to 1.
    pub progress: f64,
}

impl From<Backfill> for BackfillReport {
    fn from(backfill: Backfill) -> Self {
        Self { progress: backfill.progress(), backfill }
    }
}

pub async fn execute(args: StatusArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let settings = context.settings()?;
    let warehouse = session::open(&settings, &context.clock).await?;
    let life = if args.watch { Some(Lifecycle::start()?) } else { None };
    let mut exit;
    loop {
        let report = report(&warehouse, &settings, args.stream.as_deref()).await;
        match (report, &life) {
            (Ok(report), _) => {
                exit = if report.is_behind { Exit::Partly } else { Exit::Done };
                show(&report, context.global.json, args.watch)?;
            }
            (Err(error), None) => return Err(error.into()),
            (Err(error), Some(_)) => {
                exit = Exit::OutOfReach;
                output::say(&format!("cannot look: {error}"));
            }
        }
        let Some(life) = &life else { break };
        if life.stopping().run_until_cancelled(tokio::time::sleep(WATCH_EVERY)).await.is_none() {
            break;
        }
    }
    warehouse.close().await;
    Ok(exit)
}

async fn report(warehouse: &Warehouse, settings: &Settings, only: Option<&str>) -> Result<Report, WarehouseError> {
    if let Some(stream) = only {
        warehouse.stream_state(stream).await?;
    }
    let is_wanted = |stream: &str| only.is_none_or(|only| only == stream);
    let at = warehouse.now().await?;
    let mut backfills = warehouse.open_backfills().await?;
    backfills.retain(|backfill| is_wanted(&backfill.stream));
    let settlings = warehouse.settlings().await?;
    let streams: Vec<_> = warehouse
        .stream_statuses()
        .await?
        .into_iter()
        .filter(|status| is_wanted(&status.stream))
        .map(|status| {
            let learned = settlings.iter().find(|s| s.stream == status.stream).and_then(|s| s.settle_seconds);
            judge(status, &backfills, settings, settings.sync.settle.of(learned), at)
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
    let is_behind =
        streams.is_empty() || !never_run.is_empty() || streams.iter().any(|stream| !stream.behind.is_empty());
    let backfills = backfills.into_iter().map(BackfillReport::from).collect();
    let statuses = warehouse.recheck_statuses(at).await?;
    let rechecks = statuses
        .iter()
        .filter(|status| is_wanted(&status.stream))
        .map(|status| recheck(status, &statuses, settings, at))
        .collect();
    let mut quarantine = warehouse.quarantine_counts().await?;
    quarantine.retain(|count| is_wanted(&count.stream));
    let new_fields = warehouse.new_fields(only, at - NEW_FOR, NEW_FIELDS).await?;
    Ok(Report {
        at,
        is_behind,
        streams,
        never_run,
        windows,
        backfills,
        budgets: warehouse.budget_statuses().await?,
        quarantine,
        new_fields_count: new_fields.first().map_or(0, |field| field.of),
        new_fields,
        rechecks,
        settling: settlings.iter().filter(|s| is_wanted(&s.stream)).map(|s| settling::report(s, settings)).collect(),
    })
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

fn judge(
    status: StreamStatus,
    backfills: &[Backfill],
    settings: &Settings,
    settle: Duration,
    at: DateTime<Utc>,
) -> StreamReport {
    let poll = settings
        .streams
        .get(&status.stream)
        .map_or(settings.sync.poll_interval, |stream| session::poll_interval(settings, stream));
    let lag = (at - settle - status.watermark).max(TimeDelta::zero());
    let history = backfills.iter().find(|b| b.stream == status.stream && b.origin != "operator");
    let mut reasons = Vec::new();
    if status.paused_at.is_some() {
        reasons.push(("refused", format!("refused: {}", status.paused_reason.as_deref().unwrap_or("no reason told"))));
    }
    if status.windows_failing > 0 {
        let why = status.last_error.as_deref().unwrap_or("no error told");
        reasons.push(("failing", format!("{} windows failed and are tried again: {why}", status.windows_failing)));
    }
    if status.windows_unverified > 0 {
        reasons.push(("unverified", format!("{} windows are kept but not verified", status.windows_unverified)));
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
        state: reasons.first().map_or("up to date", |(state, _)| *state),
        behind: reasons.into_iter().map(|(_, words)| words).collect(),
        status,
    }
}

fn show(report: &Report, is_json: bool, is_watched: bool) -> Result<(), anyhow::Error> {
    if is_json {
        return output::json(report);
    }
    let screen = if is_watched && std::io::stdout().is_terminal() { CLEAR_SCREEN } else { "" };
    Ok(output::data(&format!("{screen}{}", telling::render(report)))?)
}

pub(super) fn time(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn span(span: TimeDelta) -> String {
    coarse(span.to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loader;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_774_261_000 + seconds, 0).expect("a time")
    }

    fn stream(watermark: DateTime<Utc>) -> StreamStatus {
        StreamStatus {
            stream: "support".into(),
            start_at: at(-900_000),
            watermark,
            frontier: watermark,
            last_success_at: None,
            paused_at: None,
            paused_reason: None,
            retry_at: None,
            paging: None,
            page_limit: None,
            windows_verified: 1,
            windows_unverified: 0,
            windows_waiting: 0,
            windows_running: 0,
            windows_failing: 0,
            last_error: None,
            contacts: 7,
            quarantined: 0,
            unknown_fields: 0,
        }
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
}
