//! The server: one POST that answers like the documented API, and a few paths for tests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::answers::{self, Cut};
use super::ask::{Ask, parse_date};
use super::auth::Tokens;
use super::connection::Breaker;
use super::dice::{Dice, keyed};
use super::faults::{Fault, Faults};
use super::limiter::Limiter;
use super::options::{Disguise, Options};
use super::oracle::{self, Expectation, Question};
use super::pages::PageOf;
use super::stats::{Record, Stats};
use super::vendor::Vendor;
use crate::domain::clock::SharedClock;

/// No request has a body near this size.
const LARGEST_BODY: usize = 1 << 20;
/// A stalled answer is held back no longer, whatever the clock says.
const LONGEST_STALL: Duration = Duration::from_mins(2);
/// A client and this server may read an accelerated clock minutes apart.
const LEEWAY_OF_FAST_CLOCKS: i64 = 86_400;

#[derive(Debug)]
pub struct Simulator {
    options: Options,
    clock: SharedClock,
    stop: CancellationToken,
    /// When the population ends and the present begins.
    end: DateTime<Utc>,
    requests: AtomicU64,
    faults: RwLock<Faults>,
    vendors: Mutex<HashMap<String, Arc<Vendor>>>,
    limiter: Mutex<Limiter>,
    tokens: Mutex<Tokens>,
    record: Mutex<Record>,
}

