//! The writer: JSON text that PostgreSQL accepts as jsonb.

use std::fmt::Write as _;

use super::Value;

/// The value as JSON text that PostgreSQL accepts as jsonb.
pub fn to_string(value: &Value<'_>) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// Appends the value as JSON text that PostgreSQL accepts as jsonb: without NUL characters, and with
/// a number that is not JSON, or that `numeric` cannot hold, written as a string.
pub fn write(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) if fits_numeric(number) => out.push_str(number),
        Value::Number(number) => write_text(number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(elements) => {
            out.push('[');
            for (i, element) in elements.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(element, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (i, (key, member)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write(member, out);
            }
            out.push('}');
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut written = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[written..at]);
        written = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0 => {}
            // Writing to a String cannot fail.
            _ => drop(write!(out, "\\u{byte:04x}")),
        }
    }
    out.push_str(&text[written..]);
    out.push('"');
}

/// Digits that PostgreSQL's `numeric` takes before and after the point.
const MAX_WHOLE: i64 = 131_072;
const MAX_FRACTION: i64 = 16_383;

/// Whether a number is JSON and within the range of `numeric`.
fn fits_numeric(number: &str) -> bool {
    let unsigned = number.strip_prefix('-').unwrap_or(number);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()),
        None => (unsigned, Some(0)),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return false,
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let is_whole = !whole.is_empty() && all_digits(whole) && (whole == "0" || !whole.starts_with('0'));
    let (Some(exponent), true, true) = (exponent.map(i64::from), is_whole, all_digits(fraction)) else {
        return false;
    };
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX / 2);
    length(whole) + exponent <= MAX_WHOLE && length(fraction) - exponent <= MAX_FRACTION
}
