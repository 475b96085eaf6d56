//! How a command ends, as a number.

use std::fmt;
use std::io::ErrorKind;
use std::process::ExitCode;

use crate::config::{ConfigError, SecretError};

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
    if cause.is::<ConfigError>() || cause.is::<SecretError>() {
        return Some(Exit::Configuration);
    }
    // Whoever reads our output, `head` for one, had enough.
    let io = cause.downcast_ref::<std::io::Error>()?;
    (io.kind() == ErrorKind::BrokenPipe).then_some(Exit::Done)
}

/// Tells an error on stderr, causes and all, and gives its exit.
pub fn report(error: &anyhow::Error) -> Exit {
    let exit = of(error);
    if exit != Exit::Done {
        super::output::say(&format!("koresync: {error:#}"));
    }
    exit
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
    fn an_error_keeps_its_exit_under_a_context() {
        let held = || Err::<(), _>(Ended::new(Exit::Held, "held"));
        assert_eq!(of(&held().context("while migrating").context("more").expect_err("held")), Exit::Held);
        let as_context = anyhow!("no route").context(Ended::new(Exit::OutOfReach, "out of reach"));
        assert_eq!(of(&as_context.context("more")), Exit::OutOfReach);
        let configuration = anyhow::Error::new(ConfigError { problems: Vec::new() }).context("reading");
        assert_eq!(of(&configuration), Exit::Configuration);
        assert_eq!(of(&anyhow!("anything")), Exit::Failed);
        let pipe = std::io::Error::from(ErrorKind::BrokenPipe);
        assert_eq!(of(&anyhow::Error::new(pipe).context("printing")), Exit::Done);
    }
}
