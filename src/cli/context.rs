//! What every command is given.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use crate::config::{ConfigError, Loader, LogFormat, LogSettings, Override, Settings};
use crate::domain::clock::SharedClock;

const CONFIG_HELP: &str =
    "The configuration file [default: $KORESYNC_CONFIG, ./config/koresync.toml, /etc/koresync/koresync.toml]";

/// Options that stand before or after the subcommand.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    #[arg(long, global = true, value_name = "FILE", help = CONFIG_HELP)]
    pub config: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// How logs are written: auto is text on a terminal, JSON otherwise
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormatArg>,
    /// Log more: -v debug, -vv trace
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Log less: -q warnings, -qq errors
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub quiet: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormatArg {
    Auto,
    Text,
    Json,
}

impl From<LogFormatArg> for LogFormat {
    fn from(format: LogFormatArg) -> Self {
        match format {
            LogFormatArg::Auto => Self::Auto,
            LogFormatArg::Text => Self::Text,
            LogFormatArg::Json => Self::Json,
        }
    }
}

impl Global {
    /// How to log by these flags alone, for commands that read no configuration.
    pub fn log_settings(&self) -> LogSettings {
        let mut settings = LogSettings::default();
        for given in self.overrides() {
            match given.key {
                "level" => settings.level = given.value,
                _ => settings.format = self.log_format.map_or(LogFormat::Auto, LogFormat::from),
            }
        }
        settings
    }

    /// The flags that stand for keys of the configuration, and win over it.
    pub fn overrides(&self) -> Vec<Override> {
        let format = self.log_format.map(|format| {
            let word = match format {
                LogFormatArg::Auto => "auto",
                LogFormatArg::Text => "text",
                LogFormatArg::Json => "json",
            };
            ("--log-format", "format", word)
        });
        let level = match (self.verbose, self.quiet) {
            (0, 0) => None,
            (0, 1) => Some(("--quiet", "level", "warn")),
            (0, _) => Some(("--quiet", "level", "error")),
            (1, _) => Some(("--verbose", "level", "debug")),
            _ => Some(("--verbose", "level", "trace")),
        };
        [format, level]
            .into_iter()
            .flatten()
            .map(|(flag, key, value)| Override { flag, section: "log", key, value: value.to_owned() })
            .collect()
    }
}

/// The global options, the way to the settings, and the time.
#[derive(Debug, Clone)]
pub struct Context {
    pub global: Global,
    pub loader: Loader,
    pub clock: SharedClock,
}

impl Context {
    /// The merged and checked settings.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        self.loader.load()
    }

    /// The log of a command that tells its progress by itself: of single windows it tells whoever asks for them.
    pub fn log_beside_progress(&self, settings: &Settings) -> LogSettings {
        let mut log = settings.log.clone();
        if self.global.verbose == 0 && log.level == "info" {
            log.level = "warn".into();
        }
        log
    }
}
