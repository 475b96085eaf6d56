//! What must hold of any text, of any page, and of records whose truth is known.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use koresync::domain::privacy::{Guard, HashKey, Kind, Subject, Treatment, Treatments};
use koresync::domain::rows::Contact;
use koresync::json::{self, Repairs, split_page};
use koresync::normalise::{Filter, Identity, Kept, Normalised, Reason, identify, normalise};
use serde_json::value::RawValue;

use crate::choices::Choices;
use crate::record::{Known, Truth};
use crate::rows::facts;

/// `Err` says what does not hold.
pub type Held = Result<(), String>;

macro_rules! hold {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(format!($($what)+));
        }
    };
}

/// Of any text: it becomes rows or a reason, and what is cheap agrees with what is thorough.
pub fn record(raw: &[u8]) -> Held {
    let identity = identify(raw);
    match normalise(raw) {
        Ok(normalised) => {
            agrees(&identity, &normalised.contact)?;
            is_json("custom_fields", normalised.contact.custom_fields.as_deref())?;
            is_json("extra", normalised.contact.extra.as_deref())?;
            is_told(&normalised)?;
            has_places(&normalised.contact)?;
            is_rewritten(raw, &normalised)
        }
        Err(rejected) => {
            let is_missing = match rejected.reason {
                Reason::NotJson | Reason::TooLarge => json::parse(raw).is_err(),
                Reason::NotAnObject => identity == Identity::default(),
                Reason::NoConversationId | Reason::ConversationIdTooLong => identity.conversation_id.is_none(),
                Reason::NoStartTime | Reason::StartNotATime | Reason::StartOutOfRange => identity.started_at.is_none(),
            };
            hold!(is_missing, "{rejected}, but identify says {identity:?}");
            Ok(())
        }
    }
}

fn agrees(identity: &Identity, contact: &Contact<'_>) -> Held {
    let of_contact = Identity {
        conversation_id: Some(contact.conversation_id.clone().into_owned()),
        started_at: Some(contact.started_at),
        ended_at: contact.ended_at,
        is_evaluated: contact.evaluation_score.is_some(),
    };
    hold!(*identity == of_contact, "identify says {identity:?}, normalise {of_contact:?}");
    hold!(contact.is_passed.is_none() || identity.is_evaluated, "passed without a score");
    Ok(())
}

fn is_json(column: &str, text: Option<&str>) -> Held {
    let Some(text) = text else { return Ok(()) };
    hold!(!text.contains('\0'), "{column} holds a NUL character: {text:?}");
    let read = serde_json::from_str::<serde::de::IgnoredAny>(text);
    hold!(read.is_ok(), "{column} is no JSON, {read:?}: {text:?}");
    Ok(())
}

/// Every fault but dirt leaves its value in `extra`, as every unknown field does.
fn is_told(normalised: &Normalised<'_>) -> Held {
    let Normalised { contact, faults, unknown, .. } = normalised;
    let is_aside = unknown.len() + faults.iter().filter(|fault| fault.path != "$").count() > 0;
    hold!(!is_aside || contact.extra.is_some(), "faults or unknown fields, but nothing in extra");
    hold!(unknown.len() <= 100 && unknown.iter().all(|u| u.path.len() <= 500), "too much is told of unknown fields");
    hold!(unknown.is_sorted(), "unknown fields are not in order");
    Ok(())
}

/// Rows of a list have ordinals from 1 that grow, and a topic stands below one of the level above.
fn has_places(contact: &Contact<'_>) -> Held {
    let grow = |what: &str, ordinals: &mut dyn Iterator<Item = i16>| {
        let ordinals: Vec<i16> = ordinals.collect();
        let is_growing = ordinals.is_sorted_by(|a, b| a < b) && ordinals.first().is_none_or(|first| *first > 0);
        hold!(is_growing, "ordinals of {what}: {ordinals:?}");
        Ok(())
    };
    grow("agents", &mut contact.agents.iter().map(|a| a.ordinal))?;
    grow("queues", &mut contact.queues.iter().map(|q| q.ordinal))?;
    grow("metrics", &mut contact.metrics.iter().map(|m| m.ordinal))?;
    grow("rates", &mut contact.speaking_rates.iter().map(|r| r.ordinal))?;
    grow("intents", &mut contact.intents.iter().map(|i| i.ordinal))?;
    grow("topics", &mut contact.topics.iter().map(|t| t.ordinal))?;
    for metric in &contact.metrics {
        for entry in &metric.justifications {
            grow("messages", &mut entry.messages.iter().map(|m| m.ordinal))?;
        }
    }
    for topic in &contact.topics {
        let parent = topic.parent_ordinal.and_then(|p| contact.topics.iter().find(|above| above.ordinal == p));
        let level_above = parent.map_or(0, |above| above.topic.level());
        hold!(topic.topic.level() == level_above + 1, "a topic's parent is not of the level above: {topic:?}");
        hold!(parent.is_some() == topic.parent_ordinal.is_some(), "a topic has no parent: {topic:?}");
    }
    Ok(())
}

