//! The processes that worked on this warehouse.

use super::{Warehouse, WarehouseError};

impl Warehouse {
    /// Notes that a process began. `worker` owns its leases.
    pub async fn begin_run(&self, worker: &str, command: &str) -> Result<i64, WarehouseError> {
        Ok(sqlx::query_scalar(
            "insert into koresync.runs (worker, program, command, started_at, seen_at) \
             select $1, $2, $3, n.now, n.now from (select coalesce($4, clock_timestamp()) as now) n returning id",
        )
        .bind(worker)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(command)
        .bind(self.clock.database_time())
        .fetch_one(&self.pool)
        .await?)
    }

    pub async fn touch_run(&self, run: i64) -> Result<(), WarehouseError> {
        sqlx::query("update koresync.runs set seen_at = coalesce($2, clock_timestamp()) where id = $1")
            .bind(run)
            .bind(self.clock.database_time())
            .execute(&self.heartbeat)
            .await?;
        Ok(())
    }

    pub async fn end_run(&self, run: i64, outcome: &str) -> Result<(), WarehouseError> {
        sqlx::query(
            "update koresync.runs set ended_at = coalesce($2, clock_timestamp()), seen_at = coalesce($2, clock_timestamp()), outcome = $3 where id = $1",
        )
        .bind(run)
        .bind(self.clock.database_time())
        .bind(outcome)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
