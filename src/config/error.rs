//! What is wrong with the configuration, told so that it can be mended in one go.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the value stands: `file:line`, `$VARIABLE` or a flag. `None` when a value is missing.
    pub origin: Option<String>,
    /// The dotted path of the key, `sync.poll_interval`; empty when the trouble is the whole file.
    pub key: String,
    /// The value as it was given; never that of a secret or of an unknown key, which may be one.
    pub value: Option<String>,
    /// What is right instead.
    pub message: String,
}

/// What the sample holds where a value of one's own is due.
pub(super) const PLACEHOLDER: &str = "REPLACE_ME";
pub(super) const IS_PLACEHOLDER: &str = "still the placeholder of the sample; write your own value";

impl Problem {
    /// Whether a value of the sample was left as it is.
    pub fn is_placeholder(&self) -> bool {
        self.message == IS_PLACEHOLDER
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        match (self.key.is_empty(), &self.value) {
            (false, Some(value)) => write!(f, "{} = {value}: ", self.key)?,
            (false, None) => write!(f, "{}: ", self.key)?,
            (true, _) => {}
        }
        f.write_str(&self.message)
    }
}

/// The configuration cannot be used (exit code 78). Holds every problem that was found, in the
/// order of the sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn of(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }

    /// A value that this command needs is not set anywhere.
    pub(super) fn missing(key: &str, message: &str) -> Self {
        Self::of(Problem { origin: None, key: key.into(), value: None, message: message.into() })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [only] => write!(f, "the configuration cannot be used: {only}"),
            problems => {
                write!(f, "the configuration cannot be used, {} problems:", problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
