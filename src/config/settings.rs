//! The settings, typed, and how each is read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, Utc};
use chrono_tz::Tz;
use config::{Map, Value, ValueKind};
use secrecy::{ExposeSecret as _, SecretString};

use super::api::{self, ApiKeys, ApiSettings};
use super::error::{ConfigError, Problem};
use super::privacy::{PrivacySettings, read_privacy};
use super::reader::{Findings, Section, nearest, origin_of};
use super::secret::Secret;
use super::show::{self, Entry, Shown as _};
use super::url::DatabaseUrl;
use crate::domain::Settle;

const SECTIONS: [&str; 8] = ["warehouse", "api", "streams", "sync", "server", "privacy", "retention", "log"];
/// Keys that tend to be written into the wrong section.
pub(super) const PLACES: &[&str] = &[
    "warehouse.url",
    "warehouse.url_file",
    "warehouse.time_zone",
    "warehouse.allow_insecure",
    "api.base_url",
    "api.path_prefix",
    "api.account_id",
    "api.org_id",
    "api.client_id",
    "api.client_secret",
    "api.client_secret_file",
    "api.token",
    "api.token_file",
    "api.requests_per_minute",
    "api.page_size",
    "api.paging",
    "api.date_format",
    "api.include_below_threshold",
    "api.include_below_threshold_in",
    "api.max_body_bytes",
    "streams.NAME.stream_id",
    "streams.NAME.start",
    "sync.poll_interval",
    "sync.settle",
    "sync.window",
    "sync.recheck",
    "sync.lease",
    "sync.give_up",
    "sync.workers",
    "sync.fetches",
    "sync.max_window_bytes",
    "server.listen",
    "server.actions",
    "privacy.agent_name",
    "privacy.agent_email",
    "privacy.auditor_name",
    "privacy.custom_fields",
    "privacy.justification_text",
    "privacy.recording_urls",
    "privacy.key_file",
    "retention.payloads",
    "retention.contacts",
    "log.level",
    "log.format",
];
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Everything that can be set, merged and right.
#[derive(Debug, Clone)]
pub struct Settings {
    pub warehouse: WarehouseSettings,
    /// By name. Each carries its own resolved [`ApiSettings`].
    pub streams: BTreeMap<String, StreamSettings>,
    pub sync: SyncSettings,
    pub server: ServerSettings,
    pub privacy: PrivacySettings,
    pub retention: RetentionSettings,
    pub log: LogSettings,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
pub struct WarehouseSettings {
    /// `None` when not set: some commands need no warehouse. See [`Settings::warehouse_connection`].
    pub url: Option<Secret>,
    /// Of the daily views.
    pub time_zone: Tz,
    /// Lets go of verified TLS to a distant host.
    pub allow_insecure: bool,
}

/// What is needed to connect to the warehouse.
#[derive(Debug, Clone)]
pub struct WarehouseConnection {
    /// With the password, if it has one.
    pub url: SecretString,
    /// For messages: without password and parameters.
    pub shown: String,
    /// TLS is demanded, and the server's certificate and name are verified. Otherwise the URL's own
    /// `sslmode` counts.
    pub verify_full: bool,
}

/// A stream of the vendor, mirrored under a name of ours.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    pub name: String,
    pub stream_id: String,
    /// History is fetched from here on. A whole second.
    pub start: DateTime<Utc>,
    pub api: ApiSettings,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncSettings {
    pub poll_interval: Duration,
    /// The vendor is never asked for anything closer to now than this.
    pub settle: Settle,
    /// The first guess; windows size themselves by count afterwards.
    pub window: Duration,
    /// When a closed window is read again; ascending, may be empty.
    pub recheck: Vec<Duration>,
    /// A worker silent for so long has lost its window.
    pub lease: Duration,
    /// How long one-shot commands go on against a database or an API that is out of reach.
    pub give_up: Duration,
    /// Windows worked on side by side.
    pub workers: usize,
    /// Pages fetched side by side.
    pub fetches: usize,
    /// Of records in hand at once.
    pub max_window_bytes: usize,
}

#[derive(Debug, Clone)]
pub struct ServerSettings {
    pub listen: SocketAddr,
    /// Whether the status page lets operators act, each time with the token.
    pub actions: bool,
    pub token: Option<Secret>,
}

/// For how long after its start a contact, and its payload, is kept; `None` for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionSettings {
    pub payloads: Option<Duration>,
    pub contacts: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or a filter such as `info,koresync::sync=debug`.
    pub level: String,
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    Text,
    Json,
}

