//! A private PostgreSQL with its default settings, and databases of it that start alike.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use koresync::demo::postgres::{Options, PrivatePostgres};
use koresync::demo::stage;
use koresync::domain::SystemClock;
use koresync::warehouse::references::Reference;
use koresync::warehouse::{ConnectOptions, Warehouse, migrate};
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use super::process;

/// The project's own tables, as `koresync migrate` makes them.
const WITH_KEYS: &str = "with_keys";
/// The same without a foreign key.
const WITHOUT_KEYS: &str = "without_keys";
/// Statistics of the server are seen by others within this.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// Which tables a database is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    Declared,
    None,
}

#[derive(Debug)]
pub struct Cluster {
    postgres: PrivatePostgres,
    version: String,
}

impl Cluster {
    /// Starts it, durable and with the settings that `initdb` leaves.
    pub async fn start() -> anyhow::Result<Self> {
        let postgres = PrivatePostgres::start(Options { durable: true, ..Options::default() }).await?;
        postgres.create_database(WITH_KEYS).await?;
        let url = postgres.url(WITH_KEYS);
        migrate::up(&ConnectOptions::new(&SecretString::from(url.clone()), false, 1)?).await?;
        stage::make_logins(&url).await?;
        let mut cluster = Self { postgres, version: String::new() };
        let mut connection = cluster.connect("postgres").await?;
        cluster.version = sqlx::query_scalar("show server_version").fetch_one(&mut connection).await?;
        statement(&mut connection, &format!("create database {WITHOUT_KEYS} template {WITH_KEYS}")).await?;
        connection.close().await?;
        let mut connection = cluster.connect(WITHOUT_KEYS).await?;
        let drops: Vec<String> = sqlx::query_scalar(
            "select format('alter table %s drop constraint %I', conrelid::regclass, conname) from pg_constraint \
             where contype = 'f' and connamespace in ('kore'::regnamespace, 'koresync'::regnamespace)",
        )
        .fetch_all(&mut connection)
        .await?;
        ensure!(!drops.is_empty(), "the tables declare no foreign key");
        for drop in drops {
            statement(&mut connection, &drop).await?;
        }
        connection.close().await?;
        Ok(cluster)
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// A new database of that name, in place of one that is there, and nothing left to write to the disk.
    pub async fn fresh(&self, name: &str, keys: Keys) -> anyhow::Result<()> {
        let template = match keys {
            Keys::Declared => WITH_KEYS,
            Keys::None => WITHOUT_KEYS,
        };
        self.copy(template, name).await
    }

    /// A database as another one is at this moment.
    pub async fn copy(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let mut connection = self.connect("postgres").await?;
        statement(&mut connection, &format!("drop database if exists {to} with (force)")).await?;
        statement(&mut connection, &format!("create database {to} template {from}")).await?;
        statement(&mut connection, "checkpoint").await?;
        Ok(connection.close().await?)
    }

    pub async fn checkpoint(&self) -> anyhow::Result<()> {
        let mut connection = self.connect("postgres").await?;
        statement(&mut connection, "checkpoint").await?;
        Ok(connection.close().await?)
    }

    /// Does at once what autovacuum would do about a load in the midst of what is measured next.
    pub async fn vacuum(&self, database: &str) -> anyhow::Result<()> {
        let mut connection = self.connect(database).await?;
        statement(&mut connection, "vacuum (analyze)").await?;
        Ok(connection.close().await?)
    }

    pub async fn remove(&self, name: &str) -> anyhow::Result<()> {
        let mut connection = self.connect("postgres").await?;
        statement(&mut connection, &format!("drop database if exists {name} with (force)")).await?;
        Ok(connection.close().await?)
    }

    /// A superuser's connection over the Unix socket.
    pub async fn connect(&self, database: &str) -> anyhow::Result<PgConnection> {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(self.postgres.socket_directory())
            .port(self.postgres.port())
            .username("postgres")
            .database(database)
            .disable_statement_logging();
        Ok(PgConnection::connect_with(&options).await?)
    }

    /// For the daemon: its own login, over TCP.
    pub fn daemon_url(&self, database: &str) -> String {
        format!("postgres://{}@127.0.0.1:{}/{database}", stage::DAEMON, self.postgres.port())
    }

    /// CPU seconds of the server and all its processes so far.
    pub fn cpu(&self) -> anyhow::Result<f64> {
        process::cpu_of_family(self.postgres.pid().context("PostgreSQL has ended")?)
    }

    /// Bytes of write-ahead log written so far.
    pub async fn wal(&self) -> anyhow::Result<f64> {
        let mut connection = self.connect("postgres").await?;
        let bytes: f64 = sqlx::query_scalar("select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8")
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(bytes)
    }

    /// Deadlocks that the server has ended in a database since it was made.
    pub async fn deadlocks(&self, database: &str) -> anyhow::Result<f64> {
        let mut connection = self.connect(database).await?;
        let deadlocks: i64 =
            sqlx::query_scalar("select deadlocks from pg_stat_database where datname = current_database()")
                .fetch_one(&mut connection)
                .await?;
        connection.close().await?;
        Ok(deadlocks as f64)
    }

    pub async fn contacts(&self, database: &str) -> anyhow::Result<u64> {
        let mut connection = self.connect(database).await?;
        let held: i64 = sqlx::query_scalar("select count(*) from kore.contacts").fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(held.unsigned_abs())
    }

    /// Proves that a database which the daemon loaded holds so many contacts and that no reference of it is broken.
    pub async fn check(&self, database: &str, contacts: u64) -> anyhow::Result<()> {
        self.check_contacts(database, contacts).await?;
        self.check_references(database).await
    }

    /// The same of one that others loaded: what the daemon alone keeps is not in it.
    pub async fn check_copied(&self, database: &str, contacts: u64) -> anyhow::Result<()> {
        self.check_contacts(database, contacts).await?;
        self.look_at_references(database, Reference::is_foreign_key).await
    }

    async fn check_contacts(&self, database: &str, contacts: u64) -> anyhow::Result<()> {
        let held = self.contacts(database).await?;
        ensure!(held == contacts, "{database} holds {held} contacts, {contacts} are due");
        Ok(())
    }

    /// Proves, as `koresync verify --keys` does, that no reference of a database is broken.
    pub async fn check_references(&self, database: &str) -> anyhow::Result<()> {
        self.look_at_references(database, |_| true).await
    }

    /// One connection, and statements that may take long.
    pub fn warehouse(&self, database: &str) -> anyhow::Result<Warehouse> {
        let options = ConnectOptions::new(&SecretString::from(self.postgres.url(database)), false, 1)?;
        Ok(Warehouse::new(&options, Arc::new(SystemClock), chrono_tz::UTC, Duration::from_mins(10)))
    }

    async fn look_at_references(&self, database: &str, is_meant: impl Fn(&Reference) -> bool) -> anyhow::Result<()> {
        let warehouse = self.warehouse(database)?;
        let references = warehouse.references().await?;
        let references: Vec<_> = references.into_iter().filter(is_meant).collect();
        ensure!(references.len() > 20, "{database} declares only {} references", references.len());
        let mut broken = Vec::new();
        for reference in &references {
            let finding = warehouse.look_at(reference).await?;
            if finding.is_broken() {
                broken.push(format!("{}: {}", finding.name, finding.broken));
            }
        }
        warehouse.close().await;
        ensure!(broken.is_empty(), "{database} has broken references: {}", broken.join(", "));
        Ok(())
    }

    /// Rows by table of what a load fills: `kore`, without what migrations and settings put there.
    pub async fn row_counts(&self, database: &str) -> anyhow::Result<Vec<(String, i64)>> {
        let mut connection = self.connect(database).await?;
        let mut counts = Vec::new();
        for table in super::copy::tables(&mut connection).await? {
            let query = format!("select count(*) from {}", table.name);
            let rows: i64 = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut connection).await?;
            counts.push((table.name, rows));
        }
        connection.close().await?;
        Ok(counts)
    }

