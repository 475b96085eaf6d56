//! The recheck lane's planner: asks the ledger what may be read again, and files what the rule proposes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::cost::{self, Demand, SPARE_SHARE, WEEK};
use super::{Fill, Proposal, Rule, round};
use crate::domain::Window;
use crate::sync::reading::planned_bounds;
use crate::sync::source::{Options, Source};
use crate::warehouse::rechecks::{Agenda, Outlook, Schedule};
use crate::warehouse::streams::StreamState;
use crate::warehouse::windows::Errand;
use crate::warehouse::{Warehouse, WarehouseError};

/// Settled windows looked at for one read of the round.
const ROUND: i64 = 500;

/// One look at the lane.
#[derive(Debug)]
pub struct Look<'a> {
    pub warehouse: &'a Warehouse,
    pub options: &'a Options,
    pub now: DateTime<Utc>,
    /// Whether it is to come to an end: what is due is read at once, and nothing that is not due.
    pub is_urgent: bool,
}

/// A stream that the lane may work on.
#[derive(Debug)]
pub struct Candidate {
    pub source: Arc<Source>,
    pub state: StreamState,
}

impl Candidate {
    fn stream(&self) -> &str {
        &self.state.stream
    }

    /// A count tells something only where ranges are of starts and totals of rows.
    fn can_be_counted(&self) -> bool {
        self.state.filter_field.as_deref() == Some("start") && self.state.is_total_rows != Some(false)
    }
}

