//! What can go wrong with a page, in words that an operator can act on.

use std::time::Duration;

use chrono::TimeDelta;

use super::budget::BoxError;
use super::credentials::CredentialError;

/// Clocks are often wrong by a little; tokens are made to bear far more.
const SUSPICIOUS_MINUTES: i64 = 5;

/// Why there is no page. No text holds a URL, a token or a part of a record.
///
/// Messages of the vendor are cleaned and cut to 200 characters.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 401, 403 or the vendor's code 4002, also with a freshly read secret.
    #[error(
        "the API refused the request ({}). The usual causes: the token or the client secret is wrong or has expired; \
         stream_id is wrong; the API scope \"Quality Management Analytics\" is not published for the app{}",
        said(*status, *code, message.as_deref()),
        wrong_clock(*clock_behind)
    )]
    Refused {
        status: u16,
        code: Option<i64>,
        message: Option<String>,
        /// The server's time minus ours, where the answer told it.
        clock_behind: Option<TimeDelta>,
    },
    /// The secret cannot be read or used; nothing was sent.
    #[error("{0}")]
    Credentials(#[from] CredentialError),
    /// The account's limit of requests a minute, for longer than a call may take.
    #[error("the API's rate limit did not lift in time ({})", said(*status, None, None))]
    RateLimited { status: u16, retry_after: Option<Duration> },
    /// The first page was refused, and a smaller `limit` may help. Limits of ten, the vendor's
    /// default, and below are not blamed.
    #[error("the API refused a page of {limit} records ({})", said(*status, None, message.as_deref()))]
    LimitRefused { status: u16, limit: u32, message: Option<String> },
    /// A later page was refused although the first is not: the vendor caps how far one may skip.
    #[error("the API refused to skip to offset {offset}, page {page} ({})", said(*status, None, message.as_deref()))]
    OffsetRefused { status: u16, offset: u64, page: u64, message: Option<String> },
    /// The vendor does not like the request: a date format, a range.
    #[error("the API called the request wrong ({})", said(*status, None, message.as_deref()))]
    BadArgument { status: u16, message: Option<String> },
    /// A status that the API does not document: most often an address that is not the API's.
    #[error(
        "the server gave an answer that the API does not document ({}): check base_url and path_prefix, and any proxy \
         between",
        said(*status, None, message.as_deref())
    )]
    Undocumented { status: u16, message: Option<String> },
    /// No answer, or none that is a page; later there may be.
    #[error("the API is unavailable: {outage}")]
    Unavailable { outage: Outage, retry_after: Option<Duration> },
    /// The answer is larger than we are willing to hold: ask for fewer records.
    #[error(
        "the answer is larger than api.max_body_bytes allows ({max_bytes} bytes after decompression): raise that, or lower api.page_size"
    )]
    TooLarge { max_bytes: u64 },
    /// The budget could not say whether a request may be sent.
    #[error("the budget of requests could not be kept")]
    Budget(#[source] BoxError),
    /// The client was told to stop.
    #[error("stopped before the API answered")]
    Stopped,
}

/// How the API was unavailable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// The server's certificate does not verify.
    #[error(
        "no connection: {0}. Where a proxy signs for the API, give the certificates of its authority to this machine, or name \
         the file by SSL_CERT_FILE in the environment"
    )]
    Untrusted(String),
    /// DNS, TCP or TLS.
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no whole answer in time; if its pages are large or slow to come, lower api.page_size")]
    Timeout,
    /// The connection broke, or the compressed body did.
    #[error("the answer broke off: {0}")]
    Broken(String),
    #[error("it answered {}", said(*status, None, message.as_deref()))]
    Status { status: u16, message: Option<String> },
    /// A success that is none: HTML, an error body, a truncated body, a body without `results`.
    #[error("it answered {status} with {what}{}", message.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    NotAPage { status: u16, what: String, message: Option<String> },
}

/// What helps against an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Time: try again later.
    Wait,
    /// Someone must change the configuration, a secret or the vendor's settings.
    Operator,
    /// Fewer records a page.
    LowerLimit,
    /// Smaller offsets: a smaller window.
    LowerOffset,
    /// Our own database must come back first.
    Database,
    /// Nothing went wrong: the program is stopping.
    Stop,
}

impl ApiError {
    /// Classifies the error; what is unknown asks the operator.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::RateLimited { .. } | Self::Unavailable { .. } => Remedy::Wait,
            Self::LimitRefused { .. } | Self::TooLarge { .. } => Remedy::LowerLimit,
            Self::OffsetRefused { .. } => Remedy::LowerOffset,
            Self::Budget(_) => Remedy::Database,
            Self::Stopped => Remedy::Stop,
            Self::Refused { .. } | Self::Credentials(_) | Self::BadArgument { .. } | Self::Undocumented { .. } => {
                Remedy::Operator
            }
        }
    }

    /// The value of the metrics' label `outcome` or `reason`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Credentials(_) => "credentials",
            Self::RateLimited { .. } => "rate_limited",
            Self::LimitRefused { .. } => "limit_refused",
            Self::OffsetRefused { .. } => "offset_refused",
            Self::BadArgument { .. } => "bad_argument",
            Self::Undocumented { .. } => "undocumented",
            Self::Unavailable { .. } => "unavailable",
            Self::TooLarge { .. } => "too_large",
            Self::Budget(_) => "budget",
            Self::Stopped => "stopped",
        }
    }
}

/// The labels of an answered or unanswered request that brought no page.
pub const FAILURES: [&str; 8] = [
    "refused",
    "rate_limited",
    "limit_refused",
    "offset_refused",
    "bad_argument",
    "undocumented",
    "unavailable",
    "too_large",
];

/// The labels of those that are asked again.
pub const ASKED_AGAIN: [&str; 3] = ["refused", "rate_limited", "unavailable"];

/// A difference that may well be why a token was refused.
fn wrong_clock(behind: Option<TimeDelta>) -> String {
    let Some(minutes) = behind.map(|behind| behind.num_minutes()).filter(|m| m.abs() >= SUSPICIOUS_MINUTES) else {
        return String::new();
    };
    let side = if minutes > 0 { "behind" } else { "ahead of" };
    format!(". This machine's clock is {} min {side} the API's, and tokens live by it", minutes.abs())
}

fn said(status: u16, code: Option<i64>, message: Option<&str>) -> String {
    let code = code.map(|code| format!(", code {code}")).unwrap_or_default();
    let message = message.map(|text| format!(": {text}")).unwrap_or_default();
    format!("{status}{code}{message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_of_a_request_is_among_those_that_are_counted_from_the_start() {
        let (status, message) = (400, None);
        let failures = [
            ApiError::Refused { status, code: None, message: None, clock_behind: None },
            ApiError::RateLimited { status, retry_after: None },
            ApiError::LimitRefused { status, limit: 1, message: None },
            ApiError::OffsetRefused { status, offset: 1, page: 1, message: None },
            ApiError::BadArgument { status, message: None },
            ApiError::Undocumented { status, message },
            ApiError::Unavailable { outage: Outage::Timeout, retry_after: None },
            ApiError::TooLarge { max_bytes: 1 },
        ];
        assert_eq!(failures.map(|failure| failure.label()), FAILURES);
        assert!(ASKED_AGAIN.iter().all(|label| FAILURES.contains(label)));
    }
}
