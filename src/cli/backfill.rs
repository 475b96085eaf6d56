//! `koresync backfill`

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::moment;

/// Fetch a range of history, and follow it until it is there.
///
/// Killed and started again with the same range, it goes on where it was.
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
    /// The first guess of a window's length
    #[arg(long, value_name = "SPAN", value_parser = moment::parse_span)]
    pub window: Option<Duration>,
    /// Count the contacts and estimate the requests; change nothing
    #[arg(long, conflicts_with = "detach")]
    pub dry_run: bool,
    /// File it and leave the work to the daemon
    #[arg(long)]
    pub detach: bool,
}
