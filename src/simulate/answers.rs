//! The answers of the vendor, good and bad.

use std::io::Write as _;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use serde_json::json;

use super::dice::Dice;
use super::options::{Disguise, RetryAfter};

pub const RATE_LIMIT_TEXT: &str = "You've exceeded the per-minute rate limit. Wait for sometime before retrying.";

fn with(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    with(status, "application/json; charset=utf-8", body)
}

pub fn error(status: StatusCode, text: &str, code: u32) -> Response {
    json(status, json!({"errors": [{"msg": text, "code": code}]}).to_string())
}

pub fn unauthorised() -> Response {
    error(StatusCode::UNAUTHORIZED, "Invalid SDK credentials", 4002)
}

pub fn html(status: StatusCode) -> Response {
    let page = "<!DOCTYPE html><html><head><title>Please wait</title></head><body><h1>One moment…</h1></body></html>";
    with(status, "text/html; charset=utf-8", page)
}

pub fn rate_limited(disguise: Disguise, retry_after: RetryAfter, now: DateTime<Utc>, wait: Duration) -> Response {
    let (status, code) = match disguise {
        Disguise::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, 429),
        Disguise::Forbidden => (StatusCode::FORBIDDEN, 403),
        Disguise::BadRequest => (StatusCode::BAD_REQUEST, 400),
        Disguise::Ok => (StatusCode::OK, 429),
        Disguise::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, 503),
    };
    let mut response = error(status, RATE_LIMIT_TEXT, code);
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let told = match retry_after {
        RetryAfter::None => None,
        RetryAfter::Seconds => HeaderValue::from_str(&seconds.to_string()).ok(),
        RetryAfter::Date => {
            let date = (now + Duration::from_secs(seconds + 1)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            HeaderValue::from_str(&date).ok()
        }
    };
    if let Some(told) = told {
        response.headers_mut().insert(header::RETRY_AFTER, told);
    }
    response
}

/// A page's body, compressed if so asked.
pub fn page(body: String, is_compressed: bool) -> (Bytes, Option<(HeaderName, HeaderValue)>) {
    if is_compressed {
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3), Compression::fast());
        if let Ok(compressed) = encoder.write_all(body.as_bytes()).and_then(|()| encoder.finish()) {
            return (compressed.into(), Some((header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))));
        }
    }
    (body.into(), None)
}

/// How a body ends too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The answer is whole by its length: only the content tells.
    Content,
    /// Within a chunk.
    Chunk,
    /// Before the length that the head tells.
    Length,
}

impl Cut {
    pub fn by_chance(dice: &mut Dice) -> Self {
        *dice.pick(&[Self::Content, Self::Chunk, Self::Length])
    }

    /// A page's text as it goes on, cut or not.
    pub fn of_text(self, mut text: String, dice: &mut Dice) -> String {
        if self == Self::Content {
            let kept = usize::try_from(dice.below(text.len() as u64)).unwrap_or(0);
            text.truncate(text.floor_char_boundary(kept));
        }
        text
    }

    /// The answer with a body that ends too early.
    pub fn response(self, mut body: Bytes, dice: &mut Dice) -> Response {
        if self == Self::Content {
            return json(StatusCode::OK, body);
        }
        let whole = body.len();
        body.truncate(usize::try_from(dice.below(whole as u64)).unwrap_or(0));
        let parts = [Ok(body), Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))];
        let mut response = json(StatusCode::OK, Body::from_stream(stream::iter(parts)));
        if self == Self::Length {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(whole));
        }
        response
    }
}
