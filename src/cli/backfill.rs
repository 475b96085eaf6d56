//! `koresync backfill`

mod estimate;
mod follow;

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use clap::{Args, Subcommand};

use super::table::{Align, Table};
use super::{Context, Ended, Exit, moment, output, session};
use crate::config::{Settings, StreamSettings};
use crate::domain::window::floor_to_second;
use crate::domain::{Window, coarse};
use crate::status::{BackfillReport, span, time};
use crate::warehouse::Warehouse;
use crate::warehouse::backfills::{Backfill, Verb};

/// The first year of the warehouse's calendar.
const FIRST_YEAR: i32 = 2000;

/// Fetch a range of history, and follow it until it is there.
///
/// Killed and started again with the same range, it goes on where it was. A daemon that runs meanwhile
/// shares the work. Exit 3 when windows stayed unverified or it was cancelled or stopped, 75 when
/// another process follows it.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct BackfillArgs {
    #[command(subcommand)]
    pub command: Option<BackfillCommand>,
    #[command(flatten)]
    pub file: FileArgs,
}

#[derive(Debug, Subcommand)]
pub enum BackfillCommand {
    /// All backfills and how far they are
    List,
    /// One backfill in full
    Show(BackfillId),
    /// Take no more of its windows for now
    Pause(BackfillId),
    /// Go on with a paused one
    Resume(BackfillId),
    /// Give it up; what was fetched stays
    Cancel(BackfillId),
    /// Try its failed and unverified windows again
    Retry(BackfillId),
}

#[derive(Debug, Args)]
pub struct BackfillId {
    /// As `backfill list` shows it
    pub id: i64,
}

#[derive(Debug, Args)]
pub struct FileArgs {
    /// The stream's name
    #[arg(long, value_name = "NAME", required = true)]
    pub stream: Option<String>,
    /// The first moment, as 2026-01-01T00:00:00Z or 2026-01-01
    #[arg(long, value_name = "TIME", required = true, value_parser = moment::parse)]
    pub from: Option<DateTime<Utc>>,
    /// The end, itself left out
    #[arg(long, value_name = "TIME", required = true, value_parser = moment::parse)]
    pub to: Option<DateTime<Utc>>,
    /// A fixed length for its windows, which size themselves otherwise
    #[arg(long, value_name = "SPAN", value_parser = moment::parse_span)]
    pub window: Option<Duration>,
    /// Count the contacts and estimate the requests; change nothing
    #[arg(long, conflicts_with = "detach")]
    pub dry_run: bool,
    /// File it and leave the work to the daemon
    #[arg(long)]
    pub detach: bool,
}

pub async fn execute(args: BackfillArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let settings = context.settings()?;
    match args.command {
        None => Box::pin(file(args.file, settings, context)).await,
        Some(command) => {
            let warehouse = session::open(&settings, &context.clock).await?;
            let exit = steer(command, &warehouse, context.global.json).await?;
            warehouse.close().await;
            Ok(exit)
        }
    }
}

async fn steer(command: BackfillCommand, warehouse: &Warehouse, is_json: bool) -> Result<Exit, anyhow::Error> {
    let (id, verb) = match command {
        BackfillCommand::List => {
            let all = BackfillReport::measured(warehouse, warehouse.backfills().await?).await?;
            if is_json {
                output::json(&all)?;
            } else {
                output::data(&table(&all).render())?;
            }
            return Ok(Exit::Done);
        }
        BackfillCommand::Show(which) => {
            let backfill = warehouse.backfill(which.id).await?;
            if is_json {
                output::json(&BackfillReport::from(backfill))?;
            } else {
                output::data(&in_full(&backfill))?;
            }
            return Ok(Exit::Done);
        }
        BackfillCommand::Pause(which) => (which.id, Verb::Pause),
        BackfillCommand::Resume(which) => (which.id, Verb::Resume),
        BackfillCommand::Cancel(which) => (which.id, Verb::Cancel),
        BackfillCommand::Retry(which) => (which.id, Verb::Retry),
    };
    let backfill = warehouse.steer_backfill(id, verb).await?;
    output::say(&format!("backfill {id} is {}", backfill.state));
    if is_json {
        output::json(&BackfillReport::from(backfill))?;
    }
    Ok(Exit::Done)
}

