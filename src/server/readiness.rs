//! Whether the daemon is ready, check by check.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One named check, as last set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckState {
    /// Not known yet; counts as not ready.
    Waiting,
    Passing,
    /// Why, in words that name no person and hold no secret.
    Failing(String),
}

/// The named checks behind `/readyz`. The daemon sets them; the server reads them, and asks nobody.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<String, CheckState>>>);

impl Readiness {
    /// With these checks waiting: until each was set the daemon is not ready.
    pub fn awaiting<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let readiness = Self::default();
        for name in names {
            readiness.set(name, CheckState::Waiting);
        }
        readiness
    }

    pub fn pass(&self, name: &str) {
        self.set(name, CheckState::Passing);
    }

    pub fn fail(&self, name: &str, why: impl Into<String>) {
        self.set(name, CheckState::Failing(why.into()));
    }

    /// The metric `koresync_ready` follows, for who watches from outside and sees no `/readyz`.
    pub fn set(&self, name: &str, state: CheckState) {
        let is_passing = state == CheckState::Passing;
        metrics::gauge!("koresync_ready", "check" => name.to_owned()).set(f64::from(u8::from(is_passing)));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), state);
    }

    /// Every check, by name.
    pub fn checks(&self) -> BTreeMap<String, CheckState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn is_ready(&self) -> bool {
        self.checks().values().all(|state| *state == CheckState::Passing)
    }
}
