//! What is kept of a record: without what privacy settings hide and without the people who were erased.
//!
//! A record is taken apart as JSON and put together again, so rows, `extra` and drift, which are read from
//! what is kept, obey as well. Done twice, it changes nothing more.

use std::borrow::Cow;
use std::sync::Arc;

use super::canonical;
use super::contact::conversation_id;
use super::fields::{AgentField, ContactField, Fields as _};
use super::reading::says_nothing;
use crate::domain::ContentHash;
use crate::domain::privacy::{Guard, Kind, Subject, Treatment, is_hashed};
use crate::json::{self, Value};

mod mentions;
mod places;

use mentions::{Mentions, is_telling};
use places::{Member, Place, agents, at_path, field, is_known, member, members, scalar};

/// What stands in place of an erased person.
const ERASED: &str = "[erased]";
/// What stands in place of a mention of something that is dropped.
const DROPPED: &str = "[dropped]";
/// Longer texts are no id, address or name.
const LONGEST_NAME_BYTES: usize = 200;

/// What is kept of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// All of it.
    AsReceived,
    /// This text in its place; the hash is of the content as received.
    Without { text: String, canonical_hash: ContentHash },
    /// It is no JSON object, so nobody can tell what is personal in it.
    Nothing,
    /// It is an erased conversation.
    Erased,
}

/// Takes out of records what a warehouse must not hold.
#[derive(Debug, Clone)]
pub struct Filter {
    guard: Arc<Guard>,
    /// What people who are being erased are known by, wherever it is mentioned.
    mentions: Mentions,
    /// Agents of the tables whose parts are taken out of the history.
    agent_keys: Vec<i32>,
}

impl Filter {
    pub fn new(guard: Arc<Guard>) -> Self {
        Self { guard, mentions: Mentions::default(), agent_keys: Vec::new() }
    }

