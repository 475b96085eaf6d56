//! Where the API is and how it wants to be asked.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Utc};
use reqwest::Url;
use reqwest::header::HeaderValue;

/// The settings of one stream's endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The stream's name in our own configuration: the label of spans and metrics.
    pub stream: String,
    pub base_url: BaseUrl,
    /// The path before `/api/v1/…`: `/qualityai`, formerly `/agentassist`. May be empty.
    pub path_prefix: String,
    /// The vendor's id of the stream (or bot).
    pub stream_id: String,
    pub account_id: String,
    pub org_id: String,
    pub date_format: DateFormat,
    /// Whether contacts below the duration threshold are asked for; `None` says nothing about it.
    pub include_below_threshold: Option<bool>,
    pub include_below_threshold_in: Placement,
    /// Of an answer after decompression.
    pub max_body_bytes: u64,
    pub timeouts: Timeouts,
    pub user_agent: String,
}

/// Where `include_below_threshold` stands in a request; the vendor's page does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    #[default]
    Body,
    Query,
}

/// Deadlines of one attempt, in real time whatever the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub read: Duration,
    /// From the first byte sent to the last received.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), read: Duration::from_secs(30), total: Duration::from_mins(2) }
    }
}

/// A setting that no request can be made with. Never holds the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    #[error("base_url is not an http or https address such as https://platform.kore.ai")]
    BaseUrl,
    #[error("base_url holds a user name or a password: give credentials as client_secret or token")]
    UserInBaseUrl,
    #[error("base_url holds a query or a fragment")]
    QueryInBaseUrl,
    #[error("date_format is not a strftime pattern such as %Y-%m-%d %H:%M:%S")]
    DateFormat,
    #[error("{0} holds characters that no HTTP header may carry")]
    Header(&'static str),
    #[error("{0} is empty")]
    Empty(&'static str),
    #[error("the HTTP client cannot start: {0}")]
    Http(String),
}

/// The environment's address: scheme, host, perhaps a path, no slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl FromStr for BaseUrl {
    type Err = SettingError;

    /// Takes what people copy from the vendor's pages: with or without a scheme (then `https`), with
    /// or without slashes at the end.
    fn from_str(text: &str) -> Result<Self, SettingError> {
        let text = text.trim().trim_end_matches('/');
        let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&text).map_err(|_| SettingError::BaseUrl)?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(SettingError::BaseUrl);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SettingError::UserInBaseUrl);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(SettingError::QueryInBaseUrl);
        }
        Ok(Self(url))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl BaseUrl {
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The port, the scheme's own if none is written.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }

    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether the address is this machine, by name or by number.
    pub fn is_loopback(&self) -> bool {
        let host = self.host().trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// How a date is written in a request: a strftime pattern, checked. Times are UTC.
#[derive(Debug, Clone, PartialEq)]
pub struct DateFormat {
    pattern: String,
    items: Vec<Item<'static>>,
}

impl FromStr for DateFormat {
    type Err = SettingError;

    fn from_str(pattern: &str) -> Result<Self, SettingError> {
        let items = StrftimeItems::new(pattern).parse_to_owned().map_err(|_| SettingError::DateFormat)?;
        let format = Self { pattern: pattern.to_owned(), items };
        // A pattern that writes nothing, or that needs what a moment does not have, is found here.
        if format.write(DateTime::UNIX_EPOCH).trim().is_empty() {
            return Err(SettingError::DateFormat);
        }
        Ok(format)
    }
}

impl fmt::Display for DateFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

impl DateFormat {
    pub(super) fn write(&self, moment: DateTime<Utc>) -> String {
        use fmt::Write as _;
        let mut text = String::new();
        // A failure can only come from the pattern, and an empty text is refused when it is read.
        if write!(text, "{}", moment.format_with_items(self.items.iter())).is_err() {
            text.clear();
        }
        text
    }
}

impl Endpoint {
    /// The address that pages are asked from.
    pub(super) fn url(&self) -> Result<Url, SettingError> {
        if self.stream_id.trim().is_empty() {
            return Err(SettingError::Empty("stream_id"));
        }
        let mut url = self.base_url.0.clone();
        {
            let mut path = url.path_segments_mut().map_err(|()| SettingError::BaseUrl)?;
            path.pop_if_empty()
                .extend(self.path_prefix.split('/').filter(|part| !part.is_empty()))
                .extend(["api", "v1", "public", "qualitymanagement", "app"])
                .push(self.stream_id.trim())
                .push("rawdata");
        }
        Ok(url)
    }

    /// A header whose value comes from the settings.
    pub(super) fn header(name: &'static str, value: &str) -> Result<HeaderValue, SettingError> {
        let value = value.trim();
        if value.is_empty() {
            return Err(SettingError::Empty(name));
        }
        HeaderValue::from_str(value).map_err(|_| SettingError::Header(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_people_write_it() {
        for text in ["https://platform.kore.ai/", "platform.kore.ai", " https://platform.kore.ai// "] {
            let url: BaseUrl = text.parse().expect("an address");
            assert_eq!(url.to_string(), "https://platform.kore.ai", "{text}");
            assert!(url.is_https() && !url.is_loopback());
        }
        assert!("http://127.0.0.1:8080".parse::<BaseUrl>().expect("an address").is_loopback());
        assert!("http://[::1]:8080".parse::<BaseUrl>().expect("an address").is_loopback());
    }

    #[test]
    fn an_address_with_a_password_is_refused_without_repeating_it() {
        let error = "https://me:hunter2@platform.kore.ai".parse::<BaseUrl>().expect_err("refused");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert_eq!("ftp://platform.kore.ai".parse::<BaseUrl>(), Err(SettingError::BaseUrl));
        assert_eq!("https://platform.kore.ai?x=1".parse::<BaseUrl>(), Err(SettingError::QueryInBaseUrl));
        assert_eq!("".parse::<BaseUrl>(), Err(SettingError::BaseUrl));
    }

    #[test]
    fn every_form_of_date_that_the_vendor_shows_can_be_written() {
        let moment = DateTime::from_timestamp_millis(1_774_261_074_250).expect("a time");
        for (pattern, text) in [
            ("%Y-%m-%d %H:%M:%S", "2026-03-23 10:17:54"),
            ("%Y-%m-%dT%H:%M:%S", "2026-03-23T10:17:54"),
            ("%Y-%m-%dT%H:%M:%S%.3fZ", "2026-03-23T10:17:54.250Z"),
        ] {
            assert_eq!(pattern.parse::<DateFormat>().expect("a pattern").write(moment), text);
        }
        for pattern in ["%Q", "", "%Y-%"] {
            assert_eq!(pattern.parse::<DateFormat>(), Err(SettingError::DateFormat), "{pattern}");
        }
    }
}
