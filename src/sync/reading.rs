//! Reading a window: walking its pages, reading again, cutting it, until the read is proved or the
//! tries are used up.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};

use super::intake::{Intake, Record};
use super::paging::{self, Habit, Symptom};
use super::prove::{Tally, by_agreement, by_one_read, is_other_total};
use super::shares::Taken;
use super::sizing::{self, Bounds};
use super::source::{Metered, Options, Source};
use super::worker::Bench;
use crate::api::{ApiError, PageRequest};
use crate::domain::Window;
use crate::domain::clock::SharedClock;
use crate::faults::{Defect, Point, is_planted};
use crate::warehouse::load::Proof;
use crate::warehouse::streams::{Learned, StreamState};
use crate::warehouse::{WarehouseError, cross};

/// Reads of a range that cannot be cut any more, before it is left unverified.
const TRIES: usize = 4;
/// The vendor's default page: no server can call it too large.
const SMALLEST_LIMIT: u32 = 10;

/// One read of the whole range.
#[derive(Debug)]
pub struct Read {
    pub records: Vec<Record>,
    pub tally: Tally,
}

/// What came of a window.
#[derive(Debug)]
pub enum Verdict {
    Proved(Read, Proof),
    /// Kept all the same; why it is not proved.
    Unproved(Read, String),
    /// To be read in these parts, and why.
    Split(Vec<Window>, String),
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// The lease was lost: somebody else reads the window now.
    #[error("another worker holds this window now")]
    Lost,
}

enum Walk {
    Whole(Read),
    Symptom(Symptom),
    /// The window holds so many records that it is cut first.
    TooMany(u64),
}

struct Fetched {
    records: Vec<Record>,
    total: Option<u64>,
    has_more: Option<bool>,
}

/// Reads one window of a stream.
pub(super) struct WindowReader<'s> {
    source: &'s Source,
    bench: &'s Bench,
    /// Memory for its records; taken once it is known how many there are, kept until the reader is dropped.
    room: Option<Taken>,
    budget: &'s Metered<'s>,
    intake: Intake<'s>,
    /// Set when the lease is lost.
    lost: &'s AtomicBool,
    clock: &'s SharedClock,
    window: Window,
    habit: Habit,
    is_habit_fixed: bool,
    limit: u32,
    is_total_rows: Option<bool>,
    bounds: Bounds,
    pub(super) learned: Learned,
    /// The page size that the server keeps to, while less than asked for came in one page.
    clamped: Option<u32>,
    /// The page size that the server takes, after it refused a larger one.
    lowered: Option<u32>,
}

impl<'s> WindowReader<'s> {
    pub(super) fn new(
        source: &'s Source,
        bench: &'s Bench,
        state: &StreamState,
        budget: &'s Metered<'s>,
        lost: &'s AtomicBool,
        window: Window,
    ) -> Self {
        let options: &Options = &bench.options;
        let clock = bench.warehouse.clock();
        let known_limit = state.page_limit.and_then(|limit| u32::try_from(limit).ok());
        let limit = known_limit.map_or(source.page_size, |known| known.min(source.page_size));
        let known_habit = state.paging.as_deref().and_then(Habit::parse);
        Self {
            source,
            bench,
            room: None,
            budget,
            intake: Intake::new(&bench.warehouse, &source.stream),
            lost,
            clock,
            window,
            habit: source.paging.or(known_habit).unwrap_or_default(),
            is_habit_fixed: source.paging.is_some(),
            limit,
            is_total_rows: state.is_total_rows,
            bounds: bounds(state, limit, options, clock.now()),
            learned: Learned::default(),
            clamped: None,
            lowered: None,
        }
    }

