//! Where personal data stands in a record, however its keys are spelt.

use super::super::fields::{
    AgentField, ConfiguredField, ContactField, EmotionField, Fields as _, IntentField, JustificationField, MetricField,
    PatternField, QueueField, RateField, RatioField, TopicField,
};
use super::super::reading::says_nothing;
use crate::domain::privacy::Kind;
use crate::json::Value;

/// An object that is known, or a list of such objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Record,
    Agent,
    Metric,
    Justification,
    Elsewhere,
}

/// What a member of an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    Personal(Kind),
    Within(Place),
}

pub(super) fn members<'v, 'a>(value: &'v Value<'a>) -> impl Iterator<Item = (&'v str, &'v Value<'a>)> {
    let members = if let Value::Object(members) = value { members.as_slice() } else { &[] };
    members.iter().map(|(key, value)| (&**key, value))
}

pub(super) fn field(key: &str) -> Option<ContactField> {
    ContactField::of(key).map(|(field, _)| field)
}

/// The objects in any spelling of `Agents`.
pub(super) fn agents<'v, 'a>(record: &'v Value<'a>) -> impl Iterator<Item = &'v Value<'a>> {
    members(record).filter(|(key, _)| member(Place::Record, key) == Member::Within(Place::Agent)).flat_map(
        |(_, value)| match value {
            Value::Array(elements) => elements.as_slice(),
            single => std::slice::from_ref(single),
        },
    )
}

/// A text or number that says something.
pub(super) fn scalar<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    match value {
        value if says_nothing(value) => None,
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number),
        _ => None,
    }
}

/// Letters and digits alone: however a key is spelt.
fn folded(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What a member of an object is, by its key. Of keys that nobody documented, those are taken for personal
/// that look like it.
pub(super) fn member(place: Place, key: &str) -> Member {
    let known = match place {
        Place::Record => match field(key) {
            Some(ContactField::AuditorName) => Some(Member::Personal(Kind::AuditorName)),
            Some(ContactField::CustomFields) => Some(Member::Personal(Kind::CustomFields)),
            Some(ContactField::Agents) => Some(Member::Within(Place::Agent)),
            Some(ContactField::Metrics) => Some(Member::Within(Place::Metric)),
            Some(_) => Some(Member::Within(Place::Elsewhere)),
            None => None,
        },
        Place::Agent => match AgentField::of(key).map(|(field, _)| field) {
            Some(AgentField::Name) => Some(Member::Personal(Kind::AgentName)),
            Some(AgentField::Email) => Some(Member::Personal(Kind::AgentEmail)),
            Some(_) => Some(Member::Within(Place::Elsewhere)),
            None => None,
        },
        Place::Metric => match MetricField::of(key).map(|(field, _)| field) {
            Some(MetricField::Justification | MetricField::TriggerJustification) => {
                Some(Member::Within(Place::Justification))
            }
            Some(_) => Some(Member::Within(Place::Elsewhere)),
            None => None,
        },
        // An entry is text about the contact, but for the messages that it cites.
        Place::Justification => Some(match JustificationField::of(key).map(|(field, _)| field) {
            Some(JustificationField::MessageId | JustificationField::Timestamp) => Member::Within(Place::Elsewhere),
            _ => Member::Personal(Kind::JustificationText),
        }),
        Place::Elsewhere => None,
    };
    known.unwrap_or_else(|| unknown_member(place, &folded(key)))
}

fn unknown_member(place: Place, folded: &str) -> Member {
    let has = |part: &str| folded.contains(part);
    match folded {
        "agents" if place == Place::Record => Member::Within(Place::Agent),
        "metrics" if place == Place::Record => Member::Within(Place::Metric),
        "customfields" => Member::Personal(Kind::CustomFields),
        "auditorname" => Member::Personal(Kind::AuditorName),
        _ if has("justification") => Member::Within(Place::Justification),
        _ if has("recording") => Member::Personal(Kind::RecordingUrls),
        _ if has("mail") && (place == Place::Agent || has("agent")) => Member::Personal(Kind::AgentEmail),
        _ if has("name") && (place == Place::Agent || has("agent")) => Member::Personal(Kind::AgentName),
        _ => Member::Within(Place::Elsewhere),
    }
}

/// What stands at a path of `extra`, as `Agents[0].Nickname`.
pub(super) fn at_path(path: &str) -> Member {
    let mut place = Place::Record;
    for step in path.split('.') {
        let key = step.split('[').next().unwrap_or_default();
        match member(place, key) {
            Member::Within(within) => place = within,
            personal @ Member::Personal(_) => return personal,
        }
    }
    Member::Within(place)
}

/// Whether a key is documented somewhere: it is nobody's name.
pub(super) fn is_known(key: &str) -> bool {
    field(key).is_some()
        || AgentField::of(key).is_some()
        || QueueField::of(key).is_some()
        || MetricField::of(key).is_some()
        || JustificationField::of(key).is_some()
        || EmotionField::of(key).is_some()
        || RateField::of(key).is_some()
        || IntentField::of(key).is_some()
        || TopicField::of(key).is_some()
        || ConfiguredField::of(key).is_some()
        || PatternField::of(key).is_some()
        || RatioField::of(key).is_some()
}
