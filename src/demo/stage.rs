//! What plays the parts: the vendor's account and stream, the logins, and the configuration that joins them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::simulate;

/// The name of the stream in the warehouse.
pub const STREAM: &str = "support";
pub const STREAM_ID: &str = "st-demo";
pub const DATABASE: &str = "warehouse";
/// A login with the daemon's role, and one with the analysts'.
pub const DAEMON: &str = "koresync";
pub const ANALYST: &str = "analyst";

const ACCOUNT_ID: &str = "acc-demo";
const CLIENT_ID: &str = "cs-demo";
/// A hundred times the real vendor's, so that nobody waits.
pub const REQUESTS_PER_MINUTE: u32 = 6_000;
pub const REAL_REQUESTS_PER_MINUTE: u32 = 60;
/// The simulated vendor lists every contact within nine minutes of its start.
const SETTLE: Duration = Duration::from_mins(10);

/// The size of the demonstration.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    pub contacts: u64,
    pub days: u32,
    pub seed: u64,
}

/// The simulated vendor's account, its secret made for this run alone.
#[derive(Clone)]
pub struct Account {
    extent: Extent,
    end: DateTime<Utc>,
    secret: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("extent", &self.extent).field("end", &self.end).finish_non_exhaustive()
    }
}

impl Account {
    /// Its history ends at `now`, and its present goes on at the same pace.
    pub fn new(extent: Extent, now: DateTime<Utc>) -> Self {
        let secret = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        Self { extent, end: now - SETTLE, secret }
    }

    /// The first moment of its history.
    pub fn start(&self) -> DateTime<Utc> {
        self.end - chrono::TimeDelta::days(i64::from(self.extent.days))
    }

    /// How the vendor is simulated.
    pub fn vendor(&self) -> simulate::Options {
        simulate::Options {
            seed: self.extent.seed,
            contacts: self.extent.contacts,
            days: self.extent.days,
            end: Some(self.end),
            stream_ids: vec![STREAM_ID.to_owned()],
            account_id: Some(ACCOUNT_ID.to_owned()),
            client_id: Some(CLIENT_ID.to_owned()),
            client_secret: Some(self.secret.clone()),
            enforce_jti: true,
            requests_per_minute: REQUESTS_PER_MINUTE,
            ..simulate::Options::default()
        }
    }

    /// The configuration file, as an operator would write it.
    pub fn configuration(&self, vendor_url: &str, warehouse_url: &str) -> String {
        format!(
            "[warehouse]\n\
             url = \"{warehouse_url}\"\n\n\
             [api]\n\
             base_url = \"{vendor_url}\"\n\
             account_id = \"{ACCOUNT_ID}\"\n\
             org_id = \"o-demo\"\n\
             client_id = \"{CLIENT_ID}\"\n\
             client_secret = \"{secret}\"\n\
             requests_per_minute = {REQUESTS_PER_MINUTE}\n\n\
             [streams.{STREAM}]\n\
             stream_id = \"{STREAM_ID}\"\n\
             start = \"{start}\"\n\n\
             [sync]\n\
             poll_interval = \"10s\"\n\
             settle = \"{settle}s\"\n",
            secret = self.secret,
            start = self.start().format("%Y-%m-%dT%H:%M:%SZ"),
            settle = SETTLE.as_secs(),
        )
    }
}

/// Makes the two logins, each with no more than its role. `url` is a superuser's.
pub async fn make_logins(url: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let statement =
        format!("create role {DAEMON} login in role kore_writer; create role {ANALYST} login in role kore_reader");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loader;

    #[test]
    fn the_configuration_is_one_that_the_daemon_accepts() {
        let now = DateTime::from_timestamp(1_774_261_123, 5_000_000).expect("a time");
        let account = Account::new(Extent { contacts: 300, days: 30, seed: 1 }, now);
        let text = account.configuration("http://127.0.0.1:8080", "postgres://koresync@127.0.0.1:5432/warehouse");
        let settings = Loader::default().load_text("demo", &text).expect("settings");
        assert_eq!(settings.sync.settle.of(None), SETTLE);
        let stream = &settings.streams[STREAM];
        assert_eq!(stream.api.requests_per_minute, REQUESTS_PER_MINUTE);
        assert_eq!(stream.start.timestamp(), account.start().timestamp());
        assert!(!format!("{account:?}").contains(&account.secret));
    }
}
