//! A vendor that lists what the model says, and fails when it is told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::NaiveDateTime;
use serde_json::{Value, json};

use crate::clock::ModelClock;
use crate::world::{Change, Contact, Millis, World};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Http500,
    RateLimited,
    Html,
    /// Half of a body.
    Cut,
    /// The page begins with the last row of the page before, in place of its own first.
    Slid,
    /// Once the page is sent, the first contact of its range is gone and another one is there at its end.
    Swap,
    /// Once the page is sent, one more is there at the beginning of its range.
    Insert,
}

#[derive(Debug, Clone, Copy)]
pub struct Habits {
    pub is_end_inclusive: bool,
    pub is_descending: bool,
}

#[derive(Debug)]
struct Inner {
    world: World,
    habits: Habits,
    faults: VecDeque<Fault>,
    /// When the work of the engine began that is under way.
    at_work_since: Option<Millis>,
    clock: ModelClock,
}

#[derive(Debug, Clone)]
pub struct Vendor {
    inner: Arc<Mutex<Inner>>,
    url: String,
}

impl Vendor {
    pub async fn start(clock: ModelClock, habits: Habits) -> Self {
        let inner = Arc::new(Mutex::new(Inner {
            world: World::default(),
            habits,
            faults: VecDeque::new(),
            at_work_since: None,
            clock,
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, url }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn with<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        work(&mut lock(&self.inner).world)
    }

    /// These befall the next requests, one each.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.inner).faults.extend(faults);
    }

    pub fn fail_no_more(&self) {
        lock(&self.inner).faults.clear();
    }

    /// The engine is at work from now on: what changes meanwhile may come before or after any of its looks.
    pub fn begins_to_be_looked_at(&self) {
        let mut inner = lock(&self.inner);
        inner.at_work_since = Some(inner.clock.millis());
    }

    pub fn is_looked_at_no_more(&self) {
        let mut inner = lock(&self.inner);
        inner.at_work_since = None;
        // A look at this very moment may have come before it.
        let after = inner.clock.millis() + 1;
        inner.world.settle(after);
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(inner): State<Arc<Mutex<Inner>>>, body: String) -> Response {
    let mut inner = lock(&inner);
    let request: Value = serde_json::from_str(&body).expect("a request");
    let number = |key: &str| request[key].as_u64().expect("a number");
    let moment = |key: &str| {
        let text = request[key].as_str().expect("a date");
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").expect("a date").and_utc().timestamp_millis()
    };
    let (from, to) = (moment("startDate"), moment("endDate"));
    let (offset, limit) =
        (usize::try_from(number("offset")).expect("an offset"), usize::try_from(number("limit")).expect("a limit"));
    let fault = inner.faults.pop_front();
    let shift = (inner.at_work_since.unwrap_or_else(|| inner.clock.millis()), Millis::MAX);
    if fault.is_some() {
        inner.world.troubled.push(shift);
    }
    match fault {
        Some(Fault::Http500) => return (StatusCode::INTERNAL_SERVER_ERROR, "no").into_response(),
        Some(Fault::RateLimited) => {
            return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "5")], "Too many requests").into_response();
        }
        Some(Fault::Html) => return (StatusCode::OK, "<html>back soon</html>").into_response(),
        _ => {}
    }
    let last = if inner.habits.is_end_inclusive { to + 999 } else { to - 1 };
    let mut listed: Vec<&Contact> =
        inner.world.contacts.values().filter(|contact| (from..=last).contains(&contact.start)).collect();
    listed.sort_by_key(|contact| (contact.start, contact.id.clone()));
    if inner.habits.is_descending {
        listed.reverse();
    }
    let records: Vec<Value> = listed.iter().filter_map(|contact| contact.record()).collect();
    let mut page: Vec<Value> = records.iter().skip(offset).take(limit).cloned().collect();
    if fault == Some(Fault::Slid) && offset > 0 && !page.is_empty() {
        page[0] = records[offset - 1].clone();
    }
    let total = records.len();
    let answer = json!({"results": page, "totalResults": total, "hasMore": offset + limit < total}).to_string();
    let first = listed.iter().find(|contact| contact.record().is_some()).map(|contact| contact.id.clone());
    match fault {
        Some(Fault::Cut) => return (StatusCode::OK, Body::from(answer[..answer.len() / 2].to_owned())).into_response(),
        Some(Fault::Swap) if total > 1 => {
            let place =
                first.and_then(|first| inner.world.contacts.keys().position(|id| *id == first)).expect("a contact");
            inner.world.change(place, Change::Remove, shift);
            inner.world.add(to - 1_000, 60_000, shift);
            inner.world.deceived.push(shift);
        }
        Some(Fault::Insert) => {
            inner.world.add(from + 1_000, 60_000, shift);
        }
        _ => {}
    }
    (StatusCode::OK, [("content-type", "application/json")], answer).into_response()
}
