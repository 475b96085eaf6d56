//! Weekly counts: one request for seven days of history; a count that differs is cut down by halves to what is read.

use chrono::{DateTime, Utc};

use crate::api::{ApiError, PageRequest};
use crate::domain::Window;
use crate::sync::reading::planned_bounds;
use crate::sync::source::{Metered, Source};
use crate::sync::worker::Bench;
use crate::warehouse::WarehouseError;
use crate::warehouse::counts::Held;
use crate::warehouse::streams::StreamState;
use crate::warehouse::windows::{Claim, Errand};

#[derive(Debug, thiserror::Error)]
pub enum CountError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
}

/// Counts a claimed range at the vendor and compares it with what is held. Where they differ, its halves are planned for
/// counting, or what is small enough for reading.
pub async fn count(
    bench: &Bench,
    source: &Source,
    state: &StreamState,
    claim: &Claim,
    metered: &Metered<'_>,
) -> Result<(), CountError> {
    let warehouse = &bench.warehouse;
    let range = claim.window.request_range();
    let answer = source.client.page(&PageRequest::first(range.0, range.1, 1), metered).await?;
    let held = warehouse.held_in(&claim.stream, range, source.include_below_threshold).await?;
    let Some(total) = answer.total else {
        // A server that tells no total any more: nothing can be said.
        return Ok(warehouse.end_count(claim, (held.most.unsigned_abs(), held), None, &[]).await?);
    };
    let differs = difference(total, held);
    if differs == 0 || differs == warehouse.accepted_difference(&claim.stream, claim.window).await? {
        tracing::debug!(total, "A count agrees with what is held.");
        return Ok(warehouse.end_count(claim, (total, held), None, &[]).await?);
    }
    let rows = warehouse.verified_in(&claim.stream, claim.window).await?;
    let target = planned_bounds(source, &bench.options, state, warehouse.clock().now()).records();
    let next = narrow(claim.window, &rows, target);
    tracing::info!(total, held = held.most, parts = next.len(), "A count differs from what is held; looking closer.");
    Ok(warehouse.end_count(claim, (total, held), Some(differs), &next).await?)
}

/// How far a total lies outside of what the vendor may count of what is held.
fn difference(total: u64, held: Held) -> i64 {
    let total = i64::try_from(total).unwrap_or(i64::MAX);
    if total < held.least { total - held.least } else { (total - held.most).max(0) }
}

/// The two halves of a range, cut where verified windows meet, to be counted; or, once it is one window or few contacts,
/// the verified windows it touches, whole, to be read: only what covers the read that brought a contact can tell that
/// it is gone.
fn narrow(window: Window, rows: &[(DateTime<Utc>, DateTime<Utc>, i64)], target: u64) -> Vec<(Window, Errand)> {
    let contacts: u64 = rows.iter().map(|row| row.2.unsigned_abs()).sum();
    let middle = {
        let mut before = 0;
        let mut edges = rows.iter().map(|(from, _, held)| {
            let edge = (*from, before);
            before += held.unsigned_abs();
            edge
        });
        let inside: Vec<(DateTime<Utc>, u64)> =
            edges.by_ref().filter(|(edge, _)| window.from < *edge && *edge < window.to).collect();
        inside.into_iter().min_by_key(|(_, before)| (contacts / 2).abs_diff(*before))
    };
    match middle.and_then(|(edge, _)| window.split_at(edge)) {
        Some((early, late)) if contacts > target => vec![(early, Errand::count()), (late, Errand::count())],
        _ => {
            let from = rows.iter().map(|row| row.0).min().unwrap_or(window.from).min(window.from);
            let to = rows.iter().map(|row| row.1).max().unwrap_or(window.to).max(window.to);
            Window::new(from, to).map(|whole| (whole, Errand::difference())).into_iter().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warehouse::windows::Reason;

    fn at(hour: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(hour * 3_600, 0).expect("a time")
    }

    fn window(from: i64, to: i64) -> Window {
        Window::new(at(from), at(to)).expect("a window")
    }

    #[test]
    fn contacts_at_the_ends_of_a_range_make_no_difference() {
        let held = Held { least: 10, most: 12 };
        assert_eq!([9, 10, 11, 12, 13].map(|total| difference(total, held)), [-1, 0, 0, 0, 1]);
    }

    #[test]
    fn a_count_is_halved_where_windows_meet_and_read_over_whole_ones() {
        let rows: Vec<_> = (0..8).map(|n| (at(n * 10), at(n * 10 + 10), 100)).collect();
        let halves = narrow(window(5, 80), &rows, 250);
        let told: Vec<_> = halves.iter().map(|(w, errand)| (w.from, w.to, errand.reason)).collect();
        assert_eq!(told, [(at(5), at(40), Reason::Count), (at(40), at(80), Reason::Count)]);
        let few = narrow(window(5, 25), &rows[..3], 300);
        assert_eq!(few, [(window(0, 30), Errand::difference())]);
        let one = narrow(window(2, 9), &rows[..1], 50);
        assert_eq!(one, [(window(0, 10), Errand::difference())]);
        assert_eq!(narrow(window(2, 9), &[], 50), [(window(2, 9), Errand::difference())]);
    }
}
