//! `koresync backfill --dry-run`: what a backfill would take, from one counting request.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Order;
use crate::api::{BoxError, Budget, Client, PageRequest, Unmetered};
use crate::cli::progress::coarse;
use crate::cli::status::time;
use crate::cli::{Context, Ended, Exit, output, session};
use crate::config::Settings;
use crate::domain::Window;
use crate::warehouse::budget::AccountBudget;
use crate::warehouse::status::BudgetStatus;

/// A window that sizes itself holds about so many full pages, and is at most so long.
const PAGES_OF_A_WINDOW: u64 = 25;
const LONGEST_WINDOW: TimeDelta = TimeDelta::days(7);

#[derive(Debug, Serialize, PartialEq, Eq)]
struct Estimate {
    stream: String,
    range: String,
    /// As the API counts them now.
    contacts: u64,
    windows: u64,
    requests: u64,
    /// At the account's rate, if nothing else uses it.
    seconds: u64,
}

pub(super) async fn execute(order: &Order, settings: &Settings, context: &Context) -> Result<Exit, anyhow::Error> {
    let client = session::client(settings, &order.stream, &context.clock)?;
    let metered = metered(order, settings, context).await;
    let share = metered.as_ref().map_or(1.0, |(_, status)| status.share);
    let contacts = match &metered {
        Some((budget, _)) => count(&client, order.range, &Shared(budget)).await,
        None => count(&client, order.range, &Unmetered::new(Arc::clone(&context.clock))).await,
    };
    let estimate = estimate(order, contacts?, share);
    if context.global.json {
        output::json(&estimate)?;
    } else {
        output::data(&format!(
            "{} from {} to {}: {} contacts, {} windows, about {} requests, {} at the account's rate\n",
            estimate.stream,
            time(order.range.from),
            time(order.range.to),
            estimate.contacts,
            estimate.windows,
            estimate.requests,
            coarse(Duration::from_secs(estimate.seconds)),
        ))?;
    }
    Ok(Exit::Done)
}

/// The account's shared budget, where a warehouse keeps it already. None is made: nothing changes.
async fn metered(order: &Order, settings: &Settings, context: &Context) -> Option<(AccountBudget, BudgetStatus)> {
    let options = session::engine_connection(settings).ok()?;
    options.reach().await.ok()?;
    let warehouse = session::warehouse(settings, &context.clock, &options);
    warehouse.check_schema().await.ok()?;
    let account = &order.stream.api.account_id;
    let mut statuses = warehouse.budget_statuses().await.ok()?;
    statuses.retain(|status| status.account_id == *account);
    let status = statuses.pop()?;
    let rate = status.requests_per_minute;
    let budget = AccountBudget::open(&warehouse, account, rate, CancellationToken::new()).await.ok()?;
    Some((budget, status))
}

/// The shared budget, as a client asks it.
struct Shared<'b>(&'b AccountBudget);

impl Budget for Shared<'_> {
    fn acquire(&self) -> futures_util::future::BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async { Ok(self.0.acquire().await?) })
    }

    fn refused(&self, retry_after: Option<Duration>) -> futures_util::future::BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move { Ok(self.0.refused(retry_after).await?) })
    }
}

async fn count(client: &Client, range: Window, budget: &dyn Budget) -> Result<u64, anyhow::Error> {
    let (from, to) = range.request_range();
    let page = client.page(&PageRequest::first(from, to, 1), budget).await?;
    page.total.ok_or_else(|| Ended::new(Exit::Failed, "the API told no total, so nothing can be estimated").into())
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, of numbers that are neither negative nor near 2^53"
)]
fn estimate(order: &Order, contacts: u64, share: f64) -> Estimate {
    let page_size = u64::from(order.stream.api.page_size.max(1));
    let length = order.range.length().num_seconds();
    let of_length = |span: TimeDelta| u64::try_from(length).unwrap_or(0).div_ceil(span.num_seconds().max(1) as u64);
    let windows = match order.span {
        Some(span) => of_length(span),
        None => contacts.div_ceil(PAGES_OF_A_WINDOW * page_size).max(of_length(LONGEST_WINDOW)),
    };
    let pages = (contacts as f64 / page_size as f64 * 1.05).ceil() as u64;
    let requests = pages + windows;
    let rate = f64::from(order.stream.api.requests_per_minute) * share;
    Estimate {
        stream: order.stream.name.clone(),
        range: order.range.to_string(),
        contacts,
        windows,
        requests,
        seconds: (requests as f64 / rate * 60.0).ceil() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loader;

    #[test]
    fn three_years_of_ten_thousand_contacts_a_day_take_thirty_hours_and_more() {
        let text = "[api]\naccount_id = \"a\"\norg_id = \"o\"\ntoken = \"t\"\n\
                    [streams.support]\nstream_id = \"st-1\"\nstart = \"2023-01-01T00:00:00Z\"\n";
        let settings = Loader::default().load_text("t", text).expect("settings");
        let at = |s| chrono::DateTime::from_timestamp(s, 0).expect("a time");
        let range = Window::new(at(0), at(3 * 365 * 86_400)).expect("a range");
        let mut order = Order { stream: settings.streams["support"].clone(), range, is_clipped: false, span: None };
        let whole = estimate(&order, 10_950_000, 1.0);
        assert_eq!((whole.windows, whole.requests), (4_380, 114_975 + 4_380));
        assert_eq!(whole.seconds, whole.requests);
        assert_eq!(estimate(&order, 10_950_000, 0.5).seconds, 2 * whole.seconds);
        assert_eq!(estimate(&order, 0, 1.0).windows, 157);
        order.span = Some(TimeDelta::days(1));
        assert_eq!(estimate(&order, 0, 1.0).requests, 3 * 365);
    }
}
