//! What the workers tell the engine, and what it tells them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::worker::Done;
use crate::api;
use crate::warehouse::WarehouseError;
use crate::warehouse::error::Remedy;
use crate::warehouse::windows::Claim;

/// A pause of real time between two looks at a database that does not answer.
pub(super) const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// Why a stream does not get on.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) is_refusal: bool,
    /// Of the database, not of the API.
    is_of_database: bool,
    pub(super) what: String,
}

impl Trouble {
    fn of_database(error: &WarehouseError) -> Self {
        Self { is_refusal: error.is_refusal(), is_of_database: true, what: error.to_string() }
    }
}

/// What the workers tell the engine.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// Grows with each window that was written or cut.
    pub(super) progress: AtomicU64,
    /// Grows with each look of the planner.
    pub(super) looks: AtomicU64,
    pub(super) troubles: Mutex<BTreeMap<String, Trouble>>,
    database: Mutex<Option<Trouble>>,
    /// Windows in nobody's hand that could not be given back, and why their work failed.
    owed: Mutex<Vec<(Claim, String)>>,
    /// Woken when a window is done or planned.
    pub(super) changed: Notify,
}

impl Board {
    pub(super) fn trouble(&self, stream: &str, trouble: Option<Trouble>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(trouble) => troubles.insert(stream.to_owned(), trouble),
            None => troubles.remove(stream),
        };
    }

    pub(super) fn database(&self, error: Option<&WarehouseError>) {
        let trouble = error.map(Trouble::of_database);
        *self.database.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// What the planner met, else a worker: where planning works, writing may still fail.
    pub(super) fn database_trouble(&self) -> Option<Trouble> {
        let met = self.database.lock().unwrap_or_else(PoisonError::into_inner).clone();
        met.or_else(|| {
            let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
            troubles.values().find(|trouble| trouble.is_of_database).cloned()
        })
    }

    pub(super) fn owe(&self, claim: Claim, failure: String) {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).push((claim, failure));
    }

    pub(super) fn take_owed(&self) -> Vec<(Claim, String)> {
        std::mem::take(&mut *self.owed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn advance(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Notes what became of a window; a pause when the next one would probably fare no better.
    pub(super) fn note(&self, stream: &str, done: Done) -> Option<Duration> {
        match done {
            Done::Verified | Done::Split | Done::Counted => {
                self.trouble(stream, None);
                self.advance();
                None
            }
            Done::Unverified => {
                self.trouble(stream, None);
                self.changed.notify_waiters();
                None
            }
            Done::Dropped => None,
            Done::Api(error) => {
                let is_refusal = error.remedy() == api::Remedy::Operator;
                self.trouble(stream, Some(Trouble { is_refusal, is_of_database: false, what: error.to_string() }));
                self.changed.notify_waiters();
                None
            }
            Done::Warehouse(error) => {
                self.trouble(stream, Some(Trouble::of_database(&error)));
                (error.remedy() != Remedy::Retry).then_some(DATABASE_PAUSE)
            }
            Done::Owed(claim, error) => {
                self.trouble(stream, Some(Trouble::of_database(&error)));
                self.owe(claim, error.to_string());
                // The planner gives it back as soon as the database answers.
                self.changed.notify_waiters();
                Some(DATABASE_PAUSE)
            }
        }
    }
}
