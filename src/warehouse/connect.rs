//! How connections are made.

use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions as _, PgPool};

use super::WarehouseError;

/// Where the warehouse is and how many connections to hold at the most.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    options: PgConnectOptions,
    pub connections: u32,
}

impl ConnectOptions {
    /// Demands a verified certificate unless the host is this machine or `allow_insecure` is set.
    pub fn new(url: &SecretString, allow_insecure: bool, connections: u32) -> Result<Self, WarehouseError> {
        let options = PgConnectOptions::from_str(url.expose_secret())
            .map_err(|_| WarehouseError::Url)?
            .application_name("koresync");
        let is_local = options.get_socket().is_some() || is_loopback(options.get_host());
        let options = match (is_local, allow_insecure) {
            (true, _) => options,
            (false, true) => options.ssl_mode(PgSslMode::Prefer),
            (false, false) => options.ssl_mode(PgSslMode::VerifyFull),
        };
        Ok(Self { options: options.disable_statement_logging(), connections })
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

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    pub(super) fn pool(&self, connections: u32, lease: Duration) -> PgPool {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(lease.min(Duration::from_secs(30)))
            .idle_timeout(Duration::from_mins(5))
            .after_release(|connection, _| {
                Box::pin(async move {
                    // Nobody inherits what a failed task left open.
                    sqlx::query("rollback").execute(connection).await.map(|_| true)
                })
            })
            .connect_lazy_with(self.options.clone())
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.starts_with('/')
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
