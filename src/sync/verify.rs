//! Compares what the vendor has now with what the tables hold: by the ids and hashes of a fresh read,
//! never by totals that were kept. Claims nothing and writes nothing; memory is bounded by a window.

mod repair;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chrono::{DateTime, TimeDelta, Utc};

use super::commit::{learn_filter, settle_repeats};
use super::intake::{Record, Text};
use super::planner::learn_size;
use super::reading::{Read, ReadError, Verdict, WindowReader};
use super::source::{Metered, Options, Source};
use super::worker::Bench;
use crate::api::PageRequest;
use crate::domain::payload::Texts;
use crate::domain::privacy::Subject;
use crate::domain::{ContentHash, Window};
use crate::normalise::normalise;
use crate::warehouse::Warehouse;
use crate::warehouse::budget::Turn;
use crate::warehouse::load::Proof;
use crate::warehouse::streams::{Learned, StreamState};
use crate::warehouse::verification::{HeldVersion, Seen, Unseen};

pub use repair::{Order, Orders};

/// The span of a range that is only counted.
const COUNTED_SPAN: TimeDelta = TimeDelta::days(7);

/// A record that the tables do not hold as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differing {
    /// The conversation id; without one, `hash:` and the hash of the record's text.
    pub id: String,
    pub started_at: Option<DateTime<Utc>>,
}

/// What one window showed.
#[derive(Debug, Clone)]
pub struct Comparison {
    pub window: Window,
    pub began: DateTime<Utc>,
    /// `None`: the read is not proved whole, so nothing is said to be gone.
    pub proof: Option<Proof>,
    /// Why it is not proved.
    pub doubt: Option<String>,
    /// Records compared, each id once.
    pub compared: u64,
    pub equal: u64,
    /// Records that could not become rows, and are kept in quarantine as they were read.
    pub quarantined: u64,
    /// Contacts without an entry in `koresync.raw_contacts`: only their ids could be compared.
    pub by_id_alone: u64,
    /// Read, and not in the tables, or marked there as removed.
    pub missing_here: Vec<Differing>,
    /// In the tables, and not read. Empty where the vendor is not known to filter by the start.
    pub gone_there: Vec<Unseen>,
    pub different: Vec<Differing>,
    pub requests: u64,
}

impl Comparison {
    pub fn is_equal(&self) -> bool {
        self.proof.is_some() && self.differences() == 0
    }

    pub fn differences(&self) -> usize {
        self.missing_here.len() + self.gone_there.len() + self.different.len()
    }
}

/// A range as the vendor counts it and as the tables do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub window: Window,
    pub total: u64,
    /// The tables' count: a range, since nobody says which contacts at the edges the vendor counts.
    pub held_least: u64,
    pub held_most: u64,
}

impl Counted {
    pub fn is_equal(&self) -> bool {
        (self.held_least..=self.held_most).contains(&self.total)
    }
}

/// Reads one stream for comparison.
#[derive(Debug)]
pub struct Verifier {
    bench: Bench,
    source: Arc<Source>,
    /// What is known of the server, and what these reads teach: kept here alone.
    state: StreamState,
    /// Ranges still to be read, the next one last.
    pending: Vec<Order>,
    span: TimeDelta,
}

impl Verifier {
    /// Errors when the stream was never run.
    pub async fn new(warehouse: Warehouse, options: Options, source: Source) -> anyhow::Result<Self> {
        let state = warehouse.stream_state(&source.stream).await?;
        let span = TimeDelta::seconds(state.span_seconds);
        let bench = Bench::new(warehouse, options, vec![source]);
        let source = Arc::clone(&bench.sources[0]);
        Ok(Self { bench, source, state, pending: Vec::new(), span })
    }

    /// Sets out to read these ranges, in this order. Those that need not be read whole are cut into
    /// windows as they are reached.
    pub fn set_out(&mut self, ranges: impl IntoIterator<Item = Order>) {
        self.pending = ranges.into_iter().collect();
        self.pending.reverse();
        self.span = TimeDelta::seconds(self.state.span_seconds);
    }

