//! `koresync config init / validate / show`

mod asking;
mod init;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use secrecy::SecretString;
use serde_json::json;

use super::{Context, Exit, output};
use crate::config::{ConfigError, Exposure, Settings};

#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    Init(Box<InitArgs>),
    /// Tell everything that is wrong with the configuration
    Validate,
    /// Print the merged settings and where each comes from, secrets left out
    Show,
}

/// Write a commented configuration to start from
///
/// On a terminal it asks for what no flag gives, tests the outcome and offers to make the schema.
#[derive(Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct InitArgs {
    /// The file to write [default: that of --config, then config/koresync.toml]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite the file
    #[arg(long)]
    pub force: bool,
    /// Ask nothing, also on a terminal
    #[arg(long)]
    pub no_questions: bool,
    /// Test the written configuration at once, as `koresync check` does
    #[arg(long)]
    pub check: bool,
    /// Make the schema at once, as `koresync migrate` does
    #[arg(long)]
    pub migrate: bool,
    /// The name of the stream's rows
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
    /// The vendor's id of the stream
    #[arg(long, value_name = "ID")]
    pub stream_id: Option<String>,
    /// Where history begins, as 2026-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// The vendor's id of the account
    #[arg(long, value_name = "ID")]
    pub account_id: Option<String>,
    /// The vendor's id of the organisation
    #[arg(long, value_name = "ID")]
    pub org_id: Option<String>,
    /// The app's client id, as cs-...
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// The file that holds the client secret
    #[arg(long, value_name = "FILE")]
    pub client_secret_file: Option<String>,
    /// The file that holds a ready-made token, in place of client id and secret
    #[arg(long, value_name = "FILE", conflicts_with_all = ["client_id", "client_secret_file"])]
    pub token_file: Option<String>,
    #[arg(long, value_name = "URL", help = "The vendor's address, as https://eu-platform.kore.ai")]
    pub base_url: Option<String>,
    #[arg(long, value_name = "URL", help = "The warehouse, as postgres://user@host/database")]
    pub warehouse_url: Option<SecretString>,
    /// The file that holds the warehouse's address
    #[arg(long, value_name = "FILE", conflicts_with = "warehouse_url")]
    pub warehouse_url_file: Option<String>,
}

pub async fn execute(args: ConfigArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    match args.command {
        ConfigCommand::Init(args) => Box::pin(init::execute(*args, context)).await,
        ConfigCommand::Validate => validate(context),
        ConfigCommand::Show => show(context),
    }
}

/// Everything that a run would need of the configuration, its secret files too.
fn complete(context: &Context) -> Result<Settings, ConfigError> {
    let settings = context.settings()?;
    let checks = [settings.require_streams(), settings.check_secrets(), settings.warehouse_connection().map(drop)];
    let mut problems = Vec::new();
    for problem in checks.into_iter().filter_map(Result::err).flat_map(|error| error.problems) {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    if problems.is_empty() { Ok(settings) } else { Err(ConfigError { problems }) }
}

fn validate(context: &Context) -> Result<Exit, anyhow::Error> {
    let checked = complete(context);
    if context.global.json {
        let problems: Vec<_> = checked
            .as_ref()
            .err()
            .into_iter()
            .flat_map(|error| &error.problems)
            .map(|problem| {
                json!({
                    "origin": problem.origin,
                    "key": problem.key,
                    "value": problem.value,
                    "message": problem.message,
                })
            })
            .collect();
        output::json(&json!({ "valid": checked.is_ok(), "problems": problems }))?;
        return Ok(if checked.is_ok() { Exit::Done } else { Exit::Configuration });
    }
    let settings = checked?;
    let from = context.loader.chosen_file().map_or("the environment".into(), |file| file.display().to_string());
    let streams: Vec<_> = settings.streams.keys().map(String::as_str).collect();
    output::say(&format!("{from}: nothing wrong; streams: {}", streams.join(", ")));
    for secret in settings.secret_files() {
        if let (Some(file), Some(Exposure { found, mend })) = (secret.file(), secret.exposure()) {
            output::say(&format!("{} is {found}: {mend}", file.display()));
        }
    }
    Ok(Exit::Done)
}

fn show(context: &Context) -> Result<Exit, anyhow::Error> {
    let settings = context.settings()?;
    if context.global.json {
        let entries: Vec<_> = settings
            .entries()
            .iter()
            .map(|entry| {
                json!({
                    "key": format!("{}.{}", entry.section, entry.key),
                    "value": entry.value,
                    "origin": entry.origin,
                })
            })
            .collect();
        output::json(&entries)?;
    } else {
        output::data(&settings.show())?;
    }
    Ok(Exit::Done)
}
