//! Who waits for whom, on one server or a cluster.

use sqlx::PgPool;

use super::citus::has_citus;

/// Statements of the program that wait for a lock.
const HERE: &str = "select count(*) from pg_stat_activity where datname = current_database() \
     and application_name = 'koresync' and wait_event_type = 'Lock'";

/// A coordinator waits for its nodes without a lock, and comes to them under a name of its own.
const THERE: &str = "select coalesce(sum(result::bigint), 0)::bigint from run_command_on_workers( \
     $$select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'$$)";

/// How many statements of the program wait for a lock, on this server or on a node of its cluster.
pub async fn waits(database: &PgPool) -> i64 {
    let mut connection = database.acquire().await.expect("a connection");
    let mut waits: i64 = sqlx::query_scalar(HERE).fetch_one(&mut *connection).await.expect("a look");
    if has_citus(&mut connection).await.expect("a look at the extensions") {
        waits += sqlx::query_scalar::<_, i64>(THERE).fetch_one(&mut *connection).await.expect("a look at the nodes");
    }
    waits
}
