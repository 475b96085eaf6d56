//! Looks at the server from outside a pool: is it there, who are we to it, what may we do.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use super::super::{ConnectOptions, Warehouse, WarehouseError, pool};

/// For the connection alone: nothing is under way on it that a cancellation could leave open.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who we are to the server, and what it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Identity {
    pub user_name: String,
    pub database: String,
    /// As 160002.
    pub version_number: i32,
    pub version: String,
}

/// What the role of the URL may do.
#[derive(Debug, Clone, Default)]
pub struct Privileges {
    /// Tables of both schemas that cannot be read and written, by name; empty when all is well.
    pub closed_tables: Vec<String>,
    /// Whether foreign keys may be left unchecked while loading, which makes it 2 to 3 times as fast.
    pub can_skip_key_checks: bool,
    /// Whether it could migrate: a member of the owner, or a maker of roles and schemas.
    pub can_migrate: bool,
}

/// Room on the server. How much of its disk is free no SQL tells.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Room {
    pub database_bytes: i64,
    /// `None` for a login that may not look.
    pub wal_bytes: Option<i64>,
    /// `max_wal_size`.
    pub wal_bytes_meant: i64,
    /// The last try of the archiver failed: WAL is kept until one succeeds.
    pub is_archiving_failing: bool,
    /// Replication slots that nobody reads: WAL is kept for them.
    pub idle_slots: i64,
    /// For who is no superuser.
    pub connections_most: i64,
    pub connections: i64,
    /// Of daemons that run.
    pub connections_ours: i64,
}

impl ConnectOptions {
    /// A connection made and closed. Errors tell why there is none, after 5 s at the latest.
    pub async fn reach(&self) -> Result<(), WarehouseError> {
        let connection = self.connect_alone().await?;
        connection.close().await?;
        Ok(())
    }

    pub async fn identity(&self) -> Result<Identity, WarehouseError> {
        let mut connection = self.connect_alone().await?;
        let mut transaction = connection.begin_with(pool::BEGIN_ANYWHERE).await?;
        let identity = sqlx::query_as(
            "select current_user::text as user_name, current_database()::text as database, \
               current_setting('server_version_num')::int as version_number, current_setting('server_version') as version",
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.rollback().await?;
        connection.close().await.ok();
        Ok(identity)
    }

    /// Whether a pooler hands the server's sessions from client to client.
    pub async fn is_pooled_by_transaction(&self) -> Result<bool, WarehouseError> {
        // First with a limit to its patience, and with the reason if there is no connection.
        self.reach().await?;
        Ok(self.lends_sessions().await?)
    }

    pub async fn privileges(&self) -> Result<Privileges, WarehouseError> {
        let mut connection = self.connect_alone().await?;
        let mut transaction = connection.begin_with(pool::BEGIN_ANYWHERE).await?;
        let closed_tables = sqlx::query_scalar(
            "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace \
             where n.nspname in ('kore', 'koresync') and c.relkind in ('r', 'p') \
               and c.relname not in ('_sqlx_migrations', 'dates', 'schema_versions') \
               and not (has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') \
                 and has_table_privilege(c.oid, 'insert') and has_table_privilege(c.oid, 'update') \
                 and has_table_privilege(c.oid, 'delete')) order by 1",
        )
        .fetch_all(&mut *transaction)
        .await?;
        let can_migrate = sqlx::query_scalar(
            "select rolsuper or exists (select from pg_roles o where o.rolname = 'kore_owner' and pg_has_role(o.oid, 'member')) \
               or (rolcreaterole and has_database_privilege(current_database(), 'create')) \
             from pg_roles where rolname = current_user",
        )
        .fetch_one(&mut *transaction)
        .await?;
        let asked = sqlx::query("set local session_replication_role = replica").execute(&mut *transaction).await;
        transaction.rollback().await?;
        connection.close().await.ok();
        Ok(Privileges { closed_tables, can_skip_key_checks: asked.is_ok(), can_migrate })
    }

    /// What room the server has, as far as this login may see.
    pub async fn room(&self) -> Result<Room, WarehouseError> {
        let mut connection = self.connect_alone().await?;
        let mut transaction = connection.begin_with(pool::BEGIN_ANYWHERE).await?;
        let mut room: Room = sqlx::query_as(
            "select pg_database_size(current_database()) as database_bytes, null::bigint as wal_bytes, \
               pg_size_bytes(current_setting('max_wal_size')) as wal_bytes_meant, \
               (select coalesce(failed_count > 0 and last_failed_time > coalesce(last_archived_time, '-infinity'), false) from pg_stat_archiver) \
                 as is_archiving_failing, \
               (select count(*) from pg_replication_slots where not active) as idle_slots, \
               current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint as connections_most, \
               (select coalesce(sum(numbackends), 0)::bigint from pg_stat_database) as connections, \
               (select count(*) from pg_stat_activity where application_name = 'koresync') as connections_ours",
        )
        .fetch_one(&mut *transaction)
        .await?;
        // Only a member of pg_monitor may look.
        let wal = sqlx::query_scalar("select coalesce(sum(size), 0)::bigint from pg_ls_waldir()");
        room.wal_bytes = wal.fetch_one(&mut *transaction).await.ok();
        transaction.rollback().await?;
        connection.close().await.ok();
        Ok(room)
    }

    pub(in crate::warehouse) async fn connect_alone(&self) -> Result<PgConnection, WarehouseError> {
        // The link beneath gives up by itself; a server that takes the connection and then says nothing
        // does not. Nothing is pooled here, so that giving up leaves nothing behind.
        match tokio::time::timeout(PATIENCE, self.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(WarehouseError::Unreachable(format!("no connection to {} within 5 s", self.describe()))),
        }
    }
}

/// Which of the vendor's streams a stream's rows came from, and what was learned of it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct StreamIdentity {
    pub stream: String,
    pub account_id: String,
    pub stream_id: String,
    /// What counts of a request for a page: `offset`, `page`, `offset_as_pages`; `None` until a window had two pages.
    pub paging: Option<String>,
    /// No answer holds more records.
    pub page_limit: Option<i32>,
    /// No offset beyond so many pages is answered.
    pub pages_max: Option<i32>,
    /// Whether the total counts rows.
    pub is_total_rows: Option<bool>,
    /// `start`, or `other`: what the dates of a request are compared with.
    pub filter_field: Option<String>,
    pub filter_lag_seconds: i64,
}

impl Warehouse {
    /// The time zone that business days are counted in, once a first run has settled it.
    pub async fn held_time_zone(&self) -> Result<Option<String>, WarehouseError> {
        Ok(sqlx::query_scalar("select time_zone from kore.settings limit 1").fetch_optional(&self.pool).await?)
    }

    pub async fn stream_identities(&self) -> Result<Vec<StreamIdentity>, WarehouseError> {
        Ok(sqlx::query_as(
            "select stream, account_id, stream_id, paging, page_limit, pages_max, is_total_rows, filter_field, filter_lag_seconds \
             from koresync.streams order by stream",
        )
        .fetch_all(&self.pool)
        .await?)
    }
}
