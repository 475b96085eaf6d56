//! From a read to the warehouse: repeats settled, unchanged records passed over, the rest normalised
//! and written, all in the window's one transaction.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::intake::{Record, Text};
use super::prove::RecordIdentity;
use super::reading::Read;
use crate::domain::payload::Texts;
use crate::domain::{ContentHash, Payload, Window};
use crate::normalise::{Identity, MAPPER_VERSION, Normalised, Reason, Rejected, normalise, winner};
use crate::warehouse::drift::{Drift, Example};
use crate::warehouse::load::{Held, Incoming, Outcomes, Presence, Proof, ReadEntry, SetAside, WindowCommit};
use crate::warehouse::quarantine::ReadWell;
use crate::warehouse::streams::Learned;
use crate::warehouse::windows::Claim;
use crate::warehouse::{Warehouse, WarehouseError};

/// Text that is unpacked and normalised at a time: the values of a record take a few times its text.
const PIECE_BYTES: usize = 512 << 10;

/// Rows that are sent at a time: they bound memory, whatever the window holds. A COPY has a price of its
/// own, most of it per table and for its first thousand rows.
const COPY_BYTES: usize = 6 << 20;

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
    mut learned: Learned,
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
    learn_filter(&mut learned, claim.window, &records);
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
                write_packed(&mut commit, packed).await?;
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

/// Adds what the starts and ends of contacts tell of the time by which the vendor filters. One that starts outside
/// the range that delivered it came by another time. One that starts inside and ends after the range came by
/// its start: its end, and whatever is noted of it after its end, lies outside. That others start inside
/// proves nothing: in a long range of short contacts all do, whatever the filter.
pub(super) fn learn_filter(learned: &mut Learned, window: Window, records: &[&Record]) {
    let (from, to) = window.request_range();
    let last = to + TimeDelta::seconds(1);
    let outside = |at: DateTime<Utc>| (from - at).max(at - last).max(TimeDelta::zero());
    let starts = || records.iter().filter_map(|record| record.identity.started_at);
    learned.filter_lag = starts().map(outside).max().unwrap_or_default();
    let came_by_start = |record: &&&Record| {
        let Identity { started_at, ended_at, .. } = &record.identity;
        started_at.is_some_and(|at| outside(at).is_zero()) && ended_at.is_some_and(|at| at > last)
    };
    learned.filter_field = if learned.filter_lag > TimeDelta::zero() {
        Some("other")
    } else {
        records.iter().find(came_by_start).map(|_| "start")
    };
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

/// Pieces of about [`PIECE_BYTES`] of text, of one record at least.
fn pieces<'b, 'r>(mut packed: &'b [Packed<'r>]) -> impl Iterator<Item = &'b [Packed<'r>]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = packed.iter().take_while(|(record, _)| {
            bytes += record.text_bytes;
            bytes <= PIECE_BYTES
        });
        let (piece, rest) = packed.split_at(fits.count().max(1).min(packed.len()));
        packed = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// What is held of conversations, by id.
type HeldById = HashMap<String, Held>;

/// Writes records that are not held as they are: the new ones first, by COPY, then the changed ones.
async fn write_packed(commit: &mut WindowCommit, packed: &[Packed<'_>]) -> Result<(), WarehouseError> {
    let ids: Vec<&str> = packed.iter().filter_map(|(record, _)| record.identity.conversation_id.as_deref()).collect();
    let held = commit.held(&ids).await?;
    let (known, new): (Vec<Packed<'_>>, Vec<Packed<'_>>) =
        packed.iter().copied().partition(|(record, _)| held_of(&held, record).is_some());
    let mut drift = Drift::default();
    write_new(commit, &new, &mut drift).await?;
    write_changed(commit, &known, &held, &mut drift).await?;
    commit.note_drift(&drift).await
}

fn held_of<'h>(held: &'h HeldById, record: &Record) -> Option<&'h Held> {
    held.get(record.identity.conversation_id.as_deref()?)
}

