//! A budget for commands that send a request or two: the account's own where a warehouse keeps it
//! already, none otherwise. Asking makes no row.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::session;
use crate::api::{BoxError, Budget, Unmetered};
use crate::config::{Settings, StreamSettings};
use crate::domain::clock::SharedClock;
use crate::warehouse::budget::{AccountBudget, Turn};

#[derive(Debug)]
pub enum Meter {
    Shared {
        budget: Box<AccountBudget>,
        /// The part of the account's limit that is used now, 0.5 to 1.
        share: f64,
    },
    Alone(Unmetered),
}

impl Meter {
    pub async fn find(settings: &Settings, stream: &StreamSettings, clock: &SharedClock) -> Self {
        match shared(settings, stream, clock).await {
            Some(meter) => meter,
            None => Self::Alone(Unmetered::new(Arc::clone(clock))),
        }
    }

    pub fn share(&self) -> f64 {
        match self {
            Self::Shared { share, .. } => *share,
            Self::Alone(_) => 1.0,
        }
    }
}

async fn shared(settings: &Settings, stream: &StreamSettings, clock: &SharedClock) -> Option<Meter> {
    let options = session::engine_connection(settings).ok()?;
    options.reach().await.ok()?;
    let warehouse = session::warehouse(settings, clock, &options).ok()?;
    warehouse.check_schema().await.ok()?;
    let account = &stream.api.account_id;
    let statuses = warehouse.budget_statuses().await.ok()?;
    let status = statuses.into_iter().find(|status| status.account_id == *account)?;
    // With the limit that is kept, so that it stays as it is.
    let rate = status.requests_per_minute;
    let budget = AccountBudget::open(&warehouse, account, rate, CancellationToken::new()).await.ok()?;
    Some(Meter::Shared { budget: Box::new(budget), share: status.share })
}

impl Budget for Meter {
    fn acquire(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        match self {
            Self::Shared { budget, .. } => Box::pin(async { Ok(budget.acquire(Turn::First).await?) }),
            Self::Alone(unmetered) => unmetered.acquire(),
        }
    }

    fn refused(&self, retry_after: Option<Duration>) -> BoxFuture<'_, Result<(), BoxError>> {
        match self {
            Self::Shared { budget, .. } => Box::pin(async move { Ok(budget.refused(retry_after).await?) }),
            Self::Alone(unmetered) => unmetered.refused(retry_after),
        }
    }
}
