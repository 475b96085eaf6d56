//! `koresync verify`

mod keys;
mod range;
mod repair;
mod telling;

use chrono::{DateTime, Utc};
use clap::Args;

use super::{Context, Exit, moment};

/// Compare the tables with the API, or prove that their references hold.
///
/// Reads the API again, window by window, and compares ids and hashes with the tables: what is missing
/// here, gone there, different. By default all of the verified history of every stream. It claims
/// nothing and may run beside the daemon, out of the same budget of requests. Exit 3 when something differs or a
/// read could not be proved, or with --keys when a reference is broken.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// One stream alone
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
    /// The first moment, as 2026-01-01T00:00:00Z or 2026-01-01
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    pub from: Option<DateTime<Utc>>,
    /// The end, itself left out
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    pub to: Option<DateTime<Utc>>,
    /// Only count, by one request for each seven days
    #[arg(long, conflicts_with = "repair")]
    pub count: bool,
    /// Read what differs again, as backfills over just those ranges, and look once more
    #[arg(long)]
    pub repair: bool,
    /// No API: prove every declared foreign key, and what no foreign key can carry, by SQL
    #[arg(long, conflicts_with_all = ["stream", "from", "to", "count", "repair"])]
    pub keys: bool,
}

pub async fn execute(args: VerifyArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    if args.keys { keys::execute(context).await } else { Box::pin(range::execute(args, context)).await }
}
