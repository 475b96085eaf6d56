//! `koresync migrate`

use clap::{Args, Subcommand};

/// Bring the warehouse's schema up to this version.
///
/// Exit 75 when another migration is under way.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    #[command(subcommand)]
    pub command: Option<MigrateCommand>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Subcommand)]
pub enum MigrateCommand {
    /// Apply what is missing (the default)
    #[default]
    Up,
    /// Show which migrations are applied and which are missing
    Status,
    /// Print the SQL of every migration
    Print,
}