impl Settings {
    pub(super) fn read(mut merged: Map<String, Value>) -> Result<Self, ConfigError> {
        let mut findings = Findings::default();
        let mut section = |name: &str| merged.remove(name);
        let warehouse = read_warehouse(Section::new("warehouse", section("warehouse"), &mut findings));
        let api = {
            let mut api = Section::new("api", section("api"), &mut findings);
            let keys = ApiKeys::read(&mut api).with_defaults(&mut api);
            api.finish(PLACES);
            keys
        };
        let streams = read_streams(section("streams"), &api, &mut findings);
        let sync = read_sync(Section::new("sync", section("sync"), &mut findings));
        let server = read_server(Section::new("server", section("server"), &mut findings));
        let privacy = read_privacy(Section::new("privacy", section("privacy"), &mut findings));
        let retention = read_retention(Section::new("retention", section("retention"), &mut findings));
        let log = read_log(Section::new("log", section("log"), &mut findings));
        report_unknown_sections(merged, &mut findings);
        report_unequal_budgets(&streams, &mut findings);
        let Findings { problems, entries } = findings;
        if problems.is_empty() {
            Ok(Self { warehouse, streams, sync, server, privacy, retention, log, entries })
        } else {
            Err(ConfigError { problems })
        }
    }

    /// The merged settings in TOML, secrets left out, each with its origin.
    pub fn show(&self) -> String {
        show::render(&self.entries)
    }

    /// What [`Settings::show`] prints, piece by piece.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// For commands that need at least one stream.
    pub fn require_streams(&self) -> Result<(), ConfigError> {
        if self.streams.is_empty() {
            return Err(ConfigError::missing(
                "streams",
                "no stream is configured; write a [streams.NAME] section with stream_id and start",
            ));
        }
        Ok(())
    }