/// Every value behind these locks is whole between statements, so a panic elsewhere spoils none.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Simulator {
    pub fn new(options: Options, clock: SharedClock, stop: CancellationToken) -> Arc<Self> {
        let end = options.end.unwrap_or_else(|| clock.now());
        let faults = RwLock::new(Faults::of(&options.faults));
        Arc::new(Self {
            options,
            clock,
            stop,
            end,
            requests: AtomicU64::new(0),
            faults,
            vendors: Mutex::default(),
            limiter: Mutex::default(),
            tokens: Mutex::default(),
            record: Mutex::default(),
        })
    }

    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/stats", get(stats))
            .route("/control", post(control))
            .route("/oracle", get(oracle))
            .fallback(raw_data)
            .with_state(self)
    }

    pub fn stats(&self) -> Stats {
        held(&self.record).stats()
    }

    pub fn faults(&self) -> Faults {
        self.faults.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn change_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// What a perfect mirror holds of the stream; starts in `[from, to)`, or all.
    pub fn expect(
        &self,
        stream_id: &str,
        name: &str,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
        at: Option<DateTime<Utc>>,
        includes_below_threshold: bool,
    ) -> Expectation {
        let at = at.unwrap_or_else(|| self.clock.now()).timestamp_millis();
        let question = Question {
            stream: name.to_owned(),
            from: from.map_or(0, |from| from.timestamp_millis()),
            // What starts later is not listed yet.
            to: to.map_or(at, |to| to.timestamp_millis()).min(at),
            at,
            includes_below_threshold,
        };
        oracle::expect(&self.vendor(stream_id), &self.faults().shares(), &question)
    }

    /// What a mirror holds of the stream that looked at each contact at the moment that `look` tells by its start.
    pub fn expect_as_looked(
        &self,
        stream_id: &str,
        name: &str,
        look: &dyn Fn(DateTime<Utc>) -> Option<DateTime<Utc>>,
    ) -> Expectation {
        let at = self.clock.now().timestamp_millis();
        let question = Question { stream: name.to_owned(), from: 0, to: at, at, includes_below_threshold: true };
        oracle::expect_as_looked(&self.vendor(stream_id), &self.faults().shares(), &question, &|start| {
            Some(look(DateTime::from_timestamp_millis(start)?)?.timestamp_millis())
        })
    }

    /// How long after its start, and after its end, each contact is first listed that started before now.
    pub fn delays(&self, stream_id: &str) -> Vec<(TimeDelta, TimeDelta)> {
        let (vendor, shares) = (self.vendor(stream_id), self.faults().shares());
        let lives = vendor.indices(0, self.clock.now().timestamp_millis()).map(|index| vendor.life(index, &shares));
        let spans = lives.map(|life| life.delays());
        spans.map(|(start, end)| (TimeDelta::milliseconds(start), TimeDelta::milliseconds(end))).collect()
    }

    fn vendor(&self, stream_id: &str) -> Arc<Vendor> {
        let mut vendors = held(&self.vendors);
        if let Some(vendor) = vendors.get(stream_id) {
            return Arc::clone(vendor);
        }
        let vendor = Arc::new(Vendor::of(&self.options, self.end, stream_id));
        // A vendor is as good made anew: only a client that makes up stream ids comes here so often.
        if vendors.len() >= 1_000 {
            vendors.clear();
        }
        vendors.insert(stream_id.to_owned(), Arc::clone(&vendor));
        vendor
    }

    /// The stream id in a path of the API.
    fn stream_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        let prefix = self.options.path_prefix.trim_matches('/');
        let rest = path.trim_start_matches('/').strip_prefix(prefix)?.trim_start_matches('/');
        let stream = rest.strip_prefix("api/v1/public/qualitymanagement/app/")?.strip_suffix("/rawdata")?;
        (!stream.is_empty() && !stream.contains('/')).then_some(stream)
    }

    /// The refusal of a request that may not ask, if it is one.
    fn refusal(&self, stream: &str, headers: &HeaderMap, now: DateTime<Utc>) -> Option<Response> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
        let options = &self.options;
        let leeway = if self.clock.database_time().is_some() { LEEWAY_OF_FAST_CLOCKS } else { 0 };
        let token = text("auth").unwrap_or("");
        let is_known = options.stream_ids.is_empty() || options.stream_ids.iter().any(|known| known == stream);
        let (Some(account), Some(_)) = (text("accountId"), text("orgId")) else {
            return Some(answers::error(StatusCode::BAD_REQUEST, "accountId and orgId are required", 400));
        };
        if !text("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
            return Some(answers::error(StatusCode::BAD_REQUEST, "Content-Type must be application/json", 400));
        }
        let is_account = options.account_id.as_deref().is_none_or(|known| known == account);
        let is_valid = held(&self.tokens).accept(options, token, now.timestamp(), leeway);
        (!is_valid || !is_known || !is_account).then(answers::unauthorised)
    }

    fn outcome(&self, stream: &str, outcome: &str, response: Response) -> Response {
        held(&self.record).outcome(stream, outcome);
        response
    }

    async fn stall(&self) {
        tokio::select! {
            () = self.clock.sleep(self.options.stall_for) => {}
            () = tokio::time::sleep(LONGEST_STALL) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

const REFUSALS: &[(Fault, Disguise)] = &[
    (Fault::RateLimited429, Disguise::TooManyRequests),
    (Fault::RateLimited403, Disguise::Forbidden),
    (Fault::RateLimited400, Disguise::BadRequest),
    (Fault::RateLimited200, Disguise::Ok),
    (Fault::RateLimited503, Disguise::Unavailable),
];

async fn raw_data(
    State(simulator): State<Arc<Simulator>>,
    ConnectInfo(breaker): ConnectInfo<Breaker>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some(stream) = simulator.stream_of(parts.uri.path()).map(str::to_owned) else {
        return answers::error(StatusCode::NOT_FOUND, "not found", 404);
    };
    if parts.method != Method::POST {
        return answers::error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", 405);
    }
    let query = parts.uri.query().unwrap_or("").to_owned();
    answer(&simulator, &breaker, &stream, &query, &parts.headers, body).await
}

async fn answer(
    simulator: &Arc<Simulator>,
    breaker: &Breaker,
    stream: &str,
    query: &str,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    let options = &simulator.options;
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return answers::error(StatusCode::BAD_REQUEST, "the body cannot be read", 400);
    };
    let now = simulator.clock.now();
    let now_ms = now.timestamp_millis();
    held(&simulator.record).arrived(now_ms);
    if !options.latency.is_zero() {
        simulator.clock.sleep(options.latency).await;
    }
    if let Some(refusal) = simulator.refusal(stream, headers, now) {
        let outcome = if refusal.status() == StatusCode::UNAUTHORIZED { "unauthorised" } else { "bad_request" };
        return simulator.outcome(stream, outcome, refusal);
    }
    let account = headers.get("accountId").and_then(|value| value.to_str().ok()).unwrap_or("");
    let place = held(&simulator.limiter).take(account, now_ms, options.requests_per_minute);
    if let Err(wait) = place {
        held(&simulator.record).refused();
        let wait = Duration::from_millis(wait.unsigned_abs());
        let response = answers::rate_limited(options.disguise, options.retry_after, now, wait);
        return simulator.outcome(stream, "rate_limited", response);
    }

    let faults = simulator.faults();
    let number = simulator.requests.fetch_add(1, Ordering::Relaxed);
    let chance = keyed(options.seed, &[0x4e9, number]);
    let strikes = |fault: Fault| faults.share(fault).holds(keyed(chance, &[fault as u64]));
    if let Some((fault, response)) = fault_instead(options, now, &strikes) {
        return simulator.outcome(stream, &fault.to_string(), response);
    }
    if strikes(Fault::Reset) {
        breaker.break_off();
        return simulator.outcome(stream, "reset", Response::new(Body::empty()));
    }
    if strikes(Fault::Stall) {
        held(&simulator.record).outcome(stream, "stall");
        simulator.stall().await;
    }
    let ask = match Ask::read(&body, query, options) {
        Ok(ask) => ask,
        Err(text) => {
            return simulator.outcome(stream, "bad_request", answers::error(StatusCode::BAD_REQUEST, &text, 400));
        }
    };
    let is_compressed = !options.no_gzip
        && headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("gzip"));
    let faults = PageFaults {
        slides: strikes(Fault::Slid),
        hides: strikes(Fault::InsertWhilePaging),
        swaps: strikes(Fault::SwapWhilePaging),
        duplicates: strikes(Fault::Duplicated),
        shuffles: strikes(Fault::Shuffled),
        chance,
    };
    let mut dice = Dice::new(chance, &[0x7c]);
    let cut = strikes(Fault::Truncated).then(|| Cut::by_chance(&mut dice));
    let (builder, id, mut text_dice) = (Arc::clone(simulator), stream.to_owned(), dice.clone());
    let built = tokio::task::spawn_blocking(move || {
        let (text, rows, total) = builder.page(&id, &ask, faults);
        let text = if let Some(cut) = cut { cut.of_text(text, &mut text_dice) } else { text };
        (answers::page(text, is_compressed), rows, total)
    });
    let Ok(((body, encoding), rows, total)) = built.await else {
        return answers::error(StatusCode::INTERNAL_SERVER_ERROR, "internal error", 500);
    };
    let mut response = match cut {
        Some(cut) => cut.response(body, &mut dice),
        None => answers::json(StatusCode::OK, body),
    };
    if let Some((name, value)) = encoding {
        response.headers_mut().insert(name, value);
    }
    if cut.is_some() {
        return simulator.outcome(stream, "truncated", response);
    }
    held(&simulator.record).served(stream, &ask, rows, total);
    simulator.outcome(stream, "ok", response)
}

