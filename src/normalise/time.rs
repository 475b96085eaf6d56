//! Moments, in every form in which the vendor writes them.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};

use super::FaultKind;
use super::reading::{Reading, says_nothing};
use crate::domain::Decimal;
use crate::json::Value;

/// Years that a moment may have.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=2200;

/// A number from here on counts milliseconds since 1970, below it seconds: 10^11 s is the year
/// 5138, and 10^11 ms is March 1973, long before any conversation here.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// A number below this (March 1973 in seconds) is no moment: a year, an offset, or a 0 for "none".
const SECONDS_FROM: i64 = 100_000_000;

/// A moment as ISO 8601 text, as `YYYY-MM-DD HH:MM:SS`, or as seconds or milliseconds since 1970.
///
/// Text without a zone is UTC, a date alone is its midnight. What is finer than a microsecond is cut off.
pub(super) fn time(value: &Value<'_>) -> Reading<DateTime<Utc>> {
    if says_nothing(value) {
        return Ok(None);
    }
    let moment = match value {
        Value::Number(number) => from_epoch(number)?,
        Value::String(text) => {
            let text = text.trim();
            if is_numeric(text) { from_epoch(text)? } else { from_text(text).ok_or(FaultKind::NotATime)? }
        }
        Value::Null => return Ok(None),
        Value::Bool(_) => return Err(FaultKind::NotATime),
        Value::Array(_) | Value::Object(_) => return Err(FaultKind::NotAScalar),
    };
    if YEARS.contains(&moment.year()) { Ok(Some(moment)) } else { Err(FaultKind::OutOfRange) }
}

fn is_numeric(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+'))
}

fn from_epoch(number: &str) -> Result<DateTime<Utc>, FaultKind> {
    let number: Decimal = number.parse().map_err(|_| FaultKind::NotATime)?;
    if number < Decimal::from_integer(SECONDS_FROM) {
        return Err(FaultKind::NotATime);
    }
    let unit = if number < Decimal::from_integer(MILLISECONDS_FROM) { 1_000_000 } else { 1_000 };
    let micros = i128::from(number.mantissa()) * unit / 10_i128.pow(u32::from(number.scale()));
    i64::try_from(micros).ok().and_then(DateTime::from_timestamp_micros).ok_or(FaultKind::OutOfRange)
}

/// Reads a text from its front.
struct Cursor<'t>(&'t [u8]);

impl Cursor<'_> {
    /// A number of exactly that many digits.
    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
    }

    fn take(&mut self, accepted: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        accepted.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// Digits after the point, as microseconds.
    fn micros(&mut self) -> Option<u32> {
        let length = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(6);
        (length > 0).then(|| padded.fold(0, |n, b| n * 10 + u32::from(b - b'0')))
    }

    /// Minutes east of UTC: nothing, `Z`, `UTC`, `±HH`, `±HHMM` or `±HH:MM`, to the end.
    fn zone(&mut self) -> Option<i64> {
        while self.take(b" ").is_some() {}
        if matches!(self.0, b"" | b"Z" | b"z" | b"UTC" | b"GMT") {
            return Some(0);
        }
        let sign = if self.take(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.digits(2)?;
        let minutes = if self.0.is_empty() {
            0
        } else {
            self.take(b":");
            self.digits(2)?
        };
        (self.0.is_empty() && hours <= 18 && minutes < 60).then(|| sign * i64::from(hours * 60 + minutes))
    }
}

fn from_text(text: &str) -> Option<DateTime<Utc>> {
    let mut cursor = Cursor(text.as_bytes());
    let year = cursor.digits(4)?;
    cursor.take(b"-")?;
    let month = cursor.digits(2)?;
    cursor.take(b"-")?;
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, cursor.digits(2)?)?;
    if cursor.0.is_empty() {
        return Some(date.and_time(NaiveTime::MIN).and_utc());
    }
    cursor.take(b"Tt ")?;
    let hour = cursor.digits(2)?;
    cursor.take(b":")?;
    let minute = cursor.digits(2)?;
    let mut second = 0;
    let mut micros = 0;
    if cursor.take(b":").is_some() {
        second = cursor.digits(2)?;
        if cursor.take(b".,").is_some() {
            micros = cursor.micros()?;
        }
    }
    let time = NaiveTime::from_hms_micro_opt(hour, minute, second, micros)?;
    let east = TimeDelta::minutes(cursor.zone()?);
    NaiveDateTime::new(date, time).checked_sub_signed(east).map(|moment| moment.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Reading<String> {
        let parsed = crate::json::parse(text.as_bytes()).expect("JSON");
        Ok(time(&parsed.value)?.map(|t| t.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()))
    }

    #[test]
    fn every_form_of_a_moment_is_read() {
        for (sent, expected) in [
            (r#""2026-03-23T10:18:43.396Z""#, "2026-03-23T10:18:43.396000"),
            (r#""2026-03-23T10:18:43.396+05:30""#, "2026-03-23T04:48:43.396000"),
            (r#""2026-03-23T10:18:43-0800""#, "2026-03-23T18:18:43.000000"),
            (r#""2026-03-23T10:18:43+02""#, "2026-03-23T08:18:43.000000"),
            (r#""2026-03-23T10:18:43""#, "2026-03-23T10:18:43.000000"),
            (r#"" 2026-03-23 10:18:43 ""#, "2026-03-23T10:18:43.000000"),
            (r#""2026-03-23 10:18:43.123456789""#, "2026-03-23T10:18:43.123456"),
            (r#""2026-03-23 10:18:43 UTC""#, "2026-03-23T10:18:43.000000"),
            (r#""2026-03-23""#, "2026-03-23T00:00:00.000000"),
            ("1774261344727", "2026-03-23T10:22:24.727000"),
            (r#""1774261344727""#, "2026-03-23T10:22:24.727000"),
            ("1774261344", "2026-03-23T10:22:24.000000"),
            ("1774261344.727", "2026-03-23T10:22:24.727000"),
            ("1.774261344727e12", "2026-03-23T10:22:24.727000"),
        ] {
            assert_eq!(read(sent), Ok(Some(expected.to_owned())), "{sent}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        use FaultKind::{NotAScalar, NotATime, OutOfRange};
        for (sent, fault) in [
            (r#""2026-02-30T10:18:43Z""#, NotATime),
            (r#""2026-13-01T10:18:43Z""#, NotATime),
            (r#""2026-03-23T24:00:00Z""#, NotATime),
            (r#""2026-03-23T10:18:60Z""#, NotATime),
            (r#""2026-03-23T10:18:43Q""#, NotATime),
            (r#""2026-03-23T10:18:43.Z""#, NotATime),
            (r#""23/03/2026""#, NotATime),
            (r#""yesterday""#, NotATime),
            (r#""2026""#, NotATime),
            ("0", NotATime),
            ("-5", NotATime),
            ("NaN", NotATime),
            ("true", NotATime),
            ("{}", NotAScalar),
            (r#""1969-12-31T23:59:59Z""#, OutOfRange),
            (r#""2201-01-01T00:00:00Z""#, OutOfRange),
            ("99999999999999", OutOfRange),
        ] {
            assert_eq!(read(sent), Err(fault), "{sent}");
        }
    }

    #[test]
    fn null_words_are_no_moment_and_no_fault() {
        for sent in ["null", r#""""#, r#""-""#, r#"" NA ""#] {
            assert_eq!(read(sent), Ok(None), "{sent}");
        }
    }
}