    pub(super) async fn read(&mut self) -> Result<Verdict, ReadError> {
        let mut earlier: Vec<Tally> = Vec::new();
        let assumed = self.habit;
        let mut habits_tried = vec![assumed];
        loop {
            let trusts_total = self.is_total_rows != Some(false);
            let is_exhaustive = !trusts_total || !earlier.is_empty();
            let limit = if earlier.len().is_multiple_of(2) { self.limit } else { alternative(self.limit) };
            let walk = match self.walk(limit, is_exhaustive).await {
                Ok(walk) => walk,
                Err(ReadError::Api(error @ (ApiError::LimitRefused { .. } | ApiError::TooLarge { .. }))) => {
                    self.lower_limit(error)?;
                    continue;
                }
                Err(ReadError::Api(error @ ApiError::OffsetRefused { .. })) => return self.within_offset(error),
                Err(error) => return Err(error),
            };
            let read = match walk {
                Walk::TooMany(records) => {
                    let target = self.bounds.records();
                    if let Some(parts) = sizing::cut(self.window, records, target) {
                        return Ok(Verdict::Split(parts, format!("it holds {records} records")));
                    }
                    // A single second: read it whole, whatever it holds.
                    self.bounds.max_window_bytes = usize::MAX;
                    continue;
                }
                Walk::Symptom(symptom) => {
                    match paging::after(self.habit, symptom).filter(|h| !habits_tried.contains(h)) {
                        Some(habit) if !self.is_habit_fixed => {
                            tracing::info!(stream = %self.source.stream, ?symptom, habit = habit.as_str(), "The server pages otherwise than assumed; trying another way.");
                            habits_tried.push(habit);
                            self.habit = habit;
                            continue;
                        }
                        _ => {
                            // Nothing left to try: what the first way gave is judged as it is.
                            self.habit = assumed;
                            self.is_habit_fixed = true;
                            continue;
                        }
                    }
                }
                Walk::Whole(read) => read,
            };
            if trusts_total && let Some(proof) = by_one_read(&read.tally) {
                self.learn_from(&read, proof);
                return Ok(Verdict::Proved(read, proof));
            }
            if self.habit != assumed {
                // Another way is taken up only when it proves itself at once.
                self.habit = assumed;
                self.is_habit_fixed = true;
                continue;
            }
            let is_one_page = read.tally.pages <= 1 || self.window.halved().is_none();
            for other in &earlier {
                let other_total = is_other_total(other, &read.tally);
                if let Some(proof) = by_agreement(other, &read.tally)
                    && (other_total || is_one_page || self.is_total_rows == Some(false))
                {
                    if other_total {
                        self.learned.is_total_rows = Some(false);
                    } else if by_one_read(&read.tally).is_some() && by_one_read(other).is_some() {
                        self.learned.is_total_rows = Some(true);
                    }
                    self.learn_from(&read, proof);
                    return Ok(Verdict::Proved(read, proof));
                }
            }
            earlier.push(read.tally.clone());
            if earlier.len() < 2 {
                continue;
            }
            if let Some(parts) = self.smaller(&earlier, is_one_page) {
                return Ok(Verdict::Split(parts, doubt(&read.tally)));
            }
            if earlier.len() >= TRIES {
                let why = doubt(&read.tally);
                return Ok(Verdict::Unproved(read, why));
            }
        }
    }

    /// Reads the window once more, at another page size, after a read that is proved by its count. Where as many contacts went
    /// as came meanwhile, one may have slid through between two pages of either, hardly of both. `None` when this read is not
    /// proved at once.
    pub(super) async fn read_again(&mut self) -> Result<Option<(Read, Proof)>, ReadError> {
        let Walk::Whole(read) = self.walk(alternative(self.limit), true).await? else { return Ok(None) };
        Ok(by_one_read(&read.tally).map(|proof| (read, proof)))
    }

    /// The parts of a window whose reads prove nothing: single pages when ids repeat in every read,
    /// halves otherwise; `None` when it is one page or one second already.
    fn smaller(&mut self, reads: &[Tally], is_one_page: bool) -> Option<Vec<Window>> {
        let repeats = reads.iter().all(Tally::has_repeats);
        self.learned.has_repeats |= repeats;
        if is_one_page {
            return None;
        }
        let rows = reads.iter().map(|read| read.rows).max().unwrap_or_default();
        if repeats && let Some(parts) = sizing::cut(self.window, rows, u64::from(self.limit) * 2 / 3) {
            return Some(parts);
        }
        let (early, late) = self.window.halved()?;
        Some(vec![early, late])
    }

