//! What an analyst would ask of the mirror, in SQL.

use sqlx::{AssertSqlSafe, Column as _, Connection, PgConnection, Row as _, TypeInfo as _, ValueRef as _};

/// A question in words and in SQL.
#[derive(Debug)]
pub struct Question {
    pub words: &'static str,
    pub sql: &'static str,
}

/// Each answer shows its numerator and denominator, or how many contacts it rests on.
pub const QUESTIONS: [Question; 3] = [
    Question {
        words: "Whose contacts score best, among agents with 5 evaluated ones or more?",
        sql: "\
select a.agent_name as agent, count(c.evaluation_score) as evaluated,
       round(avg(c.evaluation_score), 1) as mean_score,
       count(*) filter (where c.is_passed) as passed
from kore.contacts c
join kore.contact_agents p using (contact_key)
join kore.agents a using (agent_key)
where p.is_primary and c.removed_at is null
group by a.agent_key
having count(c.evaluation_score) >= 5
order by avg(c.evaluation_score) desc, agent limit 5",
    },
    Question {
        words: "What do customers call about most, and how often is it resolved?",
        sql: "\
select t.l1_name as topic, count(distinct f.contact_key) as contacts,
       count(*) filter (where f.is_resolved) as resolved, count(f.is_resolved) as reported,
       round(100.0 * count(*) filter (where f.is_resolved) / nullif(count(f.is_resolved), 0), 1) as resolved_pct
from kore.contact_topics f
join kore.topics t using (topic_key)
join kore.contacts c using (contact_key)
where c.removed_at is null
group by t.l1_name
order by contacts desc, topic limit 5",
    },
    Question {
        words: "Which metrics are met least?",
        sql: "\
select m.metric_name as metric, count(*) filter (where f.qualification = 'YES') as met,
       count(*) filter (where f.qualification in ('YES', 'NO')) as judged,
       round(100.0 * count(*) filter (where f.qualification = 'YES')
             / nullif(count(*) filter (where f.qualification in ('YES', 'NO')), 0), 1) as compliance_pct
from kore.contact_metrics f
join kore.metrics m using (metric_key)
join kore.contacts c using (contact_key)
where c.removed_at is null
group by m.metric_key
order by compliance_pct, metric limit 5",
    },
];

/// Rows as the database prints them; NULL is empty.
#[derive(Debug)]
pub struct Answer {
    /// Name, and whether it holds numbers.
    pub columns: Vec<(String, bool)>,
    pub rows: Vec<Vec<String>>,
}

/// Asks as whoever `url` logs in.
pub async fn ask(url: &str, questions: &[Question]) -> Result<Vec<Answer>, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let mut answers = Vec::new();
    for question in questions {
        answers.push(answer(&mut connection, question.sql).await?);
    }
    connection.close().await?;
    Ok(answers)
}

/// Every table of the analysts' schema with its number of rows.
pub async fn row_counts(url: &str) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let tables: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, quote_ident(c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = 'kore' and c.relkind in ('r', 'p') order by c.relname",
    )
    .fetch_all(&mut connection)
    .await?;
    let mut counts = Vec::new();
    for (table, quoted) in tables {
        let statement = AssertSqlSafe(format!("select count(*) from kore.{quoted}"));
        counts.push((table, sqlx::query_scalar(statement).fetch_one(&mut connection).await?));
    }
    connection.close().await?;
    Ok(counts)
}

/// By the simple protocol, which sends text.
async fn answer(connection: &mut PgConnection, sql: &'static str) -> Result<Answer, sqlx::Error> {
    let rows = sqlx::raw_sql(sql).fetch_all(connection).await?;
    let columns = rows.first().map_or_else(Vec::new, |row| {
        row.columns().iter().map(|column| (column.name().to_owned(), is_number(column.type_info().name()))).collect()
    });
    let rows = rows
        .iter()
        .map(|row| {
            (0..row.len())
                .map(|index| {
                    let value = row.try_get_raw(index)?;
                    if value.is_null() {
                        return Ok(String::new());
                    }
                    Ok(value.as_str().map_err(sqlx::Error::Decode)?.to_owned())
                })
                .collect()
        })
        .collect::<Result<_, sqlx::Error>>()?;
    Ok(Answer { columns, rows })
}

fn is_number(type_name: &str) -> bool {
    type_name.starts_with("INT") || type_name == "NUMERIC" || type_name.starts_with("FLOAT")
}