    /// Reads and compares the next window; `None` at the end of the ranges.
    pub async fn next(&mut self) -> anyhow::Result<Option<Comparison>> {
        let mut requests = 0;
        while let Some(window) = self.take() {
            let began = self.bench.warehouse.clock().now();
            let metered = Metered::new(&self.source.budget, Turn::Later);
            let lost = AtomicBool::new(false);
            let mut reader = WindowReader::new(&self.source, &self.bench, &self.state, &metered, &lost, window);
            let verdict = reader.read().await;
            let learned = std::mem::take(&mut reader.learned);
            requests += metered.requests();
            let (read, proof, doubt) = match verdict {
                Ok(Verdict::Proved(read, proof)) => (read, Some(proof), None),
                Ok(Verdict::Unproved(read, why)) => (read, None, Some(why)),
                Ok(Verdict::Split(parts, why)) => {
                    tracing::debug!(%window, parts = parts.len(), why, "Cutting the window.");
                    self.span = parts.first().map_or(self.span, |part| part.length());
                    self.pending.extend(parts.into_iter().rev().map(Order::part));
                    remember(&mut self.state, &learned, began);
                    continue;
                }
                Err(ReadError::Api(error)) => return Err(error.into()),
                Err(error @ (ReadError::Lost | ReadError::Warehouse(_))) => return Err(error.into()),
            };
            self.learn(learned, window, &read);
            let mut comparison = self.compare(window, began, &read, proof.is_some()).await?;
            (comparison.proof, comparison.doubt, comparison.requests) = (proof, doubt, requests);
            return Ok(Some(comparison));
        }
        Ok(None)
    }

    /// The next window, at most as long as one that should be proved in one read.
    fn take(&mut self) -> Option<Window> {
        let Order { range, is_whole } = self.pending.pop()?;
        let cut = range.split_at(range.from + self.span.max(TimeDelta::seconds(1)));
        match cut.filter(|_| !is_whole) {
            Some((window, rest)) => {
                self.pending.push(Order::part(rest));
                Some(window)
            }
            None => Some(range),
        }
    }

    fn learn(&mut self, mut learned: Learned, window: Window, read: &Read) {
        let now = self.bench.warehouse.clock().now();
        let bytes: usize = read.records.iter().map(|record| record.text_bytes).sum();
        let size = (read.tally.rows, bytes);
        self.state.span_seconds = self.span.num_seconds().max(1);
        learn_filter(&mut learned, window, &settle_repeats(&read.records));
        learn_size(&mut learned, &self.source, &self.bench.options, &self.state, window.length(), size, now);
        self.span = learned.span.unwrap_or(self.span);
        remember(&mut self.state, &learned, now);
    }

    async fn compare(
        &self,
        window: Window,
        began: DateTime<Utc>,
        read: &Read,
        is_proved: bool,
    ) -> anyhow::Result<Comparison> {
        let warehouse = &self.bench.warehouse;
        let stream = &self.source.stream;
        let is_by_start = self.is_by_start();
        // Who was erased is held nowhere, and that is no difference.
        let guard = warehouse.guard().await?;
        let is_kept_out = |record: &Record| {
            record.identity.conversation_id.as_deref().is_some_and(|id| guard.is_erased(Subject::Conversation(id)))
        };
        let mut records = settle_repeats(&read.records);
        records.retain(|record| !is_kept_out(record));
        let ids: Vec<&str> = records.iter().filter_map(|r| r.identity.conversation_id.as_deref()).collect();
        let held = warehouse.held_versions(stream, &ids).await?;
        let mut comparison = Comparison {
            window,
            began,
            proof: None,
            doubt: None,
            compared: 0,
            equal: 0,
            quarantined: 0,
            by_id_alone: 0,
            missing_here: Vec::new(),
            gone_there: Vec::new(),
            different: Vec::new(),
            requests: 0,
        };
        let mut doubtful: Vec<(&Record, bool)> = Vec::new();
        for record in records.iter().copied().filter(|record| !is_by_start || is_of(window, record)) {
            comparison.compared += 1;
            let held = record.identity.conversation_id.as_deref().and_then(|id| held.get(id));
            match held.map(|held| stands(record, held)) {
                Some(Standing::Equal) => comparison.equal += 1,
                Some(Standing::ByIdAlone) => comparison.by_id_alone += 1,
                Some(Standing::Differs) => doubtful.push((record, true)),
                Some(Standing::Removed) | None => doubtful.push((record, false)),
            }
        }
        let hashes: Vec<ContentHash> = doubtful.iter().map(|(record, _)| record.raw_hash).collect();
        let quarantined = warehouse.quarantined_hashes(stream, &hashes).await?;
        for (record, is_held) in doubtful {
            if quarantined.contains(&record.raw_hash) {
                comparison.quarantined += 1;
            } else {
                let id = record.identity.conversation_id.clone();
                let id = id.unwrap_or_else(|| format!("hash:{:?}", record.raw_hash));
                let differing = Differing { id, started_at: record.identity.started_at };
                let list = if is_held { &mut comparison.different } else { &mut comparison.missing_here };
                list.push(differing);
            }
        }
        if is_proved && is_by_start {
            let seen = Seen { ids: &ids, began, includes_below_threshold: self.source.include_below_threshold };
            comparison.gone_there = warehouse.unseen(stream, window, &seen).await?;
        }
        Ok(comparison)
    }

