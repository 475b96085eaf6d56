//! What machines ask: liveness, readiness, metrics.

use std::fmt::Write as _;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

use super::notify::Heartbeat;
use super::readiness::{CheckState, Readiness};
use super::status::{self, Shown};
use crate::status::Board;

/// A daemon that makes no progress for so long hangs. As long as the service manager waits (`WatchdogSec=`).
const STANDSTILL: Duration = Duration::from_mins(1);

#[derive(Clone)]
struct Pages {
    readiness: Readiness,
    heartbeat: Option<Heartbeat>,
    metrics: PrometheusHandle,
}

/// GET and HEAD alone, but for what `server.actions` allows; anything else is 405, and an unknown path 404.
pub(super) fn router(
    readiness: Readiness,
    heartbeat: Option<Heartbeat>,
    metrics: PrometheusHandle,
    board: Board,
) -> Router {
    let shown = Shown { board, readiness: readiness.clone() };
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .with_state(Pages { readiness, heartbeat, metrics })
        .merge(status::router(shown))
}

/// Asks nobody: what waits for its database lives, and what gets round to nothing does not.
async fn livez(State(pages): State<Pages>) -> Response {
    match pages.heartbeat.map(|heartbeat| heartbeat.age()) {
        Some(age) if age >= STANDSTILL => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("no progress for {} seconds\n", age.as_secs())).into_response()
        }
        _ => "ok\n".into_response(),
    }
}

/// A line for each check, or JSON when the query says `format=json` or the client accepts it alone.
/// 503 while any check does not pass.
async fn readyz(State(pages): State<Pages>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let checks = pages.readiness.checks();
    let is_ready = checks.values().all(|state| *state == CheckState::Passing);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let wants_json = query.is_some_and(|query| query.split('&').any(|pair| pair == "format=json"))
        || headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes() == b"application/json");
    let word_and_why = |state: &CheckState| match state {
        CheckState::Waiting => ("waiting", None),
        CheckState::Passing => ("ok", None),
        CheckState::Failing(why) => ("failing", Some(why.clone())),
    };
    if wants_json {
        let checks: Vec<_> = checks
            .iter()
            .map(|(name, state)| {
                let (word, why) = word_and_why(state);
                serde_json::json!({ "check": name, "state": word, "reason": why })
            })
            .collect();
        return (status, Json(serde_json::json!({ "ready": is_ready, "checks": checks }))).into_response();
    }
    let mut text = String::new();
    for (name, state) in &checks {
        let (word, why) = word_and_why(state);
        let _ = write!(text, "{name}: {word}");
        if let Some(why) = why {
            // A line a check, whatever the reason holds.
            text.push_str(": ");
            text.push_str(&why.replace(['\n', '\r'], " "));
        }
        text.push('\n');
    }
    text.push_str(if is_ready { "ready\n" } else { "not ready\n" });
    (status, text).into_response()
}

async fn metrics_text(State(pages): State<Pages>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], pages.metrics.render())
}
