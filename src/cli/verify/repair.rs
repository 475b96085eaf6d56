//! `koresync verify --repair`: what differs is read again as backfills over just those ranges, followed
//! to their ends; then it is looked at once more.

use super::range::Verification;
use super::telling::Totals;
use crate::cli::run::{attended, ended, exit_of};
use crate::cli::{Exit, output, session};
use crate::config::StreamSettings;
use crate::domain::window::floor_to_second;
use crate::sync::verify::{Order, Orders, Verifier};
use crate::sync::{Engine, Mode, Outcome};
use crate::warehouse::Warehouse;
use crate::warehouse::backfills::SILENT_FOR;

/// Whether all is equal in the end.
pub(super) async fn repair(
    verification: &mut Verification,
    warehouse: &Warehouse,
    stream: &StreamSettings,
    verifier: &mut Verifier,
    orders: &Orders,
) -> Result<bool, anyhow::Error> {
    // Like every backfill: what is older is let go.
    let kept_from = session::retention(&verification.settings).cutoffs(verification.clock.now()).contacts;
    let kept_from = kept_from.map(floor_to_second);
    let ranges: Vec<Order> = orders.ranges().into_iter().filter_map(|order| order.kept_from(kept_from)).collect();
    output::say(&format!("{}: reading {} ranges again", stream.name, ranges.len()));
    let owner = session::owner();
    let run = warehouse.begin_run(&owner, "verify --repair").await?;
    let reading = async { ended(warehouse, run, reread(verification, warehouse, stream, &ranges, &owner)).await };
    let outcome = attended(warehouse, run, reading).await?;
    if exit_of(outcome, verification.stop.is_cancelled())? != Exit::Done {
        return Ok(false);
    }
    let mut totals = Totals::default();
    verifier.set_out(ranges);
    while let Some(comparison) = verifier.next().await? {
        totals.add(&comparison);
        verification.telling.compared(&stream.name, &comparison, true)?;
    }
    verification.telling.total(&stream.name, &totals, true)?;
    Ok(totals.is_equal())
}

/// Files each range as a backfill and works on it to its end; a daemon that runs meanwhile shares the
/// work.
async fn reread(
    verification: &Verification,
    warehouse: &Warehouse,
    stream: &StreamSettings,
    ranges: &[Order],
    owner: &str,
) -> anyhow::Result<Outcome> {
    let Verification { settings, stop, .. } = verification;
    for Order { range, is_whole } in ranges {
        let span = is_whole.then(|| range.length());
        let id = warehouse.file_backfill(&stream.name, *range, span).await?;
        session::take_in_hand(stop, SILENT_FOR, || Box::pin(warehouse.follow_backfill(id, owner))).await?;
        let sources = session::sources(settings, &[stream], warehouse, stop).await?;
        let options = session::engine_options(settings);
        let engine = Engine::new(warehouse.clone(), options, sources, owner.to_owned(), stop.clone());
        let outcome = Box::pin(engine.run(Mode::Backfill(id))).await;
        warehouse.unfollow_backfill(id, owner).await.ok();
        let outcome = outcome?;
        if outcome != Outcome::Done || stop.is_cancelled() {
            return Ok(outcome);
        }
    }
    Ok(Outcome::Done)
}
