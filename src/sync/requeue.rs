//! Records in quarantine, normalised again without the API: after a mapper was mended or upgraded. What
//! reads well goes into the tables as a window's records do, never over content that was received later.

use std::collections::HashSet;
use std::sync::Arc;

use super::piece::{note, read};
use super::private::{Fates, KeptText};
use crate::domain::payload::Texts;
use crate::normalise::{Filter, MAPPER_VERSION, Rejected};
use crate::warehouse::drift::Drift;
use crate::warehouse::load::requeue::{FailedAgain, Queued, RequeueCommit, Selection};
use crate::warehouse::load::{Held, Incoming};
use crate::warehouse::{Warehouse, WarehouseError};

/// Records that are tried in one transaction.
const BATCH: i64 = 100;

/// What became of the records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Requeued {
    pub tried: u64,
    /// In the tables now, or superseded by content that was received later; out of quarantine.
    pub read_well: u64,
    pub still_failing: u64,
}

/// Tries every record of the selection that is in quarantine now. `told` hears how far it is, and says
/// whether to go on.
pub async fn retry(
    warehouse: &Warehouse,
    selection: &Selection,
    mut told: impl FnMut(Requeued) -> bool,
) -> Result<Requeued, WarehouseError> {
    let mut sum = Requeued::default();
    let (mut after, last) = (0, warehouse.last_quarantined().await?);
    loop {
        let tried = warehouse
            .commit_retrying(|| async move {
                match warehouse.open_requeue(selection, (after, last), BATCH).await? {
                    Some(commit) => write(commit).await.map(Some),
                    None => Ok(None),
                }
            })
            .await?;
        let Some((through, batch)) = tried else { return Ok(sum) };
        after = through;
        sum.tried += batch.tried;
        sum.read_well += batch.read_well;
        sum.still_failing += batch.tried - batch.read_well;
        if !told(sum) {
            return Ok(sum);
        }
    }
}

/// One transaction. Gives the last id tried too.
async fn write(mut commit: RequeueCommit) -> Result<(i64, Requeued), WarehouseError> {
    let mut records = std::mem::take(&mut commit.records);
    let mut read_well = Vec::new();
    let mut failed = Vec::new();
    let mut drift = Drift::default();
    let mut seen = HashSet::new();
    let mut good = Vec::new();
    // A conversation that comes again is for the next transaction: it then finds what this one wrote.
    let mut whole = records.len();
    let texts = Texts::unpack(records.iter().map(|record| &record.payload))?;
    let fates = Fates::of(&Filter::new(Arc::clone(commit.load.guard())), &texts)?;
    let mut erased = Vec::new();
    for (place, (record, text)) in records.iter().zip(texts.iter()).enumerate() {
        let Some(kept) = fates.kept(place, (text, &record.payload)) else {
            erased.push(record.id);
            continue;
        };
        match read_again(&commit, record, kept) {
            Ok(read) if !seen.insert(read.0.contact.conversation_id.to_string()) => {
                whole = place;
                break;
            }
            Ok(read) => {
                read_well.push(record.id);
                good.push(read);
            }
            Err(rejected) => failed.push(FailedAgain {
                id: record.id,
                reason: rejected.reason.as_str().to_owned(),
                fault_path: rejected.path,
                mapper_version: MAPPER_VERSION,
            }),
        }
    }
    let ids: Vec<&str> = good.iter().map(|(incoming, _)| &*incoming.contact.conversation_id).collect();
    let held = commit.load.held(&ids).await?;
    let mut new: Vec<Incoming<'_>> = Vec::new();
    let mut changed: Vec<(Incoming<'_>, Held)> = Vec::new();
    for (incoming, noticed) in good {
        match held.get(&*incoming.contact.conversation_id) {
            Some(held) if held.canonical_hash == Some(incoming.canonical_hash) => {}
            Some(held) => {
                drift.merge(noticed);
                changed.push((incoming, held.clone()));
            }
            None => {
                drift.merge(noticed);
                new.push(incoming);
            }
        }
    }
    commit.load.insert(&new).await?;
    commit.load.replace(&mut changed).await?;
    commit.load.note_drift(&drift).await?;
    let left = commit.finish(&read_well, &failed, &erased).await?;
    drop((new, changed));
    records.truncate(whole);
    let through = records.last().map_or(i64::MAX, |record| record.id);
    let tried = records.len() as u64;
    let left = left + erased.len() as u64;
    Ok((through, Requeued { tried, read_well: left, still_failing: tried - left }))
}

/// The record as rows, and the drift in it.
fn read_again<'r>(
    commit: &RequeueCommit,
    record: &Queued,
    KeptText { text, payload, .. }: KeptText<'r>,
) -> Result<(Incoming<'r>, Drift), Rejected> {
    let normalised = read(commit.load.warehouse(), text)?;
    let mut drift = Drift::default();
    note(&mut drift, &normalised);
    let incoming = Incoming {
        contact: normalised.contact,
        payload,
        raw_hash: record.raw_hash,
        canonical_hash: record.canonical_hash.unwrap_or(normalised.canonical_hash),
        read_at: record.read_at,
        mapper_version: MAPPER_VERSION,
        privacy_id: commit.load.guard().stamp(record.privacy_id),
    };
    Ok((incoming, drift))
}