/// What is to be read: a configured stream and a range that is settled by now.
#[derive(Debug)]
struct Order {
    stream: StreamSettings,
    range: Window,
    /// Where the range begins instead, since what is older is not kept.
    kept_since: Option<DateTime<Utc>>,
    /// Whether the end asked for lay in the future, so that the range ends where data is settled.
    is_clipped: bool,
    span: Option<TimeDelta>,
}

impl Order {
    fn read(args: &FileArgs, settings: &Settings, now: DateTime<Utc>) -> Result<Self, Ended> {
        let usage = |message: String| Ended::new(Exit::Usage, message);
        let (Some(name), Some(from), Some(to)) = (&args.stream, args.from, args.to) else {
            return Err(usage("name --stream, --from and --to".into()));
        };
        let Some(stream) = settings.streams.get(name) else {
            let known: Vec<_> = settings.streams.keys().map(String::as_str).collect();
            return Err(usage(format!("no stream {name} is configured; there are: {}", known.join(", "))));
        };
        if from >= to {
            return Err(usage(format!("--from {} is not before --to {}", time(from), time(to))));
        }
        if from.year() < FIRST_YEAR {
            return Err(usage(format!("--from {} is before {FIRST_YEAR}, where the calendar begins", time(from))));
        }
        let settled = floor_to_second(now - settings.sync.settle.of(None));
        let kept_since = session::retention(settings).cutoffs(now).contacts.map(floor_to_second);
        if let Some(since) = kept_since
            && to <= since
        {
            let message = "all of it is older than contacts are kept (retention.contacts), which is since";
            return Err(usage(format!("{message} {}", time(since))));
        }
        let kept_since = kept_since.filter(|since| from < *since);
        let from = kept_since.unwrap_or(from);
        let Some(range) = Window::new(from, to.min(settled)) else {
            return Err(usage(format!("nothing after {} is settled yet (sync.settle)", time(settled))));
        };
        let span = args.window.and_then(|span| TimeDelta::from_std(span).ok());
        Ok(Self { stream: stream.clone(), range, kept_since, is_clipped: to > settled, span })
    }
}

async fn file(args: FileArgs, settings: Settings, context: &Context) -> Result<Exit, anyhow::Error> {
    settings.require_streams()?;
    settings.check_secrets()?;
    let order = Order::read(&args, &settings, context.clock.now())?;
    if order.is_clipped {
        output::say(&format!("nothing after {} is settled yet: the range ends there", time(order.range.to)));
    }
    if let Some(since) = order.kept_since {
        output::say(&format!("contacts are kept since {} (retention.contacts): the range begins there", time(since)));
    }
    if args.dry_run {
        Box::pin(estimate::execute(&order, &settings, context)).await
    } else {
        Box::pin(follow::execute(order, args.detach, settings, context)).await
    }
}

pub(super) fn table(backfills: &[BackfillReport]) -> Table {
    let mut table = Table::new([
        ("backfill", Align::Right),
        ("stream", Align::Left),
        ("state", Align::Left),
        ("from", Align::Left),
        ("to", Align::Left),
        ("done", Align::Right),
        ("contacts", Align::Right),
        ("a second", Align::Right),
        ("left", Align::Right),
        ("unverified", Align::Right),
        ("requests", Align::Right),
        ("filed by", Align::Left),
    ]);
    for BackfillReport { backfill, progress, contacts_per_second, seconds_left } in backfills {
        table.row([
            backfill.id.to_string(),
            backfill.stream.clone(),
            backfill.state.clone(),
            time(backfill.from_at),
            time(backfill.to_at),
            format!("{:.1} %", progress * 100.0),
            backfill.contacts.to_string(),
            contacts_per_second.map_or_else(String::new, |rate| format!("{rate:.1}")),
            seconds_left.map_or_else(String::new, |left| span(TimeDelta::seconds(left))),
            backfill.windows_unverified.to_string(),
            backfill.requests.to_string(),
            backfill.origin.clone(),
        ]);
    }
    table
}

