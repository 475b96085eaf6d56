//! One window from claim to commit.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use super::commit::{self, Judgement};
use super::heartbeat::Heartbeat;
use super::planner::learn_size;
use super::reading::{Read, ReadError, Verdict, WindowReader};
use super::recheck::count::{CountError, count};
use super::shares::{Portions, Shares, Taken};
use super::source::{Metered, Options, Source};
use crate::api::{self, ApiError, PageRequest};
use crate::domain::Window;
use crate::faults::{Defect, Point, is_planted};
use crate::telemetry::traces;
use crate::warehouse::budget::Turn;
use crate::warehouse::load::{Outcomes, Presence, Proof};
use crate::warehouse::streams::{Learned, StreamState};
use crate::warehouse::windows::{Claim, Lane, Reason};
use crate::warehouse::{Warehouse, WarehouseError, cross};

/// A refused stream is tried again after so long, or when its secret changes.
const REFUSED_FOR: TimeDelta = TimeDelta::minutes(15);

/// A range of fewer records may well hold none below the threshold: its count says nothing.
const TELLING_ROWS: u64 = 20;

/// What became of a claim.
#[derive(Debug)]
pub(super) enum Done {
    Verified,
    Unverified,
    Split,
    /// Counted, and compared with what is held.
    Counted,
    /// The API did not answer, or refused.
    Api(ApiError),
    Warehouse(WarehouseError),
    /// The warehouse failed, and the window could not be given back either.
    Owed(Claim, WarehouseError),
    /// Somebody else has the window, or the engine stops.
    Dropped,
}

pub(super) async fn work(bench: &Bench, source: &Source, claim: Claim) -> Done {
    let warehouse = &bench.warehouse;
    let span = tracing::info_span!(
        "window", stream = %claim.stream, lane = claim.lane.as_str(), window = %claim.window, window.id = claim.id,
        trace.id = tracing::field::Empty
    );
    traces::mark(&span);
    let began = warehouse.clock().now();
    let turn = if claim.lane == Lane::Live { Turn::First } else { Turn::Later };
    let metered = Metered::new(&source.budget, turn);
    let done = Box::pin(read_and_write(bench, source, &claim, &metered)).instrument(span).await;
    note_spending(warehouse, &claim, metered.requests()).await;
    let took = (warehouse.clock().now() - began).as_seconds_f64();
    metrics::histogram!("koresync_window_duration_seconds", "stream" => claim.stream.clone(), "lane" => claim.lane.as_str())
        .record(took);
    done
}

/// What a lane spends is told to operators; no work fails for it.
async fn note_spending(warehouse: &Warehouse, claim: &Claim, requests: u64) {
    if requests == 0 {
        return;
    }
    metrics::counter!("koresync_lane_requests_total", "stream" => claim.stream.clone(), "lane" => claim.lane.as_str())
        .increment(requests);
    if let Err(error) = warehouse.note_spending(&claim.stream, claim.lane, requests).await {
        tracing::debug!(%error, requests, "What a window spent could not be noted.");
    }
}

