//! From an answer to a page or to the reason why there is none: the one place that decides.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::complaint::{Complaint, has_errors};
use super::error::{ApiError, Outage};
use super::http::{Answer, Failure, describe};
use super::large::Right;
use super::request::PageRequest;
use crate::json::{Value, split_page};

/// The vendor's code for "Invalid SDK credentials", whatever the status.
const INVALID_CREDENTIALS: i64 = 4002;
/// The vendor's default limit, which no server can call too large.
const DEFAULT_LIMIT: u32 = 10;

/// What a page says.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) body: Bytes,
    pub(super) records: Vec<Bytes>,
    pub(super) total: Option<u64>,
    pub(super) has_more: Option<bool>,
    pub(super) total_pages: Option<u64>,
    pub(super) date: Option<DateTime<Utc>>,
    pub(super) right: Option<Right>,
}

/// Classifies what came of one attempt.
pub(super) fn classify(
    outcome: Result<Answer, Failure>,
    request: &PageRequest,
    max_bytes: u64,
) -> Result<Content, ApiError> {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(Failure::TooLarge { held_bytes }) => {
            tracing::debug!(held_bytes, max_bytes, "An answer is too large.");
            return Err(ApiError::TooLarge { max_bytes });
        }
        Err(Failure::Transport(error)) => return Err(unreachable(&error)),
    };
    let is_success = answer.status.is_success();
    if is_success && let Some(content) = content(&answer) {
        return Ok(content);
    }
    let complaint = Complaint::read(&answer.body, is_success);
    let Complaint { is_rate_limit, code, message, what } = complaint;
    let (status, retry_after, clock_behind) = (answer.status.as_u16(), answer.retry_after, answer.clock_behind);
    if status == 429 || is_rate_limit {
        return Err(ApiError::RateLimited { status, retry_after });
    }
    if code == Some(INVALID_CREDENTIALS) {
        return Err(ApiError::Refused { status, code, message, clock_behind });
    }
    Err(match status {
        401 | 403 => ApiError::Refused { status, code, message, clock_behind },
        200..=299 => {
            ApiError::Unavailable { outage: Outage::NotAPage { status, what: what.into_owned(), message }, retry_after }
        }
        400 | 422 if !request.is_first() => {
            ApiError::OffsetRefused { status, offset: request.offset, page: request.page, message }
        }
        400 | 422 if request.limit > DEFAULT_LIMIT => ApiError::LimitRefused { status, limit: request.limit, message },
        400 | 422 => ApiError::BadArgument { status, message },
        // Time-outs, conflicts and locks pass by themselves, as the failures of a server do.
        408 | 409 | 423 | 425 | 500..=599 => {
            ApiError::Unavailable { outage: Outage::Status { status, message }, retry_after }
        }
        _ => ApiError::Undocumented { status, message },
    })
}

/// The page, or `None` when the body is not a whole one.
fn content(answer: &Answer) -> Option<Content> {
    let body = &answer.body;
    let page = split_page(body).ok()?;
    let records = page.records?.into_iter().map(|range| body.slice(range)).collect();
    let members = Value::Object(page.members);
    if has_errors(&members) {
        return None;
    }
    let member = |camel: &str, snake: &str| members.get(camel).or_else(|| members.get(snake));
    Some(Content {
        records,
        total: member("totalResults", "total_results").and_then(count),
        has_more: member("hasMore", "has_more").and_then(flag),
        total_pages: member("totalPages", "total_pages").and_then(count),
        date: answer.date,
        right: answer.right.clone(),
        body: body.clone(),
    })
}

/// A count, as a number or as its text.
fn count(value: &Value<'_>) -> Option<u64> {
    let text = value.as_number().or_else(|| value.as_str())?.trim();
    text.parse().ok().or_else(|| text.strip_suffix(".0")?.parse().ok())
}

fn flag(value: &Value<'_>) -> Option<bool> {
    value.as_bool().or_else(|| match value.as_str()?.trim() {
        text if text.eq_ignore_ascii_case("true") => Some(true),
        text if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    })
}

fn unreachable(error: &reqwest::Error) -> ApiError {
    let outage = if error.is_timeout() {
        Outage::Timeout
    } else if error.is_connect() {
        let cause = describe(error);
        if cause.contains("certificate") { Outage::Untrusted(cause) } else { Outage::Connect(cause) }
    } else {
        Outage::Broken(describe(error))
    };
    ApiError::Unavailable { outage, retry_after: None }
}
