//! The questions in deploy/sql, asked of a few contacts made by hand, of which the answers are known.

use std::path::{Path, PathBuf};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, ValueRef as _};

use super::{TestDatabase, make_schema};
use crate::support::logins::Login;

const SEED: &str = include_str!("questions/seed.sql");

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A line a row, as `psql -At -F '|'` prints it.
async fn answer(connection: &mut PgConnection, name: &str, sql: &str) -> String {
    let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .fetch_all(connection)
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut text = String::new();
    for row in &rows {
        let values: Vec<&str> = (0..row.len())
            .map(|place| {
                let value = row.try_get_raw(place).expect("a value");
                if value.is_null() { "" } else { value.as_str().expect("a value as text") }
            })
            .collect();
        text.push_str(&values.join("|"));
        text.push('\n');
    }
    text
}

#[tokio::test]
async fn each_question_has_the_answer_that_was_worked_out_by_hand() {
    let database = TestDatabase::create().await;
    make_schema(database.url()).await;
    let pool = database.pool().await;
    let mut connection = pool.acquire().await.expect("a connection");
    sqlx::raw_sql(SEED).execute(&mut *connection).await.expect("contacts made by hand");
    let login = Login::of(&database, "kore_reader").await;
    let mut connection = PgConnection::connect(&login.url).await.expect("a reader's connection");
    sqlx::raw_sql("set time zone 'UTC'; set statement_timeout = '2s'")
        .execute(&mut connection)
        .await
        .expect("times as they are written down");
    let mut names: Vec<String> = std::fs::read_dir(folder("deploy/sql"))
        .expect("the questions")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.strip_suffix(".sql").map(str::to_owned))
        .collect();
    names.sort();
    assert_eq!(names.len(), 12, "{names:?}");
    for name in names {
        let sql = std::fs::read_to_string(folder("deploy/sql").join(format!("{name}.sql"))).expect("a question");
        let expected = folder("tests/suite/analysts/questions").join(format!("{name}.expected"));
        let expected =
            std::fs::read_to_string(&expected).unwrap_or_else(|error| panic!("{}: {error}", expected.display()));
        let told = answer(&mut connection, &name, &sql).await;
        assert!(!expected.is_empty(), "{name}: no answer is expected");
        assert!(told == expected, "{name} answers\n{told}expected is\n{expected}");
    }
    connection.close().await.expect("an end");
}
