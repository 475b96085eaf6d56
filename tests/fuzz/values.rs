//! Single values as the vendor may send them, and what they say; and values that cannot be what their column holds.

use chrono::{DateTime, FixedOffset, Utc};

use crate::choices::Choices;
use crate::rows::{digits, moment};
use crate::tree::{Sent, text};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A text that is part of a key: 800 bytes at most.
    Key,
    /// A key in lower case, without space around it.
    Label,
    /// A text of which `NA` is one.
    Qualification,
    Decimal,
    /// A decimal number, maybe with its unit.
    DecimalMilliseconds,
    /// A whole number, maybe with its unit.
    Milliseconds,
    Integer,
    Boolean,
    Time,
}

const MAX_KEY_BYTES: usize = 800;

/// One of the ways to say that something is not reported; `None` leaves the key away.
pub fn nothing(choices: &mut Choices<'_>) -> Option<Sent> {
    match choices.below(8) {
        0..4 => None,
        4 | 5 => Some(Sent::Null),
        _ => Some(Sent::text(choices.word(&["NA", "-", "", " NA ", " "]))),
    }
}

/// A value, and what its column must hold.
pub fn value(kind: Kind, choices: &mut Choices<'_>) -> (Sent, String) {
    match kind {
        Kind::Key if choices.percent(3) => {
            let longest = "é".repeat(MAX_KEY_BYTES / 2);
            (Sent::text(&longest), longest)
        }
        Kind::Text | Kind::Key => any_text(choices),
        Kind::Label => {
            let label = choices.word(&["Happy", "PATIENCE", "calm", " Ärger ", "İ", "高兴"]);
            (Sent::text(label), label.trim().to_lowercase())
        }
        Kind::Qualification => {
            let word = choices.word(&["YES", "NO", "NA", "Partly"]);
            (Sent::text(word), word.to_owned())
        }
        Kind::Decimal => decimal(choices, false),
        Kind::DecimalMilliseconds => decimal(choices, true),
        Kind::Integer => whole(choices, i64::from(i32::MAX), false),
        Kind::Milliseconds => whole(choices, i64::MAX, true),
        Kind::Boolean => boolean(choices),
        Kind::Time => time(choices),
    }
}

fn any_text(choices: &mut Choices<'_>) -> (Sent, String) {
    if choices.percent(4) {
        let number = choices.word(&["4711", "0.50", "-1e3"]);
        return (Sent::digits(number), number.to_owned());
    }
    if choices.percent(4) {
        let value = choices.percent(50);
        return (Sent::Bool(value), value.to_string());
    }
    let text = text(choices);
    (Sent::text(&text), text)
}

