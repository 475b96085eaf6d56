//! The status page and what it leads to: a stream's months, spans of windows, a window.
//!
//! HTML that works by itself; a script refreshes it and copies commands. Everything is served from the program, and the
//! content policy lets nothing else in.

mod actions;
mod grid;
mod layout;
mod overview;
mod sections;
mod stream;
mod window;
mod words;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::{get, post};
use chrono::{DateTime, NaiveDate, Utc};
use maud::Markup;
use serde::Deserialize;

use super::readiness::Readiness;
use crate::status::StreamReport;
use crate::status::board::{Board, Unanswered};
use crate::status::grid::days_of_month;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const ICON: &str = include_str!("icon.svg");
/// Of an asset, whose name changes with the program's version alone.
const ASSET_LIFE: &str = "public, max-age=300";
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub board: Board,
    pub readiness: Readiness,
}

pub(super) fn router(shown: Shown) -> Router {
    let actions = if shown.board.settings().server.actions {
        Router::new()
            .route("/windows/{id}/retry", post(actions::retry_window))
            .route("/streams/{name}/retry", post(actions::retry_stream))
            .route("/backfills/{id}/{verb}", post(actions::steer_backfill))
    } else {
        Router::new()
    };
    Router::new()
        .route("/", get(overview))
        .route("/status.json", get(json))
        .route("/streams/{name}", get(stream))
        .route("/streams/{name}/windows", get(windows))
        .route("/windows/{id}", get(window))
        .route("/assets/page.css", get(|| async { asset("text/css; charset=utf-8", STYLE) }))
        .route("/assets/page.js", get(|| async { asset("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/assets/icon.svg", get(|| async { asset("image/svg+xml", ICON) }))
        .merge(actions)
        .with_state(shown)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    guarded(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, ASSET_LIFE)], text).into_response())
}

/// With what keeps a browser from mixing the page with anything else.
fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn page(status: StatusCode, markup: Markup) -> Response {
    guarded((status, Html(markup.into_string())).into_response())
}

async fn overview(State(shown): State<Shown>) -> Response {
    let seen = shown.board.overview().await;
    page(StatusCode::OK, overview::page(&seen, &shown))
}

/// As `koresync status --json` tells it. 503 while the warehouse is away.
async fn json(State(shown): State<Shown>) -> Response {
    let seen = shown.board.overview().await;
    guarded(match (&seen.away, seen.report()) {
        (None, Some(report)) => Json(report).into_response(),
        (away, _) => {
            let why = away.as_ref().map(|away| away.why.clone()).unwrap_or_default();
            (StatusCode::SERVICE_UNAVAILABLE, Json(serde_json::json!({ "away": why }))).into_response()
        }
    })
}

#[derive(Deserialize)]
struct OfMonth {
    /// As `2026-03`; the month that it is by default.
    month: Option<String>,
}

async fn stream(State(shown): State<Shown>, Path(name): Path<String>, Query(asked): Query<OfMonth>) -> Response {
    let seen = shown.board.overview().await;
    let Some(overview) = seen.overview.as_deref() else { return page(StatusCode::OK, overview::page(&seen, &shown)) };
    let found = overview.report.streams.iter().find(|stream| stream.status.stream == name);
    let Some(stream) = found.map(|stream| StreamReport { hours: seen.hours_of(&name), ..stream.clone() }) else {
        return missing(&format!("No stream {name} has run."));
    };
    let month = match asked.month.as_deref().map(|text| NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d")) {
        None => overview.report.at.date_naive(),
        Some(Ok(month)) => month,
        Some(Err(_)) => return faulty("A month is given as 2026-03."),
    };
    let days = days_of_month(month, overview.report.at);
    match shown.board.stretches(&name, days).await {
        Ok(stretches) => page(StatusCode::OK, stream::page(&stream, &overview.report, &stretches, days, &seen)),
        Err(error) => unanswered(&error),
    }
}

#[derive(Deserialize)]
struct OfSpan {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

async fn windows(
    State(shown): State<Shown>,
    Path(name): Path<String>,
    asked: Result<Query<OfSpan>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Ok(Query(OfSpan { from, to })) = asked else {
        return faulty("A span is given as from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z.");
    };
    match shown.board.windows(&name, (from, to)).await {
        Ok(windows) => page(StatusCode::OK, window::list(&name, (from, to), &windows)),
        Err(error) => unanswered(&error),
    }
}

async fn window(State(shown): State<Shown>, Path(id): Path<i64>) -> Response {
    match shown.board.window(id).await {
        Ok(Some(window)) => page(StatusCode::OK, window::page(&window, shown.board.settings().server.actions)),
        Ok(None) => {
            missing(&format!("The ledger has no window {id}. Once read again, neighbours are merged into one."))
        }
        Err(error) => unanswered(&error),
    }
}

fn unanswered(error: &Unanswered) -> Response {
    let status = match error {
        Unanswered::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
        Unanswered::Refused(_) => StatusCode::BAD_GATEWAY,
    };
    page(status, layout::notice("No answer", &error.to_string()))
}

fn missing(words: &str) -> Response {
    page(StatusCode::NOT_FOUND, layout::notice("Not there", words))
}

fn faulty(words: &str) -> Response {
    page(StatusCode::BAD_REQUEST, layout::notice("Not understood", words))
}
