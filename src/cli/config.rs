//! `koresync config init / validate / show`

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use secrecy::SecretString;
use serde_json::json;

use super::{Context, Ended, Exit, output};
use crate::config::{ConfigError, Exposure, Loader, SEARCHED, Settings, Starter};

#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Write a commented configuration to start from
    Init(Box<InitArgs>),
    /// Tell everything that is wrong with the configuration
    Validate,
    /// Print the merged settings and where each comes from, secrets left out
    Show,
}

#[derive(Debug, Default, Args)]
pub struct InitArgs {
    /// The file to write [default: that of --config, then config/koresync.toml]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite the file
    #[arg(long)]
    pub force: bool,
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

pub fn execute(args: ConfigArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    match args.command {
        ConfigCommand::Init(args) => init(*args, context),
        ConfigCommand::Validate => validate(context),
        ConfigCommand::Show => show(context),
    }
}

fn init(args: InitArgs, context: &Context) -> Result<Exit, anyhow::Error> {
    let file = args.output.or_else(|| context.global.config.clone()).unwrap_or_else(|| PathBuf::from(SEARCHED[0]));
    let starter = Starter {
        warehouse_url: args.warehouse_url,
        warehouse_url_file: args.warehouse_url_file,
        base_url: args.base_url,
        account_id: args.account_id,
        org_id: args.org_id,
        client_id: args.client_id,
        client_secret_file: args.client_secret_file,
        token_file: args.token_file,
        stream: args.stream,
        stream_id: args.stream_id,
        start: args.start,
    };
    let text = starter.render();
    let left = placeholders(&file, &text)?;
    write(&file, &text, args.force)?;
    output::say(&format!("wrote {}", file.display()));
    if !left.is_empty() {
        output::say(&format!("still to be filled in: {}", left.join(", ")));
    }
    Ok(Exit::Done)
}

/// The keys that still hold the sample's placeholder; any other fault comes from a flag and is an
/// error.
fn placeholders(path: &Path, text: &str) -> Result<Vec<String>, ConfigError> {
    match Loader::default().load_text(&path.display().to_string(), text) {
        Ok(_) => Ok(Vec::new()),
        Err(error) => {
            let (left, wrong): (Vec<_>, Vec<_>) =
                error.problems.into_iter().partition(crate::config::Problem::is_placeholder);
            if wrong.is_empty() {
                Ok(left.into_iter().map(|problem| problem.key).collect())
            } else {
                Err(ConfigError { problems: wrong })
            }
        }
    }
}

/// Readable by its owner alone: the warehouse's address may hold a password.
fn write(path: &Path, text: &str, force: bool) -> Result<(), anyhow::Error> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let told = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(told)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let message = format!("{} exists already; --force overwrites it", path.display());
            return Err(Ended::new(Exit::Failed, message).into());
        }
        opened => opened.with_context(told)?,
    };
    file.write_all(text.as_bytes()).with_context(told)
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
