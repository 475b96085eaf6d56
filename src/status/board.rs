//! What the status page shows: from memory, however many look at it and however long the ledger is.
//!
//! The daemon looks every ten seconds for its gauges, and shows that look here. Who asks gets it at once, and starts another
//! one for who asks next. Nobody waits but for the first, and after an action.
//!
//! A browser that goes away drops the request's future, and no database future may be dropped: so every question is asked
//! by a task of its own, and an answer that came too late for one is there for the next.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::report::{Report, look_at_ledger, recent_contacts};
use crate::config::Settings;
use crate::domain::clock::SharedClock;
use crate::warehouse::backfills::Verb;
use crate::warehouse::ledger::{HourOfContacts, LedgerWindow, Stretch};
use crate::warehouse::settling::Settling;
use crate::warehouse::{Warehouse, WarehouseError};

/// What was seen this lately is shown again.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// So long what was seen is shown at once, while a new look is on its way: longer than the daemon takes from look to look.
const SHOWN_FOR: Duration = Duration::from_secs(15);
/// A page is shown without its answer after so long.
const PATIENCE: Duration = Duration::from_secs(4);
/// Contacts of the last hours are counted so often, by a question of its own: it alone needs tables that others may hold.
const COUNTED_FOR: Duration = Duration::from_secs(10);
/// Older than this it is waited for, for so long.
const OLD_COUNT: Duration = Duration::from_mins(1);
const COUNT_PATIENCE: Duration = Duration::from_secs(1);
/// Questions beside that of the overview, side by side: they share the pool with the engine.
const QUESTIONS: usize = 2;
/// Days that the overview's grid shows.
pub const DAYS: i64 = 7;
/// Windows that the page of a range lists.
pub const WINDOWS_MOST: i64 = 500;

/// The overview: the report and the ledger of the last days.
#[derive(Debug)]
pub struct Overview {
    pub report: Report,
    pub stretches: Vec<Stretch>,
    /// What the report's words on lateness are made of.
    pub settlings: Vec<Settling>,
}

/// Why there is nothing new to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    pub why: String,
    pub since: DateTime<Utc>,
}

/// What can be shown: the last thing seen, if anything was, and why it is not from now.
#[derive(Debug, Clone)]
pub struct Seen {
    pub overview: Option<Arc<Overview>>,
    pub away: Option<Away>,
    /// Contacts of the last 24 hours, counted some ten seconds ago unless their table is held; `None` before the first count.
    pub hours: Option<Arc<Vec<HourOfContacts>>>,
}

impl Seen {
    /// The report whole, as a command would tell it.
    pub fn report(&self) -> Option<Report> {
        let mut report = self.overview.as_ref()?.report.clone();
        report.tell_hours(self.hours.as_ref().map_or(&[], |hours| hours.as_slice()));
        Some(report)
    }

    pub fn hours_of(&self, stream: &str) -> Vec<HourOfContacts> {
        self.hours.iter().flat_map(|hours| hours.iter()).filter(|hour| hour.stream == stream).cloned().collect()
    }
}

/// A question that got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// In words for the page.
    #[error("{0}")]
    Away(String),
    #[error("{0}")]
    Refused(WarehouseError),
}

#[derive(Clone)]
pub struct Board {
    settings: Arc<Settings>,
    clock: SharedClock,
    warehouse: Arc<OnceLock<Warehouse>>,
    cache: Arc<Mutex<Cache>>,
    questions: Arc<Semaphore>,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Board").finish_non_exhaustive()
    }
}

type Looking = JoinHandle<Result<Overview, WarehouseError>>;

#[derive(Default)]
struct Cache {
    overview: Option<(Arc<Overview>, Instant)>,
    looking: Option<(Looking, Instant)>,
    away: Option<Away>,
    /// Something was changed since: a look is waited for.
    is_outdated: bool,
    hours: Option<(Arc<Vec<HourOfContacts>>, Instant)>,
    counted_at: Option<Instant>,
    counting: Option<JoinHandle<Result<Vec<HourOfContacts>, WarehouseError>>>,
}

impl Cache {
    /// Looks may end in another order than they began: the later one stays.
    fn keep(&mut self, overview: Arc<Overview>, seen: Instant) {
        if self.overview.as_ref().is_none_or(|(held, _)| held.report.at <= overview.report.at) {
            self.overview = Some((overview, seen));
        }
    }
}

