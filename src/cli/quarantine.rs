//! `koresync quarantine`

use clap::{Args, Subcommand};
use serde::Serialize;

use super::status::time;
use super::table::{Align, Table};
use super::{Context, Exit, output, session};
use crate::warehouse::quarantine::Quarantined;

/// Look at the records that could not be read.
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

/// A record with its text: as text, since what is in quarantine need not be JSON.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    record: Quarantined,
    payload: String,
}

pub async fn execute(args: QuarantineArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let settings = context.settings()?;
    let warehouse = session::open(&settings, &context.clock).await?;
    let is_json = context.global.json;
    match args.command {
        QuarantineCommand::List(args) => {
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
        }
        QuarantineCommand::Show(args) => {
            let (record, payload) = warehouse.quarantined_record(args.id).await?;
            let shown = Shown { record, payload: String::from_utf8_lossy(&payload).into_owned() };
            if is_json {
                output::json(&shown)?;
            } else {
                let Quarantined { id, stream, reason, fault_path, attempts, first_seen_at, .. } = &shown.record;
                output::say(&format!(
                    "record {id} of {stream}: {reason} at {fault_path}; {attempts} attempts since {}\n\
                     what follows is the record as received, personal data and all:",
                    time(*first_seen_at)
                ));
                output::data(&shown.payload)?;
            }
        }
    }
    warehouse.close().await;
    Ok(Exit::Done)
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
