//! Logins that have the rights of a role alone. Who says `set role` instead comes as far as the coordinator of a cluster,
//! whose nodes are reached under the name that is in force, and that one may not log in.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::citus::take_turn;
use super::postgres::{TestDatabase, given_server};

const PASSWORD: &str = "of-the-tests";

/// A login of a test's own. Roles belong to all databases of a server, so this one is dropped at the end.
#[derive(Debug)]
pub struct Login {
    pub url: String,
    name: String,
    database_url: String,
}

impl Login {
    /// One in this role, which the schema has made.
    pub async fn of(database: &TestDatabase, role: &str) -> Self {
        let name = format!("koresync_test_{}", uuid::Uuid::new_v4().simple());
        let mut url = reqwest::Url::parse(database.url()).expect("a URL");
        url.set_username(&name).expect("a name");
        url.set_password(Some(PASSWORD)).expect("a password");
        let made = format!("create role {name} login password '{PASSWORD}' in role {role}");
        execute(database.url(), &made).await.expect("a login");
        Self { url: url.into(), name, database_url: database.url().to_owned() }
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let (url, statement) = (std::mem::take(&mut self.database_url), format!("drop role {}", self.name));
        // A thread, because a runtime that is being dropped or is busy with this test runs nothing more.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(execute(&url, &statement)).map_err(std::io::Error::other)
        });
        if !matches!(dropping.join(), Ok(Ok(()))) {
            eprintln!("a login was left behind");
        }
    }
}

async fn execute(url: &str, statement: &str) -> Result<(), sqlx::Error> {
    // Roles of one server are made one after the other.
    let turn = if let Some(given) = given_server() { Some(take_turn(&given).await?) } else { None };
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await?;
    connection.close().await?;
    drop(turn);
    Ok(())
}
