//! The wire: the one place that makes an HTTP client, and the reading of a body under a cap.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use super::endpoint::{Endpoint, SettingError};
use super::large::{LARGE_BYTES, LargeAnswers, Right};
use super::retry_after;

/// Of an answer that is no success: enough for its message.
const LONGEST_COMPLAINT_BYTES: u64 = 64 * 1024;
const KEEPALIVE: Duration = Duration::from_secs(30);

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) date: Option<DateTime<Utc>>,
    /// The server's time minus ours.
    pub(super) clock_behind: Option<TimeDelta>,
    pub(super) retry_after: Option<Duration>,
    /// Decompressed; of an answer that is no success perhaps only its start.
    pub(super) body: Bytes,
    /// Of a large body; dropped with it.
    pub(super) right: Option<Right>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Without its URL.
    Transport(reqwest::Error),
    TooLarge {
        /// Decompressed bytes held when the cap was found to be passed.
        held_bytes: u64,
    },
}

/// Follows no redirect: a token must reach no other host than the configured one.
pub(super) fn client(endpoint: &Endpoint) -> Result<reqwest::Client, SettingError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(Endpoint::header("user_agent", &endpoint.user_agent)?)
        .gzip(true)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .tcp_keepalive(KEEPALIVE)
        .connect_timeout(endpoint.timeouts.connect)
        .read_timeout(endpoint.timeouts.read)
        .timeout(endpoint.timeouts.total);
    if endpoint.base_url.is_loopback() {
        // A proxy's loopback is not ours.
        builder = builder.no_proxy();
    }
    if !endpoint.base_url.is_https() {
        // TLS is never used then, so the machine need not have any certificates.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| SettingError::Http(describe(&error.without_url())))
}

/// Sends one request and reads its answer, `max_bytes` at most.
pub(super) async fn exchange(
    request: reqwest::RequestBuilder,
    (max_bytes, large): (u64, &LargeAnswers),
    now: DateTime<Utc>,
) -> Result<Answer, Failure> {
    let mut response = request.send().await.map_err(|error| Failure::Transport(error.without_url()))?;
    let status = response.status();
    let date = header(response.headers(), &DATE).and_then(retry_after::http_date);
    let retry_after =
        header(response.headers(), &RETRY_AFTER).and_then(|text| retry_after::wait(text, date.unwrap_or(now)));
    let (body, right) = if status.is_success() {
        read_whole(&mut response, max_bytes, large).await?
    } else {
        (read_start(&mut response, LONGEST_COMPLAINT_BYTES.min(max_bytes)).await, None)
    };
    Ok(Answer { status, date, clock_behind: date.map(|date| date - now), retry_after, body, right })
}

async fn read_whole(
    response: &mut reqwest::Response,
    max_bytes: u64,
    large: &LargeAnswers,
) -> Result<(Bytes, Option<Right>), Failure> {
    if response.content_length().is_some_and(|length| length > max_bytes) {
        return Err(Failure::TooLarge { held_bytes: 0 });
    }
    // Told by a server that does not compress; a body that grows is copied again and again.
    let length = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut body = BytesMut::with_capacity(length.unwrap_or_default());
    let mut right = None;
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::Transport(error.without_url()))? {
        let held_bytes = (body.len() + chunk.len()) as u64;
        if held_bytes > max_bytes {
            return Err(Failure::TooLarge { held_bytes });
        }
        if held_bytes > LARGE_BYTES && right.is_none() {
            right = large.right().await;
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), right))
}

/// The start of a body, or as much of it as came: the status alone says enough.
async fn read_start(response: &mut reqwest::Response, max_bytes: u64) -> Bytes {
    let mut body = BytesMut::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() as u64 >= max_bytes {
            break;
        }
    }
    body.freeze()
}

fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The last cause of an error, which says most: "Connection refused (os error 111)".
pub(super) fn describe(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
