//! What tests plant in a database behind the daemon's back, on one server or a cluster.

use sqlx::{Acquire, AssertSqlSafe, PgConnection, Postgres};

/// Changes rows as the loader does, with no key checked, over all nodes of a cluster, in one transaction. Gives how many
/// rows the statements changed, which are divided by semicolons.
pub async fn plant<'c>(database: impl Acquire<'c, Database = Postgres>, statements: &str) -> u64 {
    let mut transaction = database.begin().await.expect("a transaction");
    leave_unchecked(&mut transaction).await;
    let done = sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut *transaction).await;
    let done = done.unwrap_or_else(|error| panic!("{error}, of: {statements}"));
    transaction.commit().await.expect("a commit");
    done.rows_affected()
}

/// Each setting by itself: a coordinator hands the whole text that a `set` stands in on to the other nodes.
async fn leave_unchecked(connection: &mut PgConnection) {
    for setting in [
        "set local citus.multi_shard_modify_mode = 'sequential'",
        "set local citus.propagate_set_commands = 'local'",
        "set local session_replication_role = replica",
    ] {
        sqlx::query(setting).execute(&mut *connection).await.expect("no checks");
    }
}
