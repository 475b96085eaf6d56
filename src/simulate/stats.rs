//! What the simulator has been asked, for tests to look at.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ask::Ask;
use super::limiter::BusiestMinute;

/// How many of the latest ranges are remembered.
const RANGES: usize = 10_000;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// By stream id, then by outcome: `ok`, `rate_limited`, `unauthorised`, `bad_request` or a fault's name.
    pub requests: BTreeMap<String, BTreeMap<String, u64>>,
    pub rows_served: u64,
    /// Requests that passed the rate limit, faults not counted.
    pub refusals: u64,
    /// The most requests in any 60 seconds of the clock, refused ones too.
    pub busiest_minute: usize,
    /// The latest answered requests, oldest first.
    pub ranges: VecDeque<AskedRange>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedRange {
    pub stream: String,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub offset: u64,
    pub page: u64,
    pub limit: u64,
    pub rows: u64,
    pub total: u64,
}

#[derive(Debug, Default)]
pub struct Record {
    stats: Stats,
    busiest: BusiestMinute,
}

impl Record {
    pub fn arrived(&mut self, now: i64) {
        self.busiest.note(now);
    }

    pub fn outcome(&mut self, stream: &str, outcome: &str) {
        // A client that makes up stream ids must not fill the memory.
        let is_known = self.stats.requests.contains_key(stream) || self.stats.requests.len() < 1_000;
        let stream = if is_known { stream } else { "(others)" };
        *self.stats.requests.entry(stream.to_owned()).or_default().entry(outcome.to_owned()).or_default() += 1;
    }

    pub fn refused(&mut self) {
        self.stats.refusals += 1;
    }

    pub fn served(&mut self, stream: &str, ask: &Ask, rows: u64, total: u64) {
        self.stats.rows_served += rows;
        if self.stats.ranges.len() == RANGES {
            self.stats.ranges.pop_front();
        }
        self.stats.ranges.push_back(AskedRange {
            stream: stream.to_owned(),
            from: ask.from,
            to: ask.to,
            offset: ask.offset,
            page: ask.page,
            limit: ask.limit,
            rows,
            total,
        });
    }

    pub fn stats(&self) -> Stats {
        Stats { busiest_minute: self.busiest.most(), ..self.stats.clone() }
    }
}
