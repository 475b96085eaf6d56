//! Times and spans as arguments.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};

/// A time with its zone, or a day, which begins at midnight UTC.
pub fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    let day =
        || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0).map(|midnight| midnight.and_utc());
    DateTime::parse_from_rfc3339(text)
        .map(|moment| crate::domain::window::floor_to_second(moment.with_timezone(&Utc)))
        .ok()
        .or_else(day)
        .ok_or_else(|| "write a time with its zone, as 2026-01-01T00:00:00Z, or a day, as 2026-01-01".to_owned())
}

/// A span in whole seconds, at least one.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|span| span.as_secs() >= 1 && span.subsec_nanos() == 0)
        .ok_or_else(|| "write a duration in whole seconds, as 15m or \"1h 30m\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_its_midnight_and_a_time_keeps_its_zone() {
        let at = |text| parse(text).map(|moment| moment.to_rfc3339());
        assert_eq!(at("2026-01-02").as_deref(), Ok("2026-01-02T00:00:00+00:00"));
        assert_eq!(at("2026-01-02T01:00:00.9+01:00").as_deref(), Ok("2026-01-02T00:00:00+00:00"));
        for wrong in ["2026-02-30", "2026-01-02T00:00:00", "today", ""] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_span_is_a_second_at_least() {
        assert_eq!(parse_span("1s"), Ok(Duration::from_secs(1)));
        for wrong in ["0s", "500ms", "1500ms", "soon"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}
