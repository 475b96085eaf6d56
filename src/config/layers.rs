//! The layers that are merged: flags over environment over file.
//!
//! Every value carries its origin through the merge, so that an error, and `config show`, can say
//! where it stands.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;

use config::{Map, Source, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Problem};

const PREFIX: &str = "KORESYNC__";

/// A value given on the command line.
#[derive(Debug, Clone)]
pub struct Override {
    /// As the operator typed it, `--log-format`.
    pub flag: &'static str,
    pub section: &'static str,
    pub key: &'static str,
    pub value: String,
}

/// One layer: a tree of sections whose leaves know their origin.
#[derive(Clone, Default)]
pub(super) struct Layer(Map<String, Value>);

impl fmt::Debug for Layer {
    /// Any value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

impl Layer {
    /// Reads TOML. `name` is how errors call the file.
    ///
    /// A syntax error is told by its line alone: the line itself may hold a secret.
    pub fn from_toml(name: &str, text: &str) -> Result<Self, ConfigError> {
        let line_of = |offset: usize| text.get(..offset).map_or(0, |before| before.matches('\n').count()) + 1;
        let at = |offset: usize| format!("{name}:{}", line_of(offset));
        let table = DeTable::parse(text).map_err(|error| {
            ConfigError::of(Problem {
                origin: Some(error.span().map_or_else(|| name.to_owned(), |span| at(span.start))),
                key: String::new(),
                value: None,
                message: format!("not valid TOML: {}", error.message()),
            })
        })?;
        let sections = toml_table(table.into_inner(), &at);
        Ok(Self(sections.into_iter().map(|(name, value)| (section_name(&name), value)).collect()))
    }

    /// Picks `KORESYNC__SECTION__KEY` from the variables. An empty one counts as unset, as container
    /// tools pass on unset variables that way.
    ///
    /// Variables are in capitals and cannot hold a dash, so a stream's name is matched to one of
    /// `known_streams` in small letters and with `_` standing for `-`.
    pub fn from_environment(
        variables: &[(OsString, OsString)],
        known_streams: &BTreeSet<String>,
    ) -> Result<Self, ConfigError> {
        let mut layer = Self::default();
        let mut problems = Vec::new();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            if value.is_empty() {
                continue;
            }
            let origin = format!("${name}");
            let path = name[PREFIX.len()..].to_lowercase();
            let Some(value) = value.to_str() else {
                problems.push(Problem {
                    origin: Some(origin),
                    key: path.replace("__", "."),
                    value: None,
                    message: "the value is not valid UTF-8".into(),
                });
                continue;
            };
            let leaf = Value::new(Some(&origin), ValueKind::String(value.to_owned()));
            let (place, key) = match split(&path, known_streams) {
                Path::Section(section) => (&mut layer.0, section_name(section)),
                Path::Key(section, key) => (table_at(&mut layer.0, &section_name(section)), key.to_owned()),
                Path::StreamKey(stream, key) => (table_at(table_at(&mut layer.0, "streams"), &stream), key.to_owned()),
            };
            place.insert(key, leaf);
        }
        if problems.is_empty() { Ok(layer) } else { Err(ConfigError { problems }) }
    }

    pub fn from_overrides(overrides: &[Override]) -> Self {
        let mut layer = Self::default();
        for given in overrides {
            let leaf = Value::new(Some(&given.flag.to_owned()), ValueKind::String(given.value.clone()));
            table_at(&mut layer.0, given.section).insert(given.key.to_owned(), leaf);
        }
        layer
    }

    /// The streams that this layer names.
    pub fn streams(&self) -> BTreeSet<String> {
        match self.0.get("streams").map(|streams| &streams.kind) {
            Some(ValueKind::Table(streams)) => streams.keys().cloned().collect(),
            _ => BTreeSet::new(),
        }
    }
}

/// The merge reads dots and brackets in the names at the top as paths into lists and tables. No
/// section has any, so what holds them is as unknown without.
fn section_name(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_")
}

enum Path<'a> {
    Section(&'a str),
    Key(&'a str, &'a str),
    StreamKey(String, &'a str),
}

fn split<'a>(path: &'a str, known_streams: &BTreeSet<String>) -> Path<'a> {
    let Some((section, rest)) = path.split_once("__") else { return Path::Section(path) };
    // A stream's name may itself hold two underscores; a key never does.
    match rest.rsplit_once("__") {
        Some((stream, key)) if section == "streams" => {
            let mut alike = known_streams.iter().filter(|known| known.replace('-', "_") == stream.replace('-', "_"));
            let name = match (known_streams.contains(stream), alike.next(), alike.next()) {
                (false, Some(only), None) => only.clone(),
                _ => stream.to_owned(),
            };
            Path::StreamKey(name, key)
        }
        _ => Path::Key(section, rest),
    }
}

fn table_at<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let child = parent.entry(key.to_owned()).or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
    if !matches!(child.kind, ValueKind::Table(_)) {
        child.kind = ValueKind::Table(Map::new());
    }
    match &mut child.kind {
        ValueKind::Table(table) => table,
        _ => unreachable!("made a table above"),
    }
}

fn toml_table(table: DeTable<'_>, at: &impl Fn(usize) -> String) -> Map<String, Value> {
    table
        .into_iter()
        .map(|(key, value)| {
            let origin = at(key.span().start);
            (key.into_inner().into_owned(), toml_value(value.into_inner(), &origin, at))
        })
        .collect()
}

fn toml_value(value: DeValue<'_>, origin: &String, at: &impl Fn(usize) -> String) -> Value {
    let kind = match value {
        DeValue::String(text) => ValueKind::String(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => ValueKind::I64(number),
            // Out of range: keep the text, and let the key say which values are right.
            Err(_) => ValueKind::String(number.as_str().to_owned()),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => ValueKind::Float(number),
            Err(_) => ValueKind::String(number.as_str().to_owned()),
        },
        DeValue::Boolean(flag) => ValueKind::Boolean(flag),
        DeValue::Datetime(moment) => ValueKind::String(moment.to_string()),
        DeValue::Array(items) => {
            ValueKind::Array(items.into_iter().map(|item| toml_value(item.into_inner(), origin, at)).collect())
        }
        DeValue::Table(table) => ValueKind::Table(toml_table(table, at)),
    };
    Value::new(Some(origin), kind)
}
