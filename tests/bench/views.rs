//! What analysts wait for: each view over a month, among so many contacts.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chrono::{Days, NaiveDate};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use tokio_util::sync::CancellationToken;

use super::Bench;
use super::history::History;
use super::postgres::{Cluster, Keys, statement};
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
    let runs = bench.settings.runs;
    // Before any day is kept: as on a cluster, or in the first minutes after a load.
    let counted = ask(&mut connection, &of_a_month, 1).await?;
    let (days, keeping) = keep_all(cluster, &mut connection).await?;
    // Two days are still changing, as today and the day before do.
    let changing = "insert into koresync.changed_days (stream, started_on) \
        select s.stream, d::date from koresync.streams s, generate_series($1::date - 1, $1::date, '1 day') d";
    sqlx::query(changing).bind(last).execute(&mut connection).await?;
    let kept = ask(&mut connection, &of_a_month, runs).await?;
    let others = ask(&mut connection, &[&a_contact[..], &whole[..]].concat(), runs).await?;
    drop(connection);
    cluster.remove(DATABASE).await?;

    let report = &mut bench.report;
    report.section(&format!("Views: the {month} contacts of a month, among {held}; one contact; everything"));
    report.note("With every day counted when it is asked for, once:");
    for (words, seconds) in &counted {
        report.figure(words, seconds);
    }
    report.figure(&format!("keeping {days} days, s a day"), &keeping);
    report.note("With days kept, but for two of the month:");
    for (words, seconds) in kept.iter().chain(&others) {
        report.figure(words, seconds);
    }
    report.note("Each is read whole over one connection, with jit = off and work_mem = 32MB, else with PostgreSQL's default settings.");
    Ok(())
}

/// How long each of these takes.
async fn ask(
    connection: &mut PgConnection,
    questions: &[(&str, String)],
    runs: usize,
) -> anyhow::Result<Vec<(String, Samples)>> {
    let mut figures = Vec::new();
    for (view, sql) in questions {
        let (mut seconds, mut rows) = (Samples::default(), 0);
        for _ in 0..runs {
            let began = Instant::now();
            let answer = sqlx::query(AssertSqlSafe(sql.clone()))
                .fetch_all(&mut *connection)
                .await
                .with_context(|| sql.clone())?;
            seconds.add(began.elapsed().as_secs_f64());
            rows = answer.len();
            ensure!(answer.first().is_none_or(|row| row.len() > 2), "{view} has no columns");
        }
        figures.push((format!("{view}, {rows} rows, s"), seconds));
    }
    Ok(figures)
}

/// Keeps all days, as the daemon does, and compares one kind with what is counted.
async fn keep_all(cluster: &Cluster, connection: &mut PgConnection) -> anyhow::Result<(usize, Samples)> {
    let warehouse = cluster.warehouse(DATABASE)?;
    let (mut days, mut seconds) = (0, Samples::default());
    while let Some(day) = warehouse.quiet_day(Duration::ZERO, &[]).await? {
        let began = Instant::now();
        ensure!(warehouse.keep_day(&day, &CancellationToken::new()).await?, "{day:?} is not kept");
        seconds.add(began.elapsed().as_secs_f64());
        days += 1;
    }
    warehouse.close().await;
    cluster.vacuum(DATABASE).await?;
    let wrong: i64 = sqlx::query_scalar(
        "select count(*) from (select * from koresync.counted_queue_days except all select * from koresync.kept_queue_days) d",
    )
    .fetch_one(connection)
    .await?;
    ensure!(wrong == 0, "{wrong} rows of queues were kept wrongly");
    Ok((days, seconds))
}