async fn read_and_write(bench: &Bench, source: &Source, claim: &Claim, metered: &Metered<'_>) -> Done {
    let Bench { warehouse, options, .. } = bench;
    let read_at = warehouse.clock().now();
    if let Err(error) = cross(Point::Claimed) {
        return not_written(warehouse, claim, error, 0).await;
    }
    let state = match warehouse.stream_state(&claim.stream).await {
        Ok(state) => state,
        Err(error) => return not_written(warehouse, claim, error, 0).await,
    };
    let heartbeat = Heartbeat::start(warehouse.clone(), claim.clone(), options.lease);
    if claim.errand.is_some_and(|errand| errand.reason == Reason::Count) {
        return match count(bench, source, &state, claim, metered).await {
            Ok(()) => Done::Counted,
            Err(CountError::Warehouse(WarehouseError::Fenced)) => Done::Dropped,
            Err(CountError::Warehouse(error)) => not_written(warehouse, claim, error, metered.requests()).await,
            Err(CountError::Api(error)) => {
                give_back(warehouse, &state, claim, Learned::default(), error, metered.requests()).await
            }
        };
    }
    let mut reader = WindowReader::new(source, bench, &state, metered, &heartbeat.lost, claim.window);
    let verdict = reader.read().await;
    let mut learned = std::mem::take(&mut reader.learned);
    let judgement = |proof, failure, also_seen| Judgement {
        proof,
        failure,
        also_seen,
        requests: metered.requests(),
        read_at,
        includes_below_threshold: source.include_below_threshold,
    };
    let written = match verdict {
        Ok(Verdict::Proved(read, proof)) => {
            if state.below_threshold_effect.is_none()
                && source.include_below_threshold
                && read.tally.rows >= TELLING_ROWS
                && read.tally.total().is_some()
            {
                learned.below_threshold_effect = compare_below_threshold(source, claim, &read, metered).await;
            }
            let second = look_for_the_missing(bench, &mut reader, claim, (&read, proof), (read_at, source)).await;
            let (read, proof, also_seen) = match second {
                Ok(Missing::Nobody) => (read, proof, Some(Vec::new())),
                Ok(Missing::LookedForAgain(again, proof)) => (again, proof, Some(ids(&read))),
                Ok(Missing::Unknown) => (read, proof, None),
                Err(error) => return not_written(warehouse, claim, error, metered.requests()).await,
            };
            let judgement = judgement(Some(proof), None, also_seen);
            write(bench, (source, &state), claim, &read, &judgement, learned).await.map(|_| Done::Verified)
        }
        Ok(Verdict::Unproved(read, why)) => {
            tracing::warn!(
                why,
                attempts = claim.attempts + 1,
                "A window is kept but not verified; it will be read again."
            );
            let failure = Some((why, retry_delay(claim.attempts)));
            let judgement = judgement(None, failure, Some(Vec::new()));
            write(bench, (source, &state), claim, &read, &judgement, learned).await.map(|_| Done::Unverified)
        }
        Ok(Verdict::Split(parts, why)) => {
            tracing::debug!(parts = parts.len(), why, "Cutting the window.");
            split(warehouse, &state, claim, &parts, learned, metered.requests()).await
        }
        Err(ReadError::Lost) => Ok(Done::Dropped),
        Err(ReadError::Warehouse(error)) => Err(error),
        Err(ReadError::Api(error)) => {
            return give_back(warehouse, &state, claim, learned, error, metered.requests()).await;
        }
    };
    match written {
        Ok(done) => done,
        Err(WarehouseError::Fenced) => {
            tracing::info!("Another worker holds the window now; nothing was written.");
            Done::Dropped
        }
        Err(error) => not_written(warehouse, claim, error, metered.requests()).await,
    }
}

/// What is known of held contacts that a read lacks.
enum Missing {
    Nobody,
    /// Another read looked for them too.
    LookedForAgain(Read, Proof),
    Unknown,
}

/// A count is no proof of a single contact's absence: where as many come as go while pages are read, one may slide through
/// between two of them. So before a contact is called gone the range is read once more, cut at other places.
async fn look_for_the_missing(
    bench: &Bench,
    reader: &mut WindowReader<'_>,
    claim: &Claim,
    (read, proof): (&Read, Proof),
    (read_at, source): (DateTime<Utc>, &Source),
) -> Result<Missing, WarehouseError> {
    if proof != Proof::Count || is_planted(Defect::RemovedByOneCount) {
        return Ok(Missing::Nobody);
    }
    let ids = ids(read);
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let includes_below_threshold = source.include_below_threshold;
    let presence = Presence { ids: &ids, seen: None, read_at, includes_below_threshold, filter_field: None };
    if !bench.warehouse.lacks_held(&claim.stream, claim.window.request_range(), &presence).await? {
        return Ok(Missing::Nobody);
    }
    // What it costs is not lost: a failure leaves the first read as it was.
    match reader.read_again().await {
        Ok(Some((again, proof))) => Ok(Missing::LookedForAgain(again, proof)),
        Ok(None) | Err(ReadError::Api(_)) => Ok(Missing::Unknown),
        Err(ReadError::Lost) => Err(WarehouseError::Fenced),
        Err(ReadError::Warehouse(error)) => Err(error),
    }
}

fn ids(read: &Read) -> Vec<String> {
    read.records.iter().filter_map(|record| record.identity.conversation_id.clone()).collect()
}

