//! How to reach the vendor: each key of `[api]`, which any stream may override.

use super::reader::Section;
use super::secret::Secret;
use super::show::Shown;
use super::url;

/// How the vendor is asked for the next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// Found out from the answers.
    Auto,
    Offset,
    Page,
    /// The offset counts pages.
    OffsetAsPages,
}

/// Where `include_below_threshold` is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThresholdPlace {
    Body,
    Query,
}

/// What proves who we are.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A token made for each request and signed with the secret.
    Signed { client_id: String, client_secret: Secret },
    /// A ready-made token.
    Token(Secret),
}

impl Credentials {
    /// The part that nobody may see.
    pub fn secret(&self) -> &Secret {
        match self {
            Self::Signed { client_secret, .. } => client_secret,
            Self::Token(token) => token,
        }
    }
}

/// How to reach the vendor for one stream: `[api]` with the stream's own keys over it.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Scheme, host and port, perhaps a path; no slash at the end.
    pub base_url: String,
    /// A slash in front, none at the end; empty for none.
    pub path_prefix: String,
    pub account_id: String,
    pub org_id: String,
    pub credentials: Credentials,
    /// Of the whole account; the same for all its streams.
    pub requests_per_minute: u32,
    /// Records asked for at once, 1 to 1000.
    pub page_size: u32,
    pub paging: Paging,
    /// A strftime pattern that tells any two seconds apart.
    pub date_format: String,
    pub include_below_threshold: bool,
    pub include_below_threshold_in: ThresholdPlace,
    /// Of one answer, after decompression.
    pub max_body_bytes: usize,
}

/// The keys as they stand in `[api]` or under a stream; `None` where nothing (right) is given.
#[derive(Debug, Clone, Default)]
pub(super) struct ApiKeys {
    base_url: Option<String>,
    path_prefix: Option<String>,
    account_id: Option<String>,
    org_id: Option<String>,
    client_id: Option<String>,
    client_secret: Option<Secret>,
    token: Option<Secret>,
    requests_per_minute: Option<u64>,
    page_size: Option<u64>,
    paging: Option<Paging>,
    date_format: Option<String>,
    include_below_threshold: Option<bool>,
    include_below_threshold_in: Option<ThresholdPlace>,
    max_body_bytes: Option<u64>,
    /// Keys that are set, rightly or not: one that is set wrongly was told and is not missing too.
    given: Vec<&'static str>,
}

const BASE_URL: &str = "https://platform.kore.ai";
const PATH_PREFIX: &str = "/qualityai";
const REQUESTS_PER_MINUTE: u64 = 60;
const PAGE_SIZE: u64 = 100;
const DATE_FORMAT: &str = "%Y-%m-%d %H:%M:%S";
const MAX_BODY_BYTES: u64 = 64 << 20;

impl ApiKeys {
    pub fn read(section: &mut Section<'_>) -> Self {
        Self {
            base_url: section.text("base_url", url::base_url),
            path_prefix: section.text("path_prefix", url::path_prefix),
            account_id: section.text("account_id", header),
            org_id: section.text("org_id", header),
            client_id: section.text("client_id", header),
            client_secret: section.secret("client_secret"),
            token: section.secret("token"),
            requests_per_minute: section.whole("requests_per_minute", 1..=1_000_000),
            page_size: section.whole("page_size", 1..=1_000),
            paging: section.choice(
                "paging",
                &[
                    ("auto", Paging::Auto),
                    ("offset", Paging::Offset),
                    ("page", Paging::Page),
                    ("offset_as_pages", Paging::OffsetAsPages),
                ],
            ),
            date_format: section.text("date_format", date_format),
            include_below_threshold: section.flag("include_below_threshold"),
            include_below_threshold_in: section.choice(
                "include_below_threshold_in",
                &[("body", ThresholdPlace::Body), ("query", ThresholdPlace::Query)],
            ),
            max_body_bytes: section.bytes("max_body_bytes", 1_024..=4 << 30),
            given: ["account_id", "org_id", "client_id", "client_secret", "client_secret_file", "token", "token_file"]
                .into_iter()
                .filter(|key| section.is_given(key))
                .collect(),
        }
    }

    /// Notes the defaults of the keys that `[api]` leaves out, so that they are shown.
    pub fn with_defaults(self, section: &mut Section<'_>) -> Self {
        let defaults = [
            ("base_url", self.base_url.is_none(), BASE_URL.shown()),
            ("path_prefix", self.path_prefix.is_none(), PATH_PREFIX.shown()),
            ("requests_per_minute", self.requests_per_minute.is_none(), REQUESTS_PER_MINUTE.shown()),
            ("page_size", self.page_size.is_none(), PAGE_SIZE.shown()),
            ("paging", self.paging.is_none(), "auto".shown()),
            ("date_format", self.date_format.is_none(), DATE_FORMAT.shown()),
            ("include_below_threshold", self.include_below_threshold.is_none(), true.shown()),
            ("include_below_threshold_in", self.include_below_threshold_in.is_none(), "body".shown()),
            ("max_body_bytes", self.max_body_bytes.is_none(), MAX_BODY_BYTES.shown()),
        ];
        for (key, _, default) in defaults.into_iter().filter(|(_, is_default, _)| *is_default) {
            section.note_default(key, default);
        }
        self
    }

