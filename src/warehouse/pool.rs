//! A pool of connections that works through a pooler as well which hands the server's sessions from one transaction to the next,
//! as `PgBouncer` does in transaction mode.
//!
//! sqlx prepares a statement and executes it in two steps, and keeps it prepared under a name. Behind such a pooler the two
//! steps may reach two sessions, and the name may be taken or unknown there. So where one stands between us and the server,
//! each statement runs in a transaction, which is one session's, no statement is kept, and a transaction begins by dropping
//! what others left prepared in its session. Whether one does is found out before the first statement.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr, Transaction};
use tokio::sync::OnceCell;

use super::ConnectOptions;
use super::load::dimensions::DimensionCache;

/// Right in a session that is lent for this transaction alone, and in one's own. One round trip, as a bare `begin` is.
pub(super) const BEGIN_ANYWHERE: &str = "begin; deallocate all";
/// The same, and all statements see what the first one sees.
const BEGIN_SNAPSHOT: &str = "begin isolation level repeatable read";
const BEGIN_SNAPSHOT_ANYWHERE: &str = "begin isolation level repeatable read; deallocate all";

/// Connects when it is used first. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: ConnectOptions,
    connections: u32,
    lease: Duration,
    dimensions: Arc<DimensionCache>,
    made: OnceCell<Made>,
}

#[derive(Debug)]
struct Made {
    pool: PgPool,
    is_lent: bool,
}

impl Pool {
    pub(super) fn new(
        options: &ConnectOptions,
        connections: u32,
        lease: Duration,
        dimensions: Arc<DimensionCache>,
    ) -> Self {
        Self(Arc::new(Inner { options: options.clone(), connections, lease, dimensions, made: OnceCell::new() }))
    }

    async fn made(&self) -> Result<&Made, sqlx::Error> {
        let Inner { options, connections, lease, dimensions, made } = &*self.0;
        made.get_or_try_init(async || {
            let is_lent = options.lends_sessions().await?;
            let pool = options.pool(*connections, *lease, Arc::clone(dimensions), is_lent);
            Ok(Made { pool, is_lent })
        })
        .await
    }

    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let Made { pool, is_lent } = self.made().await?;
        if *is_lent { pool.begin_with(BEGIN_ANYWHERE).await } else { pool.begin().await }
    }

    /// A transaction of which all statements see the same moment.
    pub async fn begin_snapshot(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let Made { pool, is_lent } = self.made().await?;
        pool.begin_with(if *is_lent { BEGIN_SNAPSHOT_ANYWHERE } else { BEGIN_SNAPSHOT }).await
    }

    /// A connection for several statements, each a transaction of its own where the session is ours, all of them in one where
    /// it is not. What was done counts after [`Lent::done`].
    pub async fn lend(&self) -> Result<Lent, sqlx::Error> {
        let Made { pool, is_lent } = self.made().await?;
        if *is_lent { Ok(Lent::Transaction(self.begin().await?)) } else { Ok(Lent::Connection(pool.acquire().await?)) }
    }

    /// Connections that nobody uses at the moment.
    pub fn idle(&self) -> usize {
        self.0.made.get().map_or(0, |made| made.pool.num_idle())
    }

    pub(super) async fn close(&self) {
        if let Some(made) = self.0.made.get() {
            made.pool.close().await;
        }
    }
}

#[derive(Debug)]
pub enum Lent {
    Connection(PoolConnection<Postgres>),
    Transaction(Transaction<'static, Postgres>),
}

impl Lent {
    pub async fn done(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Connection(_) => Ok(()),
            Self::Transaction(transaction) => transaction.commit().await,
        }
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match self {
            Self::Connection(connection) => connection,
            Self::Transaction(transaction) => transaction,
        }
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match self {
            Self::Connection(connection) => connection,
            Self::Transaction(transaction) => transaction,
        }
    }
}

impl<'p> Executor<'p> for &'_ Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        // What the daemon asks for at once fits into memory; streaming would keep a lent session for as long as it is read.
        let all = async move {
            let mut lent = pool.lend().await?;
            let steps: Vec<_> = lent.fetch_many(query).try_collect().await?;
            lent.done().await?;
            Ok::<_, sqlx::Error>(stream::iter(steps.into_iter().map(Ok)))
        };
        Box::pin(stream::once(all).try_flatten())
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        Box::pin(async move {
            let mut lent = pool.lend().await?;
            let row = lent.fetch_optional(query).await?;
            lent.done().await?;
            Ok(row)
        })
    }

    /// Of no use beyond the session that it is prepared in; nothing here asks for it.
    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move { pool.lend().await?.prepare_with(sql, parameters).await })
    }

    /// For sqlx's own tools.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move { pool.lend().await?.describe(sql).await })
    }
}