async fn not_written(warehouse: &Warehouse, claim: &Claim, error: WarehouseError, requests: u64) -> Done {
    tracing::warn!(%error, "The warehouse failed a window; it is given back.");
    // What lost against another transaction may well win at the next try.
    let delay = if error.is_conflict() { TimeDelta::seconds(1) } else { retry_delay(0) };
    if let Err(lost) = warehouse.give_back(claim, Some(&error.to_string()), delay, requests).await {
        tracing::debug!(error = %lost, "The window could not be given back either.");
        return Done::Owed(claim.clone(), error);
    }
    Done::Warehouse(error)
}

async fn write(
    bench: &Bench,
    (source, state): (&Source, &StreamState),
    claim: &Claim,
    read: &Read,
    judgement: &Judgement,
    mut learned: Learned,
) -> Result<Outcomes, WarehouseError> {
    let Bench { warehouse, options, .. } = bench;
    let bytes: usize = read.records.iter().map(|record| record.text_bytes).sum();
    let length = claim.window.length();
    // What a range of long ago holds says nothing of the next live window.
    if claim.lane != Lane::Recheck {
        learn_size(&mut learned, source, options, state, length, (read.tally.rows, bytes), warehouse.clock().now());
    }
    // Never closed; without a permit it is written all the same.
    let _permit = bench.writing.acquire().await.ok();
    let outcomes = commit::write(warehouse, claim, read, judgement, learned).await?;
    for (outcome, count) in [
        ("inserted", outcomes.inserted),
        ("changed", outcomes.changed),
        ("unchanged", outcomes.unchanged),
        ("removed", outcomes.removed),
        ("returned", outcomes.returned),
        ("erased", outcomes.erased),
    ] {
        metrics::counter!("koresync_contacts_total", "stream" => claim.stream.clone(), "outcome" => outcome)
            .increment(count);
    }
    tracing::info!(
        verified_by = judgement.proof.map(Proof::as_str),
        requests = judgement.requests,
        in_window = outcomes.in_window,
        inserted = outcomes.inserted,
        changed = outcomes.changed,
        unchanged = outcomes.unchanged,
        removed = outcomes.removed,
        returned = outcomes.returned,
        quarantined = outcomes.quarantined,
        erased = outcomes.erased,
        "A window was written."
    );
    Ok(outcomes)
}

async fn split(
    warehouse: &Warehouse,
    state: &StreamState,
    claim: &Claim,
    parts: &[Window],
    mut learned: Learned,
    requests: u64,
) -> Result<Done, WarehouseError> {
    // Windows still to be planned should not have to be cut as well.
    if let Some(part) = parts.first().map(|part| part.length())
        && claim.window.length() * 2 >= TimeDelta::seconds(state.span_seconds)
    {
        learned.span = Some(part.max(TimeDelta::seconds(1)));
    }
    warehouse.split(claim, parts, requests).await?;
    warehouse.learn(&claim.stream, &learned).await?;
    Ok(Done::Split)
}

async fn give_back(
    warehouse: &Warehouse,
    state: &StreamState,
    claim: &Claim,
    learned: Learned,
    error: ApiError,
    requests: u64,
) -> Done {
    let outcome = async {
        if matches!(error.remedy(), api::Remedy::Stop) {
            return warehouse.give_back(claim, None, TimeDelta::zero(), requests).await;
        }
        warehouse.learn(&claim.stream, &learned).await?;
        if matches!(error, ApiError::Refused { .. } | ApiError::Credentials(_)) {
            // The stream waits as a whole; a window that waited for itself as well, an hour in the end,
            // would do so long after the secret was mended. First the pause, so that nobody takes it again.
            pause(warehouse, state, claim, &error).await?;
            return warehouse.give_back(claim, Some(&error.to_string()), TimeDelta::zero(), requests).await;
        }
        // A server that does not answer is no fault of the window: the stream waits, briefly, as a whole.
        let delay = match error.remedy() {
            api::Remedy::Wait | api::Remedy::Database => TimeDelta::seconds(15),
            _ => retry_delay(claim.attempts),
        };
        warehouse.give_back(claim, Some(&error.to_string()), delay, requests).await?;
        match error.remedy() {
            api::Remedy::Operator => pause(warehouse, state, claim, &error).await,
            api::Remedy::Database => Ok(()),
            _ => {
                tracing::warn!(%error, "A window could not be read; it will be tried again.");
                warehouse.cool_stream(&claim.stream, TimeDelta::seconds(5)).await
            }
        }
    };
    match outcome.await {
        Ok(()) if matches!(error.remedy(), api::Remedy::Stop) => Done::Dropped,
        Ok(()) => Done::Api(error),
        Err(lost) => Done::Owed(claim.clone(), lost),
    }
}

