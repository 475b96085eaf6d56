//! From a read to the warehouse: repeats settled, unchanged records passed over, the rest normalised
//! and written, all in the window's one transaction.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::intake::{Record, Text};
use super::private::{Fate, Fates};
use super::prove::RecordIdentity;
use super::reading::Read;
use crate::domain::payload::Texts;
use crate::domain::privacy::Subject;
use crate::domain::{ContentHash, Payload, Window};
use crate::normalise::{Filter, MAPPER_VERSION, Normalised, Reason, Rejected, normalise, winner};
use crate::warehouse::drift::{Drift, Example};
use crate::warehouse::load::{Held, Incoming, Outcomes, Presence, Proof, ReadEntry, SetAside, WindowCommit};
use crate::warehouse::quarantine::ReadWell;
use crate::warehouse::streams::Learned;
use crate::warehouse::windows::Claim;
use crate::warehouse::{Warehouse, WarehouseError};

/// Text that is unpacked, normalised and written at a time: it bounds memory, whatever the window holds.
/// A COPY has a price of its own, most of it per table and for its first thousand rows.
const BATCH_BYTES: usize = 3 << 20;

/// What stands beside the records of a read in the ledger.
#[derive(Debug)]
pub struct Judgement {
    pub proof: Option<Proof>,
    /// Why it is not proved, and when to read again.
    pub failure: Option<(String, TimeDelta)>,
    pub requests: u64,
    /// When the work on the read began.
    pub read_at: DateTime<Utc>,
    pub includes_below_threshold: bool,
}

/// Writes a read. Nothing is left out because it lies outside the window: what came is kept.
pub async fn write(
    warehouse: &Warehouse,
    claim: &Claim,
    read: &Read,
    judgement: &Judgement,
    learned: &Learned,
) -> Result<Outcomes, WarehouseError> {
    let records = settle_repeats(&read.records);
    let (requested_from, requested_to) = claim.window.request_range();
    let entry = ReadEntry {
        requested_from,
        requested_to,
        total: read.tally.totals.last().copied().flatten(),
        rows: read.tally.rows,
        distinct: read.tally.distinct(),
        requests: judgement.requests,
        proof: judgement.proof,
        failure: judgement.failure.clone(),
    };
    let learned = with_reach(learned, claim.window, &records);
    let in_window =
        records.iter().filter(|r| r.identity.started_at.is_some_and(|at| claim.window.contains(at))).count();
    let ids: Vec<&str> = records.iter().filter_map(|r| r.identity.conversation_id.as_deref()).collect();
    let presence = Presence {
        ids: &ids,
        read_at: judgement.read_at,
        includes_below_threshold: judgement.includes_below_threshold,
        filter_field: learned.filter_field,
    };
    let (unchanged, packed) = known_and_packed(&records);
    warehouse
        .commit_retrying(|| {
            let (entry, learned, presence) = (entry.clone(), &learned, &presence);
            let (records, unchanged, packed) = (&records, &unchanged, &packed);
            async move {
                let mut commit = warehouse.open_commit(claim, entry).await?;
                commit.outcomes.in_window = in_window as u64;
                commit.confirm_unchanged(unchanged).await?;
                for batch in batches(packed) {
                    write_batch(&mut commit, batch).await?;
                }
                let seen: Vec<ReadWell<'_>> = records.iter().map(|record| read_well(record)).collect();
                commit.clear_quarantine(&seen).await?;
                commit.judge_presence(presence).await?;
                commit.finish(learned).await
            }
        })
        .await
}

/// One record an identity, by start and id: keys are written in ascending order.
pub(super) fn settle_repeats(records: &[Record]) -> Vec<&Record> {
    let mut by_identity: HashMap<RecordIdentity, Vec<&Record>> = HashMap::with_capacity(records.len());
    for record in records {
        by_identity.entry(record.key()).or_default().push(record);
    }
    let mut settled: Vec<&Record> = by_identity
        .into_values()
        .filter_map(|repeats| match repeats.as_slice() {
            [single] => Some(*single),
            several => several.get(winner(several.iter().map(|r| (&r.identity, r.raw_hash)))).copied(),
        })
        .collect();
    settled.sort_by_key(|record| (record.identity.started_at, record.raw_hash));
    settled
}

/// Adds how far contacts start outside the range that delivered them: proof that the vendor filters
/// by another time than the start.
fn with_reach(learned: &Learned, window: Window, records: &[&Record]) -> Learned {
    let (from, to) = window.request_range();
    let outside = |at: DateTime<Utc>| (from - at).max(at - to - TimeDelta::seconds(1)).max(TimeDelta::zero());
    let lags: Vec<TimeDelta> = records.iter().filter_map(|r| r.identity.started_at).map(outside).collect();
    let filter_lag = lags.iter().copied().max().unwrap_or_default();
    let filter_field = (!lags.is_empty()).then_some(if filter_lag > TimeDelta::zero() { "other" } else { "start" });
    Learned { filter_field, filter_lag, ..learned.clone() }
}

/// A record whose text is in hand.
type Packed<'r> = (&'r Record, &'r Payload);

/// Parts those that the warehouse held as they are from those to be read.
fn known_and_packed<'r>(records: &[&'r Record]) -> (Vec<(Uuid, ContentHash)>, Vec<Packed<'r>>) {
    let (mut known, mut packed) = (Vec::new(), Vec::new());
    for record in records {
        match &record.text {
            Text::Held(key) => known.push((*key, record.raw_hash)),
            Text::Packed(payload) => packed.push((*record, payload)),
        }
    }
    (known, packed)
}