/// Taken apart and written anew, as it is where something is hidden, a record becomes the same rows.
fn is_rewritten(raw: &[u8], normalised: &Normalised<'_>) -> Held {
    let Ok(parsed) = json::parse(raw) else { return Err("rows of what is no JSON".to_owned()) };
    let written = json::to_string(&parsed.value);
    match normalise(written.as_bytes()) {
        Ok(again) => {
            hold!(again.contact == normalised.contact, "other rows once written anew: {written}");
            let is_clean = parsed.repairs == Repairs::default()
                && json::parse(written.as_bytes()).is_ok_and(|again| again.value == parsed.value);
            hold!(
                !is_clean || again.canonical_hash == normalised.canonical_hash,
                "another hash of the same content: {written}"
            );
            Ok(())
        }
        Err(rejected) => Err(format!("{rejected} once written anew: {written}")),
    }
}

fn hash_key() -> HashKey {
    HashKey::new([7; 32])
}

/// Settings, and somebody of the record who is erased.
fn filter(raw: &[u8], choices: &mut Choices<'_>) -> Filter {
    let treatments = match choices.below(4) {
        0 => Treatments::of(|_| Treatment::Hash),
        1 => Treatments::of(|_| Treatment::Drop),
        2 => Treatments::default(),
        _ => {
            let mut any = || *choices.pick(&[Treatment::Keep, Treatment::Hash, Treatment::Drop]);
            Treatments::of(|_: Kind| any())
        }
    };
    let key = hash_key();
    let mut erased = HashSet::new();
    if choices.percent(50)
        && let Ok(normalised) = normalise(raw)
    {
        if choices.percent(10) {
            erased.insert(key.subject(Subject::Conversation(&normalised.contact.conversation_id)));
        }
        if !normalised.contact.agents.is_empty() {
            let agent = &choices.pick(&normalised.contact.agents).agent;
            let subjects = [
                agent.agent_id.as_deref().map(Subject::AgentId),
                agent.agent_email.as_deref().map(Subject::AgentEmail),
                agent.agent_name.as_deref().map(Subject::AgentName),
            ];
            erased.extend(subjects.into_iter().flatten().map(|subject| key.subject(subject)));
        }
    }
    Filter::new(Arc::new(Guard { version: 1, privacy_id: 1, treatments, key: Some(key), erased, ..Guard::default() }))
}

/// Hiding done twice is the same as once, and costs no record: it is known by the same id and start.
pub fn hidden(raw: &[u8], choices: &mut Choices<'_>) -> Held {
    let filter = filter(raw, choices);
    let Kept::Without { text, canonical_hash } = filter.keep(raw) else { return Ok(()) };
    let again = filter.keep(text.as_bytes());
    hold!(again == Kept::AsReceived, "hidden once: {text}\nhidden twice: {again:?}");
    is_json("what is kept", Some(&text))?;
    let known = |identity: Identity| (identity.conversation_id, identity.started_at);
    let (received, kept) = (normalise(raw), normalise(text.as_bytes()));
    hold!(known(identify(raw)) == known(identify(text.as_bytes())), "known by something else once hidden: {text}");
    hold!(
        received.as_ref().err() == kept.as_ref().err(),
        "received {:?}, kept {:?}: {text}",
        received.err(),
        kept.err()
    );
    hold!(
        received.is_ok_and(|received| received.canonical_hash == canonical_hash) || kept.is_err(),
        "another canonical hash"
    );
    Ok(())
}

/// A page of these records, as the vendor might write it.
pub fn page_of(records: &[Vec<u8>], choices: &mut Choices<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    if choices.percent(5) {
        body.extend_from_slice(b"\xef\xbb\xbf");
    }
    body.extend_from_slice(choices.word(&["{\"results\":[", " {\n \"totalResults\": 3,\"results\" :\t["]).as_bytes());
    for (place, record) in records.iter().enumerate() {
        if place > 0 {
            body.extend_from_slice(choices.word(&[",", " , ", "\r\n,\t"]).as_bytes());
        }
        body.extend_from_slice(record);
    }
    let tail = choices.word(&["]}", " ],\"hasMore\":true}\n", "],\"results \":[{}],\"x\":[{\"results\":[1]}]}"]);
    body.extend_from_slice(tail.as_bytes());
    body
}

