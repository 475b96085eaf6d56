//! Numbers and times as the page tells them.

use chrono::{DateTime, TimeDelta, Utc};

use crate::status::span;

/// In four characters at most.
#[expect(clippy::cast_precision_loss, reason = "in short")]
pub(super) fn short(number: i64) -> String {
    let thousands = number as f64 / 1_000.0;
    match number {
        ..1_000 => number.to_string(),
        1_000..9_950 => format!("{thousands:.1}k"),
        9_950..999_500 => format!("{thousands:.0}k"),
        _ => format!("{:.0}M", thousands / 1_000.0),
    }
}

/// As `2026-03-01 09:05`.
pub(super) fn minute(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%d %H:%M").to_string()
}

/// As `2026-03-01 09:05:00`.
pub(super) fn second(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// For a command line and a query.
pub(super) fn exact(moment: DateTime<Utc>) -> String {
    crate::status::time(moment)
}

pub(super) fn ago(moment: DateTime<Utc>, at: DateTime<Utc>) -> String {
    format!("{} ago", span(at - moment))
}

pub(super) fn in_(moment: DateTime<Utc>, at: DateTime<Utc>) -> String {
    if moment <= at { "now".to_owned() } else { format!("in {}", span(moment - at)) }
}

pub(super) fn seconds(seconds: f64) -> String {
    span(TimeDelta::milliseconds(whole(seconds * 1_000.0)))
}

#[expect(clippy::cast_possible_truncation, reason = "a span that is told to people")]
fn whole(number: f64) -> i64 {
    number as i64
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(super) fn percent(part: i64, whole: i64) -> String {
    if whole == 0 { "–".to_owned() } else { format!("{:.0} %", part as f64 * 100.0 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_into_a_cell() {
        let told = [0, 999, 1_000, 1_234, 9_949, 9_950, 12_345, 999_499, 999_500, 3_000_000].map(short);
        assert_eq!(told, ["0", "999", "1.0k", "1.2k", "9.9k", "10k", "12k", "999k", "1M", "3M"]);
        assert_eq!([percent(1, 3), percent(0, 0)], ["33 %", "–"]);
    }
}
