//! The entry of a window in the ledger: what was asked, what came, what became of it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::faults::{Defect, is_planted};
use crate::warehouse::WarehouseError;
use crate::warehouse::windows::Claim;

/// How a read was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    Snapshot,
    Count,
    Agreement,
}

impl Proof {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Count => "count",
            Self::Agreement => "agreement",
        }
    }
}

/// The read of a window, as the ledger keeps it.
#[derive(Debug, Clone)]
pub struct ReadEntry {
    pub requested_from: DateTime<Utc>,
    pub requested_to: DateTime<Utc>,
    pub total: Option<u64>,
    pub rows: u64,
    pub distinct: u64,
    pub requests: u64,
    /// `None`: not proved.
    pub proof: Option<Proof>,
    /// Why it is not proved, and when to read again.
    pub failure: Option<(String, chrono::TimeDelta)>,
}

/// What became of the distinct records of a read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    pub in_window: u64,
    pub inserted: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub quarantined: u64,
    pub erased: u64,
    /// Held contacts that the read proved gone; not among the distinct records.
    pub removed: u64,
    /// Contacts that were gone and are back, among those unchanged.
    pub returned: u64,
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) async fn write(
    connection: &mut PgConnection,
    claim: &Claim,
    entry: &ReadEntry,
    outcomes: Outcomes,
    (read_at, now): (DateTime<Utc>, DateTime<Utc>),
) -> Result<(), WarehouseError> {
    let claimed = is_planted(Defect::UnverifiedVerified).then_some(Proof::Count);
    sqlx::query(
        "update koresync.windows set state = case when $2::text is null then 'unverified' else 'verified' end, \
           verified_by = $2, verified_at = case when $2::text is null then null else $3 end, finished_at = $3, \
           owner = null, lease_expires_at = null, requested_from = $4, requested_to = $5, total = $6, rows = $7, \
           \"distinct\" = $8, repeated = $7 - $8, in_window = $9, inserted = $10, changed = $11, unchanged = $12, \
           quarantined = $13, erased = $14, requests = requests + $15, \
           attempts = attempts + case when $2::text is null then 1 else 0 end, last_error = $16, \
           due_at = $3 + make_interval(secs => $17), read_at = $18, removed = $19, returned = $20 \
         where id = $1",
    )
    .bind(claim.id)
    .bind(entry.proof.or(claimed).map(Proof::as_str))
    .bind(now)
    .bind(entry.requested_from)
    .bind(entry.requested_to)
    .bind(entry.total.map(count))
    .bind(count(entry.rows))
    .bind(count(entry.distinct))
    .bind(count(outcomes.in_window))
    .bind(count(outcomes.inserted))
    .bind(count(outcomes.changed))
    .bind(count(outcomes.unchanged))
    .bind(count(outcomes.quarantined))
    .bind(count(outcomes.erased))
    .bind(count(entry.requests))
    .bind(entry.failure.as_ref().map(|(why, _)| why.as_str()))
    .bind(entry.failure.as_ref().map_or(0.0, |(_, delay)| delay.as_seconds_f64()))
    .bind(read_at)
    .bind(count(outcomes.removed))
    .bind(count(outcomes.returned))
    .execute(connection)
    .await?;
    Ok(())
}
