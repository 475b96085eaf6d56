//! The metrics: their names, what they mean, and where they are collected.
//!
//! Base units; counters end in `_total`; no label ever names a person or a contact.

use chrono::{DateTime, Utc};
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub const WATERMARK: &str = "koresync_watermark_timestamp_seconds";
pub const LAST_SUCCESS: &str = "koresync_sync_last_success_timestamp_seconds";
pub const WINDOWS: &str = "koresync_windows";
pub const WINDOW_DURATION: &str = "koresync_window_duration_seconds";
pub const API_REQUESTS: &str = "koresync_api_requests_total";
pub const API_REQUEST_DURATION: &str = "koresync_api_request_duration_seconds";
pub const API_RETRIES: &str = "koresync_api_retries_total";
pub const API_BUDGET_WAIT: &str = "koresync_api_budget_wait_seconds_total";
pub const ROWS_WRITTEN: &str = "koresync_rows_written_total";
pub const CONTACTS: &str = "koresync_contacts_total";
pub const RECORDS_QUARANTINED: &str = "koresync_records_quarantined_total";
pub const QUARANTINED: &str = "koresync_quarantined_records";
pub const UNKNOWN_FIELDS: &str = "koresync_unknown_fields_total";
pub const COUNT_MISMATCH_WINDOWS: &str = "koresync_count_mismatch_windows";
pub const RECHECKS_DUE: &str = "koresync_rechecks_due";
pub const RECHECK_OVERDUE: &str = "koresync_recheck_overdue_seconds";
pub const RUNGS_GIVEN_UP: &str = "koresync_recheck_rungs_given_up";
pub const APPEARANCE: &str = "koresync_appearance_seconds";
pub const SCORING: &str = "koresync_scoring_seconds";
pub const SETTLE: &str = "koresync_settle_seconds";
pub const SETTLE_LATE: &str = "koresync_settle_late_ratio";
pub const SETTLE_EXCEEDED: &str = "koresync_settle_exceeded";
pub const LANE_REQUESTS: &str = "koresync_lane_requests_total";
pub const BUDGET_SHARE: &str = "koresync_api_budget_share_ratio";
pub const TOKEN_EXPIRES: &str = "koresync_token_expires_timestamp_seconds";
pub const WINDOWS_FAILING: &str = "koresync_windows_failing";
pub const BACKFILLS_OPEN: &str = "koresync_backfills_open";
pub const BACKFILL_PROGRESS: &str = "koresync_backfill_progress_timestamp_seconds";
pub const QUARANTINE_LAST_NEW: &str = "koresync_quarantine_last_new_timestamp_seconds";
pub const UNKNOWN_FIELD_LAST_NEW: &str = "koresync_unknown_field_last_new_timestamp_seconds";
pub const STREAM_REFUSED: &str = "koresync_stream_refused";
pub const READY: &str = "koresync_ready";
pub const START: &str = "koresync_start_timestamp_seconds";
pub const BUILD_INFO: &str = "koresync_build_info";

/// Requests take from a blink to the total deadline, in seconds.
const REQUEST_BUCKETS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0];
/// Windows wait for the budget, so theirs reach into minutes, in seconds.
const WINDOW_BUCKETS: [f64; 11] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 180.0, 600.0];

/// Collects the metrics of the whole process, which began at `started`; once only.
///
/// The handle renders them; [`PrometheusHandle::run_upkeep`] must be called every few seconds.
pub fn install(started: DateTime<Utc>) -> Result<PrometheusHandle, BuildError> {
    let recorder = recorder()?;
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    describe(started);
    Ok(handle)
}

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    Ok(PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(API_REQUEST_DURATION.into()), &REQUEST_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(WINDOW_DURATION.into()), &WINDOW_BUCKETS)?
        .build_recorder())
}

