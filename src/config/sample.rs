//! The commented sample, and a first configuration made from it.

use std::fmt::Write as _;

use secrecy::{ExposeSecret as _, SecretString};

use super::show::Shown;

/// `config/koresync.toml`: every key, with its default and what it means.
pub const SAMPLE: &str = include_str!("../../config/koresync.toml");

/// What `config init` fills into the sample. What is left out keeps the sample's line.
#[derive(Debug, Clone, Default)]
pub struct Starter {
    pub warehouse_url: Option<SecretString>,
    pub warehouse_url_file: Option<String>,
    pub base_url: Option<String>,
    pub account_id: Option<String>,
    pub org_id: Option<String>,
    pub client_id: Option<String>,
    pub client_secret_file: Option<String>,
    pub token_file: Option<String>,
    pub stream: Option<String>,
    pub stream_id: Option<String>,
    pub start: Option<String>,
}

impl Starter {
    pub fn render(&self) -> String {
        let warehouse_url = self.warehouse_url.as_ref().map(|url| url.expose_secret().to_owned());
        let set = [
            ("warehouse", "url", &warehouse_url),
            ("warehouse", "url_file", &self.warehouse_url_file),
            ("api", "base_url", &self.base_url),
            ("api", "account_id", &self.account_id),
            ("api", "org_id", &self.org_id),
            ("api", "client_id", &self.client_id),
            ("api", "client_secret_file", &self.client_secret_file),
            ("api", "token_file", &self.token_file),
            ("streams.support", "stream_id", &self.stream_id),
            ("streams.support", "start", &self.start),
        ];
        // One of two ways given: the sample's line for the other goes.
        let dropped = [
            ("warehouse", "url", self.warehouse_url_file.is_some() && self.warehouse_url.is_none()),
            ("api", "client_id", self.token_file.is_some() && self.client_id.is_none()),
            ("api", "client_secret_file", self.token_file.is_some() && self.client_secret_file.is_none()),
        ];
        let mut section = "";
        let mut text = String::new();
        for line in SAMPLE.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
            }
            let (key, is_comment) = key_of(line);
            let wanted = |place: &str, name: &str| place == section && Some(name) == key;
            if let Some(value) =
                set.iter().find(|(place, name, _)| wanted(place, name)).and_then(|(.., value)| value.as_ref())
            {
                let _ = write!(text, "{} = {}", key.unwrap_or_default(), value.shown());
            } else if !is_comment && dropped.iter().any(|(place, name, is_dropped)| *is_dropped && wanted(place, name))
            {
                text.push_str("# ");
                text.push_str(line);
            } else if let ("[streams.support]", Some(stream)) = (line, &self.stream) {
                let _ = write!(text, "[streams.{stream}]");
            } else {
                text.push_str(line);
            }
            text.push('\n');
        }
        text
    }
}

/// The key that a line sets, or shows in a comment.
fn key_of(line: &str) -> (Option<&str>, bool) {
    let (rest, is_comment) = match line.strip_prefix("# ") {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let key = rest.split_once(" = ").map(|(key, _)| key);
    (key.filter(|key| key.bytes().all(|c| c.is_ascii_lowercase() || c == b'_')), is_comment)
}
