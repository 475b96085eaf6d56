//! The two forms of `Retry-After` (RFC 9110, 10.2.3).

use std::time::Duration;

use chrono::{DateTime, Utc};

/// No wish of a server is obeyed for longer.
const LONGEST: Duration = Duration::from_mins(5);

/// A moment as HTTP writes it.
pub(super) fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text.trim()).ok().map(|date| date.to_utc())
}

/// The wait that the header asks for, at most five minutes; `None` if it is in neither form. `now` is
/// the server's own time where it tells it, so that a wrong clock here does not matter.
pub(super) fn wait(header: &str, now: DateTime<Utc>) -> Option<Duration> {
    let header = header.trim();
    let wait = match header.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LONGEST),
        Ok(_) => return None,
        Err(_) => (http_date(header)? - now).to_std().unwrap_or(Duration::ZERO),
    };
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_capped() {
        let now = http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        for (header, seconds) in [
            ("17", Some(17)),
            (" 0 ", Some(0)),
            ("-5", Some(0)),
            ("86400", Some(300)),
            ("1e300", Some(300)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(300)),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(wait(header, now), seconds.map(Duration::from_secs), "{header}");
        }
    }
}