    /// One that also takes these out wherever they are mentioned: values as they were sent.
    pub fn erasing<'t>(guard: Arc<Guard>, values: impl IntoIterator<Item = &'t str>) -> Self {
        let mut mentions = Mentions::default();
        for value in values {
            mentions.add(value, ERASED);
        }
        Self { guard, mentions, agent_keys: Vec::new() }
    }

    /// And the parts of these agents, where columns name them by key.
    #[must_use]
    pub fn without_agents(self, agent_keys: &[i32]) -> Self {
        Self { agent_keys: agent_keys.to_vec(), ..self }
    }

    /// Whether a value is looked for in the midst of texts: not one so short that it may be anything.
    pub fn looks_for(&self, value: &str) -> bool {
        is_telling(value)
    }

    pub fn is_idle(&self) -> bool {
        self.guard.is_idle() && self.mentions.is_empty()
    }

    pub fn keep(&self, raw: &[u8]) -> Kept {
        if self.is_idle() {
            return Kept::AsReceived;
        }
        let Some(record) = json::parse(raw).ok().map(|parsed| parsed.value).filter(|v| matches!(v, Value::Object(_)))
        else {
            return self.keep_unread(raw);
        };
        if self.is_erased_conversation(&record) {
            return Kept::Erased;
        }
        let mut pass = Pass { filter: self, mentions: self.mentions.clone(), has_changed: false };
        pass.look_for_mentions(&record);
        let kept = pass.value(record.clone(), Place::Record);
        if pass.has_changed {
            Kept::Without { text: json::to_string(&kept), canonical_hash: canonical::hash(&record) }
        } else {
            Kept::AsReceived
        }
    }

    /// A text that is no JSON object: every text in it is looked at, even one so short that it may be something else.
    fn keep_unread(&self, raw: &[u8]) -> Kept {
        let mut names_somebody = false;
        for text in mentions::quoted(raw) {
            let is_conversation = self.guard.is_erased(Subject::Conversation(&text));
            if is_conversation && is_telling(&text) {
                return Kept::Erased;
            }
            names_somebody |= is_conversation || self.is_erased_agents(&text) || self.mentions.replace(&text).is_some();
        }
        let is_hiding = !self.guard.treatments.keep_all();
        if is_hiding || names_somebody { Kept::Nothing } else { Kept::AsReceived }
    }

    /// The columns of a row, a JSON object by column name; `None` where nothing is to be taken out.
    pub fn columns(&self, row: &str) -> Option<String> {
        let Ok(parsed) = json::parse(row.as_bytes()) else { return None };
        let Value::Object(columns) = parsed.value else { return None };
        let mut pass = Pass { filter: self, mentions: self.mentions.clone(), has_changed: false };
        let kept = pass.columns(columns);
        pass.has_changed.then(|| json::to_string(&Value::Object(kept)))
    }

    /// A single value as a setting keeps it: `None` when it is dropped.
    pub fn value(&self, kind: Kind, value: &str) -> Option<String> {
        match self.guard.treatments.get(kind) {
            Treatment::Keep => Some(value.to_owned()),
            Treatment::Hash => self.guard.key.as_ref().map(|key| key.value(value)),
            Treatment::Drop => None,
        }
    }

    fn is_erased_conversation(&self, record: &Value<'_>) -> bool {
        !self.guard.erased.is_empty()
            && members(record).filter(|(key, _)| field(key) == Some(ContactField::ConversationId)).any(|(_, value)| {
                conversation_id(Some(value)).is_ok_and(|id| self.guard.is_erased(Subject::Conversation(&id)))
            })
    }

    /// Whether a text anywhere is an erased agent's id, e-mail or name.
    fn names_erased_agent(&self, text: &str) -> bool {
        is_telling(text) && self.is_erased_agents(text)
    }

    fn is_erased_agents(&self, text: &str) -> bool {
        if self.guard.erased.is_empty() || text.len() > LONGEST_NAME_BYTES {
            return false;
        }
        // An id has no spaces, an address has its sign and a name has none: half of the hashes are saved.
        let is_address = text.contains('@');
        let has_space = text.trim().contains(char::is_whitespace);
        (!has_space && self.guard.is_erased(Subject::AgentId(text)))
            || (is_address && self.guard.is_erased(Subject::AgentEmail(text)))
            || (!is_address && self.guard.is_erased(Subject::AgentName(text)))
    }

    /// What an element of `Agents` names.
    fn agent<'v>(element: &'v Value<'_>) -> AgentNames<'v> {
        let mut names = AgentNames::default();
        for (key, value) in members(element) {
            let list = match member(Place::Agent, key) {
                Member::Personal(Kind::AgentName) => &mut names.names,
                Member::Personal(Kind::AgentEmail) => &mut names.emails,
                _ if AgentField::of(key).is_some_and(|(field, _)| field == AgentField::Id) => &mut names.ids,
                _ => continue,
            };
            list.extend(scalar(value));
        }
        names
    }

    /// By id or e-mail; by name only one that comes with neither, since people share names. An e-mail that is dropped
    /// counts for none: once it is, nobody could tell any more that there was one.
    fn is_erased_agent(&self, names: &AgentNames<'_>) -> bool {
        if self.guard.erased.is_empty() {
            return false;
        }
        let drops_email = self.guard.treatments.get(Kind::AgentEmail) == Treatment::Drop;
        let has_name_alone = names.ids.is_empty() && (names.emails.is_empty() || drops_email);
        names.ids.iter().any(|id| self.guard.is_erased(Subject::AgentId(id)))
            || names.emails.iter().any(|email| self.guard.is_erased(Subject::AgentEmail(email)))
            || (has_name_alone && names.names.iter().any(|name| self.guard.is_erased(Subject::AgentName(name))))
    }

    /// E-mails and names under which records know agents who are erased: what `erase` should know them by, too.
    pub fn erased_names(&self, raw: &[u8]) -> Vec<(String, Option<String>)> {
        let Ok(parsed) = json::parse(raw) else { return Vec::new() };
        let mut found = Vec::new();
        for element in agents(&parsed.value) {
            let names = Self::agent(element);
            if names.ids.iter().any(|id| self.guard.is_erased(Subject::AgentId(id))) {
                let email = names.emails.first().map(|email| (*email).to_owned());
                found.extend(names.names.iter().map(|name| ((*name).to_owned(), email.clone())));
            }
        }
        found
    }
}

#[derive(Debug, Default)]
struct AgentNames<'v> {
    ids: Vec<&'v str>,
    emails: Vec<&'v str>,
    names: Vec<&'v str>,
}

/// One record on its way through the filter.
struct Pass<'f> {
    filter: &'f Filter,
    mentions: Mentions,
    has_changed: bool,
}

