//! JSON as it is sent: built from values, written in some style, and known without a parser.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::value::RawValue;

use crate::choices::Choices;

#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Self>),
    /// No key stands twice.
    Object(Vec<(String, Self)>),
}

impl Sent {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub fn number(number: i64) -> Self {
        Self::Number(number.to_string())
    }

    /// A number as it is written.
    pub fn digits(number: &str) -> Self {
        Self::Number(number.to_owned())
    }

    /// In JSON's own words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// Anything, for a key that nobody knows.
    pub fn anything(choices: &mut Choices<'_>, depth: u32) -> Self {
        match choices.below(if depth > 2 { 5 } else { 7 }) {
            0 => Self::Null,
            1 => Self::Bool(choices.percent(50)),
            2 => Self::number(choices.between(-1_000_000, 1_000_000)),
            3 => Self::Number((choices.word(&["0.50", "-1e-7", "123456789012345678901234567890", "6.02E+23"])).into()),
            4 => Self::text(text(choices)),
            5 => Self::List((0..choices.below(4)).map(|_| Self::anything(choices, depth + 1)).collect()),
            _ => Self::Object(
                (0..choices.below(4)).map(|n| (format!("k{n}"), Self::anything(choices, depth + 1))).collect(),
            ),
        }
    }

    /// Whether a JSON text that somebody else wrote holds the same, numbers digit for digit.
    pub fn is_in(&self, written: &RawValue) -> bool {
        let json = written.get();
        match self {
            Self::Null => json == "null",
            Self::Bool(value) => json == if *value { "true" } else { "false" },
            Self::Number(number) => json == number,
            Self::Text(text) => serde_json::from_str::<String>(json).is_ok_and(|written| written == *text),
            Self::List(elements) => serde_json::from_str::<Vec<&RawValue>>(json).is_ok_and(|written| {
                written.len() == elements.len()
                    && elements.iter().zip(written).all(|(sent, written)| sent.is_in(written))
            }),
            Self::Object(members) => serde_json::from_str::<BTreeMap<String, &RawValue>>(json).is_ok_and(|written| {
                written.len() == members.len()
                    && members.iter().all(|(key, sent)| written.get(key).is_some_and(|written| sent.is_in(written)))
            }),
        }
    }
}

const WORDS: [&str; 14] = [
    "x",
    "Anna",
    "order 66",
    "Zoë \"Z\" Ødegård",
    "back\\slash / slash",
    "line\nbreak\ttab\rreturn",
    "\u{1}\u{7f}\u{8}\u{c}",
    "هدى",
    "健太😀",
    " space around ",
    "n/a",
    "--",
    "null",
    "\u{fffd}\u{feff}",
];

/// A text that says something.
pub fn text(choices: &mut Choices<'_>) -> String {
    let mut text = choices.word(&WORDS).to_owned();
    for _ in 0..choices.below(3) {
        text.push_str(choices.word(&WORDS));
    }
    if choices.percent(20) {
        let _ = write!(text, "-{}", choices.between(0, 99_999));
    }
    text
}

/// How a value is written; what it says stays the same.
#[derive(Debug)]
pub struct Style<'c, 'g> {
    pub choices: &'c mut Choices<'g>,
    pub has_spaces: bool,
    pub escapes_all: bool,
    pub shuffles: bool,
}

impl Style<'_, '_> {
    pub fn write(&mut self, value: &Sent, out: &mut String) {
        match value {
            Sent::Null => out.push_str("null"),
            Sent::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Sent::Number(number) => out.push_str(number),
            Sent::Text(text) => self.write_text(text, out),
            Sent::List(elements) => {
                out.push('[');
                for (place, element) in elements.iter().enumerate() {
                    self.part(place, out);
                    self.write(element, out);
                }
                self.space(out);
                out.push(']');
            }
            Sent::Object(members) => {
                let mut order: Vec<usize> = (0..members.len()).collect();
                if self.shuffles {
                    for place in (1..order.len()).rev() {
                        order.swap(place, self.choices.below(place + 1));
                    }
                }
                out.push('{');
                for (place, member) in order.into_iter().enumerate() {
                    let (key, value) = &members[member];
                    self.part(place, out);
                    self.write_text(key, out);
                    self.space(out);
                    out.push(':');
                    self.space(out);
                    self.write(value, out);
                }
                self.space(out);
                out.push('}');
            }
        }
    }

    fn part(&mut self, place: usize, out: &mut String) {
        if place > 0 {
            self.space(out);
            out.push(',');
        }
        self.space(out);
    }

    fn space(&mut self, out: &mut String) {
        if self.has_spaces {
            out.push_str(self.choices.word(&["", " ", "\n", "\r\n  ", "\t"]));
        }
    }

    fn write_text(&mut self, text: &str, out: &mut String) {
        out.push('"');
        for character in text.chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '/' if self.escapes_all => out.push_str("\\/"),
                '\n' if !self.escapes_all => out.push_str("\\n"),
                '\t' if !self.escapes_all => out.push_str("\\t"),
                '\u{8}' if !self.escapes_all => out.push_str("\\b"),
                '\u{c}' if !self.escapes_all => out.push_str("\\f"),
                plain if plain >= ' ' && !self.escapes_all => out.push(plain),
                other => {
                    for unit in other.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04X}");
                    }
                }
            }
        }
        out.push('"');
    }
}
