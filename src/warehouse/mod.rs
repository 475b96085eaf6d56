//! Everything that speaks SQL: the ledger, the loader, the account's budget, what is set aside.
//!
//! No database future stands under `select!` or `timeout`: a cancelled `begin` leaves a transaction
//! open in the pool. Timeouts are the server's (`set local`), and callers run transactions in tasks
//! that nobody aborts.

pub mod backfills;
pub mod budget;
pub mod catalog;
pub mod connect;
pub mod counts;
pub mod days;
pub mod drift;
pub mod erasure;
pub mod error;
pub mod gauges;
pub mod hiding;
pub mod ledger;
mod link;
pub mod load;
mod locks;
mod merging;
pub mod migrate;
pub mod pool;
pub mod privacy;
pub mod quarantine;
pub mod rebuilds;
pub mod rechecks;
pub mod references;
pub mod retention;
pub mod runs;
pub mod settling;
pub mod status;
pub mod streams;
mod time_zone;
pub mod verification;
pub mod windows;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

pub use connect::ConnectOptions;
pub use error::WarehouseError;

use crate::domain::clock::SharedClock;
use crate::domain::privacy::Guard;
use crate::faults::{self, Point};
use load::dimensions::DimensionCache;
use pool::Pool;

/// The warehouse as one process sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Warehouse {
    connect: ConnectOptions,
    pool: Pool,
    /// Renews leases: apart, so that a full pool cannot cost a lease.
    heartbeat: Pool,
    /// Makes members of dimensions, ahead of the transactions that name them.
    members: Pool,
    clock: SharedClock,
    time_zone: Tz,
    lease: Duration,
    dimensions: Arc<DimensionCache>,
    skips_key_checks: Arc<OnceLock<bool>>,
    privacy: Arc<privacy::Configured>,
    /// What is in force of people's rights, once this process has looked.
    guard: Arc<Mutex<Option<Arc<Guard>>>>,
}

/// At most so often is a transaction tried that lost against another one.
const CONFLICT_TRIES: u32 = 5;

impl Warehouse {
    /// Opens no connection yet. `time_zone` is that of business days; `lease` bounds every statement.
    pub fn new(options: &ConnectOptions, clock: SharedClock, time_zone: Tz, lease: Duration) -> Self {
        let dimensions: Arc<DimensionCache> = Arc::default();
        let pool = |connections| Pool::new(options, connections, lease, Arc::clone(&dimensions));
        Self {
            connect: options.clone(),
            pool: pool(options.connections),
            // A renewal may wait for its own window's commit; it must not hold up the others.
            heartbeat: pool(options.connections),
            members: pool(1),
            clock,
            time_zone,
            lease,
            dimensions,
            skips_key_checks: Arc::default(),
            privacy: Arc::default(),
            guard: Arc::default(),
        }
    }

    /// By default everything is kept, and there is no key.
    #[must_use]
    pub fn with_privacy(self, configured: privacy::Configured) -> Self {
        Self { privacy: Arc::new(configured), guard: Arc::default(), ..self }
    }

    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    pub fn time_zone(&self) -> Tz {
        self.time_zone
    }

    pub async fn close(&self) {
        self.pool.close().await;
        self.heartbeat.close().await;
        self.members.close().await;
    }

    /// A transaction that neither statement nor idleness can keep open for longer than the lease.
    async fn begin(&self) -> Result<Transaction<'static, Postgres>, WarehouseError> {
        let mut transaction = self.pool.begin().await.map_err(|error| self.explained(error))?;
        bound_transaction(&mut transaction, self.lease).await?;
        Ok(transaction)
    }

    /// A connection that could not be made, with the reason that the pool does not know.
    fn explained(&self, error: sqlx::Error) -> WarehouseError {
        match (&error, self.connect.failure()) {
            (sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut, Some(failure)) => WarehouseError::Unreachable(failure),
            _ => error.into(),
        }
    }

    /// Why there is no connection, where the pool does not know: it waits while the server turns it away, for one
    /// because there are too many. One connection more is asked for, outside the pool.
    pub async fn explain(&self, error: WarehouseError) -> WarehouseError {
        if !matches!(error, WarehouseError::Database(sqlx::Error::PoolTimedOut)) {
            return error;
        }
        match self.connect.connect_alone().await {
            Ok(connection) => {
                connection.close().await.ok();
                error
            }
            Err(cause) => cause,
        }
    }

    /// The database's time, or an accelerated clock's.
    pub async fn now(&self) -> Result<DateTime<Utc>, WarehouseError> {
        sqlx::query_scalar("select coalesce($1, clock_timestamp())")
            .bind(self.clock.database_time())
            .fetch_one(&self.pool)
            .await
            .map_err(|error| self.explained(error))
    }

    /// The same within a transaction: after its locks, what it writes then is no older than what it waited for.
    async fn now_in(&self, connection: &mut PgConnection) -> Result<DateTime<Utc>, sqlx::Error> {
        sqlx::query_scalar("select coalesce($1, clock_timestamp())")
            .bind(self.clock.database_time())
            .fetch_one(connection)
            .await
    }

    /// Runs `work` until it stops losing against other transactions (deadlock, serialization, a key
    /// that another window wrote first), at most five times with 20, 40, 80 and 160 ms between.
    /// `lost` is called before each new try.
    async fn retrying<T, F>(
        &self,
        mut work: impl FnMut() -> F + Send,
        lost: impl Fn() + Send,
    ) -> Result<T, WarehouseError>
    where
        F: Future<Output = Result<T, WarehouseError>> + Send,
    {
        let mut tries = 1;
        loop {
            match work().await {
                Err(error) if error.is_conflict() && tries < CONFLICT_TRIES => {
                    tracing::debug!(error = %error, tries, "A transaction lost against another one; trying again.");
                    lost();
                    tokio::time::sleep(Duration::from_millis(10 << tries)).await;
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }
}

/// Fails here as a broken connection does, where a test asks for it.
pub(crate) fn cross(point: Point) -> Result<(), WarehouseError> {
    faults::cross(point).map_err(|error| sqlx::Error::Io(error).into())
}

/// Sets the server's bounds on the transaction just begun. `set local`, since a pooler between us
/// and the server would keep a session's settings for somebody else. Of a cluster, a transaction keeps to one
/// connection a node, without which it could not write tables of both kinds; elsewhere those settings mean nothing.
async fn bound_transaction(connection: &mut PgConnection, bound: Duration) -> Result<(), sqlx::Error> {
    let bound_ms = bound.as_millis().to_string();
    sqlx::query(
        "select set_config('statement_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $1, true), \
           set_config('citus.multi_shard_modify_mode', 'sequential', true), set_config('citus.propagate_set_commands', 'local', true)",
    )
    .bind(bound_ms)
    .execute(connection)
    .await?;
    Ok(())
}
