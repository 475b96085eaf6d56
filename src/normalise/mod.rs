//! From one record's raw text to its rows: a pure function.
//!
//! Lossless readings come first. Where a value has none, its column is NULL, the value is kept in
//! `extra` and counted as a [`Fault`]: drift never costs the rest of the record. Only a record
//! without a usable id or start is [`Rejected`].

mod canonical;
mod contact;
mod emotions;
mod evaluation;
mod fields;
mod identity;
mod intents;
mod members;
mod people;
mod private;
mod reading;
mod shape;
mod speaking;
mod time;
mod topics;

use crate::domain::ContentHash;
use crate::domain::rows::Contact;
use crate::json::{self, Repairs};

pub use identity::{Identity, identify, winner};
pub use private::{Filter, Kept};

/// Grows when the same record would give other rows.
pub const MAPPER_VERSION: i32 = 2;

/// Unknown fields told of one record: keys may be made from data, without end.
const MAX_UNKNOWN: usize = 100;

/// Repairs of one kind told of one record.
const MAX_REPAIRS: u32 = 1_000;

/// A record as rows, and what was noticed on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalised<'a> {
    pub contact: Contact<'a>,
    /// Of the content, whatever its order where that means nothing, and whatever the mapper.
    pub canonical_hash: ContentHash,
    pub faults: Vec<Fault>,
    /// Each path and type once, sorted; at most 100.
    pub unknown: Vec<UnknownField>,
}

/// A value without a lossless reading, kept in `extra`; or dirt that was cleaned, whose path is `$`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Without indices: `Agents[].Agent Start Time`.
    pub path: String,
    pub kind: FaultKind,
    /// As of an [`UnknownField`]; empty for dirt.
    pub json_type: &'static str,
    pub shape: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// A list or object where one value is due.
    NotAScalar,
    NotANumber,
    NotAnInteger,
    NotABoolean,
    NotATime,
    NotAnObject,
    /// A number or time beyond what its column holds.
    OutOfRange,
    /// A text longer than a key may be.
    TooLong,
    /// An element of a list beyond the ordinals there are.
    TooMany,
    /// An element of a list that lacks what makes a row.
    NotARow,
    /// A topic that says another level than the one it stands at.
    OtherLevel,
    NulCharacter,
    LoneSurrogate,
    InvalidUtf8,
    NonFiniteNumber,
    UnknownEscape,
}

impl FaultKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAScalar => "not_a_scalar",
            Self::NotANumber => "not_a_number",
            Self::NotAnInteger => "not_an_integer",
            Self::NotABoolean => "not_a_boolean",
            Self::NotATime => "not_a_time",
            Self::NotAnObject => "not_an_object",
            Self::OutOfRange => "out_of_range",
            Self::TooLong => "too_long",
            Self::TooMany => "too_many",
            Self::NotARow => "not_a_row",
            Self::OtherLevel => "other_level",
            Self::NulCharacter => "nul_character",
            Self::LoneSurrogate => "lone_surrogate",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::NonFiniteNumber => "non_finite_number",
            Self::UnknownEscape => "unknown_escape",
        }
    }
}

/// A key that neither the vendor's page nor this mapper knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnknownField {
    /// Without indices: `Agents[].Shift`; cut off after 500 bytes.
    pub path: String,
    /// In JSON's words: `string`, `number`, `boolean`, `object`, `array` or `null`.
    pub json_type: &'static str,
    /// Of a string the class of its length and its shape, never the value.
    pub shape: Option<String>,
}

/// Why a record has no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} at {path}", .reason.as_str())]
pub struct Rejected {
    /// `$` is the record itself.
    pub path: String,
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    NotJson,
    /// More text or more values than a record may have; its text is not kept when it is the text.
    TooLarge,
    NotAnObject,
    NoConversationId,
    ConversationIdTooLong,
    NoStartTime,
    StartNotATime,
    /// The calendar holds 2000-01-01 to 2060-12-30.
    StartOutOfRange,
}

impl Reason {
    pub const ALL: [Self; 8] = [
        Self::NotJson,
        Self::TooLarge,
        Self::NotAnObject,
        Self::NoConversationId,
        Self::ConversationIdTooLong,
        Self::NoStartTime,
        Self::StartNotATime,
        Self::StartOutOfRange,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::TooLarge => "too_large",
            Self::NotAnObject => "not_an_object",
            Self::NoConversationId => "no_conversation_id",
            Self::ConversationIdTooLong => "conversation_id_too_long",
            Self::NoStartTime => "no_start_time",
            Self::StartNotATime => "start_not_a_time",
            Self::StartOutOfRange => "start_out_of_range",
        }
    }
}

/// Reads one record.
pub fn normalise(raw: &[u8]) -> Result<Normalised<'_>, Rejected> {
    let parsed = json::parse(raw).map_err(|error| {
        let reason = if error.is_excess() { Reason::TooLarge } else { Reason::NotJson };
        Rejected { path: "$".to_owned(), reason }
    })?;
    let mut aside = members::Aside::default();
    let contact = contact::read(&parsed.value, &mut aside)?;
    let canonical_hash = canonical::hash(&parsed.value);
    let members::Aside { mut faults, mut unknown, .. } = aside;
    faults.extend(repairs(parsed.repairs));
    unknown.sort_unstable();
    unknown.dedup_by(|a, b| (&a.path, a.json_type) == (&b.path, b.json_type));
    unknown.truncate(MAX_UNKNOWN);
    Ok(Normalised { contact, canonical_hash, faults, unknown })
}

/// A fault for each time that the text had to be cleaned, up to a thousand of a kind.
fn repairs(repairs: Repairs) -> impl Iterator<Item = Fault> {
    let kinds = [
        (FaultKind::NulCharacter, repairs.nul_characters),
        (FaultKind::LoneSurrogate, repairs.lone_surrogates),
        (FaultKind::InvalidUtf8, repairs.invalid_utf8),
        (FaultKind::NonFiniteNumber, repairs.non_finite_numbers),
        (FaultKind::UnknownEscape, repairs.unknown_escapes),
    ];
    let faults = |(kind, times): (FaultKind, u32)| {
        (0..times.min(MAX_REPAIRS)).map(move |_| Fault { path: "$".to_owned(), kind, json_type: "", shape: None })
    };
    kinds.into_iter().flat_map(faults)
}

#[cfg(test)]
mod tests;