    /// A server that refuses the page size is asked for smaller ones, down to its documented default.
    fn lower_limit(&mut self, error: ApiError) -> Result<(), ReadError> {
        let lower = if self.limit > 100 { 100 } else { (self.limit / 2).max(SMALLEST_LIMIT) };
        let lower = if matches!(error, ApiError::TooLarge { .. }) { self.limit / 2 } else { lower };
        if lower == 0 || lower >= self.limit {
            return Err(error.into());
        }
        tracing::warn!(stream = %self.source.stream, limit = self.limit, lower, %error, "Asking for smaller pages.");
        self.limit = lower;
        self.bounds.limit = lower;
        // Learned once a read at this size is proved; an answer that was too large says nothing of others.
        self.lowered = matches!(error, ApiError::LimitRefused { .. }).then_some(lower);
        Ok(())
    }

    /// A server that refuses to skip further is asked for windows that need fewer pages.
    fn within_offset(&mut self, error: ApiError) -> Result<Verdict, ReadError> {
        let ApiError::OffsetRefused { offset, page, .. } = error else { return Err(error.into()) };
        let pages = (offset / u64::from(self.limit.max(1))).max(page.saturating_sub(1)).max(1);
        self.learned.pages_max = i32::try_from(pages).ok();
        self.bounds.pages_max = u32::try_from(pages).ok();
        match self.window.halved() {
            Some((early, late)) => Ok(Verdict::Split(vec![early, late], error.to_string())),
            None => Err(error.into()),
        }
    }

    fn learn_from(&mut self, read: &Read, proof: Proof) {
        if read.tally.pages > 1 && !self.is_habit_fixed {
            self.learned.paging = Some(self.habit.as_str());
        }
        let clamped = self.clamped.filter(|clamped| read.tally.pages > 1 && *clamped >= SMALLEST_LIMIT);
        if let Some(limit) = clamped.or(self.lowered) {
            self.learned.page_limit = i32::try_from(limit).ok();
        }
        if proof == Proof::Count {
            self.learned.is_total_rows = Some(true);
        }
        self.learned.has_repeats |= read.tally.has_repeats();
    }

    /// Walks the pages once. All but the first and the last are asked for side by side; the last is
    /// asked for when the others are in, so that its total is the latest.
    async fn walk(&mut self, limit: u32, is_exhaustive: bool) -> Result<Walk, ReadError> {
        let first = self.fetch(0, limit).await?;
        let received = u32::try_from(first.records.len()).unwrap_or(u32::MAX);
        let due = first.total.unwrap_or_default();
        if self.is_total_rows != Some(false) && self.is_too_many(due) {
            return Ok(Walk::TooMany(due));
        }
        self.make_room(&first, due).await;
        // Fewer came than asked for while more is due: the server keeps to its own page size. Where the
        // total cannot be trusted, so may any short page be; then what follows it shows.
        let asked = limit;
        let is_clamped = received > 0 && received < limit && (due > u64::from(received) || is_exhaustive);
        let limit = if is_clamped { received } else { limit };
        self.clamped = is_clamped.then_some(received);
        let expected = due.div_ceil(u64::from(limit.max(1))).max(1);
        let mut pages = vec![first];
        if expected > 2 {
            for page in self.fetch_side_by_side(1..expected - 1, limit).await? {
                pages.push(page);
            }
        }
        if expected > 1 {
            pages.push(self.fetch(expected - 1, limit).await?);
        }
        // A full last page says nothing of what follows; a server that says so is asked once more.
        loop {
            let last = &pages[pages.len() - 1];
            let is_short = last.records.len() < limit as usize;
            let is_doubtful = self.is_total_rows != Some(true) || last.has_more == Some(true);
            let goes_on = is_exhaustive || first_total(&pages).is_none() || is_doubtful;
            if is_short || !goes_on || adds_nothing(&pages) || self.is_too_large(&pages) {
                break;
            }
            let next = self.fetch(pages.len() as u64, limit).await?;
            pages.push(next);
        }
        if self.is_too_large(&pages) {
            return Ok(Walk::TooMany(due.max(received_of(&pages))));
        }
        if let Some(symptom) = self.symptom(&pages, limit, due).await? {
            return Ok(Walk::Symptom(symptom));
        }
        let is_end = pages[1..].iter().all(|page| page.records.is_empty());
        if is_clamped && is_end {
            self.clamped = None;
        }
        Ok(Walk::Whole(assemble(pages, if is_end { asked } else { limit })))
    }

