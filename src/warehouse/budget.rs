//! The vendor's rate limit, shared by every process through one row an account.
//!
//! A slot is a moment at which one request may be sent. Slots are handed out evenly spaced, at most
//! one second's worth at a time; one whose moment has passed is lost and never used late, so that no
//! process, waking up late, can send a burst.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Warehouse, WarehouseError};
use crate::faults::{Defect, is_planted};

/// The vendor counts what arrives, we pace what is sent: this part of the limit absorbs the
/// difference between two requests' ways.
const HEADROOM: f64 = 0.99;
/// How late a slot may still be used: drawing it takes a moment itself.
const LATE: TimeDelta = TimeDelta::milliseconds(300);
/// A draw that takes longer says nothing of when its slots are: the process stood still in it, or a clock was set. So often
/// it is drawn again; a database that is slow every time must do.
const SLOW_DRAW: TimeDelta = TimeDelta::seconds(5);
const DRAWS: u32 = 3;
/// No slot lies further ahead, gate or not: a time beyond it was written by a clock that was ahead of this one.
const FURTHEST: Duration = Duration::from_mins(5);
/// A refusal closes the gate for so long when the vendor does not say how long.
const GATE: Duration = Duration::from_secs(15);
/// The share regains a fiftieth after each such span without a refusal.
const REGAIN_EVERY_SECONDS: f64 = 60.0;

/// Who gets the next slot of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Turn {
    /// As soon as there is one: live windows, and commands that ask once or twice.
    First,
    /// When nobody waits who is to be served first. Of these only one at a time holds a slot whose moment is yet to come,
    /// so whoever comes first waits for one slot of each process at the most.
    Later,
}

/// One account's budget, as this process draws on it.
#[derive(Debug)]
pub struct AccountBudget {
    warehouse: Warehouse,
    account_id: String,
    slots: Mutex<Slots>,
    /// Held by the one of [`Turn::Later`] whose turn it is.
    later: Mutex<()>,
    /// Callers that wait for a slot, whoever they are.
    waiting: AtomicU32,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Slots {
    /// Moments by this process's clock.
    moments: VecDeque<DateTime<Utc>>,
    /// Grows with each refusal: slots drawn before it are void.
    epoch: u64,
    /// Waiting that is not counted yet, below one second: a counter counts whole numbers.
    wait_rest: f64,
}

impl Slots {
    /// Adds to the waiting so far; gives the whole seconds to count now.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number of at least 0")]
    fn note_wait(&mut self, seconds: f64) -> u64 {
        self.wait_rest += seconds.max(0.0);
        let whole = self.wait_rest.trunc();
        self.wait_rest -= whole;
        whole as u64
    }
}

/// One of those who wait for a slot, for as long as it lives.
struct Waiter<'a>(&'a AtomicU32);

