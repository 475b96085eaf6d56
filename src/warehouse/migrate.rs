//! The schema: made, counted, and refused when this program is too old for it.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, PgConnection};

use super::{ConnectOptions, Warehouse, WarehouseError, cross, pool};
use crate::faults::Point;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("the warehouse has no schema yet: run `koresync migrate`")]
    Missing,
    #[error("the warehouse's schema is behind ({pending} migrations): run `koresync migrate`")]
    Behind { pending: usize },
    #[error(
        "this program ({PROGRAM}) is too old for the warehouse's schema, which asks for {oldest} or newer: upgrade koresync"
    )]
    ProgramTooOld { oldest: String },
    #[error("another `koresync migrate` is at work on this database")]
    Busy,
    #[error(
        "a pooler stands between koresync and PostgreSQL; migrations need a session of their own: give a direct URL"
    )]
    Pooler,
    #[error("migration failed: {0}")]
    Failed(#[from] MigrateError),
    #[error("PostgreSQL {found} is too old: 14 or newer is needed")]
    ServerTooOld { found: String },
}

/// One migration and whether it is applied.
#[derive(Debug, Clone, serde::Serialize)]
pub struct MigrationState {
    pub version: i64,
    pub description: String,
    pub is_applied: bool,
}

/// Applies what is missing up to a version.
fn migrator(last: i64) -> Migrator {
    let up_to_last = MIGRATIONS.iter().filter(|migration| migration.version <= last).cloned();
    let mut migrator = Migrator::with_migrations(up_to_last.collect());
    migrator.dangerous_set_table_name("koresync._sqlx_migrations");
    migrator.create_schema("koresync");
    migrator.set_ignore_missing(true);
    migrator
}

/// The SQL of all migrations, in order.
pub fn print() -> String {
    let files: Vec<String> =
        MIGRATIONS.iter().map(|m| format!("-- {:04} {}\n{}", m.version, m.description, m.sql.as_str())).collect();
    files.join("\n")
}

/// Applies what is missing. Errors with [`SchemaError::Busy`] when another process does just that.
pub async fn up(options: &ConnectOptions) -> Result<Vec<MigrationState>, WarehouseError> {
    let mut connection = options.connect().await?;
    check_server(&mut connection).await?;
    // The migrator's own lock waits for ever; this one says that somebody else is at it.
    let is_free: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtext('koresync migrate'))")
        .fetch_one(&mut connection)
        .await?;
    if !is_free {
        return Err(SchemaError::Busy.into());
    }
    let states = match apply(&mut connection).await {
        Ok(()) => states(&mut connection).await,
        Err(error) => Err(error),
    };
    // The server lets go of a session's locks a moment after its end; whoever tries again is sooner.
    let _ = sqlx::query("select pg_advisory_unlock(hashtext('koresync migrate'))").execute(&mut connection).await;
    connection.close().await.ok();
    states
}

/// Each migration is a transaction of its own: whoever dies between two goes on where it was.
async fn apply(connection: &mut PgConnection) -> Result<(), WarehouseError> {
    // Of a cluster: a migration changes spread tables and copied ones, which is possible over one connection a node alone.
    // From PostgreSQL 16 on, who makes a role without being a superuser may work as it only where this setting says so.
    sqlx::query(
        "select set_config('citus.multi_shard_modify_mode', 'sequential', false), \
           case when current_setting('server_version_num')::int >= 160000 \
             then set_config('createrole_self_grant', 'set, inherit', false) end",
    )
    .execute(&mut *connection)
    .await?;
    for migration in MIGRATIONS.iter() {
        let migrator = migrator(migration.version);
        migrator.run_direct(None, &mut *connection, false).await.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            error => WarehouseError::from(SchemaError::Failed(error)),
        })?;
        cross(Point::Migrating)?;
    }
    Ok(())
}

/// What is applied and what is not.
pub async fn status(options: &ConnectOptions) -> Result<Vec<MigrationState>, WarehouseError> {
    let mut connection = options.connect().await?;
    // A session that a pooler lends may still hold what somebody else has prepared.
    let mut transaction = connection.begin_with(pool::BEGIN_ANYWHERE).await?;
    let states = states(&mut transaction).await;
    transaction.rollback().await?;
    connection.close().await.ok();
    states
}

async fn states(connection: &mut PgConnection) -> Result<Vec<MigrationState>, WarehouseError> {
    let applied = applied(connection).await?;
    Ok(MIGRATIONS
        .iter()
        .map(|m| MigrationState {
            version: m.version,
            description: m.description.to_string(),
            is_applied: applied.contains(&m.version),
        })
        .collect())
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<i64>, WarehouseError> {
    let is_made: bool = sqlx::query_scalar("select to_regclass('koresync._sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !is_made {
        return Ok(Vec::new());
    }
    // The writer may not read the migrator's own table; what it needs is in schema_versions.
    Ok(sqlx::query_scalar("select migration from koresync.schema_versions order by 1").fetch_all(connection).await?)
}

async fn check_server(connection: &mut PgConnection) -> Result<(), WarehouseError> {
    let (number, text): (i32, String) =
        sqlx::query_as("select current_setting('server_version_num')::int, current_setting('server_version')")
            .fetch_one(connection)
            .await?;
    if number < 140_000 {
        return Err(SchemaError::ServerTooOld { found: text }.into());
    }
    Ok(())
}

impl Warehouse {
    /// Refuses a schema that is missing, behind, or says that this program is too old for it.
    pub async fn check_schema(&self) -> Result<(), WarehouseError> {
        let mut connection = self.pool.lend().await?;
        check_server(&mut connection).await?;
        let is_made: bool = sqlx::query_scalar("select to_regclass('koresync.schema_versions') is not null")
            .fetch_one(&mut *connection)
            .await?;
        if !is_made {
            return Err(SchemaError::Missing.into());
        }
        let versions: Vec<(i64, String)> =
            sqlx::query_as("select migration, oldest_program from koresync.schema_versions order by 1")
                .fetch_all(&mut *connection)
                .await?;
        connection.done().await?;
        if let Some((_, oldest)) = versions.iter().find(|(_, oldest)| numbers(oldest) > numbers(PROGRAM)) {
            return Err(SchemaError::ProgramTooOld { oldest: oldest.clone() }.into());
        }
        let pending = MIGRATIONS.iter().filter(|m| versions.iter().all(|(version, _)| *version != m.version)).count();
        if pending > 0 {
            return Err(SchemaError::Behind { pending }.into());
        }
        Ok(())
    }
}

fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}