impl Board {
    /// Shows that the warehouse is waited for until [`Board::open`].
    pub fn new(settings: Arc<Settings>, clock: SharedClock) -> Self {
        Self {
            settings,
            clock,
            warehouse: Arc::default(),
            cache: Arc::default(),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// From now on there is a warehouse to ask. The first one stays.
    pub fn open(&self, warehouse: Warehouse) {
        let _ = self.warehouse.set(warehouse);
    }

    /// Shows what somebody else has just seen.
    pub async fn show(&self, overview: Arc<Overview>) {
        let mut cache = self.cache.lock().await;
        cache.away = None;
        cache.keep(overview, Instant::now());
    }

    pub async fn overview(&self) -> Seen {
        let mut cache = self.cache.lock().await;
        // Nobody asked for what it found while that was new.
        let is_over = |(looking, began): &(Looking, Instant)| looking.is_finished() && began.elapsed() > SHOWN_FOR;
        cache.looking.take_if(|looking| is_over(looking));
        let age = cache.overview.as_ref().map(|(_, seen)| seen.elapsed());
        let can_be_shown = cache.away.is_none() && !cache.is_outdated;
        let is_fresh = can_be_shown && age.is_some_and(|age| age < FRESH_FOR);
        let is_overdue = cache.looking.as_ref().is_some_and(|(_, began)| began.elapsed() > PATIENCE);
        let is_there = cache.looking.as_ref().is_some_and(|(looking, _)| looking.is_finished());
        if can_be_shown && !is_overdue && !is_there && age.is_some_and(|age| age < SHOWN_FOR) {
            if !is_fresh && let Some(warehouse) = self.warehouse.get() {
                self.begin(&mut cache, warehouse);
            }
        } else if !is_fresh {
            let (began, answer) = self.look(&mut cache).await;
            match answer {
                Ok(overview) => {
                    (cache.away, cache.is_outdated) = (None, false);
                    cache.keep(Arc::new(overview), began);
                }
                Err(why) => {
                    let since = cache.away.as_ref().map_or_else(|| self.clock.now(), |away| away.since);
                    cache.away = Some(Away { why, since });
                }
            }
        }
        self.count(&mut cache).await;
        Seen {
            overview: cache.overview.as_ref().map(|(overview, _)| Arc::clone(overview)),
            away: cache.away.clone(),
            hours: cache.hours.as_ref().map(|(hours, _)| Arc::clone(hours)),
        }
    }

    /// Counts contacts by the hour, where that is due; waits for it only where what was counted before is old.
    async fn count(&self, cache: &mut Cache) {
        let (Some(warehouse), Some((overview, _))) = (self.warehouse.get(), &cache.overview) else { return };
        let at = overview.report.at;
        let is_due = cache.counted_at.is_none_or(|counted| counted.elapsed() >= COUNTED_FOR);
        // What nobody asked for while it was new is counted anew.
        cache.counting.take_if(|counting| is_due && counting.is_finished());
        if cache.counting.is_none() && is_due {
            let warehouse = warehouse.clone();
            cache.counted_at = Some(Instant::now());
            cache.counting = Some(tokio::spawn(async move { recent_contacts(&warehouse, at).await }));
        }
        let is_old = cache.hours.as_ref().is_none_or(|(_, counted)| counted.elapsed() > OLD_COUNT);
        let (Some(counting), Some(began)) = (&mut cache.counting, cache.counted_at) else { return };
        if !counting.is_finished() && !is_old {
            return;
        }
        let Ok(counted) = timeout(COUNT_PATIENCE, counting).await else { return };
        cache.counting = None;
        match counted {
            Ok(Ok(hours)) => cache.hours = Some((Arc::new(hours), began)),
            Ok(Err(error)) => tracing::debug!(%error, "The contacts of the last hours could not be counted."),
            Err(error) => tracing::debug!(%error, "The count of the last hours broke off."),
        }
    }

    fn begin<'c>(&self, cache: &'c mut Cache, warehouse: &Warehouse) -> &'c mut (Looking, Instant) {
        cache.looking.get_or_insert_with(|| {
            let (warehouse, settings) = (warehouse.clone(), Arc::clone(&self.settings));
            (tokio::spawn(async move { see(&warehouse, &settings).await }), Instant::now())
        })
    }