    /// By what the first page shows of the others. A window whose first page does not come, since its stream fails, takes no room
    /// from those that are read.
    async fn make_room(&mut self, first: &Fetched, due: u64) {
        if self.room.is_none() {
            let bytes: usize = first.records.iter().map(|record| record.text_bytes).sum();
            let received = first.records.len().max(1);
            let due = usize::try_from(due).unwrap_or(usize::MAX).max(received);
            let expected = (bytes / received).saturating_mul(due);
            self.room = self.bench.room(&self.source.stream, self.budget.turn(), expected).await;
        }
    }

    /// Whether so many records would be better cut before they are all fetched.
    fn is_too_many(&self, due: u64) -> bool {
        let most = self.bounds.pages_max.map_or(self.bounds.records() * 3 / 2, |_| self.bounds.records());
        self.bounds.max_window_bytes != usize::MAX && due > most.max(u64::from(self.limit))
    }

    fn is_too_large(&self, pages: &[Fetched]) -> bool {
        let bytes: usize = pages.iter().flat_map(|p| &p.records).map(|r| r.text_bytes).sum();
        bytes / 2 > self.bounds.max_window_bytes && pages.len() > 1
    }

    /// What speaks against the habit, if it shows again when the page at fault is asked for once more.
    async fn symptom(&self, pages: &[Fetched], limit: u32, due: u64) -> Result<Option<Symptom>, ReadError> {
        if self.is_habit_fixed || pages.len() < 2 {
            return Ok(None);
        }
        if is_same_page(&pages[0], &pages[1]) {
            let again = self.fetch(1, limit).await?;
            return Ok(is_same_page(&pages[0], &again).then_some(Symptom::SamePage));
        }
        let due_pages = usize::try_from(due.div_ceil(u64::from(limit.max(1)))).unwrap_or(usize::MAX);
        let empty = pages.iter().take(due_pages).position(|page| page.records.is_empty());
        if let Some(k) = empty.filter(|k| *k > 0)
            && self.is_total_rows != Some(false)
            && received_of(pages) < due
        {
            let again = self.fetch(k as u64, limit).await?;
            return Ok(again.records.is_empty().then_some(Symptom::EmptyPage));
        }
        if self.habit != Habit::Offset && distinct_of(pages) * 2 < received_of(pages) + distinct_of(&pages[..1]) {
            return Ok(Some(Symptom::Repeats));
        }
        Ok(None)
    }

    /// The pages `range`, in order. All are waited for, even when one fails: a request that is dropped
    /// midway could leave a database connection in an unknown state.
    async fn fetch_side_by_side(&self, range: std::ops::Range<u64>, limit: u32) -> Result<Vec<Fetched>, ReadError> {
        let failed = AtomicBool::new(false);
        let outcomes: Vec<Option<Result<Fetched, ReadError>>> = stream::iter(range)
            .map(|k| {
                let failed = &failed;
                async move {
                    if failed.load(Ordering::Relaxed) {
                        return None;
                    }
                    let outcome = self.fetch(k, limit).await;
                    failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
                    Some(outcome)
                }
            })
            .buffered(self.bench.options.fetches.max(1))
            .collect()
            .await;
        outcomes.into_iter().flatten().collect()
    }

