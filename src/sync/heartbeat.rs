//! Keeps a claim alive while its window is read and written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::faults::{Defect, is_planted};
use crate::warehouse::Warehouse;
use crate::warehouse::windows::Claim;

/// Renews a lease three times in its length until dropped.
#[derive(Debug)]
pub struct Heartbeat {
    /// Set when somebody else has the window.
    pub lost: Arc<AtomicBool>,
    stop: CancellationToken,
}

impl Heartbeat {
    pub fn start(warehouse: Warehouse, claim: Claim, lease: Duration) -> Self {
        let lost = Arc::new(AtomicBool::new(false));
        let stop = CancellationToken::new();
        let (is_lost, stopped) = (Arc::clone(&lost), stop.clone());
        tokio::spawn(async move {
            loop {
                let pause = warehouse.clock().sleep(lease / 3);
                if stopped.run_until_cancelled(pause).await.is_none() {
                    return;
                }
                if is_planted(Defect::LeaseNotRenewed) {
                    continue;
                }
                match warehouse.renew(&claim).await {
                    Ok(true) => {}
                    Ok(false) => {
                        is_lost.store(true, Ordering::Relaxed);
                        return;
                    }
                    // The next beat may get through; if none does, the lease ends and the fence holds.
                    Err(error) => {
                        tracing::warn!(%error, window.id = claim.id, "A lease could not be renewed; trying again. Were it to end, another worker would read the window anew.");
                    }
                }
            }
        });
        Self { lost, stop }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