impl Look<'_> {
    fn rule(&self) -> &Rule {
        &self.options.recheck
    }

    fn fill(&self, candidate: &Candidate) -> Fill {
        let bounds = planned_bounds(&candidate.source, self.options, &candidate.state, self.now);
        Fill { page: u64::from(bounds.limit.max(1)), most: bounds.records() }
    }

    /// From where on contacts are kept, up to the next hour, so that it is written once an hour.
    fn kept_from(&self) -> Option<DateTime<Utc>> {
        let before = self.options.retention.cutoffs(self.now).contacts?;
        DateTime::from_timestamp((before.timestamp().div_euclid(3_600) + 1) * 3_600, 0)
    }

    /// Plans what the lane reads next. `streams` are all that this process works on; `candidates` those whose account has
    /// something left: no live window and no backfill waits there. Returns how many windows were planned.
    pub async fn plan(&self, streams: &[String], candidates: &[Candidate]) -> Result<usize, WarehouseError> {
        if self.rule().rungs().is_empty() {
            return Ok(0);
        }
        let kept_from = self.kept_from();
        let seconds = self.rule().seconds();
        for state in candidates.iter().map(|candidate| &candidate.state) {
            if state.recheck_rungs.as_ref() != Some(&seconds) {
                self.warehouse.set_rungs(&state.stream, &seconds).await?;
            }
            if state.kept_from != kept_from {
                self.warehouse.set_kept_from(&state.stream, kept_from).await?;
            }
        }
        // One question a look, so that a lane without work costs next to nothing.
        let names: Vec<&str> = candidates.iter().map(Candidate::stream).collect();
        let agenda = self.warehouse.agenda(&names, self.now, self.now - WEEK).await?;
        let among = |wanted: &dyn Fn(&Agenda) -> bool| -> Vec<&Candidate> {
            let is_wanted = |c: &&Candidate| agenda.iter().any(|item| item.stream == c.stream() && wanted(item));
            candidates.iter().filter(is_wanted).collect()
        };
        for candidate in among(&|item| item.has_unscheduled) {
            self.keep_schedule(&candidate.state).await?;
            // What has climbed its last rung is counted from now on.
            if candidate.can_be_counted() {
                self.warehouse.file_counts(candidate.stream(), WEEK, self.now).await?;
            }
        }
        // Half of the workers stay free for what is more urgent. What waits for a stream that fails or is refused takes no worker, so
        // it holds up its own stream alone; what waits for an account's limit may have one for long, so an account that has nothing
        // under way may have something all the same, as long as one worker stays free.
        let most = (self.options.workers / 2).max(1);
        let open_of_each = self.warehouse.open_rechecks(streams).await?;
        let count = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        let mut open: BTreeMap<&str, usize> = candidates.iter().map(|c| (c.state.account_id.as_str(), 0)).collect();
        for stream in &open_of_each {
            *open.entry(&stream.account_id).or_default() += count(stream.ready);
        }
        // Parts of what was cut may be more than were planned: no account counts for more than it would get.
        let all: usize = open.values().map(|open| *open.min(&most)).sum();
        let is_full = all >= most;
        let all_but_one = self.options.workers.saturating_sub(1).max(1);
        let room = if is_full { 1 } else { most - all };
        let room = room.min(all_but_one.saturating_sub(all));
        if room == 0 {
            return Ok(0);
        }
        let open_of_account = |item: &Agenda| {
            let candidate = candidates.iter().find(|c| c.stream() == item.stream);
            candidate.and_then(|c| open.get(c.state.account_id.as_str())).copied().unwrap_or_default()
        };
        let has_room = |item: &Agenda| {
            let its = open_of_each.iter().find(|stream| stream.stream == item.stream);
            its.is_none_or(|stream| count(stream.planned) < most) && (!is_full || open_of_account(item) == 0)
        };
        let due = among(&|item| item.is_rung_due && has_room(item));
        let mut planned = self.plan_rungs(&due, candidates, room).await?;
        if planned == 0 {
            planned = self.plan_counts(&among(&|item| item.is_count_due && has_room(item)), room).await?;
        }
        if planned == 0 && !self.is_urgent {
            let is_idle = |item: &Agenda| has_room(item) && open_of_account(item) == 0;
            planned = self.plan_round(&among(&|item| item.is_stale && is_idle(item)), room).await?;
        }
        Ok(planned)
    }

    /// Sets the next rung of every window that was read since the last look.
    async fn keep_schedule(&self, state: &StreamState) -> Result<(), WarehouseError> {
        let unscheduled = self.warehouse.unscheduled(&state.stream).await?;
        let schedules: Vec<Schedule> = unscheduled
            .into_iter()
            .map(|window| {
                let (rung, ripe_at) = self.rule().next(window.first_verified_at, window.read_at);
                let ripe_and_due = ripe_at.map(|ripe| (ripe, self.rule().due(rung, ripe, window.is_quiet)));
                Schedule { id: window.id, rung, ripe_and_due }
            })
            .collect();
        self.warehouse.schedule(&state.stream, &schedules).await
    }

    async fn plan_rungs(
        &self,
        due: &[&Candidate],
        candidates: &[Candidate],
        room: usize,
    ) -> Result<usize, WarehouseError> {
        let mut proposals: Vec<(usize, Proposal)> = Vec::new();
        let rungs = i16::try_from(self.rule().rungs().len()).unwrap_or(i16::MAX);
        let mut outlooks: Option<Vec<Outlook>> = None;
        for (place, candidate) in due.iter().enumerate() {
            let known = candidate.state.rungs_carried.unwrap_or(rungs);
            let mut ripe = self.warehouse.ripe(candidate.stream(), self.now, known).await?;
            if ripe.is_empty() {
                continue;
            }
            if outlooks.is_none() {
                outlooks = Some(self.warehouse.outlooks(self.now).await?);
            }
            let carried = self.carried(candidate, candidates, outlooks.as_deref().unwrap_or_default()).await?;
            ripe.retain(|closed| closed.rung <= carried);
            let proposed = self.rule().propose(ripe, self.now, self.fill(candidate), self.is_urgent);
            proposals.extend(proposed.into_iter().map(|proposal| (place, proposal)));
        }
        proposals.sort_by_key(|(_, proposal)| (proposal.rung, proposal.due_at));
        let mut planned = 0;
        for (place, proposal) in proposals {
            if planned == room {
                break;
            }
            let errand = Errand::rung(proposal.rung);
            let stream = due[place].stream();
            planned += usize::from(self.warehouse.file_recheck(stream, proposal.window, errand).await?);
        }
        Ok(planned)
    }

    /// How many rungs the account's budget carries; a change is kept and told.
    async fn carried(
        &self,
        candidate: &Candidate,
        candidates: &[Candidate],
        outlooks: &[Outlook],
    ) -> Result<i16, WarehouseError> {
        let ours: Vec<&Outlook> = outlooks.iter().filter(|o| o.account_id == candidate.state.account_id).collect();
        let demands: Vec<Demand> = ours
            .iter()
            .map(|outlook| {
                // A stream that is held off just now asks for its part all the same.
                let like = candidates.iter().find(|c| c.stream() == outlook.stream).unwrap_or(candidate);
                Demand {
                    contacts_per_day: outlook.contacts_per_day,
                    poll: TimeDelta::from_std(like.source.poll_interval).unwrap_or(TimeDelta::minutes(1)),
                    fill: self.fill(like),
                }
            })
            .collect();
        let budget = ours.first().map_or(f64::MAX, |outlook| outlook.requests_per_minute * 60.0 * 24.0);
        let carried = i16::try_from(cost::carried(self.rule(), &demands, budget)).unwrap_or(i16::MAX);
        let rungs = self.rule().rungs();
        if let Some(before) = self.warehouse.set_rungs_carried(candidate.stream(), carried).await? {
            let given_up = rungs.get(usize::try_from(carried).unwrap_or_default()..).unwrap_or_default();
            if !given_up.is_empty() {
                tracing::warn!(
                    stream = candidate.stream(),
                    carried,
                    rungs = rungs.len(),
                    "The account's budget does not carry every rung of sync.recheck; the later ones are given up."
                );
            } else if before.is_some() {
                tracing::info!(
                    stream = candidate.stream(),
                    "The account's budget carries every rung of sync.recheck again."
                );
            }
        }
        Ok(carried)
    }

    async fn plan_counts(&self, candidates: &[&Candidate], room: usize) -> Result<usize, WarehouseError> {
        let mut planned = 0;
        for candidate in candidates.iter().filter(|candidate| candidate.can_be_counted()) {
            while planned < room && self.warehouse.plan_count(candidate.stream(), WEEK, self.now).await? {
                planned += 1;
            }
        }
        Ok(planned)
    }

    /// The next read of the round of all history, while its part of the budget lasts: one of each account, the stalest first.
    async fn plan_round(&self, candidates: &[&Candidate], room: usize) -> Result<usize, WarehouseError> {
        let accounts: BTreeSet<&str> = candidates.iter().map(|c| c.state.account_id.as_str()).collect();
        if accounts.is_empty() {
            return Ok(0);
        }
        let outlooks = self.warehouse.outlooks(self.now).await?;
        let mut planned = 0;
        for account in accounts {
            if planned == room {
                break;
            }
            let Some(outlook) = outlooks.iter().find(|outlook| outlook.account_id == account) else { continue };
            let spent = self.warehouse.spent_on_spare(account, self.now - TimeDelta::hours(1)).await?;
            if spent as f64 >= outlook.requests_per_minute * 60.0 * SPARE_SHARE {
                continue;
            }
            let mut stalest: Option<(DateTime<Utc>, &str, Window)> = None;
            for candidate in candidates.iter().filter(|c| c.state.account_id == account) {
                let stale = self.warehouse.stalest(candidate.stream(), self.now - WEEK, ROUND).await?;
                if let (Some(first), Some(window)) = (stale.first(), round(&stale, self.fill(candidate))) {
                    let read_at = first.due_at;
                    if stalest.as_ref().is_none_or(|(known, ..)| read_at < *known) {
                        stalest = Some((read_at, candidate.stream(), window));
                    }
                }
            }
            if let Some((_, stream, window)) = stalest {
                planned += usize::from(self.warehouse.file_recheck(stream, window, Errand::spare()).await?);
            }
        }
        Ok(planned)
    }
}
