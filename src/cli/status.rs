//! `koresync status`

use clap::Args;

/// Show each stream's watermark, lag, lanes, backfills, quarantine and budget.
///
/// Exit 3 when something is behind.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// One stream alone
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
}
