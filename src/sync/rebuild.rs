//! Rebuilding: rows made anew from the kept payloads, without the API, beside whoever else writes.

use std::sync::Arc;

use chrono_tz::Tz;
use uuid::Uuid;

use super::erasing::is_opened;
use super::piece::read;
use super::private::{Fate, Fates, KeptText};
use crate::domain::ContentHash;
use crate::domain::payload::Texts;
use crate::domain::privacy::Guard;
use crate::normalise::{Filter, MAPPER_VERSION};
use crate::warehouse::load::Incoming;
use crate::warehouse::rebuilds::{KeptPayload, RebuildScope, RebuildStep, Remapped};
use crate::warehouse::{Warehouse, WarehouseError};

/// Payloads that are read, normalised and written in one transaction: few, since what it locks others wait for.
const PAYLOADS: usize = 500;
/// Contacts whose day is moved in one transaction.
const DAYS: usize = 1_000;

/// Files a rebuild of everything in `scope`, or finds the open one.
pub async fn file(warehouse: &Warehouse, scope: &RebuildScope) -> Result<i64, WarehouseError> {
    warehouse.file_rebuild(scope, MAPPER_VERSION).await
}

/// One transaction of a rebuild; true while more is to be done. `zone` is given where days are moved.
pub async fn step(warehouse: &Warehouse, id: i64, worker: &str, zone: Option<Tz>) -> Result<bool, WarehouseError> {
    if zone.is_some() {
        return warehouse.commit_retrying(|| warehouse.move_days(id, worker, DAYS)).await;
    }
    warehouse
        .commit_retrying(|| async {
            match warehouse.open_rebuild_step(id, worker, PAYLOADS).await? {
                Some(step) => {
                    let filter = Filter::new(Arc::clone(step.guard()));
                    let (_, is_over) = write(step, &filter, |_, _| true).await?;
                    Ok(!is_over)
                }
                None => Ok(false),
            }
        })
        .await
}

/// Writes one step: what the filter leaves of payloads as rows, and payloads with it where it takes something
/// out. Only what `wanted` says, by its text as kept and its fate, is looked at. Gives the last key, and
/// whether it was the last step.
pub(super) async fn write(
    mut step: RebuildStep,
    filter: &Filter,
    mut wanted: impl FnMut(&[u8], &Fate) -> bool,
) -> Result<(Option<Uuid>, bool), WarehouseError> {
    let guard = Arc::clone(step.guard());
    let payloads = step.take_payloads();
    let mut remapped = Vec::with_capacity(payloads.len());
    let mut refused = Vec::new();
    let mut erased = Vec::new();
    let texts = Texts::unpack(payloads.iter().map(|kept| &kept.payload))?;
    let fates = Fates::of(filter, &texts)?;
    for (place, (kept, raw)) in payloads.iter().zip(texts.iter()).enumerate() {
        let fate = fates.get(place);
        if !wanted(raw, fate) {
            continue;
        }
        let Some(KeptText { text, payload, .. }) = fates.kept(place, (raw, &kept.payload)) else {
            erased.push(kept.contact_key);
            continue;
        };
        match read(step.warehouse(), text) {
            Ok(read) => {
                let incoming = Incoming {
                    contact: read.contact,
                    payload,
                    raw_hash: raw_hash(&guard, kept, raw),
                    canonical_hash: read.canonical_hash,
                    read_at: kept.read_at,
                    mapper_version: MAPPER_VERSION,
                    privacy_id: guard.stamp(kept.privacy_id),
                };
                remapped.push(Remapped { kept, incoming });
            }
            Err(rejected) => refused.push((kept, payload, rejected.reason, rejected.path)),
        }
    }
    for (kept, payload, reason, path) in refused {
        step.refuse(kept, payload, (reason.as_str().to_owned(), path), MAPPER_VERSION).await?;
    }
    step.rewrite(&remapped).await?;
    if !erased.is_empty() {
        step.take_out(&erased).await?;
    }
    let last = payloads.last().map(|kept| kept.contact_key);
    let is_over = step.finish(payloads.len(), last).await?;
    Ok((last, is_over))
}

/// The hash by which a text is known again. One that was kept as it came, before anything was hidden, gets the
/// keyed one that it will have when it comes again.
fn raw_hash(guard: &Guard, kept: &KeptPayload, raw: &[u8]) -> ContentHash {
    if is_opened(guard, kept.privacy_id) { guard.raw_hash(raw) } else { kept.raw_hash }
}
