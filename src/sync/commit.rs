//! From a read to the warehouse: repeats settled, unchanged records passed over, the rest normalised
//! and written, all in the window's one transaction.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::intake::{Record, Text};
use super::piece::{Packed, Piece, Readable, pieces};
use super::prove::RecordIdentity;
use super::reading::Read;
use crate::domain::privacy::Subject;
use crate::domain::{ContentHash, Window};
use crate::faults::{Defect, is_planted};
use crate::normalise::{Identity, winner};
use crate::warehouse::drift::Drift;
use crate::warehouse::load::{Held, Incoming, Outcomes, Presence, Proof, ReadEntry, WindowCommit};
use crate::warehouse::quarantine::ReadWell;
use crate::warehouse::streams::Learned;
use crate::warehouse::windows::Claim;
use crate::warehouse::{Warehouse, WarehouseError};

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
    /// Conversations that another read of the same range brought; `None` where nobody's absence is to be concluded.
    pub also_seen: Option<Vec<String>>,
}

/// Writes a read. Nothing is left out because it lies outside the window: what came is kept.
pub async fn write(
    warehouse: &Warehouse,
    claim: &Claim,
    read: &Read,
    judgement: &Judgement,
    mut learned: Learned,
) -> Result<Outcomes, WarehouseError> {
    let mut records = settle_repeats(&read.records);
    if is_planted(Defect::LookbackFiltered) {
        records.retain(|record| record.identity.started_at.is_some_and(|at| claim.window.contains(at)));
    }
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
    let also_seen = judgement.also_seen.iter().flatten().map(String::as_str);
    let seen: Vec<&str> = ids.iter().copied().chain(also_seen).collect();
    let presence = Presence {
        ids: &ids,
        seen: judgement.also_seen.is_some().then_some(&seen),
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
            [first, ..] if is_planted(Defect::WinnerByArrival) => Some(*first),
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

/// What is held of conversations, by id.
type HeldById = HashMap<String, Held>;

/// Writes records that are not held as they are: the new ones first, by COPY, then the changed ones. Those of people
/// who were erased are left out.
async fn write_packed(commit: &mut WindowCommit, packed: &[Packed<'_>]) -> Result<(), WarehouseError> {
    let guard = Arc::clone(commit.guard());
    let is_erased = |(record, _): &Packed<'_>| {
        record.identity.conversation_id.as_deref().is_some_and(|id| guard.is_erased(Subject::Conversation(id)))
    };
    let (erased, packed): (Vec<Packed<'_>>, Vec<Packed<'_>>) = packed.iter().copied().partition(is_erased);
    commit.outcomes.erased += erased.len() as u64;
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
    for records in pieces(packed) {
        let piece = Piece::unpack(commit, records)?;
        let readable = sort(commit, &piece).await?;
        let mut contacts = Vec::with_capacity(readable.len());
        for Readable { place, incoming, drift: noticed } in readable {
            drift.merge(noticed);
            staged.push(records[place]);
            contacts.push(incoming);
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

/// Sets aside what could not be read, and gives the rest.
async fn sort<'p>(commit: &mut WindowCommit, piece: &'p Piece<'_>) -> Result<Vec<Readable<'p>>, WarehouseError> {
    let sorted = piece.sort(commit);
    commit.set_aside(&sorted.aside).await?;
    commit.outcomes.erased += sorted.erased;
    Ok(sorted.readable)
}

/// Sends what is staged, all at once or, when the database refuses something in it, piece by piece.
async fn send(commit: &mut WindowCommit, staged: &mut Vec<Packed<'_>>) -> Result<(), WarehouseError> {
    if !commit.send().await? {
        for records in pieces(staged) {
            let piece = Piece::unpack(commit, records)?;
            let contacts: Vec<Incoming<'_>> =
                piece.sort(commit).readable.into_iter().map(|readable| readable.incoming).collect();
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
    let privacy_id = commit.guard().privacy_id;
    // Of another transaction that committed while the page was on its way.
    let (unchanged, unread): (Vec<Packed<'_>>, Vec<Packed<'_>>) = packed.iter().copied().partition(|(record, _)| {
        held_of(held, record)
            .is_some_and(|held| held.raw_hash == Some(record.raw_hash) && held.privacy_id == privacy_id)
    });
    commit.outcomes.unchanged += unchanged.len() as u64;
    for records in pieces(&unread) {
        let piece = Piece::unpack(commit, records)?;
        let mut changed: Vec<(Incoming<'_>, Held)> = Vec::with_capacity(records.len());
        for Readable { place, incoming, drift: noticed } in sort(commit, &piece).await? {
            let Some(held) = held_of(held, records[place].0) else { continue };
            if held.canonical_hash != Some(incoming.canonical_hash) {
                drift.merge(noticed);
            } else if held.privacy_id == privacy_id {
                commit.outcomes.unchanged += 1;
                continue;
            }
            changed.push((incoming, held.clone()));
        }
        commit.replace(&mut changed).await?;
    }
    Ok(())
}

fn read_well(record: &Record) -> ReadWell<'_> {
    ReadWell {
        conversation_id: record.identity.conversation_id.as_deref(),
        raw_hash: record.raw_hash,
        read_at: record.read_at,
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
