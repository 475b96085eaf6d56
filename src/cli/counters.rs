//! Counters of what is known beforehand begin at 0: one that first appears at 1 hides its first event from `increase`.

use std::collections::BTreeSet;

use crate::api::{ASKED_AGAIN, FAILURES};
use crate::config::Settings;
use crate::normalise::Reason;
use crate::telemetry::metrics::{
    API_BUDGET_WAIT, API_REQUESTS, API_RETRIES, CONTACTS, LANE_REQUESTS, RECORDS_QUARANTINED, UNKNOWN_FIELDS,
};
use crate::warehouse::windows::Lane;

/// As src/sync/worker.rs tells them.
const CONTACT_OUTCOMES: [&str; 6] = ["inserted", "changed", "unchanged", "removed", "returned", "erased"];

/// Once, when metrics are collected and before anything happens.
pub(super) fn begin(settings: &Settings) {
    let mut accounts = BTreeSet::new();
    for (stream, configured) in &settings.streams {
        accounts.insert(configured.api.account_id.as_str());
        let begin = |name, label: &'static str, values: &[&'static str]| {
            for value in values {
                metrics::counter!(name, "stream" => stream.clone(), label => *value).absolute(0);
            }
        };
        begin(API_REQUESTS, "outcome", &["ok"]);
        begin(API_REQUESTS, "outcome", &FAILURES);
        begin(API_RETRIES, "reason", &ASKED_AGAIN);
        begin(CONTACTS, "outcome", &CONTACT_OUTCOMES);
        begin(LANE_REQUESTS, "lane", &[Lane::Live, Lane::Backfill, Lane::Recheck].map(Lane::as_str));
        begin(RECORDS_QUARANTINED, "reason", &Reason::ALL.map(Reason::as_str));
        metrics::counter!(UNKNOWN_FIELDS, "stream" => stream.clone()).absolute(0);
    }
    for account in accounts {
        metrics::counter!(API_BUDGET_WAIT, "account" => account.to_owned()).absolute(0);
    }
}
