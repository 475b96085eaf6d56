//! How connections are made.

use std::io::ErrorKind;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool, Row as _};
use tokio::sync::OnceCell;

use super::WarehouseError;
use super::link::Link;
use super::load::dimensions::DimensionCache;

/// How long to wait for a connection: longer would hold up a stop while the server is away.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(5);

/// How often two clients are looked at, to tell whether they keep their sessions.
const LOOKS_FOR_LENDER: u32 = 5;

/// Where the warehouse is and how many connections to hold at the most.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    options: PgConnectOptions,
    /// `None` for a server behind a Unix socket.
    link: Option<Arc<Link>>,
    pub connections: u32,
    /// Whether the server's sessions are lent from transaction to transaction, once that was found out.
    lends: Arc<OnceCell<bool>>,
}

impl ConnectOptions {
    /// Connects nowhere yet, but must be called within a Tokio runtime.
    ///
    /// Demands a verified certificate unless the host is this machine or `allow_insecure` is set.
    pub fn new(url: &SecretString, allow_insecure: bool, connections: u32) -> Result<Self, WarehouseError> {
        let options = PgConnectOptions::from_str(url.expose_secret())
            .map_err(|_| WarehouseError::Url)?
            .application_name("koresync")
            // Poolers refuse to start with a setting that they do not know; what it is for has been the default since PostgreSQL 12.
            .extra_float_digits(None);
        let is_local = options.get_socket().is_some() || is_loopback(options.get_host());
        // As the URL says otherwise; where it says nothing, encrypted if the server can.
        let options = if is_local || allow_insecure { options } else { options.ssl_mode(PgSslMode::VerifyFull) };
        let options = options.disable_statement_logging();
        if options.get_socket().is_some() || options.get_host().starts_with('/') {
            return Ok(Self { options, link: None, connections, lends: Arc::default() });
        }
        let link = Link::open(options.get_host(), options.get_port()).map_err(sqlx::Error::Io)?;
        let options = options.socket(link.directory());
        Ok(Self { options, link: Some(Arc::new(link)), connections, lends: Arc::default() })
    }

    /// Ends connections on which the server gives no answer for so long: longer than any statement may take.
    #[must_use]
    pub fn answered_within(self, patience: Duration) -> Self {
        if let Some(link) = &self.link {
            link.answered_within(patience);
        }
        self
    }

    /// Where it connects to, without the password.
    pub fn describe(&self) -> String {
        format!(
            "{}:{}/{}",
            self.options.get_host(),
            self.options.get_port(),
            self.options.get_database().unwrap_or("postgres")
        )
    }

    /// Why the server could not be reached, if it could not be the last time.
    pub(super) fn failure(&self) -> Option<String> {
        self.link.as_ref().and_then(|link| link.failure())
    }

    /// A connection of its own, outside any pool.
    pub(super) async fn connect(&self) -> Result<PgConnection, WarehouseError> {
        match PgConnection::connect_with(&self.options).await {
            Ok(connection) => Ok(connection),
            Err(sqlx::Error::Tls(why)) => Err(self.untrusted(&why)),
            // A certificate that does not verify comes as an error of the connection.
            Err(sqlx::Error::Io(why)) if why.kind() == ErrorKind::InvalidData => Err(self.untrusted(&why)),
            Err(error) => Err(self.failure().map_or_else(|| error.into(), WarehouseError::Unreachable)),
        }
    }

    fn untrusted(&self, why: &dyn std::fmt::Display) -> WarehouseError {
        WarehouseError::Untrusted { host: self.describe(), why: why.to_string() }
    }

    /// Whether a pooler stands between us and the server that lends its sessions from one transaction to the next. Asked once.
    pub(super) async fn lends_sessions(&self) -> Result<bool, sqlx::Error> {
        self.lends.get_or_try_init(async || self.look_for_lender().await).await.copied()
    }

    async fn look_for_lender(&self) -> Result<bool, sqlx::Error> {
        // By the simple protocol: what is prepared in a session that is not ours would be in the way of others.
        let mut one = PgConnection::connect_with(&self.options).await?;
        let asked = sqlx::raw_sql("select coalesce(inet_client_port(), 0)").fetch_one(&mut one).await?;
        let port: i32 = asked.try_get(0)?;
        let is_ours = self.link.as_ref().zip(u16::try_from(port).ok()).is_some_and(|(link, port)| link.is_from(port));
        if is_ours {
            // The server sees our end of the connection: nothing stands between.
            one.close().await.ok();
            return Ok(false);
        }
        // A session of one's own stays the same and is nobody else's. Several looks, since others may take sessions meanwhile.
        let mut other = PgConnection::connect_with(&self.options).await?;
        let first = backend(&mut one).await?;
        let mut is_lent = false;
        for _ in 0..LOOKS_FOR_LENDER {
            let mut transaction = other.begin().await?;
            let (theirs, again) = (backend(&mut transaction).await?, backend(&mut one).await?);
            transaction.rollback().await?;
            is_lent |= theirs == first || again != first;
        }
        one.close().await.ok();
        other.close().await.ok();
        Ok(is_lent)
    }

    /// A new connection may lead to another server, or to one that was restored: what `dimensions`
    /// remembers is forgotten with it.
    pub(super) fn pool(
        &self,
        connections: u32,
        lease: Duration,
        dimensions: Arc<DimensionCache>,
        is_lent: bool,
    ) -> PgPool {
        let options = self.options.clone();
        let options = if is_lent { options.statement_cache_capacity(0) } else { options };
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(lease.min(ACQUIRE_WITHIN))
            .idle_timeout(Duration::from_mins(5))
            .after_connect(move |_, _| {
                dimensions.forget();
                Box::pin(async { Ok(()) })
            })
            .after_release(|connection, _| {
                Box::pin(async move {
                    // Nobody inherits a transaction that a failed task left open: one is open when it
                    // began before the statement that asks. (By the simple protocol, in which they are
                    // the same moment otherwise; and asked, since a bare `rollback` would fill the
                    // server's log with warnings.)
                    let asked = sqlx::raw_sql("select now() <> statement_timestamp(), pg_is_in_recovery()")
                        .fetch_one(&mut *connection)
                        .await?;
                    if asked.try_get::<bool, _>(1)? {
                        // Failed over: this server takes no writes any more.
                        return Ok(false);
                    }
                    if asked.try_get::<bool, _>(0)? {
                        sqlx::raw_sql("rollback").execute(connection).await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options)
    }
}

async fn backend(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::raw_sql("select pg_backend_pid()::text").fetch_one(connection).await?.try_get(0)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.starts_with('/')
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
