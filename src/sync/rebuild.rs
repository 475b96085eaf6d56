//! Rebuilding: rows made anew from the kept payloads, without the API, beside whoever else writes.

use chrono_tz::Tz;

use crate::domain::payload::Texts;
use crate::normalise::{MAPPER_VERSION, Reason, normalise};
use crate::warehouse::load::Incoming;
use crate::warehouse::rebuilds::{RebuildScope, RebuildStep, Remapped};
use crate::warehouse::{Warehouse, WarehouseError};

/// Payloads that are read, normalised and written in one transaction: few, since what it locks others wait for.
const PAYLOADS: usize = 200;
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
                Some(step) => write(step).await,
                None => Ok(false),
            }
        })
        .await
}

async fn write(mut step: RebuildStep) -> Result<bool, WarehouseError> {
    let payloads = step.take_payloads();
    let mut remapped = Vec::with_capacity(payloads.len());
    let mut refused = Vec::new();
    let texts = Texts::unpack(payloads.iter().map(|kept| &kept.payload))?;
    for (kept, text) in payloads.iter().zip(texts.iter()) {
        match normalise(text) {
            Ok(read) if step.is_in_calendar(read.contact.started_at) => {
                let incoming = Incoming {
                    contact: read.contact,
                    payload: &kept.payload,
                    raw_hash: kept.raw_hash,
                    canonical_hash: read.canonical_hash,
                    read_at: kept.read_at,
                    mapper_version: MAPPER_VERSION,
                };
                remapped.push(Remapped { kept, incoming });
            }
            Ok(_) => refused.push((kept, Reason::StartOutOfRange, "Conversation Start Time".to_owned())),
            Err(rejected) => refused.push((kept, rejected.reason, rejected.path)),
        }
    }
    for (kept, reason, path) in refused {
        step.refuse(kept, reason.as_str().to_owned(), path, MAPPER_VERSION).await?;
    }
    step.rewrite(&remapped).await?;
    let last = payloads.last().map(|kept| kept.contact_key);
    Ok(!step.finish(payloads.len(), last).await?)
}