    /// Reads every secret file once, so that a missing one is told at the start.
    pub fn check_secrets(&self) -> Result<(), ConfigError> {
        let streams =
            self.streams.values().map(|stream| (format!("streams.{}", stream.name), stream.api.credentials.secret()));
        let others = [
            ("warehouse.url_file", self.warehouse.url.as_ref()),
            ("server.token_file", self.server.token.as_ref()),
            ("privacy.key_file", self.privacy.key.as_ref()),
        ];
        let problems: Vec<_> = others
            .into_iter()
            .filter_map(|(key, secret)| Some((key.to_owned(), secret?)))
            .chain(streams)
            .filter_map(|(key, secret)| {
                let message = secret.read().err()?.to_string();
                Some(Problem { origin: None, key, value: None, message })
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }

    /// `sync.poll_interval`, stretched so that polling leaves half of the account's budget.
    pub fn poll_interval(&self, stream: &StreamSettings) -> Duration {
        let account = &stream.api.account_id;
        let sharing = self.streams.values().filter(|other| other.api.account_id == *account).count();
        let sharing = u32::try_from(sharing).unwrap_or(u32::MAX);
        let least = Duration::from_mins(2).saturating_mul(sharing) / stream.api.requests_per_minute.max(1);
        self.sync.poll_interval.max(least)
    }

    /// Each secret that is a file once, whoever uses it, by its path.
    pub fn secret_files(&self) -> Vec<&Secret> {
        let streams = self.streams.values().map(|stream| stream.api.credentials.secret());
        let others = [&self.warehouse.url, &self.server.token, &self.privacy.key];
        let mut files: Vec<&Secret> =
            others.into_iter().filter_map(Option::as_ref).chain(streams).filter(|s| s.file().is_some()).collect();
        files.sort_by_key(|secret| secret.file());
        files.dedup_by_key(|secret| secret.file());
        files
    }

    /// The warehouse's address and the TLS rule for it: certificate and name are verified unless the
    /// host is this machine or `allow_insecure` is set.
    pub fn warehouse_connection(&self) -> Result<WarehouseConnection, ConfigError> {
        let secret = self.warehouse.url.as_ref().ok_or_else(|| {
            ConfigError::missing(
                "warehouse.url",
                "missing: set url or url_file in [warehouse], or $KORESYNC__WAREHOUSE__URL",
            )
        })?;
        let key = if secret.file().is_some() { "warehouse.url_file" } else { "warehouse.url" };
        let url = secret.read().map_err(|error| ConfigError::missing(key, &error.to_string()))?;
        let parsed = checked_database(url.expose_secret(), self.warehouse.allow_insecure)
            .map_err(|message| ConfigError::missing(key, &message))?;
        Ok(WarehouseConnection {
            url,
            shown: parsed.shown,
            verify_full: !parsed.is_local && !self.warehouse.allow_insecure,
        })
    }
}

fn checked_database(text: &str, allow_insecure: bool) -> Result<DatabaseUrl, String> {
    let url = DatabaseUrl::parse(text)?;
    match url.sslmode.as_deref() {
        Some(mode) if mode != "verify-full" && !url.is_local && !allow_insecure => {
            Err("sslmode is weaker than verify-full for a distant host; leave it out, or set allow_insecure = true"
                .into())
        }
        _ => Ok(url),
    }
}

fn read_warehouse(mut section: Section<'_>) -> WarehouseSettings {
    let allow_insecure = section.flag("allow_insecure");
    let allow_insecure = section.or("allow_insecure", allow_insecure, false);
    let url = section.secret_shown("url", |text| checked_database(text, allow_insecure).map(|url| url.shown));
    let time_zone = section.text("time_zone", |name| match name.parse::<Tz>() {
        Ok(zone) => Ok(zone.name().to_owned()),
        Err(_) => Err("write the IANA name of a time zone, as \"Europe/Berlin\" or \"UTC\"".into()),
    });
    let time_zone = section.or("time_zone", time_zone, "UTC".to_owned()).parse().unwrap_or(Tz::UTC);
    section.finish(PLACES);
    WarehouseSettings { url, time_zone, allow_insecure }
}

fn read_streams(value: Option<Value>, api: &ApiKeys, findings: &mut Findings) -> BTreeMap<String, StreamSettings> {
    let mut streams = BTreeMap::new();
    let table = match value.map(|value| (value.origin().map(str::to_owned), value.kind)) {
        None => return streams,
        Some((_, ValueKind::Table(table))) => table,
        Some((origin, _)) => {
            let message = "write a section for each stream: [streams.NAME]".into();
            findings.problems.push(Problem { origin, key: "streams".into(), value: None, message });
            return streams;
        }
    };
    for (name, value) in table.into_iter().collect::<BTreeMap<_, _>>() {
        let origin = origin_of(&value);
        let mut section = Section::new(&format!("streams.{name}"), Some(value), findings);
        let stream_id = section.text("stream_id", api::header);
        if stream_id.is_none() && !section.is_given("stream_id") {
            section.missing("stream_id", "set the vendor's stream id (also called bot id), as \"st-…\"");
        }
        let start = section.moment("start");
        if start.is_none() && !section.is_given("start") {
            section.missing("start", "set the time from which history is fetched, as \"2026-01-01T00:00:00Z\"");
        }
        let start = start.filter(|start| {
            let fits = (2000..2060).contains(&start.year());
            if !fits {
                section.refuse("start", "the warehouse's calendar spans 2000 to 2060; write a start within it");
            }
            fits
        });
        let api = ApiKeys::read(&mut section).resolve(api, &mut section);
        section.finish(PLACES);
        if !is_stream_name(&name) {
            let message = "name a stream with 1 to 63 small letters, digits, _ and -".into();
            findings.problems.push(Problem { origin, key: format!("streams.{name}"), value: None, message });
        }
        if let (Some(stream_id), Some(start), Some(api)) = (stream_id, start, api) {
            streams.insert(name.clone(), StreamSettings { name, stream_id, start, api });
        }
    }
    streams
}

fn is_stream_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-'))
}

fn read_sync(mut section: Section<'_>) -> SyncSettings {
    let poll_interval = section.duration("poll_interval", SECOND);
    let poll_interval = section.or("poll_interval", poll_interval, MINUTE);
    let settle = section.parsed("settle", |kind| match kind {
        ValueKind::String(text) if text == "auto" => Ok((Settle::Learned, Settle::Learned.shown())),
        kind => {
            let (span, shown) = super::reader::span(kind, Duration::ZERO)?;
            Ok((Settle::Fixed(span), shown))
        }
    });
    let settle = section.or("settle", settle, Settle::Fixed(15 * MINUTE));
    let window = section.duration("window", SECOND);
    let window = section.or("window", window, HOUR);
    let recheck = section.durations("recheck", SECOND);
    let recheck = section.or("recheck", recheck, vec![HOUR, DAY, 7 * DAY, 30 * DAY]);
    let lease = section.duration("lease", SECOND);
    let lease = section.or("lease", lease, MINUTE);
    let give_up = section.duration("give_up", SECOND);
    let give_up = section.or("give_up", give_up, 5 * MINUTE);
    let mut count = |key: &str, range, default: u64| {
        let given = section.whole(key, range);
        usize::try_from(section.or(key, given, default)).unwrap_or(usize::MAX)
    };
    let workers = count("workers", 1..=64, 4);
    let fetches = count("fetches", 1..=64, 6);
    let max_window_bytes = section.bytes("max_window_bytes", 1 << 16..=4 << 30);
    let max_window_bytes = section.or("max_window_bytes", max_window_bytes, 12 << 20);
    section.finish(PLACES);
    SyncSettings {
        poll_interval,
        settle,
        window,
        recheck,
        lease,
        give_up,
        workers,
        fetches,
        max_window_bytes: usize::try_from(max_window_bytes).unwrap_or(usize::MAX),
    }
}

fn read_server(mut section: Section<'_>) -> ServerSettings {
    let listen = section.socket("listen");
    let listen = section.or("listen", listen, SocketAddr::from(([127, 0, 0, 1], 9464)));
    let actions = section.flag("actions");
    let token = section.secret("token");
    if actions == Some(true) && token.is_none() {
        section.refuse("actions", "actions need a token: set token or token_file in [server]");
    }
    let actions = section.or("actions", actions, false);
    section.finish(PLACES);
    ServerSettings { listen, actions, token }
}

fn read_retention(mut section: Section<'_>) -> RetentionSettings {
    let mut age = |key: &str| {
        let given = section.parsed(key, |kind| match kind {
            ValueKind::String(text) if text == "forever" => Ok((None, show::Shown::shown(&"forever"))),
            kind => super::reader::span(kind, DAY)
                .map(|(age, shown)| (Some(age), shown))
                .map_err(|message| format!("{message}; or \"forever\"")),
        });
        given.unwrap_or_else(|| {
            section.note_default(key, show::Shown::shown(&"forever"));
            None
        })
    };
    let retention = RetentionSettings { payloads: age("payloads"), contacts: age("contacts") };
    section.finish(PLACES);
    retention
}

fn read_log(mut section: Section<'_>) -> LogSettings {
    let level = section.text("level", |level| {
        let parsed = tracing_subscriber::EnvFilter::builder().parse(level);
        if level.trim().is_empty() || parsed.is_err() {
            return Err("write a level (error, warn, info, debug, trace, off) or a filter, as \
                        \"info,koresync::sync=debug\""
                .into());
        }
        Ok(level.to_owned())
    });
    let level = section.or("level", level, LogSettings::default().level);
    let format =
        section.choice("format", &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)]);
    if format.is_none() {
        section.note_default("format", show::Shown::shown(&"auto"));
    }
    section.finish(PLACES);
    LogSettings { level, format: format.unwrap_or_default() }
}

