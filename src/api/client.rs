//! The client: signs, asks, and asks again.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::answer::{Content, classify};
use super::budget::Budget;
use super::credentials::{Credentials, Signer};
use super::endpoint::{Endpoint, SettingError};
use super::error::ApiError;
use super::http;
use super::large::{LargeAnswers, Right};
use super::request::PageRequest;
use super::retry::{Delays, RetryPolicy};
use super::token::{TokenClaims, decode_claims};
use crate::domain::clock::SharedClock;
use crate::faults::{Defect, is_planted};

const AUTH: HeaderName = HeaderName::from_static("auth");
const ACCOUNT_ID: HeaderName = HeaderName::from_static("accountid");
const ORG_ID: HeaderName = HeaderName::from_static("orgid");

/// One page of the vendor, cut into its records but not read.
#[derive(Clone)]
pub struct Page {
    pub body: Bytes,
    /// The raw text of each element of `results`; slices of `body`, so that none is copied and the
    /// body lives as long as any of them.
    pub records: Vec<Bytes>,
    /// `totalResults`.
    pub total: Option<u64>,
    /// `hasMore`, which is not to be trusted alone.
    pub has_more: Option<bool>,
    pub total_pages: Option<u64>,
    /// The server's own time, to tell how wrong a clock is.
    pub date: Option<DateTime<Utc>>,
    /// The real time of the attempt that was answered.
    pub elapsed: Duration,
    /// Requests sent for this page, the answered one included.
    pub attempts: u32,
    /// Of a large body; dropped with it.
    right: Option<Right>,
}

impl fmt::Debug for Page {
    /// Leaves the contents out: they are personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("body_bytes", &self.body.len())
            .field("records", &self.records.len())
            .field("total", &self.total)
            .field("has_more", &self.has_more)
            .field("total_pages", &self.total_pages)
            .field("date", &self.date)
            .field("elapsed", &self.elapsed)
            .field("attempts", &self.attempts)
            .field("is_large", &self.right.is_some())
            .finish()
    }
}

/// Asks one stream's endpoint for pages. May be used by many tasks at once.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    endpoint: Endpoint,
    signer: Signer,
    clock: SharedClock,
    retry: RetryPolicy,
    random: Mutex<StdRng>,
    large: LargeAnswers,
    stop: CancellationToken,
}