async fn pause(
    warehouse: &Warehouse,
    state: &StreamState,
    claim: &Claim,
    error: &ApiError,
) -> Result<(), WarehouseError> {
    if state.paused_at.is_none() {
        tracing::error!(%error, "The stream is paused; it is tried again when its secret changes, and every 15 minutes.");
    }
    warehouse.pause_stream(&claim.stream, &error.to_string(), REFUSED_FOR).await
}

/// 15 s, 1 min, 4 min, 16 min, then every hour.
fn retry_delay(attempts: i32) -> TimeDelta {
    let power = attempts.clamp(0, 4);
    TimeDelta::seconds(15 * 4_i64.pow(power.unsigned_abs())).min(TimeDelta::hours(1))
}

/// Counts the range without the contacts below the threshold: a parameter that changes nothing may
/// be one that the server does not see.
async fn compare_below_threshold(
    source: &Source,
    claim: &Claim,
    read: &Read,
    metered: &Metered<'_>,
) -> Option<&'static str> {
    let (from, to) = claim.window.request_range();
    let mut request = PageRequest::first(from, to, 1);
    request.include_below_threshold = Some(false);
    let with = read.tally.total()?;
    let Some(without) = source.client.page(&request, metered).await.ok()?.total else {
        return Some("none");
    };
    if without < with {
        return Some("counted");
    }
    tracing::warn!(
        with,
        without,
        "include_below_threshold made no difference here: either no contact of this range is below the threshold, or \
         the API does not see the parameter; then set api.include_below_threshold_in = \"query\""
    );
    Some("none")
}

/// What the engine hands to a worker.
#[derive(Debug, Clone)]
pub(super) struct Bench {
    pub warehouse: Warehouse,
    pub options: Arc<Options>,
    pub sources: Arc<Vec<Arc<Source>>>,
    /// KiB of records that all windows in hand may hold together.
    memory: Arc<Shares>,
    /// Pages on their way, of all windows together.
    pub fetching: Arc<Shares>,
    /// Windows being written.
    writing: Arc<Semaphore>,
}

/// Windows of full size that may be in hand at once: one is read while others are written. More bring no speed.
const FULL_WINDOWS: usize = 2;
/// The part of a full window that is kept beside them for live windows of each stream: what comes between two polls.
const FIRST_PART: usize = 16;
/// Windows that are written at once: text, rows and COPY buffers of a batch are the dearest memory there is,
/// and two keep both this process and the server at work.
const WRITERS: usize = 2;
const KIB: usize = 1024;

impl Bench {
    pub(super) fn new(warehouse: Warehouse, options: Options, sources: Vec<Source>) -> Self {
        let full = full_window(&options);
        let is_alone = sources.len() <= 1;
        let windows = if is_alone { FULL_WINDOWS } else { FULL_WINDOWS + 1 };
        let memory = Portions { common: full * windows, left: full, first: full / FIRST_PART };
        let pages = if is_alone { options.fetches } else { options.fetches.max(2) };
        let fetching = Portions { common: pages, left: 1, first: 1 };
        let streams = || sources.iter().map(|source| (source.stream.as_str(), source.budget.account_id()));
        let shares = |portions| Arc::new(Shares::new(streams(), portions));
        let (memory, fetching) = (shares(memory), shares(fetching));
        Self {
            warehouse,
            options: Arc::new(options),
            sources: Arc::new(sources.into_iter().map(Arc::new).collect()),
            memory,
            fetching,
            writing: Arc::new(Semaphore::new(WRITERS)),
        }
    }

    /// Waits until the windows in hand leave room for one more of this size; the room is given back when the value is
    /// dropped.
    pub(super) async fn room(&self, stream: &str, turn: Turn, bytes: usize) -> Option<Taken> {
        let full = full_window(&self.options);
        self.memory.take(stream, turn, (bytes / KIB).clamp((full / 32).max(1), full)).await
    }

    pub(super) fn source(&self, stream: &str) -> Option<&Arc<Source>> {
        self.sources.iter().find(|source| source.stream == stream)
    }
}

/// KiB of records in a window of full size.
fn full_window(options: &Options) -> usize {
    (options.max_window_bytes / KIB).max(1)
}