fn report_unknown_sections(left: Map<String, Value>, findings: &mut Findings) {
    for (name, value) in left.into_iter().collect::<BTreeMap<_, _>>() {
        let place = PLACES.iter().find(|known| known.rsplit_once('.').is_some_and(|(_, key)| key == name));
        let message = match (nearest(&name, SECTIONS.into_iter()), place) {
            (Some(near), _) => format!("unknown section; did you mean [{near}]?"),
            (None, Some(place)) => format!("unknown here; it belongs in a section: `{place}`"),
            (None, None) => format!("unknown section; the sections are {}", SECTIONS.join(", ")),
        };
        findings.problems.push(Problem { origin: origin_of(&value), key: name, value: None, message });
    }
}

/// The budget belongs to the account, so its streams must agree on it.
fn report_unequal_budgets(streams: &BTreeMap<String, StreamSettings>, findings: &mut Findings) {
    let mut accounts: BTreeMap<&str, Vec<&StreamSettings>> = BTreeMap::new();
    for stream in streams.values() {
        accounts.entry(&stream.api.account_id).or_default().push(stream);
    }
    for (account, streams) in accounts {
        let budgets: BTreeSet<_> = streams.iter().map(|stream| stream.api.requests_per_minute).collect();
        if budgets.len() > 1 {
            let origin = |name: &str| {
                [format!("streams.{name}"), "api".to_owned()].iter().find_map(|section| {
                    let mut entries = findings.entries.iter();
                    entries.find(|entry| entry.key == "requests_per_minute" && entry.section == *section)
                })
            };
            let each: Vec<_> = streams
                .iter()
                .map(|stream| {
                    let origin = origin(&stream.name).map_or("default", |entry| &entry.origin);
                    format!("{} in {} ({origin})", stream.api.requests_per_minute, stream.name)
                })
                .collect();
            findings.problems.push(Problem {
                origin: None,
                key: "requests_per_minute".into(),
                value: None,
                message: format!(
                    "the streams of account {account} share one budget, but disagree on it: {}; write it once, in [api]",
                    each.join(", ")
                ),
            });
        }
    }
}