/// Batches of about [`BATCH_BYTES`] of text, of one record at least.
fn batches<'b, 'r>(mut packed: &'b [Packed<'r>]) -> impl Iterator<Item = &'b [Packed<'r>]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = packed.iter().take_while(|(record, _)| {
            bytes += record.text_bytes;
            bytes <= BATCH_BYTES
        });
        let (batch, rest) = packed.split_at(fits.count().max(1).min(packed.len()));
        packed = rest;
        (!batch.is_empty()).then_some(batch)
    })
}

async fn write_batch(commit: &mut WindowCommit, batch: &[Packed<'_>]) -> Result<(), WarehouseError> {
    let guard = Arc::clone(commit.guard());
    let is_erased = |(record, _): &Packed<'_>| {
        record.identity.conversation_id.as_deref().is_some_and(|id| guard.is_erased(Subject::Conversation(id)))
    };
    let (erased, batch): (Vec<Packed<'_>>, Vec<Packed<'_>>) = batch.iter().copied().partition(is_erased);
    commit.outcomes.erased += erased.len() as u64;
    let ids: Vec<&str> = batch.iter().filter_map(|(record, _)| record.identity.conversation_id.as_deref()).collect();
    let held = commit.held(&ids).await?;
    let held_of = |record: &Record| record.identity.conversation_id.as_deref().and_then(|id| held.get(id));
    let (unchanged, unread): (Vec<Packed<'_>>, Vec<Packed<'_>>) = batch.iter().copied().partition(|(record, _)| {
        held_of(record)
            .is_some_and(|held| held.raw_hash == Some(record.raw_hash) && held.privacy_id == guard.privacy_id)
    });
    commit.outcomes.unchanged += unchanged.len() as u64;
    let texts = Texts::unpack(unread.iter().map(|(_, payload)| *payload))?;
    let fates = Fates::of(&Filter::new(Arc::clone(&guard)), &texts)?;
    let nothing = Payload::nothing();
    let mut new: Vec<Incoming<'_>> = Vec::with_capacity(unread.len());
    let mut changed: Vec<(Incoming<'_>, Held)> = Vec::new();
    let mut aside: Vec<SetAside<'_>> = Vec::new();
    let mut drift = Drift::default();
    for (place, ((record, received), raw)) in unread.into_iter().zip(texts.iter()).enumerate() {
        let (text, payload, canonical_hash) = match fates.get(place) {
            Fate::AsReceived => (raw, received, None),
            Fate::Without { text, payload, canonical_hash } => (text.as_bytes(), payload, Some(*canonical_hash)),
            Fate::Nothing => (raw, &nothing, None),
            Fate::Erased => {
                commit.outcomes.erased += 1;
                continue;
            }
        };
        let read = normalise(text).and_then(|normalised| {
            let is_in_calendar = commit.is_in_calendar(normalised.contact.started_at);
            let outside = || Rejected { path: "Conversation Start Time".to_owned(), reason: Reason::StartOutOfRange };
            is_in_calendar.then_some(normalised).ok_or_else(outside)
        });
        let normalised = match read {
            Ok(normalised) => normalised,
            Err(rejected) => {
                aside.push(SetAside {
                    conversation_id: record.identity.conversation_id.clone(),
                    payload,
                    raw_hash: record.raw_hash,
                    canonical_hash,
                    text_bytes: payload.compressed().is_empty().then_some(record.text_bytes),
                    privacy_id: guard.privacy_id,
                    reason: rejected.reason.as_str().to_owned(),
                    fault_path: rejected.path,
                    mapper_version: MAPPER_VERSION,
                    read_at: record.read_at,
                    started_at: record.identity.started_at,
                });
                continue;
            }
        };
        let canonical_hash = canonical_hash.unwrap_or(normalised.canonical_hash);
        let held = held_of(record);
        if let Some(held) = held.filter(|held| held.canonical_hash == Some(canonical_hash)) {
            if held.privacy_id == guard.privacy_id {
                commit.outcomes.unchanged += 1;
                continue;
            }
        } else {
            note(&mut drift, &normalised);
        }
        let incoming = Incoming {
            contact: normalised.contact,
            payload,
            raw_hash: record.raw_hash,
            canonical_hash,
            read_at: record.read_at,
            mapper_version: MAPPER_VERSION,
            privacy_id: guard.privacy_id,
        };
        match held {
            Some(held) => changed.push((incoming, held.clone())),
            None => new.push(incoming),
        }
    }
    if !aside.is_empty() {
        commit.set_aside(&aside).await?;
    }
    commit.insert(&mut new).await?;
    commit.replace(&mut changed).await?;
    commit.note_drift(&drift).await
}

fn read_well(record: &Record) -> ReadWell<'_> {
    ReadWell {
        conversation_id: record.identity.conversation_id.as_deref(),
        raw_hash: record.raw_hash,
        read_at: record.read_at,
    }
}

pub(super) fn note(drift: &mut Drift, normalised: &Normalised<'_>) {
    for field in &normalised.unknown {
        let example = Example { json_type: field.json_type, shape: field.shape.clone() };
        drift.add(field.path.clone(), "unknown", example);
    }
    for fault in &normalised.faults {
        let example = Example { json_type: fault.json_type, shape: fault.shape.clone() };
        drift.add(fault.path.clone(), fault.kind.as_str(), example);
    }
}