fn in_full(backfill: &Backfill) -> String {
    let span = backfill.span_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let lines = [
        ("backfill", backfill.id.to_string()),
        ("stream", backfill.stream.clone()),
        ("state", backfill.state.clone()),
        ("range", format!("{} to {}", time(backfill.from_at), time(backfill.to_at))),
        ("done", format!("{:.1} %", backfill.progress() * 100.0)),
        ("planned down to", time(backfill.planned_down_to)),
        ("window", span.map_or_else(|| "sizes itself".to_owned(), coarse)),
        ("windows verified", backfill.windows_verified.to_string()),
        ("windows unverified", backfill.windows_unverified.to_string()),
        ("windows planned", backfill.windows_planned.to_string()),
        ("contacts", backfill.contacts.to_string()),
        ("inserted", backfill.inserted.to_string()),
        ("changed", backfill.changed.to_string()),
        ("unchanged", backfill.unchanged.to_string()),
        ("quarantined", backfill.quarantined.to_string()),
        ("requests", backfill.requests.to_string()),
        ("filed by", backfill.origin.clone()),
        ("filed at", time(backfill.created_at)),
        ("finished at", backfill.finished_at.map_or_else(|| "-".to_owned(), time)),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<20}{value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loader;

    fn order(from: &str, to: &str, stream: &str) -> Result<Order, Ended> {
        let text = "[api]\naccount_id = \"a\"\norg_id = \"o\"\ntoken = \"t\"\n[sync]\nsettle = \"1h\"\n\
                    [retention]\ncontacts = \"365d\"\n[streams.support]\nstream_id = \"st-1\"\nstart = \"2026-01-01T00:00:00Z\"\n";
        let settings = Loader::default().load_text("t", text).expect("settings");
        let at = |text| moment::parse(text).expect("a time");
        let args = FileArgs {
            stream: Some(stream.to_owned()),
            from: Some(at(from)),
            to: Some(at(to)),
            window: None,
            dry_run: false,
            detach: false,
        };
        Order::read(&args, &settings, at("2026-03-01T12:00:00Z"))
    }

    #[test]
    fn a_range_ends_where_data_is_settled() {
        let whole = order("2026-01-01", "2026-03-01T11:00:00Z", "support").expect("an order");
        assert!(!whole.is_clipped);
        let clipped = order("2026-01-01", "2026-03-01T11:00:01Z", "support").expect("an order");
        assert!(clipped.is_clipped);
        assert_eq!(clipped.range, whole.range);
    }

    #[test]
    fn a_range_begins_where_contacts_are_kept() {
        let since = moment::parse("2025-03-01T12:00:00Z").expect("a time");
        let clipped = order("2024-01-01", "2026-01-01", "support").expect("an order");
        assert_eq!((clipped.range.from, clipped.kept_since), (since, Some(since)));
        let whole = order("2025-03-01T12:00:00Z", "2026-01-01", "support").expect("an order");
        assert_eq!((whole.range.from, whole.kept_since), (since, None));
        let gone = order("2024-01-01", "2025-03-01T12:00:00Z", "support").expect_err("refused");
        assert!(gone.exit == Exit::Usage && gone.message.contains("retention.contacts"), "{}", gone.message);
    }

    #[test]
    fn an_order_that_cannot_be_carried_out_is_a_fault_of_usage() {
        for (from, to, stream) in [
            ("2026-01-02", "2026-01-01", "support"),
            ("2026-01-01", "2026-01-01", "support"),
            ("1999-12-31T23:59:59Z", "2026-01-01", "support"),
            ("2026-03-01T11:00:00Z", "2026-03-02", "support"),
            ("2026-01-01", "2026-01-02", "sales"),
        ] {
            assert_eq!(order(from, to, stream).expect_err("refused").exit, Exit::Usage, "{from} {to} {stream}");
        }
    }
}