/// Up to 18 digits, written in one of the ways that JSON has, or as a text.
fn decimal(choices: &mut Choices<'_>, may_have_unit: bool) -> (Sent, String) {
    let most = *choices.pick(&[100, 10_000, 999_999_999_999_999_999]);
    let least = if choices.percent(20) { -most } else { 0 };
    let mantissa = choices.between(least, most);
    let scales = if choices.percent(10) { 19 } else { 4 };
    let scale = choices.below(scales);
    let sign = if mantissa < 0 { "-" } else { "" };
    let plain = {
        let padded = format!("{:0width$}", mantissa.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    };
    let written = match choices.below(6) {
        3 if scale > 0 => format!("{plain}00"),
        3 => format!("{plain}.0"),
        4 => format!("{mantissa}e-{scale}"),
        5 => format!("{mantissa}.000E-{scale}"),
        _ => plain,
    };
    let (mut shortest, mut places) = (mantissa, scale);
    while places > 0 && shortest % 10 == 0 {
        (shortest, places) = (shortest / 10, places - 1);
    }
    (number_or_text(choices, written, may_have_unit), digits(shortest, places))
}

fn number_or_text(choices: &mut Choices<'_>, written: String, may_have_unit: bool) -> Sent {
    if may_have_unit && choices.percent(40) {
        let unit = choices.word(&[" milliseconds", " ms", "ms", " Milliseconds", " millisecond"]);
        return Sent::Text(written + unit);
    }
    match choices.below(8) {
        6 => Sent::Text(written),
        7 => Sent::Text(format!(" {written} ")),
        _ => Sent::Number(written),
    }
}

fn whole(choices: &mut Choices<'_>, most: i64, may_have_unit: bool) -> (Sent, String) {
    let value = match choices.below(8) {
        6 => most,
        7 => -most - 1,
        _ => choices.between(0, 100_000),
    };
    // Further digits are a decimal number's, of which there are 18 at most.
    let is_short = value.unsigned_abs() < 1_000_000_000_000;
    let written = if is_short && choices.percent(10) { format!("{value}.0") } else { value.to_string() };
    (number_or_text(choices, written, may_have_unit), value.to_string())
}

fn boolean(choices: &mut Choices<'_>) -> (Sent, String) {
    let value = choices.percent(50);
    let sent = match choices.below(6) {
        3 => Sent::text(choices.word(if value { &["YES", "yes", "Yes "] } else { &["NO", "no", " No"] })),
        4 => Sent::text(choices.word(if value { &["true", "True", "1"] } else { &["false", "FALSE", "0"] })),
        5 => Sent::digits(choices.word(if value { &["1", "1.0", "10e-1"] } else { &["0", "-0", "0.0"] })),
        _ => Sent::Bool(value),
    };
    (sent, value.to_string())
}

/// First and last millisecond of what a contact may start at.
const CALENDAR: (i64, i64) = (946_684_800_000, 2_871_676_799_999);
/// First and last millisecond of any other moment.
const MOMENTS: (i64, i64) = (0, 7_289_654_399_999);
/// The least number of milliseconds that is taken for a moment, and of seconds.
const LEAST_NUMBERS: (i64, i64) = (100_000_000_000, 100_000_000);

fn time(choices: &mut Choices<'_>) -> (Sent, String) {
    let ms = match choices.below(8) {
        6 => MOMENTS.0,
        7 => MOMENTS.1,
        _ => choices.between(MOMENTS.0, MOMENTS.1),
    };
    (time_text(ms, choices), moment(ms * 1_000))
}

pub fn start(choices: &mut Choices<'_>) -> (Sent, String) {
    let ms = match choices.below(16) {
        14 => CALENDAR.0,
        15 => CALENDAR.1,
        _ => choices.between(CALENDAR.0, CALENDAR.1),
    };
    (time_text(ms, choices), moment(ms * 1_000))
}

fn time_text(ms: i64, choices: &mut Choices<'_>) -> Sent {
    let utc = DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or_default();
    let form = choices.below(10);
    match form {
        4 if ms % 1_000 == 0 => Sent::text(utc.format("%Y-%m-%d %H:%M:%S").to_string()),
        4 => Sent::text(utc.format("%Y-%m-%d %H:%M:%S%.3f").to_string()),
        5 => Sent::text(utc.format(" %Y-%m-%dT%H:%M:%S%.6f UTC ").to_string()),
        6 => {
            let minutes = i32::try_from(choices.between(-720, 840)).unwrap_or_default();
            match FixedOffset::east_opt(minutes * 60) {
                Some(zone) => {
                    let local = utc.with_timezone(&zone);
                    let format = choices.word(&["%Y-%m-%dT%H:%M:%S%.3f%:z", "%Y-%m-%dT%H:%M:%S,%3f%z"]);
                    Sent::text(local.format(format).to_string())
                }
                None => Sent::Null,
            }
        }
        7 if ms >= LEAST_NUMBERS.0 => Sent::number(ms),
        8 if ms >= LEAST_NUMBERS.0 => Sent::text(ms.to_string()),
        9 if (LEAST_NUMBERS.1..LEAST_NUMBERS.0).contains(&(ms / 1_000)) => {
            Sent::Number(format!("{}.{:03}", ms / 1_000, ms % 1_000))
        }
        _ => Sent::text(utc.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()),
    }
}

/// A value that says something, but nothing that such a column holds.
pub fn misfit(kind: Kind, choices: &mut Choices<'_>) -> Sent {
    let too_long = || Sent::text("é".repeat(MAX_KEY_BYTES / 2) + "!");
    let other = match kind {
        Kind::Text | Kind::Qualification => None,
        Kind::Key | Kind::Label => Some(too_long()),
        Kind::Decimal | Kind::DecimalMilliseconds => Some(match choices.below(4) {
            0 => Sent::text("66,67"),
            1 => Sent::digits("1234567890123456789"),
            2 => Sent::digits("1e400"),
            _ => Sent::Bool(true),
        }),
        Kind::Integer => Some(match choices.below(3) {
            0 => Sent::digits("0.5"),
            1 => Sent::number(i64::from(i32::MAX) + 1),
            _ => Sent::text("many"),
        }),
        Kind::Milliseconds => Some(match choices.below(3) {
            0 => Sent::digits("0.5"),
            1 => Sent::text("9223372036854775808 ms"),
            _ => Sent::text("21 s"),
        }),
        Kind::Boolean => Some(match choices.below(2) {
            0 => Sent::text("maybe"),
            _ => Sent::number(2),
        }),
        Kind::Time => Some(match choices.below(4) {
            0 => Sent::text("yesterday"),
            1 => Sent::text("2026-02-30T10:18:43Z"),
            2 => Sent::number(2026),
            _ => Sent::text("2201-01-01T00:00:00Z"),
        }),
    };
    match other {
        Some(other) if choices.percent(70) => other,
        _ => match choices.below(2) {
            0 => Sent::List(vec![Sent::text("listed")]),
            _ => Sent::Object(vec![("value".to_owned(), Sent::text("wrapped"))]),
        },
    }
}
