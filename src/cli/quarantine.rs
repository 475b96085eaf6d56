//! `koresync quarantine`

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::lifecycle::Lifecycle;
use super::table::{Align, Table};
use super::{Context, Exit, output, session};
use crate::config::Settings;
use crate::status::time;
use crate::sync::requeue;
use crate::telemetry::logs;
use crate::warehouse::load::requeue::Selection;
use crate::warehouse::quarantine::Quarantined;

/// Look at the records that could not be read, and try them again.
#[derive(Debug, Args)]
pub struct QuarantineArgs {
    #[command(subcommand)]
    pub command: QuarantineCommand,
}

#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// Reason, place of the fault and attempts of each
    List(QuarantineListArgs),
    /// One record whole; its payload may hold personal data
    Show(QuarantineShowArgs),
    /// Read them again without the API, as after an upgrade
    ///
    /// What reads well goes into the tables, but never over content that was received later, and leaves
    /// quarantine; exit 3 when some still fail.
    Retry(QuarantineRetryArgs),
}

#[derive(Debug, Args)]
pub struct QuarantineListArgs {
    /// One stream alone
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
    /// At most so many, the newest first
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub struct QuarantineShowArgs {
    /// As `quarantine list` shows it
    pub id: i64,
}

#[derive(Debug, Args)]
pub struct QuarantineRetryArgs {
    /// One record alone, as `quarantine list` shows it
    #[arg(long, value_name = "N", conflicts_with_all = ["stream", "reason"])]
    pub id: Option<i64>,
    /// Those of one stream alone
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
    /// Those set aside for one reason alone, as `not_json`
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
}

/// A record with its text: as text, since what is in quarantine need not be JSON.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    record: Quarantined,
    payload: String,
}

pub async fn execute(args: QuarantineArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let settings = context.settings()?;
    let is_json = context.global.json;
    match args.command {
        QuarantineCommand::Retry(args) => return Box::pin(retry(args, settings, context)).await,
        QuarantineCommand::List(args) => {
            let warehouse = session::open(&settings, &context.clock).await?;
            if let Some(stream) = &args.stream {
                warehouse.stream_state(stream).await?;
            }
            let records = warehouse.quarantined(args.stream.as_deref(), i64::from(args.limit)).await?;
            if is_json {
                output::json(&records)?;
            } else {
                output::data(&table(&records).render())?;
            }
            if records.is_empty() {
                output::say("no record is in quarantine");
            }
            warehouse.close().await;
        }
        QuarantineCommand::Show(args) => {
            let warehouse = session::open(&settings, &context.clock).await?;
            let (record, payload) = warehouse.quarantined_record(args.id).await?;
            let shown = Shown { record, payload: String::from_utf8_lossy(&payload).into_owned() };
            if is_json {
                output::json(&shown)?;
            } else {
                let Quarantined { id, stream, reason, fault_path, attempts, first_seen_at, .. } = &shown.record;
                output::say(&format!(
                    "record {id} of {stream}: {reason} at {fault_path}; {attempts} attempts since {}\n\
                     what follows is the record as it is kept, personal data and all:",
                    time(*first_seen_at)
                ));
                if shown.payload.is_empty() {
                    output::say(
                        "nothing of its text is kept: it is too large, or nobody can tell what is personal in it",
                    );
                }
                output::data(&shown.payload)?;
            }
            warehouse.close().await;
        }
    }
    Ok(Exit::Done)
}

async fn retry(args: QuarantineRetryArgs, settings: Settings, context: &Context) -> Result<Exit, anyhow::Error> {
    logs::install(&settings.log)?;
    let life = Lifecycle::start()?;
    let (stop, clock, is_json) = (life.stopping(), Arc::clone(&context.clock), context.global.json);
    let work = async move {
        let warehouse = session::open(&settings, &clock).await?;
        session::settle(&warehouse).await?;
        if let Some(stream) = &args.stream {
            warehouse.stream_state(stream).await?;
        }
        if let Some(id) = args.id {
            warehouse.quarantined_record(id).await?;
        }
        let selection = Selection { id: args.id, stream: args.stream, reason: args.reason };
        let sum = requeue::retry(&warehouse, &selection, |sum| {
            tracing::debug!(tried = sum.tried, read_well = sum.read_well, "Records of quarantine were tried again.");
            !stop.is_cancelled()
        })
        .await?;
        warehouse.close().await;
        if is_json {
            output::json(&sum)?;
        }
        output::say(&format!(
            "{} records tried again: {} read well and left quarantine, {} still fail",
            sum.tried, sum.read_well, sum.still_failing
        ));
        Ok(if sum.still_failing > 0 || stop.is_cancelled() { Exit::Partly } else { Exit::Done })
    };
    life.complete(Box::pin(work)).await
}

fn table(records: &[Quarantined]) -> Table {
    let mut table = Table::new([
        ("id", Align::Right),
        ("stream", Align::Left),
        ("conversation", Align::Left),
        ("reason", Align::Left),
        ("place", Align::Left),
        ("attempts", Align::Right),
        ("first seen", Align::Left),
    ]);
    for record in records {
        table.row([
            record.id.to_string(),
            record.stream.clone(),
            record.conversation_id.clone().unwrap_or_default(),
            record.reason.clone(),
            record.fault_path.clone(),
            record.attempts.to_string(),
            time(record.first_seen_at),
        ]);
    }
    table
}
