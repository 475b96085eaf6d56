//! The merged settings, as they are shown.

use std::fmt::Write as _;
use std::time::Duration;

/// A setting as `config show` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `sync`, `streams.support`.
    pub section: String,
    pub key: String,
    /// The value in TOML; of a secret only that it is there.
    pub value: String,
    /// `file:line`, `$VARIABLE`, a flag, or `default`.
    pub origin: String,
}

/// TOML with each value's origin in a comment.
pub(super) fn render(entries: &[Entry]) -> String {
    let mut text = String::new();
    let mut section = "";
    for entry in entries {
        if entry.section != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{}]", entry.section);
            section = &entry.section;
        }
        let line = format!("{} = {}", entry.key, entry.value);
        let _ = writeln!(text, "{line:<50} # {}", entry.origin);
    }
    text
}

/// A value as TOML writes it.
pub(super) trait Shown {
    fn shown(&self) -> String;
}

impl Shown for String {
    fn shown(&self) -> String {
        self.as_str().shown()
    }
}

impl Shown for &str {
    fn shown(&self) -> String {
        toml::Value::from(*self).to_string()
    }
}

impl Shown for crate::domain::Settle {
    fn shown(&self) -> String {
        match self {
            Self::Fixed(span) => span.shown(),
            Self::Learned => "auto".shown(),
        }
    }
}

impl Shown for std::net::SocketAddr {
    fn shown(&self) -> String {
        self.to_string().as_str().shown()
    }
}

impl Shown for u64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for bool {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for Duration {
    fn shown(&self) -> String {
        duration(*self).as_str().shown()
    }
}

impl Shown for Vec<Duration> {
    fn shown(&self) -> String {
        let items: Vec<_> = self.iter().map(Shown::shown).collect();
        format!("[{}]", items.join(", "))
    }
}

/// Whole seconds, in the largest unit that needs no second one: `36h`, `7d`.
pub(super) fn duration(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    match units.into_iter().find(|(length, _)| seconds > 0 && seconds.is_multiple_of(*length)) {
        Some((length, unit)) => format!("{}{unit}", seconds / length),
        None => format!("{seconds}s"),
    }
}
