//! What mutations begin with: the records of `corpus/`, and some of the simulated vendor.

use std::ops::Range;
use std::path::Path;

use chrono::DateTime;
use koresync::simulate::{Options, Rendering};

/// Simulated records.
const SIMULATED: u64 = 300;
/// Longer ones cost more time than they find.
const LONGEST_BYTES: usize = 6_000;

/// A member of an object or an element of a list.
#[derive(Debug, Clone)]
pub struct Spot {
    /// The key with its quotes.
    pub key: Option<Range<usize>>,
    pub value: Range<usize>,
    /// With one of the commas beside it: what can be cut out and leaves JSON.
    pub whole: Range<usize>,
}

impl Spot {
    /// Where it begins, with its key.
    pub fn start(&self) -> usize {
        self.key.as_ref().map_or(self.value.start, |key| key.start)
    }
}

/// A text that is JSON, and where its parts are.
#[derive(Debug)]
pub struct Base {
    pub name: String,
    pub text: String,
    pub spots: Vec<Spot>,
}

impl Base {
    pub fn new(name: String, text: String) -> Self {
        let mut scanner = Scanner { bytes: text.as_bytes(), at: 0, spots: Vec::new() };
        scanner.space();
        scanner.value();
        let spots = scanner.spots;
        Self { name, text, spots }
    }
}

#[derive(Debug)]
pub struct Corpus {
    /// The kept ones first.
    pub bases: Vec<Base>,
    /// How many are kept in `corpus/`.
    pub kept: usize,
}

impl Corpus {
    /// The records of a folder, in order of name, and simulated ones; fails where a file cannot be read.
    pub fn load(folder: &Path) -> std::io::Result<Self> {
        let mut paths: Vec<_> =
            std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        paths.sort();
        let mut bases = Vec::new();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            bases.push(Base::new(name, std::fs::read_to_string(&path)?));
        }
        let kept = bases.len();
        let end = DateTime::from_timestamp(1_774_261_123, 0).unwrap_or_default();
        let rendering = Rendering::new(&Options { contacts: SIMULATED, ..Options::default() }, end, "st-fuzz");
        for index in 0..SIMULATED {
            let text = rendering.record(index, index % 3 == 0).text;
            if text.len() <= LONGEST_BYTES {
                bases.push(Base::new(format!("simulated {index}"), text));
            }
        }
        Ok(Self { bases, kept })
    }
}

/// Finds the spots of a text that is known to be JSON; of any other it finds some.
struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
    spots: Vec<Spot>,
}

impl Scanner<'_> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(b'}')
    }

    fn space(&mut self) {
        while self.peek().is_ascii_whitespace() {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Range<usize> {
        let start = self.at;
        self.at += 1;
        while self.at < self.bytes.len() && self.bytes[self.at] != b'"' {
            self.at += if self.bytes[self.at] == b'\\' { 2 } else { 1 };
        }
        self.at = (self.at + 1).min(self.bytes.len());
        start..self.at
    }

    fn value(&mut self) {
        match self.peek() {
            b'"' => drop(self.string()),
            open @ (b'{' | b'[') => self.parts(open == b'{'),
            _ => {
                while self.at < self.bytes.len() && !matches!(self.bytes[self.at], b',' | b'}' | b']' | b' ' | b'\n') {
                    self.at += 1;
                }
            }
        }
    }

    fn parts(&mut self, is_object: bool) {
        self.at += 1;
        let mut last_end = None;
        loop {
            self.space();
            if self.at >= self.bytes.len() || matches!(self.peek(), b'}' | b']') {
                break;
            }
            let start = self.at;
            let mut key = None;
            if is_object {
                key = Some(self.string());
                self.space();
                self.at += 1;
                self.space();
            }
            let value_start = self.at;
            let place = self.spots.len();
            self.spots.push(Spot { key, value: value_start..value_start, whole: start..start });
            self.value();
            let end = self.at;
            self.space();
            let has_comma = self.peek() == b',' && self.at < self.bytes.len();
            self.at += usize::from(has_comma);
            self.spots[place].value = value_start..end;
            self.spots[place].whole = match last_end {
                _ if has_comma => start..self.at,
                Some(before) => before..end,
                None => start..end,
            };
            last_end = Some(end);
            if self.at == start {
                break;
            }
        }
        self.at = (self.at + 1).min(self.bytes.len());
    }
}
