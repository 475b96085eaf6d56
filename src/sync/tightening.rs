//! Privacy settings that keep less than before, applied to what the kept payloads do not show: rows whose
//! payload was let go, the history, names of agents, and records in quarantine. Done twice, it writes nothing.

use std::sync::Arc;

use super::erasing::set_aside_anew;
use crate::normalise::Filter;
use crate::warehouse::erasure::PERSONAL;
use crate::warehouse::{Warehouse, WarehouseError};

const CONTACTS: i64 = 1_000;
const ASIDE: i64 = 100;

/// Goes over everything, and gives how many rows were written; `None` when it was told to stop.
pub async fn tighten(warehouse: &Warehouse, mut goes_on: impl FnMut() -> bool) -> Result<Option<u64>, WarehouseError> {
    let guard = warehouse.guard().await?;
    if guard.treatments.keep_all() {
        return Ok(Some(0));
    }
    let filter = Filter::new(guard);
    let rewrite = |row: &str| filter.columns(row);
    let (mut after, mut sum) = (None, 0);
    loop {
        let (last, written) = warehouse
            .commit_retrying(|| async {
                warehouse.rewrite_texts(&PERSONAL, (after, CONTACTS), (None, &[]), &rewrite).await
            })
            .await?;
        sum += written;
        let Some(last) = last else { break };
        after = Some(last);
        if !goes_on() {
            return Ok(None);
        }
    }
    let hide = |kind, value: &str| filter.value(kind, value);
    sum += warehouse.commit_retrying(|| async { warehouse.hide_agents(&hide).await }).await?;
    let mut after = None;
    loop {
        let (last, written) =
            warehouse.commit_retrying(|| async { warehouse.key_hashes(after, CONTACTS).await }).await?;
        sum += written;
        let Some(last) = last else { break };
        after = Some(last);
        if !goes_on() {
            return Ok(None);
        }
    }
    let mut after = 0;
    loop {
        let (last, removed, written) = warehouse
            .commit_retrying(|| async {
                let pass = warehouse.open_aside_pass(after, ASIDE).await?;
                let filter = Filter::new(Arc::clone(pass.guard()));
                set_aside_anew(pass, &filter).await
            })
            .await?;
        sum += removed + written;
        let Some(last) = last else { return Ok(Some(sum)) };
        after = last;
    }
}
