//! `koresync status`

mod settling;
mod telling;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;

use super::lifecycle::Lifecycle;
use super::{Context, Exit, output, paint, session};
use crate::status::{self, Report};

const WATCH_EVERY: Duration = Duration::from_secs(2);
const CLEAR_SCREEN: &str = "\u{1b}[H\u{1b}[2J";

/// Tell in one sentence how things stand, then each stream, lane, backfill, quarantine, budget and run.
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

pub async fn execute(args: StatusArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let settings = context.settings()?;
    let warehouse = session::open(&settings, &context.clock).await?;
    let life = if args.watch { Some(Lifecycle::start()?) } else { None };
    let mut exit;
    loop {
        let report = status::look(&warehouse, &settings, args.stream.as_deref()).await;
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

fn show(report: &Report, is_json: bool, is_watched: bool) -> Result<(), anyhow::Error> {
    if is_json {
        return output::json(report);
    }
    let is_terminal = std::io::stdout().is_terminal();
    let screen = if is_watched && is_terminal { CLEAR_SCREEN } else { "" };
    let text = telling::render(report, paint::is_wanted());
    Ok(output::data(&format!("{screen}{text}"))?)
}