    /// These keys over those of `[api]`, over the defaults. What must be set and is not is reported
    /// in the stream's section.
    ///
    /// A secret under a stream replaces the kind that `[api]` has too: a stream with a token needs
    /// no client secret.
    pub fn resolve(self, api: &Self, section: &mut Section<'_>) -> Option<ApiSettings> {
        let is_given = |keys: &[&str]| keys.iter().any(|key| self.given.contains(key) || api.given.contains(key));
        let own = self.client_secret.is_some() || self.token.is_some();
        let (client_secret, token) =
            if own { (self.client_secret, self.token) } else { (api.client_secret.clone(), api.token.clone()) };
        let client_id = self.client_id.or_else(|| api.client_id.clone());
        let credentials = match (client_secret, token, client_id) {
            (Some(_), Some(_), _) => {
                section.refuse("token", "client_secret and token are both given; give one of the two");
                None
            }
            (None, Some(token), _) => Some(Credentials::Token(token)),
            (Some(client_secret), None, Some(client_id)) => Some(Credentials::Signed { client_id, client_secret }),
            (Some(_), None, None) if is_given(&["client_id"]) => None,
            (None, None, _) if is_given(&["client_secret", "client_secret_file", "token", "token_file"]) => None,
            (Some(_), None, None) => {
                section.missing("client_id", "client_secret needs the client_id it belongs to, here or in [api]");
                None
            }
            (None, None, _) => {
                section.missing(
                    "client_secret",
                    "set client_id with client_secret (or client_secret_file), or token (or token_file), here or in [api]",
                );
                None
            }
        };
        let mut required = |own: Option<String>, shared: &Option<String>, key: &str, what: &str| {
            let value = own.or_else(|| shared.clone());
            if value.is_none() && !is_given(&[key]) {
                section.missing(key, &format!("set {what}, here or in [api]"));
            }
            value
        };
        let account_id = required(self.account_id, &api.account_id, "account_id", "the vendor's account id");
        let org_id = required(self.org_id, &api.org_id, "org_id", "the vendor's organisation id");
        let number = |own: Option<u64>, shared: Option<u64>, default: u64| own.or(shared).unwrap_or(default);
        Some(ApiSettings {
            base_url: self.base_url.or_else(|| api.base_url.clone()).unwrap_or_else(|| BASE_URL.into()),
            path_prefix: self.path_prefix.or_else(|| api.path_prefix.clone()).unwrap_or_else(|| PATH_PREFIX.into()),
            account_id: account_id?,
            org_id: org_id?,
            credentials: credentials?,
            requests_per_minute: u32::try_from(number(
                self.requests_per_minute,
                api.requests_per_minute,
                REQUESTS_PER_MINUTE,
            ))
            .ok()?,
            page_size: u32::try_from(number(self.page_size, api.page_size, PAGE_SIZE)).ok()?,
            paging: self.paging.or(api.paging).unwrap_or(Paging::Auto),
            date_format: self.date_format.or_else(|| api.date_format.clone()).unwrap_or_else(|| DATE_FORMAT.into()),
            include_below_threshold: self.include_below_threshold.or(api.include_below_threshold).unwrap_or(true),
            include_below_threshold_in: self
                .include_below_threshold_in
                .or(api.include_below_threshold_in)
                .unwrap_or(ThresholdPlace::Body),
            max_body_bytes: usize::try_from(number(self.max_body_bytes, api.max_body_bytes, MAX_BODY_BYTES)).ok()?,
        })
    }
}

/// Text that can go into a header or a path as it is.
pub(super) fn header(text: &str) -> Result<String, String> {
    let fits =
        !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | '?' | '#' | '%' | '\\'));
    if fits { Ok(text.to_owned()) } else { Err("write the id as the vendor shows it: letters, digits, - and _".into()) }
}

/// A pattern that can be written, and that tells every two seconds apart.
fn date_format(text: &str) -> Result<String, String> {
    use chrono::format::{Item, StrftimeItems};
    use chrono::{NaiveDate, TimeDelta};

    let right = "write a strftime pattern with the date and the time to the second, as \"%Y-%m-%d %H:%M:%S\"";
    let items: Vec<Item<'_>> = StrftimeItems::new(text).collect();
    if items.iter().any(|item| matches!(item, Item::Error)) {
        return Err(right.into());
    }
    let base = NaiveDate::from_ymd_opt(2026, 3, 4).and_then(|day| day.and_hms_opt(5, 6, 7)).ok_or(right)?.and_utc();
    let written = |after: TimeDelta| (base + after).format_with_items(items.iter()).to_string();
    let steps = [
        TimeDelta::seconds(1),
        TimeDelta::minutes(1),
        TimeDelta::hours(1),
        TimeDelta::hours(12),
        TimeDelta::days(1),
        TimeDelta::days(7),
        TimeDelta::days(31),
        TimeDelta::days(365),
    ];
    let zero = written(TimeDelta::zero());
    if steps.into_iter().any(|step| written(step) == zero) { Err(right.into()) } else { Ok(text.to_owned()) }
}
