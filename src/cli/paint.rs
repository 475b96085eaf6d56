//! Colours, for terminals alone.

use std::io::{self, IsTerminal as _};

use crate::telemetry::logs;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Green,
    Yellow,
    Red,
    Bold,
    Dim,
}

/// Whether stdout is a terminal, and `NO_COLOR` not set.
pub fn is_wanted() -> bool {
    logs::is_coloured(io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref())
}

pub fn painted(is_wanted: bool, colour: Colour, words: &str) -> String {
    let code = match colour {
        Colour::Green => "32",
        Colour::Yellow => "33",
        Colour::Red => "31",
        Colour::Bold => "1",
        Colour::Dim => "2",
    };
    if is_wanted { format!("\u{1b}[{code}m{words}\u{1b}[0m") } else { words.to_owned() }
}