impl<'a> Waiter<'a> {
    fn among(waiting: &'a AtomicU32) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AccountBudget {
    /// Makes the account's row or brings its limit up to date.
    pub async fn open(
        warehouse: &Warehouse,
        account_id: &str,
        requests_per_minute: f64,
        stop: CancellationToken,
    ) -> Result<Self, WarehouseError> {
        sqlx::query(
            "insert into koresync.api_budgets as b (account_id, requests_per_minute, next_slot_at) \
             values ($1, $2, coalesce($3, clock_timestamp())) \
             on conflict (account_id) do update set requests_per_minute = excluded.requests_per_minute \
             where b.requests_per_minute <> excluded.requests_per_minute",
        )
        .bind(account_id)
        .bind(requests_per_minute)
        .bind(warehouse.clock.database_time())
        .execute(&warehouse.pool)
        .await?;
        Ok(Self {
            warehouse: warehouse.clone(),
            account_id: account_id.to_owned(),
            slots: Mutex::default(),
            later: Mutex::default(),
            waiting: AtomicU32::new(0),
            stop,
        })
    }

    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// Waits for a slot. Callers of one turn queue, in order; all are turned away when the process stops.
    pub async fn acquire(&self, turn: Turn) -> Result<(), WarehouseError> {
        let _waiter = Waiter::among(&self.waiting);
        match turn {
            Turn::First => self.wait_for_slot().await,
            Turn::Later => {
                let _turn = self.later.lock().await;
                self.wait_for_slot().await
            }
        }
    }

    async fn wait_for_slot(&self) -> Result<(), WarehouseError> {
        let began = self.warehouse.clock.now();
        loop {
            if self.stop.is_cancelled() {
                return Err(WarehouseError::Stopped);
            }
            let (moment, epoch) = {
                let mut slots = self.slots.lock().await;
                self.draw_for_who_waits(&mut slots).await?;
                (slots.moments.pop_front(), slots.epoch)
            };
            let Some(moment) = moment else { continue };
            let wait = moment - self.warehouse.clock.now();
            if let Some(wait) = wait.to_std().ok().filter(|wait| !wait.is_zero()) {
                let pause = self.warehouse.clock.sleep(wait);
                self.stop.run_until_cancelled(pause).await.ok_or(WarehouseError::Stopped)?;
            }
            if self.warehouse.clock.now() - moment > LATE && !is_planted(Defect::LateSlotUsed) {
                // Its moment passed, while nobody asked or while this process stood still: lost.
                continue;
            }
            let mut slots = self.slots.lock().await;
            if slots.epoch == epoch {
                let waited = (self.warehouse.clock.now() - began).as_seconds_f64();
                self.count_wait(slots.note_wait(waited));
                return Ok(());
            }
        }
    }

    fn count_wait(&self, seconds: u64) {
        metrics::counter!("koresync_api_budget_wait_seconds_total", "account" => self.account_id.clone())
            .increment(seconds);
    }

    /// Draws as many slots as are waited for, so that none is lost which another process could have used.
    async fn draw_for_who_waits(&self, slots: &mut Slots) -> Result<(), WarehouseError> {
        if slots.moments.is_empty() {
            let wanted = self.waiting.load(Ordering::Relaxed).max(1);
            for draw in 1..=DRAWS {
                let began = self.warehouse.clock.now();
                let drawn = self.draw(wanted).await?;
                let took = self.warehouse.clock.now() - began;
                if (TimeDelta::zero()..=SLOW_DRAW).contains(&took) || draw == DRAWS {
                    slots.moments.extend(drawn);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Draws `wanted` slots, a second's worth at the most, after the gate and the last slot of anybody.
    async fn draw(&self, wanted: u32) -> Result<Vec<DateTime<Utc>>, WarehouseError> {
        let (now, first, interval, count): (DateTime<Utc>, DateTime<Utc>, f64, i32) = sqlx::query_as(
            "update koresync.api_budgets b set next_slot_at = d.first + make_interval(secs => d.interval * d.count), \
               share = d.share, share_changed_at = case when d.share <> b.share then d.now else b.share_changed_at end \
             from (select account_id, now, share, least(greatest(next_slot_at, gate_until, now), now + make_interval(secs => $6)) as first, \
                     60 / (requests_per_minute * share * $3) as interval, \
                     greatest(1, least($5::float8, floor(requests_per_minute * share * $3 / 60)))::int as count \
                   from (select account_id, next_slot_at, gate_until, requests_per_minute, n.now, \
                           case when share < 1 and extract(epoch from n.now - share_changed_at) >= $4 \
                             then least(1, share + 0.02) else share end as share \
                         from koresync.api_budgets, (select coalesce($2, clock_timestamp()) as now) n \
                         where account_id = $1 for update of api_budgets) held) d \
             where b.account_id = d.account_id returning d.now, d.first, d.interval, d.count",
        )
        .bind(&self.account_id)
        .bind(self.warehouse.clock.database_time())
        .bind(HEADROOM)
        .bind(REGAIN_EVERY_SECONDS)
        .bind(f64::from(wanted))
        .bind(FURTHEST.as_secs_f64())
        .fetch_one(&self.warehouse.pool)
        .await?;
        let local = self.warehouse.clock.now();
        // The two clocks may differ: what counts is how far ahead of the database's now a slot lies.
        let ahead = first - now;
        let interval = Duration::from_secs_f64(interval.max(0.0));
        Ok((0..count)
            .map(|place| local + ahead + TimeDelta::from_std(interval * place.unsigned_abs()).unwrap_or_default())
            .collect())
    }

    /// Closes the gate for all processes after a rate-limit answer, and lowers the share by a tenth,
    /// not below one half.
    pub async fn refused(&self, retry_after: Option<Duration>) -> Result<(), WarehouseError> {
        let wait = retry_after.unwrap_or(GATE).min(FURTHEST);
        {
            let mut slots = self.slots.lock().await;
            slots.moments.clear();
            slots.epoch += 1;
        }
        if is_planted(Defect::GateOpen) {
            return Ok(());
        }
        sqlx::query(
            "update koresync.api_budgets set refusals = refusals + 1, \
               gate_until = greatest(gate_until, n.now + make_interval(secs => $3)), \
               share = case when gate_until > n.now then share else greatest(0.5, share * 0.9) end, \
               share_changed_at = n.now \
             from (select coalesce($2, clock_timestamp()) as now) n where account_id = $1",
        )
        .bind(&self.account_id)
        .bind(self.warehouse.clock.database_time())
        .bind(wait.as_secs_f64())
        .execute(&self.warehouse.pool)
        .await?;
        // Slots that were drawn before the gate was closed for all.
        let mut slots = self.slots.lock().await;
        slots.moments.clear();
        slots.epoch += 1;
        Ok(())
    }
}