/// An answer that a fault gives in place of the page.
fn fault_instead(options: &Options, now: DateTime<Utc>, strikes: &dyn Fn(Fault) -> bool) -> Option<(Fault, Response)> {
    let refuse = |disguise| answers::rate_limited(disguise, options.retry_after, now, Duration::from_secs(5));
    if strikes(Fault::RateLimited) {
        return Some((Fault::RateLimited, refuse(options.disguise)));
    }
    for (fault, disguise) in REFUSALS {
        if strikes(*fault) {
            return Some((*fault, refuse(*disguise)));
        }
    }
    if strikes(Fault::Http500) {
        let response = answers::error(StatusCode::INTERNAL_SERVER_ERROR, "internal error", 500);
        return Some((Fault::Http500, response));
    }
    if strikes(Fault::Http503) {
        return Some((Fault::Http503, answers::html(StatusCode::SERVICE_UNAVAILABLE)));
    }
    strikes(Fault::Html200).then(|| (Fault::Html200, answers::html(StatusCode::OK)))
}

/// What befalls one page.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own, and any may come together")]
#[derive(Debug, Clone, Copy)]
struct PageFaults {
    slides: bool,
    hides: bool,
    swaps: bool,
    duplicates: bool,
    shuffles: bool,
    chance: u64,
}

