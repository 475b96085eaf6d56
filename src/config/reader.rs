//! Reads one section of the merged tree, key by key, collecting what is wrong instead of stopping.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use config::{Map, Value, ValueKind};
use secrecy::SecretString;

use super::error::{IS_PLACEHOLDER, PLACEHOLDER, Problem};
use super::secret::Secret;
use super::show::{Entry, Shown};

/// Ten years; longer spans are slips of the pen, and the arithmetic of time stays far from its ends.
const LONGEST: Duration = Duration::from_hours(3_650 * 24);

/// What reading has found so far, over all sections.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub problems: Vec<Problem>,
    pub entries: Vec<Entry>,
}

/// A section being read. [`Section::finish`] reports the keys that nobody asked for.
pub(super) struct Section<'a> {
    path: String,
    origin: Option<String>,
    table: Map<String, Value>,
    /// The origin of every key that the section came with.
    given: Map<String, Option<String>>,
    asked: Vec<String>,
    findings: &'a mut Findings,
}

impl<'a> Section<'a> {
    pub fn new(path: &str, value: Option<Value>, findings: &'a mut Findings) -> Self {
        // What is missing has no line of its own, so the section is told by its file alone.
        let origin = value.as_ref().and_then(origin_of).map(|origin| match origin.rsplit_once(':') {
            Some((file, line)) if line.bytes().all(|c| c.is_ascii_digit()) => file.to_owned(),
            _ => origin,
        });
        let table = match value.map(|value| value.kind) {
            None => Map::new(),
            Some(ValueKind::Table(table)) => table,
            Some(_) => {
                findings.problems.push(Problem {
                    origin: origin.clone(),
                    key: path.to_owned(),
                    value: None,
                    message: format!("this is a section; write its keys under [{path}]"),
                });
                Map::new()
            }
        };
        let given = table.iter().map(|(key, value)| (key.clone(), value.origin().map(str::to_owned))).collect();
        Self { path: path.to_owned(), origin, table, given, asked: Vec::new(), findings }
    }

    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    /// Reports that a key which must be set is not.
    pub fn missing(&mut self, key: &str, message: &str) {
        let (origin, key) = (self.origin.clone(), self.full(key));
        self.findings.problems.push(Problem { origin, key, value: None, message: format!("missing: {message}") });
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.asked.push(key.to_owned());
        self.table.remove(key)
    }

    fn wrong(&mut self, key: &str, value: &Value, message: impl Display) {
        let (origin, key) = (value.origin().map(str::to_owned), self.full(key));
        let value = Some(shown(value));
        self.findings.problems.push(Problem { origin, key, value, message: message.to_string() });
    }

    fn note(&mut self, key: &str, value: String, origin: Option<&str>) {
        self.findings.entries.push(Entry {
            section: self.path.clone(),
            key: key.to_owned(),
            value,
            origin: origin.unwrap_or("default").to_owned(),
        });
    }

    /// The value of a key, turned by `read`, which says what is right when it cannot.
    pub fn parsed<T>(&mut self, key: &str, read: impl FnOnce(&ValueKind) -> Result<(T, String), String>) -> Option<T> {
        let value = self.take(key)?;
        match read(&value.kind) {
            Ok((parsed, as_shown)) => {
                self.note(key, as_shown, value.origin());
                Some(parsed)
            }
            Err(message) => {
                self.wrong(key, &value, message);
                None
            }
        }
    }

    /// The default of a key that is not set, noted so that it is shown.
    pub fn or<T: Shown>(&mut self, key: &str, given: Option<T>, default: T) -> T {
        given.unwrap_or_else(|| {
            self.note(key, default.shown(), None);
            default
        })
    }

    /// Notes a default that is decided later, so that it is shown.
    pub fn note_default(&mut self, key: &str, shown: String) {
        self.note(key, shown, None);
    }