    /// What happened to rows of `kore` in a database so far, as soon as every process has told.
    pub async fn row_changes(&self, database: &str) -> anyhow::Result<RowChanges> {
        let began = std::time::Instant::now();
        let mut connection = self.connect(database).await?;
        // A process tells when it is idle for a second, or ends; the daemon's have ended.
        let others = "select count(*) from pg_stat_activity where datname = current_database() \
                      and pid <> pg_backend_pid() and backend_type = 'client backend'";
        while sqlx::query_scalar::<_, i64>(others).fetch_one(&mut connection).await? > 0 {
            ensure!(began.elapsed() < TOLD_WITHIN, "somebody stays connected to {database}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (inserted, updated, deleted, dead): (i64, i64, i64, i64) = sqlx::query_as(
            "select sum(n_tup_ins)::int8, sum(n_tup_upd)::int8, sum(n_tup_del)::int8, sum(n_dead_tup)::int8 \
             from pg_stat_user_tables where schemaname = 'kore'",
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        Ok(RowChanges { inserted, updated, deleted, dead })
    }
}

/// Rows of `kore` since the database was made.
#[derive(Debug, Clone, Copy)]
pub struct RowChanges {
    pub inserted: i64,
    pub updated: i64,
    pub deleted: i64,
    pub dead: i64,
}

impl RowChanges {
    /// Whether no row was written. Dead ones may be gone meanwhile.
    pub fn is_none(self) -> bool {
        (self.inserted, self.updated, self.deleted) == (0, 0, 0)
    }

    pub fn since(self, earlier: Self) -> Self {
        Self {
            inserted: self.inserted - earlier.inserted,
            updated: self.updated - earlier.updated,
            deleted: self.deleted - earlier.deleted,
            dead: self.dead - earlier.dead,
        }
    }
}

/// Runs one statement of ours.
pub async fn statement(connection: &mut PgConnection, text: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(connection).await.with_context(|| text.to_owned())?;
    Ok(())
}
