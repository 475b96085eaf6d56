//! A Citus cluster in place of the private server: a database on every node, its tables spread once they are made.
//!
//! The server that `KORESYNC_TEST_DATABASE_URL` names is one when its database has the extension and knows of workers.

use sqlx::{Connection as _, PgConnection};

use super::postgres::given_server;

/// What an operator runs after `koresync migrate`.
const SPREAD: &str = include_str!("../../../deploy/citus/spread.sql");

/// A node as the coordinator reaches it.
pub struct Node {
    host: String,
    port: i32,
}

impl Node {
    /// The URL of the coordinator with this node in its place.
    pub fn url(&self, coordinator: &str) -> String {
        let mut url = reqwest::Url::parse(coordinator).expect("a URL");
        url.set_host(Some(&self.host)).expect("a host");
        url.set_port(u16::try_from(self.port).ok()).expect("a port");
        url.into()
    }
}

/// The workers of a cluster; none of a server that is no coordinator.
pub async fn workers(coordinator: &str) -> Result<Vec<Node>, sqlx::Error> {
    let mut connection = PgConnection::connect(coordinator).await?;
    let workers = if has_citus(&mut connection).await? {
        sqlx::query_as("select nodename, nodeport from pg_dist_node where groupid <> 0 and isactive order by 1, 2")
            .fetch_all(&mut connection)
            .await?
    } else {
        Vec::new()
    };
    connection.close().await?;
    Ok(workers.into_iter().map(|(host, port)| Node { host, port }).collect())
}

/// Waits until no other test makes or joins databases, which fails where two do. Until what it gives is dropped.
pub async fn take_turn(coordinator: &str) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect(coordinator).await?;
    sqlx::query("select pg_advisory_lock(hashtext('koresync test cluster'))").execute(&mut connection).await?;
    Ok(connection)
}

/// Joins the new databases of all nodes.
pub async fn join(database: &str, workers: &[(Node, String)]) -> Result<(), sqlx::Error> {
    for url in workers.iter().map(|(_, url)| url.as_str()).chain([database]) {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql("create extension citus").execute(&mut connection).await?;
        connection.close().await?;
    }
    let mut connection = PgConnection::connect(database).await?;
    let own = reqwest::Url::parse(database).expect("a URL");
    sqlx::query("select citus_set_coordinator_host($1, $2)")
        .bind(own.host_str().expect("a host"))
        .bind(i32::from(own.port().unwrap_or(5432)))
        .execute(&mut connection)
        .await?;
    for (node, _) in workers {
        sqlx::query("select citus_add_node($1, $2)").bind(&node.host).bind(node.port).execute(&mut connection).await?;
    }
    connection.close().await
}

/// Spreads the tables of a database that was just migrated, where it is one of a cluster.
pub async fn spread(database: &str) {
    let mut connection = PgConnection::connect(database).await.expect("a connection");
    if let Some(given) = given_server()
        && has_citus(&mut connection).await.expect("a look at the extensions")
    {
        // Roles belong to all databases of the cluster.
        let turn = take_turn(&given).await.expect("a turn");
        sqlx::raw_sql(SPREAD).execute(&mut connection).await.expect("tables spread over the nodes");
        drop(turn);
    }
    connection.close().await.ok();
}

pub async fn has_citus(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from pg_extension where extname = 'citus')").fetch_one(connection).await
}