    /// Whether the layers hold the key at all, right or wrong; also after it was read.
    pub fn is_given(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    /// Reports a key whose value was read without fault, but cannot stand.
    pub fn refuse(&mut self, key: &str, message: &str) {
        let origin = self.given.get(key).cloned().flatten();
        self.findings.problems.push(Problem { origin, key: self.full(key), value: None, message: message.into() });
    }

    /// Text in which `check` finds nothing wrong, as `check` tidies it.
    pub fn text(&mut self, key: &str, check: impl FnOnce(&str) -> Result<String, String>) -> Option<String> {
        self.parsed(key, |kind| {
            let text = as_text(kind).ok_or("write a text in quotes")?;
            if text.contains(PLACEHOLDER) {
                return Err(IS_PLACEHOLDER.into());
            }
            let text = check(&text)?;
            let as_shown = text.shown();
            Ok((text, as_shown))
        })
    }

    /// One of a fixed set of words.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        self.parsed(key, |kind| {
            let text = as_text(kind).unwrap_or_default();
            choices.iter().find(|(word, _)| *word == text).map(|(word, choice)| (*choice, word.shown())).ok_or_else(
                || {
                    let words: Vec<_> = choices.iter().map(|(word, _)| word.shown()).collect();
                    format!("write {}", words.join(" or "))
                },
            )
        })
    }

    pub fn whole(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        self.parsed(key, |kind| {
            as_whole(kind)
                .filter(|number| range.contains(number))
                .map(|number| (number, number.shown()))
                .ok_or_else(|| format!("write a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// A number of bytes, plain or with a unit: `67108864`, `"64 MiB"`.
    pub fn bytes(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        self.parsed(key, |kind| {
            as_whole(kind)
                .or_else(|| byte_size(&as_text(kind)?))
                .filter(|number| range.contains(number))
                .map(|number| (number, number.shown()))
                .ok_or_else(|| {
                    format!(
                        "write a number of bytes from {} to {}, as 67108864 or \"64 MiB\"",
                        range.start(),
                        range.end()
                    )
                })
        })
    }

    pub fn flag(&mut self, key: &str) -> Option<bool> {
        self.parsed(key, |kind| {
            let flag = match kind {
                ValueKind::Boolean(flag) => Some(*flag),
                ValueKind::String(text) => text.to_ascii_lowercase().parse().ok(),
                _ => None,
            };
            flag.map(|flag| (flag, flag.shown())).ok_or_else(|| "write true or false".to_owned())
        })
    }

    /// A span in whole seconds of at least `shortest`.
    pub fn duration(&mut self, key: &str, shortest: Duration) -> Option<Duration> {
        self.parsed(key, |kind| span(kind, shortest))
    }

    /// Spans that grow, each in whole seconds of at least `shortest`; from the environment, with
    /// commas between them.
    pub fn durations(&mut self, key: &str, shortest: Duration) -> Option<Vec<Duration>> {
        self.parsed(key, |kind| {
            let texts: Option<Vec<String>> = match kind {
                ValueKind::Array(items) => items.iter().map(|item| as_text(&item.kind)).collect(),
                ValueKind::String(list) => {
                    let inner = list.trim().trim_start_matches('[').trim_end_matches(']');
                    Some(inner.split(',').map(|item| item.trim().trim_matches('"').to_owned()).collect())
                }
                _ => None,
            };
            let texts = texts.ok_or("write a list of durations, as [\"1h\", \"1d\"]")?;
            let spans = texts
                .iter()
                .filter(|text| !text.is_empty())
                .map(|text| as_duration(text, shortest).map_err(|right| format!("{}: {right}", text.shown())))
                .collect::<Result<Vec<_>, _>>()?;
            if !spans.is_sorted_by(|early, late| early < late) {
                return Err("write the durations from the shortest to the longest, none twice".into());
            }
            let as_shown = spans.shown();
            Ok((spans, as_shown))
        })
    }

    pub fn moment(&mut self, key: &str) -> Option<DateTime<Utc>> {
        self.parsed(key, |kind| {
            let right = "write a time with its zone (RFC 3339), as \"2026-01-01T00:00:00Z\"";
            let text = as_text(kind).ok_or(right)?;
            let moment = DateTime::parse_from_rfc3339(&text).map_err(|_| right)?.with_timezone(&Utc);
            let moment = crate::domain::window::floor_to_second(moment);
            let as_shown = moment.to_rfc3339_opts(chrono::SecondsFormat::Secs, true).shown();
            Ok((moment, as_shown))
        })
    }

    pub fn socket(&mut self, key: &str) -> Option<SocketAddr> {
        self.parsed(key, |kind| {
            let address = as_text(kind).and_then(|text| text.parse().ok());
            address.map(|address: SocketAddr| (address, address.to_string().shown())).ok_or_else(|| {
                "write an IP address and a port, as \"127.0.0.1:9464\" or \"[::]:9464\"; port 0 takes any free one"
                    .into()
            })
        })
    }

    /// A secret under `key`, or the file that holds it under `key_file`.
    pub fn secret(&mut self, key: &str) -> Option<Secret> {
        self.secret_shown(key, |_| Ok("(redacted)".to_owned()))
    }

    /// As [`Section::secret`]; `check` looks at a given secret and says what may be shown of it.
    pub fn secret_shown(&mut self, key: &str, check: impl FnOnce(&str) -> Result<String, String>) -> Option<Secret> {
        let file_key = format!("{key}_file");
        let (given, file) = (self.take(key), self.take(&file_key));
        let origin = |value: &Value| value.origin().unwrap_or("a default").to_owned();
        match (given, file) {
            (None, None) => None,
            (Some(given), Some(file)) => {
                let message = format!("{file_key} is given too (at {}); give one of the two", origin(&file));
                self.wrong_secret(key, &given, message);
                None
            }
            (Some(given), None) => {
                let checked = match as_text(&given.kind).as_deref().map(str::trim) {
                    None => Err("write a text in quotes".to_owned()),
                    Some("") => Err("empty; write the secret, or its file".to_owned()),
                    Some(text) if text.contains(PLACEHOLDER) => Err(IS_PLACEHOLDER.to_owned()),
                    Some(text) => check(text).map(|as_shown| (SecretString::from(text), as_shown)),
                };
                match checked {
                    Ok((secret, as_shown)) => {
                        self.note(key, as_shown.shown(), given.origin());
                        Some(Secret::Given(secret))
                    }
                    Err(message) => {
                        self.wrong_secret(key, &given, message);
                        None
                    }
                }
            }
            (None, Some(file)) => {
                let Some(path) = as_text(&file.kind).filter(|path| !path.is_empty()) else {
                    self.wrong(&file_key, &file, "write the path of the file in quotes");
                    return None;
                };
                self.note(&file_key, path.shown(), file.origin());
                Some(Secret::File(PathBuf::from(path)))
            }
        }
    }

    fn wrong_secret(&mut self, key: &str, value: &Value, message: String) {
        let (origin, key) = (value.origin().map(str::to_owned), self.full(key));
        self.findings.problems.push(Problem { origin, key, value: None, message });
    }

    /// Reports every key that was not asked for. `elsewhere` lists keys of other sections, as
    /// `section.key`, for those that only stand in the wrong place.
    pub fn finish(self, elsewhere: &[&str]) {
        let mut unknown: Vec<_> = self.table.into_iter().collect();
        unknown.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (key, value) in unknown {
            let misplaced = elsewhere.iter().find(|known| known.rsplit_once('.').is_some_and(|(_, last)| last == key));
            let message = match (nearest(&key, self.asked.iter().map(String::as_str)), misplaced) {
                (Some(near), _) => format!("unknown key; did you mean `{near}`?"),
                (None, Some(place)) => format!("unknown key here; it belongs in another section: `{place}`"),
                (None, None) => format!("unknown key; [{}] knows {}", self.path, self.asked.join(", ")),
            };
            let origin = origin_of(&value).or_else(|| self.origin.clone());
            let key = format!("{}.{key}", self.path);
            self.findings.problems.push(Problem { origin, key, value: None, message });
        }
    }
}

/// The known word that `word` is most likely a slip for.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| match candidate.len() {
            0..=3 => *distance <= 1,
            length => *distance <= (length / 3).max(2),
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Where a value stands; of a table, which loses its own place in the merge, where its first key does.
pub(super) fn origin_of(value: &Value) -> Option<String> {
    match (value.origin(), &value.kind) {
        (Some(origin), _) => Some(origin.to_owned()),
        (None, ValueKind::Table(table)) => {
            let first = table.iter().min_by_key(|(key, _)| key.as_str());
            first.and_then(|(_, value)| origin_of(value))
        }
        _ => None,
    }
}

/// The value for an error: in TOML, in one line, not long.
fn shown(value: &Value) -> String {
    let text = match &value.kind {
        ValueKind::String(text) => text.shown(),
        ValueKind::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        ValueKind::Table(_) => "{…}".to_owned(),
        _ => value.to_string(),
    };
    let text = text.replace(['\n', '\r'], " ");
    if text.chars().count() > 80 { text.chars().take(79).chain(['…']).collect() } else { text }
}

fn as_text(kind: &ValueKind) -> Option<String> {
    match kind {
        ValueKind::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn as_whole(kind: &ValueKind) -> Option<u64> {
    match kind {
        ValueKind::I64(number) => u64::try_from(*number).ok(),
        ValueKind::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A span in whole seconds of at least `shortest`, and how it is shown.
pub(super) fn span(kind: &ValueKind, shortest: Duration) -> Result<(Duration, String), String> {
    let span = as_duration(&as_text(kind).ok_or("write a duration in quotes, as \"15m\"")?, shortest)?;
    Ok((span, span.shown()))
}

fn as_duration(text: &str, shortest: Duration) -> Result<Duration, String> {
    let right = || {
        let shortest = if shortest.is_zero() { "0s".to_owned() } else { super::show::duration(shortest) };
        format!("write a duration in whole seconds from {shortest} to 3650d, as \"15m\" or \"1h 30m\"")
    };
    let span = humantime::parse_duration(text.trim()).map_err(|_| right())?;
    let fits = span >= shortest && span <= LONGEST && span.subsec_nanos() == 0;
    if fits { Ok(span) } else { Err(right()) }
}

fn byte_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}
