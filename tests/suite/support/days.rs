//! Days that are kept for the views, against the contacts that they count.

use std::time::Duration;

use koresync::warehouse::Warehouse;
use koresync::warehouse::days::Keeping;
use sqlx::{AssertSqlSafe, PgPool};
use tokio_util::sync::CancellationToken;

/// The views of which days are kept.
const KINDS: [&str; 5] = ["agent", "queue", "metric", "topic", "emotion"];

/// Keeps every day that is marked; gives how many those were. On a cluster none is.
pub async fn keep_all_days(warehouse: &Warehouse) -> u32 {
    let mut kept = 0;
    if warehouse.keeping().await.expect("an answer") == Keeping::Counted {
        return kept;
    }
    while let Some(day) = warehouse.quiet_day(Duration::ZERO, &[]).await.expect("a marked day") {
        let is_kept = warehouse.keep_day(&day, &CancellationToken::new()).await.expect("a day");
        assert!(is_kept, "{day:?} is not kept");
        kept += 1;
    }
    kept
}

pub async fn marked_days(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from (select distinct stream, started_on from koresync.changed_days) d")
        .fetch_one(pool)
        .await
        .expect("a count")
}

/// Panics where views that read kept days do not tell what is counted of contacts. Gives how many rows are read as they were kept.
pub async fn assert_days_hold(pool: &PgPool) -> i64 {
    let mut read = 0;
    for kind in KINDS {
        for (one, other) in [("counted_", ""), ("", "counted_")] {
            let sql = format!(
                "select to_jsonb(d)::text from (select * from koresync.{one}{kind}_days except all select * from koresync.{other}{kind}_days) d"
            );
            let differing: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await.expect("days");
            assert!(differing.is_empty(), "{one}{kind}_days alone has {} rows, as {}", differing.len(), differing[0]);
        }
        let sql = format!(
            "select count(*) from koresync.kept_{kind}_days where (stream, started_on) not in (select stream, started_on from koresync.changed_days)"
        );
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await.expect("a count");
        read += rows;
    }
    read
}