fn describe(started: DateTime<Utc>) {
    describe_gauge!(WATERMARK, Unit::Seconds, "End of the unbroken verified prefix of a stream, as Unix time");
    describe_gauge!(LAST_SUCCESS, Unit::Seconds, "When a window of a stream was last verified, as Unix time");
    describe_gauge!(WINDOWS, "Windows of the ledger by stream, lane and state");
    describe_histogram!(WINDOW_DURATION, Unit::Seconds, "Time from the claim of a window to its commit");
    describe_counter!(API_REQUESTS, "Requests to the vendor by stream and outcome");
    describe_histogram!(API_REQUEST_DURATION, Unit::Seconds, "Time from sending a request to its whole answer");
    describe_counter!(API_RETRIES, "Requests sent again by reason");
    describe_counter!(API_BUDGET_WAIT, Unit::Seconds, "Time spent waiting for the account's request budget");
    describe_counter!(ROWS_WRITTEN, "Rows written to the warehouse by table and operation");
    describe_counter!(CONTACTS, "Contacts read by stream and outcome: inserted, changed, unchanged, removed, returned");
    describe_counter!(RECORDS_QUARANTINED, "Records that could not be read, by reason");
    describe_gauge!(QUARANTINED, "Records in quarantine now, by stream and reason");
    describe_counter!(UNKNOWN_FIELDS, "Fields that arrived without a column of their own");
    describe_gauge!(COUNT_MISMATCH_WINDOWS, "Windows whose count does not agree with the vendor's");
    describe_gauge!(RECHECKS_DUE, "Verified windows that are due to be read again");
    describe_gauge!(RECHECK_OVERDUE, Unit::Seconds, "For how long the oldest of them has been due");
    describe_gauge!(RUNGS_GIVEN_UP, "Rungs of sync.recheck that the account's budget does not carry");
    describe_gauge!(APPEARANCE, Unit::Seconds, "How long after its end a contact first appears, by quantile");
    describe_gauge!(SCORING, Unit::Seconds, "How long after its end a contact is first scored, by quantile");
    describe_gauge!(SETTLE, Unit::Seconds, "The settle time in force");
    describe_gauge!(SETTLE_LATE, "Part of contacts that comes later than the settle time allows");
    describe_gauge!(SETTLE_EXCEEDED, "1 while that is more than 0.05");
    describe_counter!(LANE_REQUESTS, "Requests to the vendor by stream and lane");
    describe_gauge!(BUDGET_SHARE, "Part of the account's limit that is used, 0.5 to 1; refusals lower it");
    describe_gauge!(TOKEN_EXPIRES, Unit::Seconds, "When a ready-made token ends, as Unix time; +Inf for never");
    describe_gauge!(WINDOWS_FAILING, "Windows to be read whose last three tries failed, or more");
    describe_gauge!(BACKFILLS_OPEN, "Backfills that are running or paused");
    describe_gauge!(
        BACKFILL_PROGRESS,
        Unit::Seconds,
        "When a running backfill last got on, or was filed, as Unix time; 0 while none runs"
    );
    describe_gauge!(
        QUARANTINE_LAST_NEW,
        Unit::Seconds,
        "When the youngest record in quarantine came, as Unix time; 0 while there is none"
    );
    describe_gauge!(
        UNKNOWN_FIELD_LAST_NEW,
        Unit::Seconds,
        "When a field without a column, or a kind of unreadable value, last came for the first time, as Unix time"
    );
    describe_gauge!(STREAM_REFUSED, "1 while a stream is refused and waits to be tried again");
    describe_gauge!(READY, "1 for each check of /readyz that passes");
    describe_gauge!(START, Unit::Seconds, "When this process began, as Unix time");
    gauge!(START).set((started - DateTime::UNIX_EPOCH).as_seconds_f64());
    describe_gauge!(BUILD_INFO, "Always 1; the labels tell the build");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use metrics::{counter, histogram};

    use super::*;

    #[test]
    fn the_metrics_are_rendered_with_their_meaning() {
        let recorder = recorder().expect("a recorder");
        metrics::with_local_recorder(&recorder, || {
            describe(DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1_500));
            counter!(API_REQUESTS, "stream" => "support", "outcome" => "ok").increment(2);
            histogram!(API_REQUEST_DURATION).record(0.3);
        });
        let text = recorder.handle().render();
        for line in [
            concat!("koresync_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "koresync_start_timestamp_seconds 1.5",
            "# TYPE koresync_api_requests_total counter",
            "koresync_api_requests_total{stream=\"support\",outcome=\"ok\"} 2",
            "koresync_api_request_duration_seconds_bucket{le=\"0.5\"} 1",
            "# HELP koresync_api_requests_total Requests to the vendor",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