impl Pass<'_> {
    fn treatment(&self, kind: Kind) -> Treatment {
        self.filter.guard.treatments.get(kind)
    }

    /// What this record says of people who are not to be seen, so that it is found where it is mentioned.
    fn look_for_mentions(&mut self, record: &Value<'_>) {
        let hidden = |pass: &Self, kind: Kind, value: &str| match pass.treatment(kind) {
            Treatment::Keep => None,
            Treatment::Hash => pass.filter.value(kind, value),
            Treatment::Drop => Some(DROPPED.to_owned()),
        };
        for element in agents(record) {
            let names = Filter::agent(element);
            let all = names.ids.iter().chain(&names.emails).chain(&names.names);
            if self.filter.is_erased_agent(&names) {
                all.for_each(|value| self.mentions.add(value, ERASED));
                continue;
            }
            for (kind, values) in [(Kind::AgentEmail, &names.emails), (Kind::AgentName, &names.names)] {
                for value in values {
                    if let Some(replacement) = hidden(self, kind, value) {
                        self.mentions.add(value, &replacement);
                    }
                }
            }
        }
        for (key, value) in members(record) {
            if member(Place::Record, key) == Member::Personal(Kind::AuditorName)
                && let Some(name) = scalar(value)
                && let Some(replacement) = hidden(self, Kind::AuditorName, name)
            {
                self.mentions.add(name, &replacement);
            }
        }
    }

    fn value<'a>(&mut self, value: Value<'a>, place: Place) -> Value<'a> {
        match value {
            Value::Object(_) if place == Place::Agent && self.filter.is_erased_agent(&Filter::agent(&value)) => {
                // A place that says nothing has no row, and the others keep their numbers.
                self.has_changed = true;
                Value::Null
            }
            Value::Object(members) => Value::Object(self.object(members, place)),
            Value::Array(elements) => {
                Value::Array(elements.into_iter().filter_map(|element| self.element(element, place)).collect())
            }
            Value::String(text) => Value::String(self.text(text)),
            // An id may be sent as a number in one place and as a text in another.
            Value::Number(number) => match self.text(Cow::Borrowed(number)) {
                Cow::Borrowed(_) => Value::Number(number),
                replaced @ Cow::Owned(_) => Value::String(replaced),
            },
            other => other,
        }
    }

    /// An element of a list. One that should be an object and is a bare text is what the object would hold.
    fn element<'a>(&mut self, element: Value<'a>, place: Place) -> Option<Value<'a>> {
        let is_bare = matches!(element, Value::String(_) | Value::Number(_));
        match place {
            Place::Agent if is_bare => {
                let kinds = [Kind::AgentName, Kind::AgentEmail];
                let kind = kinds.into_iter().max_by_key(|kind| self.treatment(*kind)).unwrap_or(Kind::AgentName);
                self.personal(kind, element)
            }
            Place::Justification if is_bare => self.personal(Kind::JustificationText, element),
            _ => Some(self.value(element, place)),
        }
    }

    fn object<'a>(&mut self, members: Vec<(Cow<'a, str>, Value<'a>)>, place: Place) -> Vec<(Cow<'a, str>, Value<'a>)> {
        let mut kept = Vec::with_capacity(members.len());
        for (key, value) in members {
            let value = match member(place, &key) {
                // Of an agent who is somebody else: people share names.
                Member::Personal(Kind::AgentName)
                    if place == Place::Agent && self.treatment(Kind::AgentName) == Treatment::Keep =>
                {
                    Some(value)
                }
                Member::Personal(kind) => self.personal(kind, value),
                // What the record is known by, and without which it is none; its id was looked at before.
                _ if place == Place::Record
                    && matches!(field(&key), Some(ContactField::ConversationId | ContactField::StartTime)) =>
                {
                    Some(value)
                }
                // A field that holds one value in place of a list.
                Member::Within(within) => self.element(value, within),
            };
            if let Some(value) = value {
                let key = if is_known(&key) { key } else { self.text(key) };
                kept.push((key, value));
            }
        }
        kept
    }

    /// A value that a setting is about; `None` when it is dropped.
    fn personal<'a>(&mut self, kind: Kind, value: Value<'a>) -> Option<Value<'a>> {
        match self.treatment(kind) {
            _ if says_nothing(&value) => Some(value),
            Treatment::Keep => Some(self.value(value, Place::Elsewhere)),
            Treatment::Hash => Some(self.hashed(value)),
            Treatment::Drop => {
                self.has_changed = true;
                None
            }
        }
    }

    fn hashed<'a>(&mut self, value: Value<'a>) -> Value<'a> {
        let Some(key) = &self.filter.guard.key else { return Value::Null };
        let value = match value {
            value if says_nothing(&value) => return value,
            Value::String(text) if is_hashed(&text) => return Value::String(text),
            Value::String(text) => Value::String(key.value(&text).into()),
            Value::Number(number) => Value::String(key.value(number).into()),
            Value::Array(elements) => return Value::Array(elements.into_iter().map(|e| self.hashed(e)).collect()),
            Value::Object(members) => {
                return Value::Object(members.into_iter().map(|(key, value)| (key, self.hashed(value))).collect());
            }
            other => return other,
        };
        self.has_changed = true;
        value
    }

    /// A text anywhere else: an erased person's id, address or name goes, alone or in the midst of it.
    fn text<'a>(&mut self, text: Cow<'a, str>) -> Cow<'a, str> {
        let replaced = if self.is_erased(&text) { Some(ERASED.to_owned()) } else { self.mentions.replace(&text) };
        match replaced {
            Some(replaced) => {
                self.has_changed = true;
                replaced.into()
            }
            None => text,
        }
    }

    fn is_erased(&self, text: &str) -> bool {
        self.filter.names_erased_agent(text)
            || (is_telling(text)
                && text.len() <= LONGEST_NAME_BYTES
                && !text.contains(char::is_whitespace)
                && self.filter.guard.is_erased(Subject::Conversation(text)))
    }

    fn columns<'a>(&mut self, columns: Vec<(Cow<'a, str>, Value<'a>)>) -> Vec<(Cow<'a, str>, Value<'a>)> {
        let mut kept = Vec::with_capacity(columns.len());
        for (column, value) in columns {
            let value = self.column(&column, value);
            kept.push((column, value));
        }
        kept
    }

    /// A column of a row, or of the JSON that keeps what one held.
    fn column<'a>(&mut self, column: &str, value: Value<'a>) -> Value<'a> {
        if matches!(value, Value::Null) {
            return value;
        }
        match (column, value) {
            ("auditor_name", value) => self.personal(Kind::AuditorName, value).unwrap_or(Value::Null),
            ("custom_fields", value) => self.personal(Kind::CustomFields, value).unwrap_or(Value::Null),
            ("justification" | "source_system_value" | "agent_mentioned_value" | "agent_entity", value) => {
                self.personal(Kind::JustificationText, value).unwrap_or(Value::Null)
            }
            ("extra", Value::Object(paths)) => {
                let mut kept = Vec::with_capacity(paths.len());
                for (path, value) in paths {
                    let value = match at_path(&path) {
                        Member::Personal(kind) => self.personal(kind, value),
                        Member::Within(place) => self.element(value, place),
                    };
                    if let Some(value) = value {
                        kept.push((self.text(path), value));
                    }
                }
                if kept.is_empty() { Value::Null } else { Value::Object(kept) }
            }
            ("old_values" | "new_values", Value::Object(columns)) => Value::Object(self.columns(columns)),
            ("contact_agents", Value::Array(mut parts)) if !self.filter.agent_keys.is_empty() => {
                let is_of = |key: &Value<'_>| {
                    let key = key.as_number().and_then(|key| key.parse::<i32>().ok());
                    key.is_some_and(|key| self.filter.agent_keys.contains(&key))
                };
                let before = parts.len();
                parts.retain(|part| !part.get("agent_key").is_some_and(is_of));
                self.has_changed |= parts.len() < before;
                Value::Array(parts)
            }
            ("metric_justifications", Value::Array(rows)) => {
                let row = |row: Value<'a>| match row {
                    Value::Object(columns) => Value::Object(self.columns(columns)),
                    other => other,
                };
                Value::Array(rows.into_iter().map(row).collect())
            }
            (_, value) => self.value(value, Place::Elsewhere),
        }
    }
}

#[cfg(test)]
mod tests;
