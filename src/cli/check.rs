//! `koresync check`

use clap::Args;

/// Try everything that a run needs, a line each, with the mend.
///
/// Configuration, secret files, name and TLS, token, one request to the API, database privileges,
/// schema version and the clock.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// One stream alone
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
}