/// A page is cut into exactly its records, byte for byte, or is refused whole; and nothing is left between them.
pub fn is_cut(body: &[u8], records: &[Vec<u8>]) -> Held {
    nothing_between(body)?;
    // What is JSON without space around it and without a mark of byte order is one record, whatever it says.
    let is_one = |record: &Vec<u8>| {
        json::parse(record).is_ok()
            && !record.first().is_none_or(|first| first.is_ascii_whitespace() || *first == 0xef)
            && !record.last().is_none_or(u8::is_ascii_whitespace)
    };
    if records.iter().all(is_one) {
        let page = split_page(body).map_err(|error| format!("a page of whole records is refused: {error}"))?;
        let cut: Vec<&[u8]> = page.records.unwrap_or_default().into_iter().map(|range| &body[range]).collect();
        hold!(cut == *records, "{} records were cut into {}", records.len(), cut.len());
    }
    Ok(())
}

/// Of any body that is cut: between its records there is a comma and space, and nothing else.
pub fn nothing_between(body: &[u8]) -> Held {
    let Ok(json::Page { records: Some(records), .. }) = split_page(body) else { return Ok(()) };
    let mut before: Option<usize> = None;
    for range in &records {
        hold!(range.start < range.end && range.end <= body.len(), "an empty record or one beyond the end: {range:?}");
        if let Some(before) = before {
            let between = body.get(before..range.start).unwrap_or(b"?").trim_ascii();
            hold!(between == b",", "between two records: {:?}", String::from_utf8_lossy(between));
        }
        before = Some(range.end);
    }
    if let (Some(first), Some(last)) = (records.first(), records.last()) {
        let (head, tail) = (body[..first.start].trim_ascii_end(), body[last.end..].trim_ascii_start());
        hold!(head.ends_with(b"[") && tail.starts_with(b"]"), "records are left out at an end of the list");
    }
    Ok(())
}

/// Of a valid record: its rows hold every value that was sent, and nothing else; what no column holds is in `extra`.
pub fn rebuilds(known: &Known, text: &str) -> Held {
    let normalised = normalise(text.as_bytes()).map_err(|rejected| format!("a valid record is refused: {rejected}"))?;
    let Truth { facts: sent, extra, custom_fields, unknown, misfits } = &known.truth;
    let found = facts(&normalised.contact);
    for (column, value) in sent {
        let held = found.get(column);
        hold!(held == Some(value), "{column} was sent as {value:?}, and is {held:?}");
    }
    for (column, value) in &found {
        hold!(sent.contains_key(column), "{column} is {value:?}, and nothing like it was sent");
    }
    let held = normalised.contact.extra.as_deref().unwrap_or("{}");
    let held: BTreeMap<String, &RawValue> = serde_json::from_str(held).map_err(|e| format!("extra: {e}"))?;
    for (path, value) in extra {
        let is_held = held.get(path).is_some_and(|held| value.is_in(held));
        hold!(is_held, "extra {path} was sent as {value:?}, and is {:?}", held.get(path));
    }
    for (path, value) in held {
        hold!(extra.contains_key(&path), "extra {path} is {value}, and has a column or was not sent");
    }
    match (custom_fields, normalised.contact.custom_fields.as_deref()) {
        (None, None) => {}
        (Some(sent), Some(held)) => {
            let is_held = serde_json::from_str::<&RawValue>(held).is_ok_and(|held| sent.is_in(held));
            hold!(is_held, "custom fields were sent as {sent:?}, and are {held}");
        }
        (sent, held) => return Err(format!("custom fields were sent as {sent:?}, and are {held:?}")),
    }
    hold!(normalised.faults.len() == *misfits, "{misfits} values fit no column, but {:?}", normalised.faults);
    let told: Vec<(&str, &str)> = normalised.unknown.iter().map(|u| (&*u.path, u.json_type)).collect();
    let wanted: Vec<(&str, &str)> = unknown.iter().map(|(path, kind)| (&**path, *kind)).collect();
    hold!(told == wanted, "unknown fields are told as {told:?}, and are {wanted:?}");
    Ok(())
}

/// However a record is written, it says the same, and has one canonical hash.
pub fn is_one_content(one: &str, other: &str) -> Held {
    let (Ok(one), Ok(other)) = (normalise(one.as_bytes()), normalise(other.as_bytes())) else {
        return Err("a valid record is refused".to_owned());
    };
    hold!(one.canonical_hash == other.canonical_hash, "two writings of one record have two canonical hashes");
    let rows = |normalised: &Normalised<'_>| facts(&normalised.contact);
    hold!(rows(&one) == rows(&other), "two writings of one record become other rows");
    Ok(())
}