async fn write_new(commit: &mut WindowCommit, packed: &[Packed<'_>], drift: &mut Drift) -> Result<(), WarehouseError> {
    let mut staged: Vec<Packed<'_>> = Vec::new();
    for piece in pieces(packed) {
        let texts = Texts::unpack(piece.iter().map(|(_, payload)| *payload))?;
        let (read, aside) = read_piece(commit, piece, &texts);
        commit.set_aside(&aside).await?;
        let mut contacts = Vec::with_capacity(read.len());
        for (place, normalised) in read {
            note(drift, &normalised);
            staged.push(piece[place]);
            contacts.push(incoming(piece[place], normalised));
        }
        commit.stage(&contacts).await?;
        // Pages are taken in, and other windows sent, by the same threads.
        tokio::task::yield_now().await;
        if commit.staged_bytes() >= COPY_BYTES {
            send(commit, &mut staged).await?;
        }
    }
    send(commit, &mut staged).await
}

/// Sends what is staged, all at once or, when the database refuses something in it, piece by piece.
async fn send(commit: &mut WindowCommit, staged: &mut Vec<Packed<'_>>) -> Result<(), WarehouseError> {
    if !commit.send().await? {
        for piece in pieces(staged) {
            let texts = Texts::unpack(piece.iter().map(|(_, payload)| *payload))?;
            let (read, _) = read_piece(commit, piece, &texts);
            let contacts: Vec<Incoming<'_>> =
                read.into_iter().map(|(place, normalised)| incoming(piece[place], normalised)).collect();
            commit.insert(&contacts).await?;
        }
    }
    staged.clear();
    Ok(())
}

async fn write_changed(
    commit: &mut WindowCommit,
    packed: &[Packed<'_>],
    held: &HeldById,
    drift: &mut Drift,
) -> Result<(), WarehouseError> {
    // Of another transaction that committed while the page was on its way.
    let (unchanged, unread): (Vec<Packed<'_>>, Vec<Packed<'_>>) = packed
        .iter()
        .copied()
        .partition(|(record, _)| held_of(held, record).is_some_and(|held| held.raw_hash == Some(record.raw_hash)));
    commit.outcomes.unchanged += unchanged.len() as u64;
    for piece in pieces(&unread) {
        let texts = Texts::unpack(piece.iter().map(|(_, payload)| *payload))?;
        let (read, aside) = read_piece(commit, piece, &texts);
        commit.set_aside(&aside).await?;
        let mut changed: Vec<(Incoming<'_>, Held)> = Vec::with_capacity(read.len());
        for (place, normalised) in read {
            let Some(held) = held_of(held, piece[place].0) else { continue };
            if held.canonical_hash == Some(normalised.canonical_hash) {
                commit.outcomes.unchanged += 1;
                continue;
            }
            note(drift, &normalised);
            changed.push((incoming(piece[place], normalised), held.clone()));
        }
        commit.replace(&mut changed).await?;
    }
    Ok(())
}

/// The records of a piece that became rows, by their place in it; and those that could not.
fn read_piece<'t, 'r>(
    commit: &WindowCommit,
    piece: &[Packed<'r>],
    texts: &'t Texts,
) -> (Vec<(usize, Normalised<'t>)>, Vec<SetAside<'r>>) {
    let mut read = Vec::with_capacity(piece.len());
    let mut aside = Vec::new();
    for (place, ((record, payload), text)) in piece.iter().zip(texts.iter()).enumerate() {
        let normalised = normalise(text).and_then(|normalised| {
            let is_in_calendar = commit.is_in_calendar(normalised.contact.started_at);
            let outside = || Rejected { path: "Conversation Start Time".to_owned(), reason: Reason::StartOutOfRange };
            is_in_calendar.then_some(normalised).ok_or_else(outside)
        });
        match normalised {
            Ok(normalised) => read.push((place, normalised)),
            Err(rejected) => aside.push(SetAside {
                conversation_id: record.identity.conversation_id.clone(),
                payload,
                raw_hash: record.raw_hash,
                reason: rejected.reason.as_str().to_owned(),
                fault_path: rejected.path,
                mapper_version: MAPPER_VERSION,
                read_at: record.read_at,
                started_at: record.identity.started_at,
            }),
        }
    }
    (read, aside)
}

fn incoming<'r>((record, payload): Packed<'r>, normalised: Normalised<'r>) -> Incoming<'r> {
    Incoming {
        contact: normalised.contact,
        payload,
        raw_hash: record.raw_hash,
        canonical_hash: normalised.canonical_hash,
        read_at: record.read_at,
        mapper_version: MAPPER_VERSION,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(1_700_000_000 + second, 0)
    }

    fn learned_of(lives: &[(i64, Option<i64>)]) -> Learned {
        let window = at(0).zip(at(3_600)).and_then(|(from, to)| Window::new(from, to)).expect("a window");
        let records: Vec<Record> = lives
            .iter()
            .map(|(start, end)| Record {
                raw_hash: ContentHash([0; 16]),
                identity: Identity { started_at: at(*start), ended_at: end.and_then(at), ..Identity::default() },
                text: Text::Held(Uuid::nil()),
                text_bytes: 0,
                read_at: window.to,
            })
            .collect();
        let mut learned = Learned::default();
        learn_filter(&mut learned, window, &records.iter().collect::<Vec<_>>());
        learned
    }

    #[test]
    fn the_filter_is_known_by_contacts_that_cross_an_end_alone() {
        for (lives, filter) in [
            (&[][..], None),
            (&[(60, Some(300)), (1_800, Some(2_000)), (3_000, None)], None),
            (&[(-1, Some(10)), (3_500, Some(3_601))], None),
            (&[(60, Some(300)), (3_590, Some(3_602))], Some("start")),
            (&[(3_590, Some(3_700)), (-2, Some(5))], Some("other")),
            (&[(3_602, Some(3_700))], Some("other")),
        ] {
            assert_eq!(learned_of(lives).filter_field, filter, "{lives:?}");
        }
        assert_eq!(learned_of(&[(-61, Some(5))]).filter_lag, TimeDelta::minutes(1));
    }
}
