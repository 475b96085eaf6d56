//! `koresync backfill --dry-run`: what a backfill would take, from one counting request.

use std::time::Duration;

use chrono::TimeDelta;
use serde::Serialize;

use super::Order;
use crate::api::{Budget, Client, PageRequest};
use crate::cli::metering::Meter;
use crate::cli::{Context, Ended, Exit, output, session};
use crate::config::Settings;
use crate::domain::{Window, coarse};
use crate::status::time;

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
    let meter = Meter::find(settings, &order.stream, &context.clock).await;
    let contacts = count(&client, order.range, &meter).await?;
    let estimate = estimate(order, contacts, meter.share());
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
        let mut order = Order {
            stream: settings.streams["support"].clone(),
            range,
            kept_since: None,
            is_clipped: false,
            span: None,
        };
        let whole = estimate(&order, 10_950_000, 1.0);
        assert_eq!((whole.windows, whole.requests), (4_380, 114_975 + 4_380));
        assert_eq!(whole.seconds, whole.requests);
        assert_eq!(estimate(&order, 10_950_000, 0.5).seconds, 2 * whole.seconds);
        assert_eq!(estimate(&order, 0, 1.0).windows, 157);
        order.span = Some(TimeDelta::days(1));
        assert_eq!(estimate(&order, 0, 1.0).requests, 3 * 365);
    }
}