impl Simulator {
    /// The body of a page, its number of rows and the total it tells.
    fn page(&self, stream_id: &str, ask: &Ask, faults: PageFaults) -> (String, u64, u64) {
        let (vendor, shares) = (self.vendor(stream_id), self.faults().shares());
        let now = self.clock.now().timestamp_millis();
        let (length, skipped) = (ask.page_length(&self.options), ask.skipped(&self.options));
        let wanted = PageOf {
            range: ask.range(&self.options),
            skipped,
            length,
            includes_below_threshold: ask.includes_below_threshold,
            order: self.options.order,
            filter: self.options.filter,
            total_counts: self.options.total_counts,
            now,
            hidden: None,
        };
        let mut page = wanted.find(&vendor, &shares);
        // Where there is no paging, nothing can come or go while it goes on.
        let hidden = match (page.rows_in_all > length + 1, skipped == 0) {
            (true, true) if faults.hides => Some(0),
            (true, true) if faults.swaps => Some(page.rows_in_all - 1),
            (true, false) if faults.swaps => Some(0),
            _ => None,
        };
        if hidden.is_some() {
            page = PageOf { hidden, ..wanted }.find(&vendor, &shares);
        }
        let mut rows: Vec<String> = page.rows.iter().map(|row| row.record(&vendor, now)).collect();
        let mut dice = Dice::new(faults.chance, &[0x9a6e]);
        if faults.slides && skipped > 0 && !rows.is_empty() {
            let before = PageOf { skipped: skipped - 1, length: 1, ..wanted };
            if let Some(row) = before.find(&vendor, &shares).rows.first() {
                rows[0] = row.record(&vendor, now);
            }
        }
        if faults.duplicates && !rows.is_empty() {
            rows.push(dice.pick(&rows).clone());
        }
        if faults.shuffles {
            for place in (1..rows.len()).rev() {
                let other = usize::try_from(dice.below(place as u64 + 1)).unwrap_or(0);
                rows.swap(place, other);
            }
        }
        let has_more =
            skipped.saturating_add(length) < page.rows_in_all || (self.options.has_more_lies && !rows.is_empty());
        let body = format!(
            "{{\"results\":[{}],\"totalResults\":{},\"hasMore\":{has_more},\"totalPages\":{}}}",
            rows.join(","),
            page.total,
            page.total.div_ceil(length.max(1)),
        );
        (body, rows.len() as u64, page.total)
    }
}

fn as_json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(body) => answers::json(StatusCode::OK, body),
        Err(error) => answers::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string(), 500),
    }
}

async fn stats(State(simulator): State<Arc<Simulator>>) -> Response {
    as_json(&std::future::ready(simulator.stats()).await)
}

#[derive(Debug, Deserialize)]
struct Control {
    faults: HashMap<String, f64>,
}

async fn control(State(simulator): State<Arc<Simulator>>, body: Bytes) -> Response {
    let body = std::future::ready(body).await;
    let Ok(control) = serde_json::from_slice::<Control>(&body) else {
        return answers::error(StatusCode::BAD_REQUEST, "expected {\"faults\": {name: probability}}", 400);
    };
    let mut changed = simulator.faults();
    for (name, probability) in control.faults {
        if let Err(error) = Fault::named(&name).and_then(|fault| changed.set(fault, probability)) {
            return answers::error(StatusCode::BAD_REQUEST, &error.to_string(), 400);
        }
    }
    simulator.change_faults(|faults| *faults = changed.clone());
    as_json(&changed)
}

#[derive(Debug, Deserialize)]
struct OracleQuery {
    /// The stream id.
    stream: String,
    /// The name under which the mirror holds it; the id, if not given.
    name: Option<String>,
    from: Option<String>,
    to: Option<String>,
    at: Option<String>,
    /// Whether contacts below the threshold are asked for; they are, if not given.
    below: Option<bool>,
}

async fn oracle(State(simulator): State<Arc<Simulator>>, Query(query): Query<OracleQuery>) -> Response {
    let mut moments = [None; 3];
    for (moment, text) in moments.iter_mut().zip([&query.from, &query.to, &query.at]) {
        let Some(text) = text else { continue };
        *moment = parse_date(text);
        if moment.is_none() {
            return answers::error(StatusCode::BAD_REQUEST, "from, to and at are dates", 400);
        }
    }
    let [from, to, at] = moments;
    let asked = tokio::task::spawn_blocking(move || {
        let name = query.name.as_deref().unwrap_or(&query.stream);
        simulator.expect(&query.stream, name, from, to, at, query.below.unwrap_or(true))
    });
    match asked.await {
        Ok(expectation) => as_json(&expectation),
        Err(_) => answers::error(StatusCode::INTERNAL_SERVER_ERROR, "internal error", 500),
    }
}
