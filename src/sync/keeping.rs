//! Keeps days as rows for the views, once they are quiet.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::warehouse::days::{Keeping, StreamDay};
use crate::warehouse::error::Remedy;
use crate::warehouse::{Warehouse, WarehouseError};

/// A day that changes is not kept before it stood still for so long: until then each commit would undo the work.
const QUIET: Duration = Duration::from_mins(15);
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// A day that is too large for a statement's time is left alone for so long.
const APART: Duration = Duration::from_hours(1);
/// The SQLSTATE of a statement that took too long.
const CANCELLED: &str = "57014";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounds {
    /// All days that are quiet now.
    One,
    /// A round each minute until stopped.
    Many,
}

/// Keeps quiet days one after another, the latest first, unless stopped. Views do without: failures are told, and cost nothing but
/// time.
pub(super) async fn keep_days(warehouse: Warehouse, stop: CancellationToken, rounds: Rounds) {
    let mut keeper = Keeper { warehouse, apart: HashMap::new(), told_broken: None };
    while !stop.is_cancelled() {
        if let Err(error) = keeper.keep_quiet_days(&stop, rounds).await {
            if error.remedy() == Remedy::Wait {
                tracing::debug!(%error, "No day could be kept for the views; trying again.");
            } else {
                tracing::warn!(%error, "No day could be kept for the views, which count them when they are asked; trying again.");
            }
        }
        if rounds == Rounds::One {
            return;
        }
        stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
    }
}

struct Keeper {
    warehouse: Warehouse,
    /// Days that took too long, and since when they are left alone.
    apart: HashMap<StreamDay, Instant>,
    told_broken: Option<Instant>,
}

impl Keeper {
    async fn keep_quiet_days(&mut self, stop: &CancellationToken, rounds: Rounds) -> Result<(), WarehouseError> {
        match self.warehouse.keeping().await? {
            Keeping::Kept => self.told_broken = None,
            Keeping::Counted => return Ok(()),
            Keeping::Broken => {
                self.tell_broken();
                return Ok(());
            }
        }
        let (mut kept, began) = (0_u32, Instant::now());
        self.apart.retain(|_, since| since.elapsed() < APART);
        while !stop.is_cancelled() {
            let apart: Vec<StreamDay> = self.apart.keys().cloned().collect();
            let Some(day) = self.warehouse.quiet_day(QUIET, &apart).await? else { break };
            match self.warehouse.keep_day(&day, stop).await {
                Ok(true) => kept += 1,
                // Another process is at it.
                Ok(false) => break,
                Err(error) if error.sqlstate().as_deref() == Some(CANCELLED) => {
                    let StreamDay { stream, started_on } = &day;
                    tracing::warn!(stream, day = %started_on, %error, "Counting a day takes too long to keep it; the views go on counting it.");
                    self.apart.insert(day, Instant::now());
                    // The next ones may take as long, for one where somebody holds a table.
                    if rounds == Rounds::One {
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if kept > 0 {
            tracing::debug!(days = kept, seconds = began.elapsed().as_secs(), "Kept days for the views.");
        }
        Ok(())
    }

    fn tell_broken(&mut self) {
        if self.told_broken.is_none_or(|told| told.elapsed() > APART) {
            self.told_broken = Some(Instant::now());
            tracing::warn!(
                "Triggers that mark changed days are missing or disabled, so daily views may be out of date. As kore_owner: select koresync.keep_days();"
            );
        }
    }
}
