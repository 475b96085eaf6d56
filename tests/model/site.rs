//! A database, a vendor, and engines between them, each in a thread and a runtime of its own, so that one can be
//! frozen or die without the others.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use koresync::api;
use koresync::domain::Settle;
use koresync::domain::clock::SharedClock;
use koresync::faults::Point;
use koresync::sync::{self, Engine, Mode, Outcome};
use koresync::warehouse::budget::AccountBudget;
use koresync::warehouse::streams::Registration;
use koresync::warehouse::{ConnectOptions, Warehouse};
use secrecy::SecretString;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::clock::ModelClock;
use crate::postgres::TestDatabase;
use crate::vendor::{Habits, Vendor};

pub const STREAM: &str = "support";
pub const LEASE: Duration = Duration::from_hours(2);
pub const SETTLE: TimeDelta = TimeDelta::minutes(15);
pub const POLL: TimeDelta = TimeDelta::minutes(1);
/// An engine that takes longer, of real time, does not get on.
const AN_END: Duration = Duration::from_secs(30);
/// An operator's lease on statements is the server's: real time.
const CONNECTIONS: u32 = 6;

/// How an engine's run ended.
#[derive(Debug)]
pub enum Ran {
    To(Outcome),
    /// It stands still at a point of its way.
    Frozen(Frozen),
}

/// An engine that stands still, with all that it holds.
#[derive(Debug)]
pub struct Frozen {
    wake: mpsc::Sender<()>,
    ends: mpsc::Receiver<Outcome>,
    point: Point,
}

#[derive(Debug)]
pub struct Site {
    pub url: String,
    pub pool: PgPool,
    pub clock: ModelClock,
    pub vendor: Vendor,
    pub start: DateTime<Utc>,
    pub workers: usize,
}

impl Site {
    pub async fn new(database: &TestDatabase, start: DateTime<Utc>, habits: Habits, workers: usize) -> Self {
        let clock = ModelClock::new(start + TimeDelta::days(3));
        let vendor = Vendor::start(clock.clone(), habits).await;
        let pool = database.pool().await;
        Self { url: database.url().to_owned(), pool, clock, vendor, start, workers }
    }

    pub fn now(&self) -> DateTime<Utc> {
        koresync::domain::clock::Clock::now(&self.clock)
    }

    fn shared_clock(&self) -> SharedClock {
        Arc::new(self.clock.clone())
    }

    pub fn warehouse(&self) -> Warehouse {
        let options = ConnectOptions::new(&SecretString::from(self.url.as_str()), false, CONNECTIONS).expect("a URL");
        Warehouse::new(&options, self.shared_clock(), chrono_tz::UTC, LEASE)
    }

    async fn engine(&self) -> Engine {
        let warehouse = self.warehouse();
        warehouse.settle_time_zone().await.expect("the zone");
        warehouse.settle_privacy().await.expect("the privacy settings");
        let registration = Registration {
            stream: STREAM.to_owned(),
            account_id: "acc-1".to_owned(),
            stream_id: "st-1".to_owned(),
            start_at: self.start,
            first_span: TimeDelta::hours(6),
            settle: SETTLE,
        };
        warehouse.register_streams(&[registration]).await.expect("a stream");
        let stop = CancellationToken::new();
        let endpoint = api::Endpoint {
            stream: STREAM.to_owned(),
            base_url: self.vendor.url().parse().expect("a base URL"),
            path_prefix: "/qualityai".to_owned(),
            stream_id: "st-1".to_owned(),
            account_id: "acc-1".to_owned(),
            org_id: "o-1".to_owned(),
            date_format: "%Y-%m-%d %H:%M:%S".parse().expect("a date format"),
            include_below_threshold: Some(true),
            include_below_threshold_in: api::Placement::Body,
            max_body_bytes: 1 << 20,
            timeouts: api::Timeouts {
                connect: Duration::from_secs(5),
                read: Duration::from_secs(5),
                total: Duration::from_secs(20),
            },
            user_agent: "koresync-test".to_owned(),
        };
        let credentials = api::Credentials::ClientSecret {
            client_id: "cs-1".to_owned(),
            secret: api::SecretSource::inline("a secret of the tests, long enough for HS256"),
        };
        let retry = api::RetryPolicy { give_up: Duration::from_hours(1), ..api::RetryPolicy::default() };
        let client = api::Client::new(endpoint, credentials, self.shared_clock(), retry, 7).expect("a client");
        let budget = AccountBudget::open(&warehouse, "acc-1", 600_000.0, stop.clone()).await.expect("a budget");
        let source = sync::Source {
            stream: STREAM.to_owned(),
            client,
            budget: Arc::new(budget),
            page_size: 4,
            paging: None,
            include_below_threshold: true,
            poll_interval: POLL.to_std().expect("a minute"),
        };
        let options = sync::Options {
            workers: self.workers,
            fetches: self.workers,
            max_window_bytes: 1 << 20,
            poll_interval: POLL.to_std().expect("a minute"),
            settle: Settle::Fixed(SETTLE.to_std().expect("minutes")),
            give_up: Duration::from_hours(24),
            lease: LEASE,
            retention: sync::Retention::default(),
            recheck: sync::Rule::new(&[1, 24, 7 * 24].map(Duration::from_hours)),
        };
        Engine::new(warehouse, options, vec![source], format!("model-{}", uuid::Uuid::new_v4()), stop)
    }

