//! The rule of rechecks: when a closed window is read again, with which neighbours, and what is given up when
//! the budget does not carry it. State in, windows out: nothing here asks the database or a clock.

pub mod cost;
pub(super) mod count;
pub(super) mod lane;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::sizing::LONGEST;
use crate::domain::Window;
use crate::warehouse::rechecks::Closed;

/// Due windows wait for neighbours to fill pages with: this part of their rung at most.
const GATHERING: i32 = 4;
/// A quiet window is due this part of its rung later.
const QUIET: i32 = 4;
/// This part of a page stays free for what arrived since the last read.
const FREE: u64 = 20;

/// The rungs of `sync.recheck`, ascending. They count from a window's first verified read, whatever its age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    rungs: Vec<TimeDelta>,
}

/// How much one read should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Contacts a page.
    pub page: u64,
    /// Contacts a window.
    pub most: u64,
}

impl Fill {
    /// Of `records`, as many as fill whole pages, with some room for what is new; all when that is less than one.
    fn whole_pages(self, records: u64) -> u64 {
        let room = self.room();
        if records < room { records } else { records / room * room }
    }

    fn room(self) -> u64 {
        (self.page - self.page / FREE).max(1)
    }

    /// Contacts known of a window that is still read in the pages it may have.
    fn target(self) -> u64 {
        (self.most - self.most / FREE).max(1)
    }
}

/// A range to be read again for a rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    pub window: Window,
    /// From 1.
    pub rung: i16,
    pub due_at: DateTime<Utc>,
    pub contacts: u64,
}

impl Rule {
    pub fn new(rungs: &[Duration]) -> Self {
        Self { rungs: rungs.iter().filter_map(|rung| TimeDelta::from_std(*rung).ok()).collect() }
    }

    pub fn rungs(&self) -> &[TimeDelta] {
        &self.rungs
    }

    /// Seconds of each rung, as the ledger keeps them.
    pub fn seconds(&self) -> Vec<i64> {
        self.rungs.iter().map(TimeDelta::num_seconds).collect()
    }

    /// The next rung of a window, from 1, and its moment: the first that no read has answered. One read answers
    /// every rung that is past when it begins. Beyond the last rung there is no moment.
    pub fn next(&self, first_verified_at: DateTime<Utc>, read_at: DateTime<Utc>) -> (i16, Option<DateTime<Utc>>) {
        let moments = self.rungs.iter().map(|rung| first_verified_at + *rung);
        let next = (1_i16..).zip(moments).find(|(_, moment)| *moment > read_at);
        let beyond = i16::try_from(self.rungs.len() + 1).unwrap_or(i16::MAX);
        next.map_or((beyond, None), |(rung, moment)| (rung, Some(moment)))
    }

    /// When a window whose rung's moment is `ripe_at` is due: a quiet one later.
    pub fn due(&self, rung: i16, ripe_at: DateTime<Utc>, is_quiet: bool) -> DateTime<Utc> {
        if is_quiet { ripe_at + self.length(rung) / QUIET } else { ripe_at }
    }

    /// How long a window that is due waits for neighbours.
    pub fn gathering(&self, rung: i16) -> TimeDelta {
        self.length(rung) / GATHERING
    }

    fn length(&self, rung: i16) -> TimeDelta {
        let place = usize::try_from(rung - 1).unwrap_or_default();
        self.rungs.get(place).copied().unwrap_or_default()
    }

    /// What to read now of the ripe windows of a stream: neighbours of one rung together, whole pages of them, as soon as a
    /// full window is there or one of them has waited long enough; at once when `is_urgent`. The most pressing first.
    pub fn propose(&self, mut ripe: Vec<Closed>, now: DateTime<Utc>, fill: Fill, is_urgent: bool) -> Vec<Proposal> {
        ripe.sort_by_key(|closed| (closed.rung, closed.from_at, closed.to_at));
        let mut proposals = Vec::new();
        let mut rest = ripe.as_slice();
        while let Some(first) = rest.first() {
            let mut reach = first.to_at;
            let length = rest
                .iter()
                .position(|closed| {
                    let is_apart = closed.rung != first.rung || closed.from_at > reach;
                    reach = reach.max(closed.to_at);
                    is_apart
                })
                .unwrap_or(rest.len());
            let (chain, others) = rest.split_at(length);
            self.cut(chain, now, fill, is_urgent, &mut proposals);
            rest = others;
        }
        proposals.sort_by_key(|proposal| (proposal.rung, proposal.due_at));
        proposals
    }

    /// Cuts a chain of neighbours, from its early end, into the reads that are worth it now.
    fn cut(
        &self,
        mut chain: &[Closed],
        now: DateTime<Utc>,
        fill: Fill,
        is_urgent: bool,
        proposals: &mut Vec<Proposal>,
    ) {
        while let Some(first) = chain.first() {
            let reach = longest(chain, first.from_at, fill.target());
            let is_full = reach < chain.len();
            let Some(due_at) = chain[..reach].iter().map(|closed| closed.due_at).min() else { return };
            let has_waited = now - due_at >= self.gathering(first.rung);
            if now < due_at || !(is_full || has_waited || is_urgent) {
                // A full stretch that is not due yet must not hide one behind it that is.
                chain = &chain[reach..];
                continue;
            }
            let records = chain[..reach].iter().map(contacts).sum();
            let taken = if is_urgent {
                reach
            } else {
                // What does not fill a page waits for the next read, unless it has waited long enough.
                let whole = longest(chain, first.from_at, fill.whole_pages(records));
                let late = chain[..reach].iter().rposition(|closed| now - closed.due_at >= self.gathering(first.rung));
                whole.min(reach).max(late.map_or(0, |place| place + 1))
            };
            let (read, others) = chain.split_at(taken);
            let to = read.iter().map(|closed| closed.to_at).max().unwrap_or(first.to_at);
            proposals.extend(Window::new(first.from_at, to).map(|window| Proposal {
                window,
                rung: first.rung,
                due_at,
                contacts: read.iter().map(contacts).sum(),
            }));
            chain = others;
        }
    }
}

/// What the round of all history reads next: the windows given follow each other and were read longest ago.
pub fn round(stale: &[Closed], fill: Fill) -> Option<Window> {
    let first = stale.first()?;
    let mut reach = first.to_at;
    let joined = stale.iter().position(|closed| {
        let is_apart = closed.from_at > reach;
        reach = reach.max(closed.to_at);
        is_apart
    });
    let chain = &stale[..joined.unwrap_or(stale.len())];
    let taken = longest(chain, first.from_at, fill.target());
    Window::new(first.from_at, chain[..taken].iter().map(|closed| closed.to_at).max()?)
}

/// How many windows from the first on may be read as one: at least one, not more contacts than `most` and not longer
/// than the longest window.
fn longest(chain: &[Closed], from: DateTime<Utc>, most: u64) -> usize {
    let mut records = 0;
    let too_much = chain.iter().position(|closed| {
        records += contacts(closed);
        records > most || closed.to_at - from > LONGEST
    });
    too_much.unwrap_or(chain.len()).max(1)
}

fn contacts(closed: &Closed) -> u64 {
    u64::try_from(closed.contacts).unwrap_or_default()
}