    async fn fetch(&self, k: u64, limit: u32) -> Result<Fetched, ReadError> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(ReadError::Lost);
        }
        let (from, to) = self.window.request_range();
        let (offset, page) = self.habit.place(k, limit);
        let request = PageRequest { from, to, offset, page, limit, include_below_threshold: None };
        let _taken = self.bench.fetching.take(&self.source.stream, self.budget.turn(), 1).await;
        let answer = self.source.client.page(&request, self.budget).await?;
        let read_at = self.clock.now();
        cross(Point::PageRead)?;
        let records = self.intake.take_in(&answer.records, read_at).await?;
        Ok(Fetched { records, total: answer.total, has_more: answer.has_more })
    }
}

/// Another page size near this one, so that a second read is cut at other places.
fn alternative(limit: u32) -> u32 {
    if limit > 1 { (limit - (limit / 8).max(1)).max(1) } else { 2 }
}

fn bounds(state: &StreamState, limit: u32, options: &Options, now: DateTime<Utc>) -> Bounds {
    Bounds {
        limit,
        pages_max: state.pages_max.and_then(|pages| u32::try_from(pages).ok()),
        max_window_bytes: options.max_window_bytes,
        record_bytes: state.record_bytes,
        repeats_seen_at: state.repeats_seen_at,
        now,
    }
}

/// The bounds of a stream's windows, as the planner needs them.
pub(super) fn planned_bounds(source: &Source, options: &Options, state: &StreamState, now: DateTime<Utc>) -> Bounds {
    let known_limit = state.page_limit.and_then(|limit| u32::try_from(limit).ok());
    bounds(state, known_limit.map_or(source.page_size, |known| known.min(source.page_size)), options, now)
}

fn first_total(pages: &[Fetched]) -> Option<u64> {
    pages.first().and_then(|page| page.total)
}

fn received_of(pages: &[Fetched]) -> u64 {
    pages.iter().map(|page| page.records.len() as u64).sum()
}

fn distinct_of(pages: &[Fetched]) -> u64 {
    pages.iter().flat_map(|page| &page.records).map(Record::key).collect::<std::collections::HashSet<_>>().len() as u64
}

/// Whether the last page holds nothing that the pages before did not: the server goes round in circles.
fn adds_nothing(pages: &[Fetched]) -> bool {
    pages.split_last().is_some_and(|(last, before)| {
        !before.is_empty() && distinct_of(before) == distinct_of(pages) && !last.records.is_empty()
    })
}

fn is_same_page(one: &Fetched, other: &Fetched) -> bool {
    !one.records.is_empty()
        && one.records.len() == other.records.len()
        && one.records.iter().zip(&other.records).all(|(a, b)| a.raw_hash == b.raw_hash)
}

fn assemble(pages: Vec<Fetched>, limit: u32) -> Read {
    let is_exhaustive = pages.last().is_some_and(|page| page.records.len() < limit as usize);
    // An empty page after the others only shows that there was nothing more.
    let filled = pages.iter().filter(|page| !page.records.is_empty()).count().max(1);
    let mut tally = Tally { pages: filled as u64, is_exhaustive, limit, ..Tally::default() };
    let mut records = Vec::new();
    for page in pages {
        tally.totals.push(page.total);
        records.extend(page.records);
    }
    tally.rows = records.len() as u64;
    tally.identities = records.iter().map(Record::key).collect();
    if filled > 1 && is_planted(Defect::LastPageDropped) {
        records.truncate(limit as usize * (filled - 1));
    }
    Read { records, tally }
}

fn doubt(read: &Tally) -> String {
    let totals: std::collections::BTreeSet<String> =
        read.totals.iter().map(|total| total.map_or_else(|| "none".to_owned(), |t| t.to_string())).collect();
    let totals: Vec<String> = totals.into_iter().collect();
    format!(
        "the read is not proved whole: total {}, {} records received, {} distinct",
        totals.join(" then "),
        read.rows,
        read.distinct()
    )
}
