//! A stream and a backfill for the tests of this room, which change what they are about.

use chrono::{DateTime, Utc};

use crate::warehouse::backfills::Backfill;
use crate::warehouse::status::StreamStatus;

/// `support`, verified from its start up to there, with nothing wrong.
pub(super) fn stream(start: DateTime<Utc>, watermark: DateTime<Utc>) -> StreamStatus {
    StreamStatus {
        stream: "support".into(),
        start_at: start,
        watermark,
        frontier: watermark,
        last_success_at: None,
        paused_at: None,
        paused_reason: None,
        retry_at: None,
        paging: None,
        page_limit: None,
        windows_verified: 1,
        windows_unverified: 0,
        windows_waiting: 0,
        windows_running: 0,
        windows_failing: 0,
        last_error: None,
        contacts: 7,
        quarantined: 0,
        unknown_fields: 0,
    }
}

/// Of `support`, running, nothing of it planned yet.
pub(super) fn backfill(from: DateTime<Utc>, to: DateTime<Utc>) -> Backfill {
    Backfill {
        id: 7,
        stream: "support".into(),
        from_at: from,
        to_at: to,
        planned_down_to: to,
        state: "running".into(),
        origin: "operator".into(),
        span_seconds: None,
        created_at: to,
        finished_at: None,
        read_seconds: 0.0,
        windows_verified: 0,
        windows_unverified: 0,
        windows_planned: 0,
        contacts: 0,
        inserted: 0,
        changed: 0,
        unchanged: 0,
        quarantined: 0,
        requests: 0,
    }
}
