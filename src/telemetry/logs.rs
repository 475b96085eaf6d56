//! Logs: on stderr, text for a person, JSON for a machine.

use std::ffi::OsStr;
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, LogSettings};

/// Logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log level or filter is not understood: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[cfg(feature = "otel")]
    #[error("the collector that OTEL_EXPORTER_OTLP_ENDPOINT names cannot be used: {0}")]
    Collector(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("logging is already set up")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts logging for the whole process; once only.
pub fn install(settings: &LogSettings) -> Result<(), LogError> {
    let filter = EnvFilter::builder().parse(directives(&settings.level))?;
    let is_terminal = std::io::stderr().is_terminal();
    let registry = tracing_subscriber::registry().with(filter);
    #[cfg(feature = "otel")]
    let registry = registry.with(super::traces::layer()?);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if is_json(settings.format, is_terminal) {
        let layer = layer.json().flatten_event(true).with_current_span(true).with_span_list(false);
        registry.with(layer).try_init()?;
    } else {
        let colours = is_coloured(is_terminal, std::env::var_os("NO_COLOR").as_deref());
        registry.with(layer.with_ansi(colours)).try_init()?;
    }
    Ok(())
}

/// A bare level from `warn` on is ours alone: what other crates say below `warn` is noise, and their traces hold
/// headers, and so tokens. So are the server's notices: a rollback after each use of a connection brings one. A
/// whole filter is taken as it is.
fn directives(level: &str) -> String {
    let level = level.trim().to_ascii_lowercase();
    match level.as_str() {
        "warn" | "info" | "debug" | "trace" => format!("warn,sqlx::postgres::notice=error,koresync={level}"),
        _ => level,
    }
}

fn is_json(format: LogFormat, is_terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

/// Colours are for terminals, and not where `NO_COLOR` holds anything.
pub fn is_coloured(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_keeps_other_crates_quiet() {
        assert_eq!(directives("debug"), "warn,sqlx::postgres::notice=error,koresync=debug");
        assert_eq!(directives("OFF"), "off");
        assert_eq!(directives("info,sqlx=debug"), "info,sqlx=debug");
    }

    #[test]
    fn json_is_for_machines_and_colour_for_terminals() {
        assert!(is_json(LogFormat::Auto, false) && !is_json(LogFormat::Auto, true));
        assert!(is_json(LogFormat::Json, true) && !is_json(LogFormat::Text, false));
        assert!(is_coloured(true, None) && is_coloured(true, Some(OsStr::new(""))));
        assert!(!is_coloured(true, Some(OsStr::new("1"))) && !is_coloured(false, None));
    }
}
