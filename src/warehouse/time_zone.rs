//! The business time zone: one for the whole warehouse. A program that counts days in another one writes
//! nothing.

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use chrono_tz::Tz;
use sqlx::PgConnection;

use super::{Warehouse, WarehouseError};

/// Until the end of the transaction, keeps the zone from being replaced, and what is in force of people's
/// rights, whose version it gives. Errors when the zone is not that of this process.
pub(super) async fn hold(warehouse: &Warehouse, connection: &mut PgConnection) -> Result<i64, WarehouseError> {
    // First the lock: the statement after it sees what its former holder committed.
    super::privacy::share(connection).await?;
    let (version, held): (i64, Option<String>) =
        sqlx::query_as("select version, (select time_zone from kore.settings) from koresync.privacy")
            .fetch_one(connection)
            .await?;
    match held {
        Some(held) if held != warehouse.time_zone.name() => {
            Err(WarehouseError::TimeZone { held, configured: warehouse.time_zone.name().to_owned() })
        }
        _ => Ok(version),
    }
}

/// Whether `kore.dates` has a day: it spans 2000 to 2060.
pub(super) fn is_in_calendar(day: NaiveDate) -> bool {
    (2000..=2060).contains(&day.year())
}

impl Warehouse {
    /// The day of a moment in the business time zone.
    pub(super) fn business_day(&self, moment: DateTime<Utc>) -> NaiveDate {
        moment.with_timezone(&self.time_zone).date_naive()
    }

    /// Whether the calendar has the business day of a start.
    pub fn is_in_calendar(&self, started_at: DateTime<Utc>) -> bool {
        is_in_calendar(self.business_day(started_at))
    }
}

/// Records another zone, once nobody writes days of the old one any more.
pub(super) async fn replace(connection: &mut PgConnection, zone: Tz) -> Result<(), WarehouseError> {
    super::privacy::seize(connection).await?;
    sqlx::query(
        "insert into kore.settings (time_zone) values ($1) on conflict (is_only_row) do update set time_zone = excluded.time_zone",
    )
    .bind(zone.name())
    .execute(connection)
    .await?;
    Ok(())
}

impl Warehouse {
    /// Records the business time zone on the first start, and refuses another one afterwards: the
    /// days already written would be days of the old zone. Nor is a zone accepted into which not all
    /// days have been moved.
    pub async fn settle_time_zone(&self) -> Result<(), WarehouseError> {
        let configured = self.time_zone.name();
        sqlx::query("insert into kore.settings (time_zone) values ($1) on conflict do nothing")
            .bind(configured)
            .execute(&self.pool)
            .await?;
        let held: String = sqlx::query_scalar("select time_zone from kore.settings").fetch_one(&self.pool).await?;
        if held != configured {
            return Err(WarehouseError::TimeZone { held, configured: configured.to_owned() });
        }
        let moving: Option<String> = sqlx::query_scalar(
            "select time_zone from koresync.rebuilds where state = 'running' and time_zone is not null limit 1",
        )
        .fetch_optional(&self.pool)
        .await?;
        moving.map_or(Ok(()), |zone| Err(WarehouseError::TimeZoneMoving { zone }))
    }
}
