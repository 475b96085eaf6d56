//! `koresync run`

use clap::Args;

/// Mirror every configured stream until told to stop.
///
/// SIGTERM or SIGINT finishes what is under way and exits 0; a second one stops at once.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Work until every stream is up to date and its rechecks and backfills are done, then exit
    ///
    /// Database and API errors are retried for `sync.give_up`. Exit 3 when some streams failed or
    /// windows stayed unverified, 69 or 77 when all did.
    #[arg(long)]
    pub once: bool,
}
