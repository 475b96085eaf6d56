//! The client against small servers on this machine.

mod answers;
mod server;
mod wire;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;

use super::*;
use crate::domain::Clock;
use server::Server;

/// A clock that is moved by those who sleep, so that no test waits.
#[derive(Debug)]
struct SteppedClock {
    now: Mutex<DateTime<Utc>>,
}

impl SteppedClock {
    fn new() -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(at(1_774_261_123)) })
    }

    fn advance(&self, span: Duration) {
        *self.now.lock().expect("a clock") += TimeDelta::from_std(span).expect("a short span");
    }

    fn passed(&self) -> Duration {
        (self.now() - at(1_774_261_123)).to_std().expect("time goes on")
    }
}

impl Clock for SteppedClock {
    fn now(&self) -> DateTime<Utc> {
        *self.now.lock().expect("a clock")
    }

    fn sleep(&self, span: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        self.advance(span);
        Box::pin(std::future::ready(()))
    }
}

/// A budget that notes what it is told; a refusal costs a minute, as the vendor's limit does.
#[derive(Debug)]
struct NotedBudget {
    clock: Arc<SteppedClock>,
    acquired: Mutex<u32>,
    refusals: Mutex<Vec<Option<Duration>>>,
}

impl NotedBudget {
    fn acquired(&self) -> u32 {
        *self.acquired.lock().expect("a count")
    }

    fn refusals(&self) -> Vec<Option<Duration>> {
        self.refusals.lock().expect("a list").clone()
    }
}

impl Budget for NotedBudget {
    fn acquire(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        *self.acquired.lock().expect("a count") += 1;
        Box::pin(std::future::ready(Ok(())))
    }

    fn refused(&self, retry_after: Option<Duration>) -> BoxFuture<'_, Result<(), BoxError>> {
        self.refusals.lock().expect("a list").push(retry_after);
        self.clock.advance(retry_after.unwrap_or(Duration::from_mins(1)));
        Box::pin(std::future::ready(Ok(())))
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time")
}

fn first_page(limit: u32) -> PageRequest {
    PageRequest::first(at(1_774_261_074), at(1_774_306_835), limit)
}

fn endpoint(base_url: &str) -> Endpoint {
    Endpoint {
        stream: "support".to_owned(),
        base_url: base_url.parse().expect("an address"),
        path_prefix: "/qualityai".to_owned(),
        stream_id: "st-1".to_owned(),
        account_id: "account-1".to_owned(),
        org_id: "o-1".to_owned(),
        date_format: "%Y-%m-%d %H:%M:%S".parse().expect("a pattern"),
        include_below_threshold: Some(true),
        include_below_threshold_in: Placement::Body,
        max_body_bytes: 1 << 20,
        timeouts: Timeouts::default(),
        user_agent: "koresync/test".to_owned(),
    }
}

fn inline() -> Credentials {
    Credentials::ClientSecret { client_id: "cs-1".to_owned(), secret: SecretSource::inline("hunter2") }
}

fn file(path: &Path) -> Credentials {
    Credentials::ClientSecret { client_id: "cs-1".to_owned(), secret: SecretSource::file(path) }
}

/// A client, its budget and its clock.
struct Bench {
    client: Client,
    budget: NotedBudget,
    clock: Arc<SteppedClock>,
}

impl Bench {
    fn new(endpoint: Endpoint, credentials: Credentials) -> Self {
        let clock = SteppedClock::new();
        let budget = NotedBudget { clock: clock.clone(), acquired: Mutex::default(), refusals: Mutex::default() };
        let client = Client::new(endpoint, credentials, clock.clone(), RetryPolicy::default(), 7).expect("a client");
        Self { client, budget, clock }
    }

    fn with(server: &Server) -> Self {
        Self::new(endpoint(&server.url), inline())
    }

    async fn page(&self, request: &PageRequest) -> Result<Page, ApiError> {
        self.client.page(request, &self.budget).await
    }
}