    /// Runs an engine until all is read. With a point, the n-th time that it crosses it it stands still.
    pub async fn run(self: &Arc<Self>, mode: Mode, freeze: Option<(Point, u32)>) -> Ran {
        let (told, frozen) = mpsc::channel::<mpsc::Sender<()>>();
        if let Some((point, nth)) = freeze {
            let crossed = std::sync::atomic::AtomicU32::new(0);
            let told = std::sync::Mutex::new(told);
            fail::cfg_callback(point.name(), move || {
                if crossed.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == nth {
                    let (wake, woken) = mpsc::channel();
                    let _ = told.lock().expect("a sender").send(wake);
                    // Never woken, it is dead: the thread stands here for ever.
                    while woken.recv().is_err() {
                        std::thread::park();
                    }
                }
            })
            .expect("a point");
        }
        let (ended, ends) = mpsc::channel();
        let site = Arc::clone(self);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let outcome =
                runtime.block_on(async { site.engine().await.run(mode).await.expect("an engine that lives") });
            let _ = ended.send(outcome);
        });
        // Both ways to an end are looked for in turn; the vendor answers meanwhile.
        let began = std::time::Instant::now();
        loop {
            if let Ok(outcome) = ends.try_recv() {
                if let Some((point, _)) = freeze {
                    fail::remove(point.name());
                }
                return Ran::To(outcome);
            }
            if let (Ok(wake), Some((point, _))) = (frozen.try_recv(), freeze) {
                fail::remove(point.name());
                return Ran::Frozen(Frozen { wake, ends, point });
            }
            let is_late = began.elapsed() > AN_END;
            let standing = if is_late { self.standing().await } else { String::new() };
            assert!(!is_late, "the engine does not come to an end; {standing}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// What is open, for whoever looks for the reason.
    async fn standing(&self) -> String {
        let open: Vec<String> = sqlx::query_scalar(
            "select to_jsonb(w)::text from koresync.windows w where state not in ('verified', 'cancelled') \
             union all select to_jsonb(s)::text from koresync.streams s \
             union all select to_jsonb(b)::text from koresync.api_budgets b \
             union all select to_jsonb(b)::text from koresync.backfills b \
             union all select to_jsonb(a)::text from (select pid, state, wait_event, query from pg_stat_activity \
               where datname = current_database() and application_name = 'koresync') a",
        )
        .fetch_all(&self.pool)
        .await
        .expect("what is open");
        format!("it is {}, and open are\n{}", self.now(), open.join("\n"))
    }

    /// It is dead: the server sees its connections end, and nobody gives anything back.
    pub async fn kill(&self, frozen: Frozen) {
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'koresync'",
        )
        .execute(&self.pool)
        .await
        .expect("an end of connections");
        let left = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'koresync'";
        while sqlx::query_scalar::<_, i64>(left).fetch_one(&self.pool).await.expect("a count") > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The thread keeps its end of this for as long as the process lives.
        std::mem::forget(frozen.wake);
    }

    /// What becomes of transactions that stand still for as long as a lease: the server ends them, or the planner of
    /// another engine where they wait for the data of a COPY. Both bounds are of real time. (A statement that the server is
    /// still at work on would stand still once it is done.)
    pub async fn end_idle_transactions(&self) {
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() \
             and application_name = 'koresync' and xact_start is not null",
        )
        .execute(&self.pool)
        .await
        .expect("an end of transactions");
    }

    /// It goes on where it stood still.
    pub async fn thaw(&self, frozen: Frozen) -> Outcome {
        let _ = frozen.wake.send(());
        let began = std::time::Instant::now();
        loop {
            if let Ok(outcome) = frozen.ends.try_recv() {
                return outcome;
            }
            let is_late = began.elapsed() > AN_END;
            let standing = if is_late { self.standing().await } else { String::new() };
            assert!(!is_late, "the engine frozen at {:?} does not come to an end; {standing}", frozen.point);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
