//! How a command ends, as a number.

use std::fmt;
use std::io::ErrorKind;
use std::process::ExitCode;

use crate::api::{ApiError, CredentialError, SettingError};
use crate::config::{ConfigError, SecretError};
use crate::warehouse::WarehouseError;
use crate::warehouse::error::Remedy;
use crate::warehouse::migrate::SchemaError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    Done,
    Failed,
    Usage,
    /// Some of it; of `status`: something is behind.
    Partly,
    /// API or database out of reach.
    OutOfReach,
    /// Someone else holds it.
    Held,
    /// By the API or the database.
    Refused,
    Configuration,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partly => 3,
            Self::OutOfReach => 69,
            Self::Held => 75,
            Self::Refused => 77,
            Self::Configuration => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// An error that knows its exit. Put under any context, it still decides.
#[derive(Debug)]
pub struct Ended {
    pub exit: Exit,
    pub message: String,
}

impl Ended {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Ended {}

/// The exit that an error means. The outermost cause that says something decides.
pub fn of(error: &anyhow::Error) -> Exit {
    // Contexts that are themselves an `Ended` are found by anyhow alone, not in the chain.
    if let Some(ended) = error.downcast_ref::<Ended>() {
        return ended.exit;
    }
    error.chain().find_map(of_cause).unwrap_or(Exit::Failed)
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(ended) = cause.downcast_ref::<Ended>() {
        return Some(ended.exit);
    }
    if cause.is::<ConfigError>()
        || cause.is::<SecretError>()
        || cause.is::<SettingError>()
        || cause.is::<CredentialError>()
    {
        return Some(Exit::Configuration);
    }
    if let Some(error) = cause.downcast_ref::<WarehouseError>() {
        return Some(of_warehouse(error));
    }
    if let Some(error) = cause.downcast_ref::<ApiError>() {
        return Some(of_api(error));
    }
    // Whoever reads our output, `head` for one, had enough.
    let io = cause.downcast_ref::<std::io::Error>()?;
    (io.kind() == ErrorKind::BrokenPipe).then_some(Exit::Done)
}

/// A schema that is missing, behind or too new is no fault of the configuration: something must be run.
fn of_warehouse(error: &WarehouseError) -> Exit {
    match error {
        WarehouseError::Url
        | WarehouseError::Stream(_)
        | WarehouseError::TimeZone { .. }
        | WarehouseError::TimeZoneMoving { .. }
        | WarehouseError::Privacy { .. }
        | WarehouseError::PrivacyKey { .. }
        | WarehouseError::PrivacyKeyMissing { .. }
        | WarehouseError::Schema(SchemaError::Pooler) => Exit::Configuration,
        WarehouseError::Schema(SchemaError::Busy) | WarehouseError::Held(_) => Exit::Held,
        WarehouseError::Stopped => Exit::Partly,
        error if error.is_refusal() => Exit::Refused,
        // The address names a database that is not there.
        error if error.sqlstate().as_deref() == Some("3D000") => Exit::Configuration,
        error if error.remedy() == Remedy::Wait => Exit::OutOfReach,
        _ => Exit::Failed,
    }
}

fn of_api(error: &ApiError) -> Exit {
    match error {
        ApiError::Credentials(_) => Exit::Configuration,
        ApiError::Unavailable { .. } | ApiError::RateLimited { .. } | ApiError::Budget(_) => Exit::OutOfReach,
        ApiError::Refused { .. }
        | ApiError::BadArgument { .. }
        | ApiError::Undocumented { .. }
        | ApiError::LimitRefused { .. }
        | ApiError::OffsetRefused { .. } => Exit::Refused,
        ApiError::TooLarge { .. } => Exit::Failed,
        ApiError::Stopped => Exit::Partly,
    }
}

/// Tells an error on stderr, causes and all, and gives its exit.
pub fn report(error: &anyhow::Error) -> Exit {
    let exit = of(error);
    if exit != Exit::Done {
        super::output::say(&format!("koresync: {}", told(error)));
    }
    exit
}

/// An error and its causes in a line. A cause that was quoted by what it caused is not told twice.
pub fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn the_codes_are_those_of_the_manual() {
        let exits = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Partly,
            Exit::OutOfReach,
            Exit::Held,
            Exit::Refused,
            Exit::Configuration,
        ];
        assert_eq!(exits.map(Exit::code), [0, 1, 2, 3, 69, 75, 77, 78]);
    }

    #[test]
    fn a_quoted_cause_is_told_once() {
        let error = anyhow::Error::new(WarehouseError::from(sqlx::Error::PoolClosed)).context("reading");
        assert_eq!(told(&error).matches("closed").count(), 1, "{}", told(&error));
        assert!(told(&error).starts_with("reading: database: "));
    }

    #[test]
    fn an_error_keeps_its_exit_under_a_context() {
        let held = || Err::<(), _>(Ended::new(Exit::Held, "held"));
        assert_eq!(of(&held().context("while migrating").context("more").expect_err("held")), Exit::Held);
        let as_context = anyhow!("no route").context(Ended::new(Exit::OutOfReach, "out of reach"));
        assert_eq!(of(&as_context.context("more")), Exit::OutOfReach);
        let configuration = anyhow::Error::new(ConfigError { problems: Vec::new() }).context("reading");
        assert_eq!(of(&configuration), Exit::Configuration);
        assert_eq!(of(&anyhow!("anything")), Exit::Failed);
        let busy = anyhow::Error::new(WarehouseError::from(SchemaError::Busy)).context("migrating");
        assert_eq!(of(&busy), Exit::Held);
        let away = WarehouseError::from(sqlx::Error::PoolTimedOut);
        assert_eq!(of(&away.into()), Exit::OutOfReach);
        let refused = ApiError::Refused { status: 401, code: None, message: None, clock_behind: None };
        assert_eq!(of(&refused.into()), Exit::Refused);
        let pipe = std::io::Error::from(ErrorKind::BrokenPipe);
        assert_eq!(of(&anyhow::Error::new(pipe).context("printing")), Exit::Done);
    }
}
