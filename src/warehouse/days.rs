//! Days that are kept as rows, so that charts do not count every contact again (`migrations/0015_kept_days.sql`).
//!
//! Triggers mark the day of a contact in the transaction that changes it, and views count marked days themselves. So a day may be
//! kept late or never; it only must not be kept wrongly. It is counted in one snapshot, and of the marks those alone go
//! that the snapshot saw: what commits later leaves its own.

use std::time::Duration;

use chrono::NaiveDate;
use sqlx::postgres::PgQueryResult;
use sqlx::{AssertSqlSafe, Postgres, Transaction};
use tokio_util::sync::CancellationToken;

use super::{Warehouse, WarehouseError, bound_transaction};
use crate::faults::{Defect, is_planted};

/// Each has a view that counts all days, `counted_…_days`, a function that counts one, and a table of the same columns, `kept_…_days`.
const KINDS: [&str; 5] = ["agent", "queue", "metric", "topic", "emotion"];
/// Of `kore.contacts` for every event, of five tables that hang on it for all but inserts.
const TRIGGERS: i64 = 4 + 5 * 3;

/// A stream's business day.
#[derive(Debug, Clone, PartialEq, Eq, Hash, sqlx::FromRow)]
pub struct StreamDay {
    pub stream: String,
    pub started_on: NaiveDate,
}

/// What becomes of days in this warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    Kept,
    /// Views count every day, as on a cluster.
    Counted,
    /// Views read kept days, and not every change marks its day: a trigger is gone or was disabled.
    Broken,
}

impl Warehouse {
    pub async fn keeping(&self) -> Result<Keeping, WarehouseError> {
        let (is_kept, triggers): (bool, i64) = sqlx::query_as(
            "select exists (select from pg_depend d join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid \
                 where d.refobjid = 'koresync.kept_agent_days'::regclass and r.ev_class = 'koresync.agent_days'::regclass), \
               (select count(*) from pg_trigger t join pg_class c on c.oid = t.tgrelid \
                 where c.relnamespace = 'kore'::regnamespace and t.tgname like 'mark\\_days\\_%' and t.tgenabled = 'A')",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(match (is_kept, triggers) {
            (false, _) => Keeping::Counted,
            (true, TRIGGERS) => Keeping::Kept,
            (true, _) => Keeping::Broken,
        })
    }

    /// The latest of the days that are to be kept anew and did not change for so long, some apart.
    pub async fn quiet_day(&self, quiet: Duration, apart: &[StreamDay]) -> Result<Option<StreamDay>, WarehouseError> {
        let (streams, days): (Vec<_>, Vec<_>) = apart.iter().map(|day| (day.stream.as_str(), day.started_on)).unzip();
        // By the server's clock, which made the marks.
        let day = sqlx::query_as(
            "select stream, started_on from koresync.changed_days \
             where (stream, started_on) not in (select * from unnest($2::text[], $3::date[])) \
             group by stream, started_on having max(changed_at) <= clock_timestamp() - make_interval(secs => $1) \
             order by started_on desc, stream limit 1",
        )
        .bind(quiet.as_secs_f64())
        .bind(streams)
        .bind(days)
        .fetch_optional(&self.pool)
        .await?;
        Ok(day)
    }

    /// Counts a day and keeps it; whether it is kept now. It is not where nothing marks it, where somebody else keeps it, or
    /// when told to stop: then the statement in hand is cancelled, and nothing changes.
    pub async fn keep_day(&self, day: &StreamDay, stop: &CancellationToken) -> Result<bool, WarehouseError> {
        match self.try_keep_day(day, stop).await {
            // Lost against another one, who has these marks locked or took them.
            Err(error) if error.is_conflict() || error.sqlstate().as_deref() == Some("55P03") => Ok(false),
            Err(_) if stop.is_cancelled() => Ok(false),
            kept => kept,
        }
    }

    async fn try_keep_day(&self, day: &StreamDay, stop: &CancellationToken) -> Result<bool, WarehouseError> {
        let began = if is_planted(Defect::DayKeptOfSeveralMoments) {
            self.pool.begin().await
        } else {
            self.pool.begin_snapshot().await
        };
        let mut transaction = began.map_err(|error| self.explained(error))?;
        bound_transaction(&mut transaction, self.lease).await?;
        let backend: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *transaction).await?;
        // Who keeps the same day at the same time saw at least one of these marks.
        let marks = "select from koresync.changed_days where stream = $1 and started_on = $2 for update nowait";
        if self.unless_stopped(&mut transaction, marks.to_owned(), day, (backend, stop)).await?.rows_affected() == 0 {
            return Ok(false);
        }
        let mut statements = Vec::new();
        for kind in KINDS {
            statements.push(format!("delete from koresync.kept_{kind}_days where stream = $1 and started_on = $2"));
            statements
                .push(format!("insert into koresync.kept_{kind}_days select * from koresync.count_{kind}_day($1, $2)"));
        }
        statements.push("delete from koresync.changed_days where stream = $1 and started_on = $2".to_owned());
        for sql in statements {
            if stop.is_cancelled() {
                return Ok(false);
            }
            self.unless_stopped(&mut transaction, sql, day, (backend, stop)).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Waits for a statement to its end, which comes soon when told to stop.
    async fn unless_stopped(
        &self,
        transaction: &mut Transaction<'static, Postgres>,
        sql: String,
        day: &StreamDay,
        (backend, stop): (i32, &CancellationToken),
    ) -> Result<PgQueryResult, sqlx::Error> {
        // The names are our own constants.
        let statement = sqlx::query(AssertSqlSafe(sql)).bind(&day.stream).bind(day.started_on);
        let mut running = std::pin::pin!(statement.execute(&mut **transaction));
        tokio::select! {
            done = &mut running => return done,
            () = stop.cancelled() => {}
        }
        // The session is ours until the transaction ends, so nobody else's statement is hit.
        let cancelled = sqlx::query("select pg_cancel_backend($1)").bind(backend).execute(&self.heartbeat).await;
        if let Err(error) = cancelled {
            tracing::debug!(%error, "A count of a day could not be cancelled; it is waited for.");
        }
        running.await
    }
}
