//! `koresync quarantine`

use clap::{Args, Subcommand};

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
