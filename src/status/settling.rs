//! How late contacts and their scores come, and whether `sync.settle` allows for it.

use serde::Serialize;

use crate::config::Settings;
use crate::domain::Delays;
use crate::domain::settling::LATE_PART_MOST;
use crate::warehouse::settling::Settling;

/// Delays that this part of all stays within, seconds; `null` while none is known.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Quantiles {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

impl Quantiles {
    fn of(delays: &Delays) -> Self {
        let at = |part| delays.quantile(part).map(|span| span.as_secs_f64().round());
        Self { p50: at(0.50), p95: at(0.95), p99: at(0.99) }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct SettlingReport {
    pub stream: String,
    /// In force: nothing closer to now is read.
    pub settle_seconds: u64,
    pub is_learned: bool,
    /// Contacts that the figures rest on; older ones count for less.
    pub contacts: f64,
    /// From the end of a contact to its first sight.
    pub appeared: Quantiles,
    /// From its start to its first sight: what the settle time has to cover.
    pub listed: Quantiles,
    /// From its end to its first score, of those that have one.
    pub scored: Quantiles,
    /// The part of contacts that comes later than the settle time allows, 0 to 1; `null` while too little is known.
    pub late_part: Option<f64>,
    /// Whether that is more than a twentieth.
    pub is_exceeded: bool,
}

pub(super) fn report(settling: &Settling, settings: &Settings) -> SettlingReport {
    let settle = settings.sync.settle;
    let late_part = settling.late_part(settle);
    SettlingReport {
        stream: settling.stream.clone(),
        settle_seconds: settle.of(settling.settle_seconds).as_secs(),
        is_learned: settle == crate::domain::Settle::Learned && settling.settle_seconds.is_some(),
        contacts: settling.listed.weight(),
        appeared: Quantiles::of(&settling.appeared),
        listed: Quantiles::of(&settling.listed),
        scored: Quantiles::of(&settling.scored),
        late_part,
        is_exceeded: late_part.is_some_and(|part| part > LATE_PART_MOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loader;

    fn settling(late: u32) -> Settling {
        let mut delays = Delays::default();
        for _ in 0..1000 {
            delays.note(None, 900.0);
        }
        for _ in 0..late {
            delays.note(Some(1_200.0), 7_200.0);
        }
        Settling {
            stream: "support".into(),
            appeared: delays.clone(),
            listed: delays,
            scored: Delays::default(),
            settle_seconds: Some(900),
        }
    }

    #[test]
    fn contacts_that_come_too_late_are_told_once_they_are_more_than_a_twentieth() {
        let settings = Loader::default().load_text("t", "[sync]\nsettle = \"auto\"\n").expect("settings");
        let few = report(&settling(50), &settings);
        assert!(!few.is_exceeded && few.is_learned, "{few:?}");
        let many = report(&settling(60), &settings);
        assert!(many.is_exceeded, "{many:?}");
        let fixed = Loader::default().load_text("t", "[sync]\nsettle = \"3h\"\n").expect("settings");
        assert!(!report(&settling(600), &fixed).is_exceeded);
    }
}
