//! The reader: one pass, recursive to a fixed depth.

use std::borrow::Cow;

use memchr::{memchr2, memchr3};

use super::{Parsed, Repairs, SyntaxError, Value};

/// Values that are read of one text, at most: each takes some 60 bytes of memory, and a text may need two of its own
/// for one. A record of the vendor has a few thousand.
pub(super) const MAX_VALUES: u32 = 100_000;
pub(super) const TOO_MANY_VALUES: &str = "more than 100000 values";
/// Arrays and objects within each other, at most.
const MAX_DEPTH: u32 = 128;

/// Reads one JSON value that fills the whole text.
pub fn parse(text: &[u8]) -> Result<Parsed<'_>, SyntaxError> {
    // Checked once for all strings; a text that is not UTF-8 throughout is checked string by string.
    let mut reader = Reader::new(text, std::str::from_utf8(text).ok());
    reader.skip_byte_order_mark();
    reader.skip_space();
    let value = reader.value(0)?;
    reader.end()?;
    Ok(Parsed { value, repairs: reader.repairs })
}

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// The same bytes, when all are known to be UTF-8.
    text: Option<&'a str>,
    pub(super) at: usize,
    pub(super) repairs: Repairs,
    values: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], text: Option<&'a str>) -> Self {
        Self { bytes, text, at: 0, repairs: Repairs::default(), values: 0 }
    }

    pub(super) fn fail<T>(&self, what: &'static str) -> Result<T, SyntaxError> {
        let what = if self.at >= self.bytes.len() { "the text ends too soon" } else { what };
        Err(SyntaxError { offset: self.at.min(self.bytes.len()), what })
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Steps over one byte if it is the one given.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(super) fn skip_byte_order_mark(&mut self) {
        if self.bytes.starts_with(b"\xef\xbb\xbf") {
            self.at = 3;
        }
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    pub(super) fn end(&mut self) -> Result<(), SyntaxError> {
        self.skip_space();
        if self.at == self.bytes.len() { Ok(()) } else { self.fail("something follows the value") }
    }

    /// Reads the value that starts here; leading space is already skipped.
    pub(super) fn value(&mut self, depth: u32) -> Result<Value<'a>, SyntaxError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return self.fail(TOO_MANY_VALUES);
        }
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Ok(Value::String(self.string()?))
            }
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'+' | b'.' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'N') => self.non_finite("NaN"),
            Some(b'I') => self.non_finite("Infinity"),
            _ => self.fail("no value where one is due"),
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value<'a>, SyntaxError> {
        if depth >= MAX_DEPTH {
            return self.fail("nested too deeply");
        }
        self.at += 1;
        self.skip_space();
        let mut members = Vec::new();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        members.reserve(8);
        loop {
            let key = self.key()?;
            let value = self.value(depth + 1)?;
            members.push((key, value));
            self.skip_space();
            if self.take(b',') {
                self.skip_space();
            } else if self.take(b'}') {
                return Ok(Value::Object(members));
            } else {
                return self.fail("neither a comma nor the object's end");
            }
        }
    }

    /// Reads a key, its colon and the space after it.
    pub(super) fn key(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        if !self.take(b'"') {
            return self.fail("no key where one is due");
        }
        let key = self.string()?;
        self.skip_space();
        if !self.take(b':') {
            return self.fail("no colon after a key");
        }
        self.skip_space();
        Ok(key)
    }

    fn array(&mut self, depth: u32) -> Result<Value<'a>, SyntaxError> {
        if depth >= MAX_DEPTH {
            return self.fail("nested too deeply");
        }
        self.at += 1;
        self.skip_space();
        let mut elements = Vec::new();
        if self.take(b']') {
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            self.skip_space();
            if self.take(b',') {
                self.skip_space();
            } else if self.take(b']') {
                return Ok(Value::Array(elements));
            } else {
                return self.fail("neither a comma nor the array's end");
            }
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, SyntaxError> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return self.fail("an unknown word");
        }
        self.at += word.len();
        Ok(value)
    }

    fn non_finite(&mut self, word: &'static str) -> Result<Value<'a>, SyntaxError> {
        let value = self.word(word, Value::Number(word))?;
        self.repairs.non_finite_numbers += 1;
        Ok(value)
    }

    /// JSON's grammar, and also a leading `+`, leading zeros, and a point without digits on one side.
    fn number(&mut self) -> Result<Value<'a>, SyntaxError> {
        let start = self.at;
        if self.bytes[start..].starts_with(b"-Infinity") {
            return self.non_finite("-Infinity");
        }
        self.at += usize::from(matches!(self.bytes[start], b'-' | b'+'));
        let mut digits = self.digits();
        if self.take(b'.') {
            digits += self.digits();
        }
        if digits == 0 {
            return self.fail("a number without digits");
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'-' | b'+') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return self.fail("an exponent without digits");
            }
        }
        let number = match self.text {
            Some(text) => text.get(start..self.at),
            None => std::str::from_utf8(&self.bytes[start..self.at]).ok(),
        };
        match number {
            Some(number) => Ok(Value::Number(number)),
            None => self.fail("a number that is not text"),
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    /// Reads to the closing quote; the opening one is behind.
    fn string(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        let start = self.at;
        match memchr3(b'"', b'\\', 0, &self.bytes[start..]) {
            Some(length) if self.bytes[start + length] == b'"' => {
                self.at = start + length + 1;
                Ok(self.run(start, start + length))
            }
            Some(_) => self.string_in_runs(),
            None => self.unterminated(),
        }
    }

    fn unterminated<T>(&mut self) -> Result<T, SyntaxError> {
        self.at = self.bytes.len();
        self.fail("a string without an end")
    }

    fn string_in_runs(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        let mut whole = String::new();
        loop {
            let start = self.at;
            let Some(length) = memchr3(b'"', b'\\', 0, &self.bytes[start..]) else {
                return self.unterminated();
            };
            let end = start + length;
            whole.push_str(&self.run(start, end));
            self.at = end + 1;
            match self.bytes[end] {
                b'"' => return Ok(Cow::Owned(whole)),
                b'\\' => self.escape(&mut whole)?,
                _ => self.repairs.nul_characters += 1,
            }
        }
    }

    /// A run without quote, backslash and NUL.
    fn run(&mut self, start: usize, end: usize) -> Cow<'a, str> {
        if let Some(run) = self.text.and_then(|text| text.get(start..end)) {
            return Cow::Borrowed(run);
        }
        let run = String::from_utf8_lossy(&self.bytes[start..end]);
        self.repairs.invalid_utf8 += u32::from(matches!(run, Cow::Owned(_)));
        run
    }

    /// Reads what follows a backslash.
    fn escape(&mut self, whole: &mut String) -> Result<(), SyntaxError> {
        let Some(byte) = self.peek() else { return self.unterminated() };
        let plain = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => {
                self.unicode_escape(whole);
                return Ok(());
            }
            // The byte itself is left for the next run, where it may be part of a longer character.
            _ => {
                self.repairs.unknown_escapes += 1;
                whole.push('\\');
                return Ok(());
            }
        };
        self.at += 1;
        whole.push(plain);
        Ok(())
    }

    /// Reads `uXXXX`, or two of them that make a surrogate pair.
    fn unicode_escape(&mut self, whole: &mut String) {
        let Some(unit) = self.code_unit(self.at) else {
            self.repairs.unknown_escapes += 1;
            whole.push('\\');
            return;
        };
        self.at += 5;
        if unit == 0 {
            self.repairs.nul_characters += 1;
            return;
        }
        if let Some(plain) = char::from_u32(unit) {
            whole.push(plain);
            return;
        }
        if unit < 0xDC00
            && self.peek() == Some(b'\\')
            && let Some(low @ 0xDC00..=0xDFFF) = self.code_unit(self.at + 1)
            && let Some(paired) = char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00))
        {
            self.at += 6;
            whole.push(paired);
            return;
        }
        self.repairs.lone_surrogates += 1;
        whole.push(char::REPLACEMENT_CHARACTER);
    }

    /// The code unit written `uXXXX` at a place.
    fn code_unit(&self, at: usize) -> Option<u32> {
        let [b'u', hex @ ..] = self.bytes.get(at..at + 5)? else { return None };
        hex.iter().try_fold(0, |unit, byte| Some(unit << 4 | char::from(*byte).to_digit(16)?))
    }

    /// Steps over the value that starts here without reading it: to the end of its brackets, its string or its word.
    pub(super) fn skip_value(&mut self) -> Result<(), SyntaxError> {
        let mut depth = 0_usize;
        loop {
            let Some(byte) = self.peek() else { return self.fail("the text ends too soon") };
            match byte {
                b'"' => {
                    self.at += 1;
                    self.skip_string()?;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                b'{' | b'[' => {
                    self.at += 1;
                    depth += 1;
                }
                b'}' | b']' => {
                    if depth == 0 {
                        return self.fail("no value where one is due");
                    }
                    self.at += 1;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ if depth == 0 => return self.skip_word(),
                _ => self.at += 1,
            }
        }
    }

    fn skip_string(&mut self) -> Result<(), SyntaxError> {
        loop {
            let Some(length) = memchr2(b'"', b'\\', &self.bytes[self.at..]) else {
                return self.unterminated();
            };
            self.at += length + 1;
            if self.bytes[self.at - 1] == b'"' {
                return Ok(());
            }
            self.at += 1;
            if self.at > self.bytes.len() {
                return self.unterminated();
            }
        }
    }

    fn skip_word(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        while let Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'.') = self.peek() {
            self.at += 1;
        }
        if self.at == start { self.fail("no value where one is due") } else { Ok(()) }
    }
}
