//! `koresync verify`

mod keys;

use clap::Args;

use super::{Context, Exit};

/// Prove that every reference in the warehouse holds.
///
/// Exit 3 when something is broken; up to ten keys of each kind are shown.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Every declared foreign key, and what no foreign key can carry, by SQL alone
    #[arg(long, required = true)]
    pub keys: bool,
}

pub async fn execute(args: VerifyArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    debug_assert!(args.keys, "required by clap");
    keys::execute(context).await
}
