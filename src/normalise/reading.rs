//! Lossless readings of single values. `Ok(None)` is "not reported"; `Err` says why a value that
//! says something cannot be read as what is due.

use std::borrow::Cow;

use super::FaultKind;
use crate::domain::Decimal;
use crate::domain::rows::Text;
use crate::json::Value;

pub(super) type Reading<T> = Result<Option<T>, FaultKind>;

/// Bytes that a text may have which is part of a key. PostgreSQL's B-tree takes 2,704 bytes a row,
/// and the longest key, a topic's, has three such texts.
const MAX_KEY_BYTES: usize = 800;

/// The vendor's words for "nothing".
fn is_null_word(trimmed: &str) -> bool {
    matches!(trimmed, "" | "-" | "NA")
}

/// Whether a value says nothing: null, or a null word.
pub(super) fn says_nothing(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => is_null_word(text.trim()),
        _ => false,
    }
}

/// The text exactly as sent; a number or boolean is its text.
pub(super) fn text<'a>(value: &Value<'a>) -> Reading<Text<'a>> {
    match value {
        _ if says_nothing(value) => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(number) => Ok(Some(Cow::Borrowed(number))),
        Value::Bool(true) => Ok(Some(Cow::Borrowed("true"))),
        Value::Bool(false) => Ok(Some(Cow::Borrowed("false"))),
        Value::Null => Ok(None),
        Value::Array(_) | Value::Object(_) => Err(FaultKind::NotAScalar),
    }
}

/// A text that is part of a key.
pub(super) fn key_text<'a>(value: &Value<'a>) -> Reading<Text<'a>> {
    match text(value)? {
        Some(text) if text.len() > MAX_KEY_BYTES => Err(FaultKind::TooLong),
        read => Ok(read),
    }
}

/// A metric's result, of which `NA` is one.
pub(super) fn qualification<'a>(value: &Value<'a>) -> Reading<Text<'a>> {
    match value {
        Value::String(text) if text.trim() == "NA" => Ok(Some(text.clone())),
        _ => text(value),
    }
}

/// An emotion label, folded so that it is one whatever its case.
pub(super) fn label<'a>(value: &Value<'a>) -> Reading<Text<'a>> {
    let Some(label) = key_text(value)? else { return Ok(None) };
    let folded = label.trim().to_lowercase();
    // Folding may lengthen a text.
    if folded.len() > MAX_KEY_BYTES {
        return Err(FaultKind::TooLong);
    }
    Ok(Some(if folded == label { label } else { Cow::Owned(folded) }))
}

/// The text of a number, from a number or a string; `None` when nothing is said.
fn number_text<'v>(value: &'v Value<'_>) -> Reading<&'v str> {
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => Ok(Some(number)),
        Value::String(text) => {
            let trimmed = text.trim();
            Ok((!is_null_word(trimmed)).then_some(trimmed))
        }
        Value::Bool(_) => Err(FaultKind::NotANumber),
        Value::Array(_) | Value::Object(_) => Err(FaultKind::NotAScalar),
    }
}

pub(super) fn decimal(value: &Value<'_>) -> Reading<Decimal> {
    number_text(value)?.map(parse_decimal).transpose()
}

fn parse_decimal(text: &str) -> Result<Decimal, FaultKind> {
    text.parse().map_err(|_| {
        let is_number = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            && text.bytes().any(|b| b.is_ascii_digit());
        if is_number { FaultKind::OutOfRange } else { FaultKind::NotANumber }
    })
}

/// A whole number; 77.0 is one.
pub(super) fn integer<T: TryFrom<i64>>(value: &Value<'_>) -> Reading<T> {
    number_text(value)?.map(parse_integer).transpose()
}

fn parse_integer<T: TryFrom<i64>>(text: &str) -> Result<T, FaultKind> {
    let whole = match text.parse::<i64>() {
        Ok(whole) => whole,
        Err(_) => parse_decimal(text)?.to_integer().ok_or(FaultKind::NotAnInteger)?,
    };
    T::try_from(whole).map_err(|_| FaultKind::OutOfRange)
}

/// Milliseconds, with or without their unit: `21216`, `"21216 milliseconds"`, `"21216 ms"`.
fn without_unit(text: &str) -> &str {
    ["milliseconds", "millisecond", "Milliseconds", "ms"]
        .into_iter()
        .find_map(|unit| text.strip_suffix(unit))
        .unwrap_or(text)
        .trim_end()
}

/// Whole milliseconds.
pub(super) fn milliseconds(value: &Value<'_>) -> Reading<i64> {
    number_text(value)?.map(|text| parse_integer(without_unit(text))).transpose()
}

/// Milliseconds, with fractions.
pub(super) fn decimal_milliseconds(value: &Value<'_>) -> Reading<Decimal> {
    number_text(value)?.map(|text| parse_decimal(without_unit(text))).transpose()
}

/// A boolean, also as `"true"`, `"false"`, `"YES"`, `"NO"`, 1 or 0.
pub(super) fn boolean(value: &Value<'_>) -> Reading<bool> {
    if let Value::Bool(value) = value {
        return Ok(Some(*value));
    }
    let Some(text) = number_text(value)? else { return Ok(None) };
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("true") || is("yes") {
        return Ok(Some(true));
    }
    if is("false") || is("no") {
        return Ok(Some(false));
    }
    match text.parse::<Decimal>().ok().and_then(Decimal::to_integer) {
        Some(1) => Ok(Some(true)),
        Some(0) => Ok(Some(false)),
        _ => Err(FaultKind::NotABoolean),
    }
}