    /// When it began, and what it found.
    async fn look(&self, cache: &mut Cache) -> (Instant, Result<Overview, String>) {
        let Some(warehouse) = self.warehouse.get() else {
            return (Instant::now(), Err("the warehouse is being waited for".to_owned()));
        };
        let (looking, began) = self.begin(cache, warehouse);
        let began = *began;
        // It stays there if this page's reader goes away meanwhile. Given up is the task's handle: the task goes on.
        let answer = timeout(PATIENCE, looking).await;
        if answer.is_ok() {
            cache.looking = None;
        }
        let found = match answer {
            Ok(Ok(seen)) => seen.map_err(|error| error.to_string()),
            Ok(Err(_)) => Err("the look at the warehouse broke off".to_owned()),
            Err(_) => Err(format!("the warehouse does not answer within {} s", PATIENCE.as_secs())),
        };
        (began, found)
    }

    /// The ledger of a stream over whole days, both included.
    pub async fn stretches(
        &self,
        stream: &str,
        (first, last): (NaiveDate, NaiveDate),
    ) -> Result<Vec<Stretch>, Unanswered> {
        let stream = stream.to_owned();
        let begins = first.and_time(NaiveTime::MIN).and_utc();
        let ends = last.and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(1);
        self.ask(|warehouse| async move {
            let now = warehouse.now().await?;
            warehouse.stretches(Some(&stream), (begins, ends), now).await
        })
        .await
    }

    pub async fn window(&self, id: i64) -> Result<Option<LedgerWindow>, Unanswered> {
        self.ask(move |warehouse| async move {
            let now = warehouse.now().await?;
            warehouse.ledger_window(id, now).await
        })
        .await
    }

    /// Of a stream's span, 500 windows at most.
    pub async fn windows(
        &self,
        stream: &str,
        span: (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<Vec<LedgerWindow>, Unanswered> {
        let stream = stream.to_owned();
        self.ask(move |warehouse| async move {
            let now = warehouse.now().await?;
            warehouse.ledger_windows(&stream, span, now, WINDOWS_MOST).await
        })
        .await
    }

    /// `false` where it is not waiting.
    pub async fn retry_window(&self, id: i64) -> Result<bool, Unanswered> {
        self.acted(move |warehouse| async move { warehouse.retry_window(id).await }).await
    }

    /// What failed or was refused of a stream is tried again at once.
    pub async fn retry_stream(&self, stream: &str) -> Result<(), Unanswered> {
        let stream = stream.to_owned();
        self.acted(move |warehouse| async move { warehouse.retry_now(&[&stream]).await }).await
    }

    pub async fn steer_backfill(&self, id: i64, verb: Verb) -> Result<(), Unanswered> {
        self.acted(move |warehouse| async move { warehouse.steer_backfill(id, verb).await.map(drop) }).await
    }

    /// What was seen before is not shown any more.
    async fn acted<T, F>(&self, act: impl FnOnce(Warehouse) -> F) -> Result<T, Unanswered>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, WarehouseError>> + Send + 'static,
    {
        let done = self.ask(act).await;
        let mut cache = self.cache.lock().await;
        // A look that is on its way may have begun before.
        (cache.is_outdated, cache.looking) = (true, None);
        done
    }

    async fn ask<T, F>(&self, question: impl FnOnce(Warehouse) -> F) -> Result<T, Unanswered>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, WarehouseError>> + Send + 'static,
    {
        let away = |why: &str| Unanswered::Away(why.to_owned());
        let warehouse = self.warehouse.get().ok_or_else(|| away("The warehouse is being waited for."))?;
        let turn = timeout(PATIENCE, Arc::clone(&self.questions).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(away("Too many ask the warehouse just now; try again.")) };
        let question = question(warehouse.clone());
        let asking = tokio::spawn(async move {
            let answer = question.await;
            drop(turn);
            answer
        });
        match timeout(PATIENCE, asking).await {
            Ok(Ok(answer)) => answer.map_err(Unanswered::Refused),
            Ok(Err(_)) => Err(away("The question to the warehouse broke off.")),
            Err(_) => Err(away("The warehouse does not answer.")),
        }
    }
}

/// Asks the warehouse for all of it.
pub async fn see(warehouse: &Warehouse, settings: &Settings) -> Result<Overview, WarehouseError> {
    let seen = async {
        let report = look_at_ledger(warehouse, settings, None).await?;
        let first = report.at.date_naive().and_time(NaiveTime::MIN).and_utc() - TimeDelta::days(DAYS - 1);
        let stretches = warehouse.stretches(None, (first, report.at + TimeDelta::days(1)), report.at).await?;
        Ok(Overview { report, stretches, settlings: warehouse.settlings().await? })
    };
    match seen.await {
        Err(error) => Err(warehouse.explain(error).await),
        seen => seen,
    }
}