    /// Adds what a comparison asks to be read again.
    pub fn order(&self, orders: &mut Orders, comparison: &Comparison) {
        orders.note(comparison, self.is_by_start(), TimeDelta::seconds(self.state.span_seconds));
    }

    /// Whether the vendor is known to filter by the start: only then can it be told what is gone.
    pub fn is_by_start(&self) -> bool {
        self.state.filter_field.as_deref() == Some("start")
    }

    /// Whether the vendor's total is known to count something else than contacts.
    pub fn is_total_useless(&self) -> bool {
        self.state.is_total_rows == Some(false)
    }

    /// Counts a range of at most seven days, by one request. `None` when the vendor tells no total.
    pub async fn count(&self, window: Window) -> anyhow::Result<Option<Counted>> {
        let (from, to) = window.request_range();
        let metered = Metered::new(&self.source.budget, Turn::Later);
        let Some(total) = self.source.client.page(&PageRequest::first(from, to, 1), &metered).await?.total else {
            return Ok(None);
        };
        let held = self.bench.warehouse.held_count(&self.source.stream, window).await?;
        let whole = |count: i64| u64::try_from(count).unwrap_or_default();
        Ok(Some(Counted { window, total, held_least: whole(held.least), held_most: whole(held.most) }))
    }
}

/// The ranges in parts of seven days, each counted by one request.
pub fn counted_parts(ranges: &[Window]) -> Vec<Window> {
    let mut parts = Vec::new();
    for range in ranges {
        let mut rest = *range;
        while let Some((part, after)) = rest.split_at(rest.from + COUNTED_SPAN) {
            parts.push(part);
            rest = after;
        }
        parts.push(rest);
    }
    parts
}

/// Whether a record is this window's to compare. What starts in the second before it, or at its end, is
/// its neighbour's; what starts further away came by another time than the start, and is compared here.
fn is_of(window: Window, record: &Record) -> bool {
    let (from, to) = window.request_range();
    record.identity.started_at.is_none_or(|at| window.contains(at) || at < from || at >= to + TimeDelta::seconds(1))
}

enum Standing {
    Equal,
    ByIdAlone,
    Differs,
    Removed,
}

fn stands(record: &Record, held: &HeldVersion) -> Standing {
    if held.is_removed {
        return Standing::Removed;
    }
    // Received after this record: what is held is newer, and no difference.
    let is_later = held.read_at.is_some_and(|at| at > record.read_at);
    if is_later || held.raw_hash == Some(record.raw_hash) {
        return Standing::Equal;
    }
    let Some(canonical_hash) = held.canonical_hash else { return Standing::ByIdAlone };
    // A text that was held when its page came and is held no more: another content took its place.
    let Text::Packed(payload) = &record.text else { return Standing::Differs };
    let texts = Texts::unpack([payload]).unwrap_or_default();
    let canonical = texts.iter().find_map(|text| Some(normalise(text).ok()?.canonical_hash));
    if canonical == Some(canonical_hash) { Standing::Equal } else { Standing::Differs }
}

/// Keeps for the next windows what a read taught of the server.
fn remember(state: &mut StreamState, learned: &Learned, now: DateTime<Utc>) {
    state.paging = learned.paging.map(str::to_owned).or_else(|| state.paging.take());
    if state.filter_field.as_deref() != Some("other") {
        state.filter_field = learned.filter_field.map(str::to_owned).or_else(|| state.filter_field.take());
    }
    state.page_limit = learned.page_limit.or(state.page_limit);
    state.pages_max = learned.pages_max.or(state.pages_max);
    state.is_total_rows = learned.is_total_rows.or(state.is_total_rows);
    state.record_bytes = learned.record_bytes.or(state.record_bytes);
    state.contacts_per_hour = learned.contacts_per_hour.or(state.contacts_per_hour);
    if learned.has_repeats {
        state.repeats_seen_at = Some(now);
    }
}
