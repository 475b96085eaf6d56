//! `koresync privacy`

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;
use serde::Serialize;

use super::{Context, Ended, Exit, output, session};
use crate::config::Secret;
use crate::domain::privacy::{PrivacyKey, SHORTEST_KEY};
use crate::telemetry::logs;

/// Replace the key of the privacy settings.
#[derive(Debug, Args)]
pub struct PrivacyArgs {
    #[command(subcommand)]
    pub command: PrivacyCommand,
}

#[derive(Debug, Subcommand)]
pub enum PrivacyCommand {
    /// Put another key in the place of privacy.key
    ///
    /// The hashes are made with a random key that the warehouse holds sealed with privacy.key: it is sealed anew,
    /// so no hash changes and nobody who was erased comes back. One step: killed before it, the old key counts,
    /// after it the new one. Running programs write nothing until they are started with the new key.
    RotateKey(RotateKeyArgs),
}

#[derive(Debug, Args)]
pub struct RotateKeyArgs {
    /// The file that holds the new key
    #[arg(long, value_name = "FILE")]
    pub new_key_file: PathBuf,
}

#[derive(Debug, Serialize)]
struct Rotated {
    key_fingerprint: String,
}

pub async fn execute(args: PrivacyArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let PrivacyCommand::RotateKey(args) = args.command;
    let settings = context.settings()?;
    logs::install(&context.log_beside_progress(&settings))?;
    if settings.privacy_key()?.is_none() {
        return Err(Ended::new(Exit::Configuration, "privacy.key_file must name the key that is to be replaced").into());
    }
    let text = Secret::File(args.new_key_file.clone()).read()?;
    let key = PrivacyKey::new(text.expose_secret()).ok_or_else(|| {
        let file = args.new_key_file.display();
        Ended::new(
            Exit::Usage,
            format!("{file}: a key has {SHORTEST_KEY} characters or more, as `openssl rand -hex 32` makes one"),
        )
    })?;
    let clock = Arc::clone(&context.clock);
    let warehouse = session::open(&settings, &clock).await?;
    let rotated = warehouse.rotate_privacy_key(&key).await;
    warehouse.close().await;
    rotated?;
    if context.global.json {
        output::json(&Rotated { key_fingerprint: key.fingerprint() })?;
    }
    output::say(&format!(
        "the warehouse is opened by the new key, with fingerprint {}, alone: now set privacy.key_file = {:?} and start the daemon anew",
        key.fingerprint(),
        args.new_key_file.display().to_string()
    ));
    Ok(Exit::Done)
}
