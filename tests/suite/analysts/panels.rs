//! The dashboards in deploy/grafana: every SQL in them runs for a reader, with Grafana's macros and variables put in.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{Mirror, Settings, after_both_changes, population};
use crate::support::logins::Login;
use koresync::simulate;

const WAREHOUSE: &str = "koresync-warehouse";

/// A piece of SQL and where it stands.
#[derive(Debug)]
struct Asked {
    place: String,
    sql: String,
}

/// All SQL of a dashboard: of panels, those within rows too, of variables, of annotations.
fn asked(dashboard: &Value) -> Vec<Asked> {
    fn panels(list: &Value, asked: &mut Vec<Asked>) {
        for panel in list.as_array().into_iter().flatten() {
            panels(&panel["panels"], asked);
            for target in panel["targets"].as_array().into_iter().flatten() {
                if let Some(sql) = target["rawSql"].as_str() {
                    assert_eq!(target["datasource"]["uid"], WAREHOUSE, "of {}", panel["title"]);
                    asked.push(Asked { place: format!("panel {}", panel["title"]), sql: sql.to_owned() });
                }
            }
        }
    }
    let mut asked = Vec::new();
    panels(&dashboard["panels"], &mut asked);
    for variable in dashboard["templating"]["list"].as_array().into_iter().flatten() {
        if let (Some(sql), true) = (variable["query"].as_str(), variable["datasource"]["uid"] == WAREHOUSE) {
            asked.push(Asked { place: format!("variable {}", variable["name"]), sql: sql.to_owned() });
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().into_iter().flatten() {
        if let Some(sql) = annotation["target"]["rawSql"].as_str() {
            asked.push(Asked { place: format!("annotation {}", annotation["name"]), sql: sql.to_owned() });
        }
    }
    asked
}

/// As Grafana sends it, over March 2026.
fn expanded(sql: &str, variables: &[(&str, &str)]) -> String {
    let (from, to) = ("'2026-03-01T00:00:00Z'", "'2026-04-05T00:00:00Z'");
    let mut text = sql
        .replace("$__timeFrom()", from)
        .replace("$__timeTo()", to)
        .replace("$__timeFilter(started_at)", &format!("started_at BETWEEN {from} AND {to}"))
        .replace("$__timeGroupAlias(started_at, 1h)", "floor(extract(epoch from started_at)/3600)*3600 AS \"time\"");
    for (name, value) in variables {
        text = text.replace(&format!("${{{name}:sqlstring}}"), value);
    }
    text
}

/// The answer's number of rows, as a reader has it within two seconds.
async fn rows(connection: &mut PgConnection, asked: &Asked, variables: &[(&str, &str)]) -> usize {
    let sql = expanded(&asked.sql, variables);
    assert!(
        !sql.contains("$_") && !sql.contains("${"),
        "{}: nobody knows what stands for it in Grafana: {sql}",
        asked.place
    );
    sqlx::raw_sql(AssertSqlSafe(sql.clone()))
        .fetch_all(connection)
        .await
        .unwrap_or_else(|error| panic!("{}: {error}\n{sql}", asked.place))
        .len()
}

#[tokio::test]
async fn every_panel_variable_and_annotation_of_the_dashboards_is_answered() {
    let population = simulate::Options { days: 35, end: Some(after_both_changes()), ..population() };
    let settings = Settings { history: chrono::TimeDelta::days(40), ..Settings::default() };
    let mirror = Mirror::start(population, settings).await;
    mirror.run_once().await;
    let pool = mirror.database.pool().await;
    // Something is not proved, so that whatever tells of it has something to tell.
    sqlx::raw_sql(
        "update koresync.windows set state = 'unverified', verified_by = null, verified_at = null \
         where id = (select id from koresync.windows where state = 'verified' and from_at > '2026-03-10' order by from_at limit 1)",
    )
    .execute(&pool)
    .await
    .expect("a window that is not proved");
    let login = Login::of(&mirror.database, "kore_reader").await;
    let mut connection = PgConnection::connect(&login.url).await.expect("a reader's connection");
    sqlx::raw_sql("set statement_timeout = '2s'").execute(&mut connection).await.expect("a limit");
    let all = [
        ("stream", "'__all'"),
        ("agent", "'__all'"),
        ("queue", "'__all'"),
        ("topic_level", "'3'"),
        ("min_judged", "'1'"),
    ];
    let some = [
        ("stream", "'support','other'"),
        ("agent", "'none','1'"),
        ("queue", "'none','1'"),
        ("topic_level", "'2'"),
        ("min_judged", "'5'"),
    ];
    let mut answered = 0;
    for (name, text) in [
        ("quality", include_str!("../../../deploy/grafana/dashboards/quality.json")),
        ("operations", include_str!("../../../deploy/grafana/dashboards/operations.json")),
    ] {
        let dashboard: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}.json: {error}"));
        for asked in asked(&dashboard) {
            // Of `operations`, All is the list of streams.
            let all = if name == "operations" {
                all.map(|(name, value)| (name, if name == "stream" { "'support'" } else { value }))
            } else {
                all
            };
            assert!(rows(&mut connection, &asked, &all).await > 0, "{name}, {}: no row", asked.place);
            rows(&mut connection, &asked, &some).await;
            answered += 1;
        }
    }
    assert!(answered > 20, "only {answered} pieces of SQL were found");
    connection.close().await.expect("an end");
}
