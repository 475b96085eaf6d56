//! What analysts wait for: each view over a month, among so many contacts.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use chrono::{Days, NaiveDate};
use sqlx::{AssertSqlSafe, Row as _};

use super::Bench;
use super::history::History;
use super::postgres::{Keys, statement};
use super::report::Samples;

const DATABASE: &str = "views";
/// In every one a filter on the day is what a chart has.
const DAILY: [&str; 8] = [
    "agent_daily_scorecard",
    "queue_daily",
    "metric_compliance_daily",
    "topic_daily",
    "emotion_daily",
    "sentiment_daily",
    "contact_agent_allocations",
    "contact_queue_allocations",
];
/// Without a day to filter by.
const WHOLE: [&str; 4] = ["evaluation_backlog", "data_freshness", "data_completeness", "daily_completeness"];

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let held = bench.settings.held;
    let history = History::of(held, &bench.settings.folder, &bench.cluster)?;
    let cluster = &bench.cluster;
    cluster.fresh(DATABASE, Keys::Declared).await?;
    history.load(DATABASE, 0, held).await?;
    cluster.vacuum(DATABASE).await?;

    let mut connection = cluster.connect(DATABASE).await?;
    // As the README sets up a login for analysts.
    statement(&mut connection, "set jit = off; set work_mem = '32MB'").await?;
    let last: NaiveDate =
        sqlx::query_scalar("select max(started_on) - 1 from kore.contacts").fetch_one(&mut connection).await?;
    let first = last.checked_sub_days(Days::new(29)).context("a month before")?;
    let month: i64 = sqlx::query_scalar("select count(*) from kore.contacts where started_on between $1 and $2")
        .bind(first)
        .bind(last)
        .fetch_one(&mut connection)
        .await?;
    let of_a_month =
        DAILY.map(|view| (view, format!("select * from kore.{view} where started_on between '{first}' and '{last}'")));
    let a_contact = ["contact_overview", "metric_evidence"].map(|view| {
        (view, format!("select * from kore.{view} where contact_key = (select contact_key from kore.contacts where started_on = '{first}' limit 1)"))
    });
    let whole = WHOLE.map(|view| (view, format!("select * from kore.{view}")));
    let mut figures = Vec::new();
    for (view, sql) in of_a_month.iter().chain(&a_contact).chain(&whole) {
        let (mut seconds, mut rows) = (Samples::default(), 0);
        for _ in 0..bench.settings.runs {
            let began = Instant::now();
            let answer = sqlx::query(AssertSqlSafe(sql.clone()))
                .fetch_all(&mut connection)
                .await
                .with_context(|| sql.clone())?;
            seconds.add(began.elapsed().as_secs_f64());
            rows = answer.len();
            ensure!(answer.first().is_none_or(|row| row.len() > 2), "{view} has no columns");
        }
        figures.push((format!("{view}, {rows} rows, s"), seconds));
    }
    drop(connection);
    cluster.remove(DATABASE).await?;

    let report = &mut bench.report;
    report.section(&format!("Views: the {month} contacts of a month, among {held}; one contact; everything"));
    for (words, seconds) in &figures {
        report.figure(words, seconds);
    }
    report.note("Each is read whole over one connection, with jit = off and work_mem = 32MB, else with PostgreSQL's default settings.");
    Ok(())
}
