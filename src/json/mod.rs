//! Reading JSON as it comes: a tolerant reader that borrows from its text and keeps numbers as written.
//!
//! A record may hold what PostgreSQL refuses (NUL characters, lone surrogates, NaN) or what no text
//! should hold (invalid UTF-8). The reader cleans it where meaning survives and counts what it cleaned.

mod members;
mod page;
mod read;
mod write;

use std::borrow::Cow;
use std::fmt;

pub use members::visit_members;
pub use page::{Page, split_page};
pub use read::parse;
pub use write::{to_string, write};

/// A JSON value that borrows from the text it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    /// The number as written; also the bare words `NaN`, `Infinity` and `-Infinity`.
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Self>),
    /// Members in the order of the text; a key that stands twice is here twice.
    Object(Vec<(Cow<'a, str>, Self)>),
}

impl<'a> Value<'a> {
    /// The member of an object, the last of that name; `None` for any other value.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The number as written.
    pub fn as_number(&self) -> Option<&'a str> {
        match self {
            Self::Number(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The kind of the value in JSON's own words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

/// A value and what had to be cleaned to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed<'a> {
    pub value: Value<'a>,
    pub repairs: Repairs,
}

/// How often each kind of dirt was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repairs {
    /// NUL characters removed from strings, escaped or raw.
    pub nul_characters: u32,
    /// Halves of a surrogate pair without the other half, each now U+FFFD.
    pub lone_surrogates: u32,
    /// Runs of text with invalid UTF-8, whose invalid bytes are now U+FFFD.
    pub invalid_utf8: u32,
    /// `NaN`, `Infinity` and `-Infinity` in place of a number.
    pub non_finite_numbers: u32,
    /// Escapes that JSON does not know, kept as written.
    pub unknown_escapes: u32,
}

impl Repairs {
    pub fn total(self) -> u32 {
        self.nul_characters + self.lone_surrogates + self.invalid_utf8 + self.non_finite_numbers + self.unknown_escapes
    }
}

/// Where and why a text is not JSON. Never holds a part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntaxError {
    /// Bytes from the start of the text.
    pub offset: usize,
    pub what: &'static str,
}

impl SyntaxError {
    /// Whether it may well be JSON, only more of it than is read.
    pub fn is_excess(self) -> bool {
        self.what == read::TOO_MANY_VALUES
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.offset)
    }
}

impl std::error::Error for SyntaxError {}

#[cfg(test)]
mod tests;
