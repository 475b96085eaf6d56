//! What must be known of a record before it is read whole.

use std::ops::Range;

use chrono::{DateTime, Utc};

use super::contact::{conversation_id, start};
use super::fields::{ContactField, Fields};
use super::reading::decimal;
use super::time::time;
use crate::domain::ContentHash;
use crate::json::{self, Value};

/// What tells records apart, and repeats of one id from each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    pub conversation_id: Option<String>,
    /// `None` also when it is outside the calendar.
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// Whether it has an evaluation score.
    pub is_evaluated: bool,
}

/// Identifies a record by its top level alone. All is `None` when that is no JSON object; a record
/// that [`normalise`](super::normalise) accepts has the identity of its contact.
pub fn identify(raw: &[u8]) -> Identity {
    const WANTED: [ContactField; 4] =
        [ContactField::ConversationId, ContactField::StartTime, ContactField::EndTime, ContactField::EvaluationScore];
    let mut found: [Option<(&'static str, Range<usize>)>; 4] = Default::default();
    let visited = json::visit_members(raw, |key, range| {
        let Some((field, spelling)) = ContactField::of(&key) else { return };
        let Some(slot) = WANTED.iter().position(|wanted| *wanted == field) else { return };
        if found[slot].as_ref().is_none_or(|(old, _)| field.replaces(spelling, old)) {
            found[slot] = Some((spelling, range));
        }
    });
    if visited.is_err() {
        return Identity::default();
    }
    let values =
        found.map(|place| place.and_then(|(_, range)| json::parse(&raw[range]).ok()).map(|parsed| parsed.value));
    let [id, started, ended, score]: [Option<&Value<'_>>; 4] = values.each_ref().map(Option::as_ref);
    Identity {
        conversation_id: conversation_id(id).ok().map(String::from),
        started_at: start(started).ok(),
        ended_at: ended.and_then(|value| time(value).ok()).flatten(),
        is_evaluated: score.and_then(|value| decimal(value).ok()).flatten().is_some(),
    }
}

/// Which of several records with one id stands for it: an evaluated one first, then the one that
/// ends later, then the one with the larger hash of its bytes. Content alone decides, never the order
/// of arrival. Gives the place among the candidates, 0 when there are none.
pub fn winner<'r>(candidates: impl IntoIterator<Item = (&'r Identity, ContentHash)>) -> usize {
    let rank = |(identity, raw_hash): (&Identity, ContentHash)| (identity.is_evaluated, identity.ended_at, raw_hash);
    let ranked = candidates.into_iter().map(rank).enumerate();
    ranked.max_by(|(_, a), (_, b)| a.cmp(b)).map_or(0, |(index, _)| index)
}