impl Client {
    /// Sends nothing and reads no secret yet. `seed` feeds the jitter alone.
    pub fn new(
        endpoint: Endpoint,
        credentials: Credentials,
        clock: SharedClock,
        retry: RetryPolicy,
        seed: u64,
    ) -> Result<Self, SettingError> {
        let headers = HeaderMap::from_iter([
            (ACCOUNT_ID, Endpoint::header("account_id", &endpoint.account_id)?),
            (ORG_ID, Endpoint::header("org_id", &endpoint.org_id)?),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        Ok(Self {
            http: http::client(&endpoint)?,
            url: endpoint.url()?,
            headers,
            endpoint,
            signer: Signer::new(credentials),
            clock,
            retry,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            large: LargeAnswers::default(),
            stop: CancellationToken::new(),
        })
    }

    /// Ends every delay and every request in flight, with [`ApiError::Stopped`], when `stop` is
    /// cancelled. The budget's futures are always waited for.
    #[must_use]
    pub fn stopped_by(mut self, stop: CancellationToken) -> Self {
        self.stop = stop;
        self
    }

    /// Takes turns with others at large answers.
    #[must_use]
    pub fn sharing(mut self, large: LargeAnswers) -> Self {
        self.large = large;
        self
    }

    /// Asks until there is a page, or an error that asking again does not mend, or the policy's time
    /// is over. That time counts from the first permission of the budget.
    ///
    /// To end it early, use [`Client::stopped_by`]: dropping the future drops the budget's too.
    pub async fn page(&self, request: &PageRequest, budget: &dyn Budget) -> Result<Page, ApiError> {
        Box::pin(self.persist(request, budget)).instrument(self.span(request)).await
    }

    /// Asks exactly once.
    pub async fn page_once(&self, request: &PageRequest, budget: &dyn Budget) -> Result<Page, ApiError> {
        let once = async {
            budget.acquire().await.map_err(ApiError::Budget)?;
            let answered = self.attempt(request, 1).await;
            if let Err(ApiError::RateLimited { retry_after, .. }) = &answered {
                budget.refused(*retry_after).await.map_err(ApiError::Budget)?;
            }
            answered
        };
        Box::pin(once).instrument(self.span(request)).await
    }

    /// Whether the secret, read now, is another than the one used last: a refused stream is worth
    /// trying again.
    pub async fn has_new_secret(&self) -> bool {
        self.signer.has_changed().await
    }

    /// What the token of a request would say; an error when the secret cannot be used, `None` when the
    /// configured token is no JWT.
    pub async fn token_claims(&self) -> Result<Option<TokenClaims>, ApiError> {
        let token = self.signer.token(self.clock.now()).await?;
        Ok(decode_claims(token.expose_secret()).ok())
    }

    async fn persist(&self, request: &PageRequest, budget: &dyn Budget) -> Result<Page, ApiError> {
        let mut delays = Delays::new(self.retry);
        let mut began = None;
        let mut signed_anew = false;
        let mut attempts = 0;
        loop {
            let permission = budget.acquire().await;
            if self.stop.is_cancelled() {
                return Err(ApiError::Stopped);
            }
            permission.map_err(ApiError::Budget)?;
            let began = *began.get_or_insert_with(|| self.clock.now());
            attempts += 1;
            let error = match self.attempt(request, attempts).await {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            let elapsed = (self.clock.now() - began).to_std().unwrap_or_default();
            let asked = |retry_after: Option<Duration>| retry_after.filter(|_| !is_planted(Defect::RetryAfterIgnored));
            match &error {
                ApiError::Refused { .. } if !signed_anew => {
                    signed_anew = true;
                    self.signer.reload().await?;
                }
                ApiError::RateLimited { retry_after, .. } => {
                    budget.refused(asked(*retry_after)).await.map_err(ApiError::Budget)?;
                    if elapsed >= self.retry.give_up {
                        return Err(error);
                    }
                }
                ApiError::Unavailable { retry_after, .. } => {
                    let Some(delay) = delays.next(elapsed, asked(*retry_after), self.random()) else {
                        return Err(error);
                    };
                    tracing::debug!(%error, attempts, delay_ms = delay.as_millis(), "Asking again after a delay.");
                    let pause = self.clock.sleep(delay);
                    self.stop.run_until_cancelled(pause).await.ok_or(ApiError::Stopped)?;
                }
                _ => return Err(error),
            }
            metrics::counter!(
                "koresync_api_retries_total",
                "stream" => self.endpoint.stream.clone(),
                "reason" => error.label()
            )
            .increment(1);
        }
    }

    async fn attempt(&self, request: &PageRequest, attempts: u32) -> Result<Page, ApiError> {
        let now = self.clock.now();
        let auth = self.signer.header(now).await?;
        let (body, flag) = request.encode(&self.endpoint);
        let mut url = self.url.clone();
        if let Some(flag) = flag {
            url.query_pairs_mut().append_pair("include_below_threshold", if flag { "true" } else { "false" });
        }
        let request_to_send = self.http.post(url).headers(self.headers.clone()).header(AUTH, auth).body(body);
        let sent = Instant::now();
        let max_bytes = self.endpoint.max_body_bytes;
        let exchange = Box::pin(http::exchange(request_to_send, (max_bytes, &self.large), now));
        let outcome = self.stop.run_until_cancelled(exchange).await.ok_or(ApiError::Stopped)?;
        let elapsed = sent.elapsed();
        let read = classify(outcome, request, max_bytes);
        self.count(read.as_ref().err().map_or("ok", ApiError::label), elapsed);
        let Content { body, records, total, has_more, total_pages, date, right } = read?;
        tracing::debug!(records = records.len(), total, attempts, elapsed_ms = elapsed.as_millis(), "A page was read.");
        Ok(Page { body, records, total, has_more, total_pages, date, elapsed, attempts, right })
    }

    fn count(&self, outcome: &'static str, elapsed: Duration) {
        let stream = self.endpoint.stream.clone();
        metrics::counter!("koresync_api_requests_total", "stream" => stream.clone(), "outcome" => outcome).increment(1);
        metrics::histogram!("koresync_api_request_duration_seconds", "stream" => stream).record(elapsed);
    }

    fn span(&self, request: &PageRequest) -> tracing::Span {
        tracing::info_span!(
            "api_page",
            stream = %self.endpoint.stream,
            offset = request.offset,
            page = request.page,
            limit = request.limit,
            window.from = %request.from,
            window.to = %request.to,
        )
    }

    fn random(&self) -> f64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}
