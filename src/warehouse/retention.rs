//! Retention: what is older than it may be is let go, a little at a time. The ledger stays, and with it the
//! watermark; so do the hashes of a payload, by which a record that comes again is known as unchanged.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::load::tables::CHILD_TABLES;
use super::locks::lock_contacts;
use super::{Warehouse, WarehouseError};

/// Before which starts payloads and contacts are let go; `None` keeps them for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cutoffs {
    pub payloads: Option<DateTime<Utc>>,
    pub contacts: Option<DateTime<Utc>>,
}

impl Warehouse {
    /// Lets go of at most `most` contacts, with all that hangs on them and with quarantined records that
    /// came as long ago, then of at most `most` payloads. Each in a transaction of its own, by key, so that
    /// rows are locked in the order in which others lock them. Gives how many went.
    pub async fn let_go(&self, cutoffs: &Cutoffs, most: i64) -> Result<u64, WarehouseError> {
        let mut gone = 0;
        if let Some(before) = cutoffs.contacts {
            gone += self.let_go_of_contacts(before, most).await?;
        }
        if let Some(before) = cutoffs.payloads {
            gone += self.let_go_of_payloads(before, most).await?;
        }
        Ok(gone)
    }

    async fn let_go_of_contacts(&self, before: DateTime<Utc>, most: i64) -> Result<u64, WarehouseError> {
        let mut transaction = self.begin().await?;
        let keys: Vec<Uuid> = sqlx::query_scalar(
            "select contact_key from kore.contacts where started_at < $1 order by contact_key limit $2",
        )
        .bind(before)
        .bind(most)
        .fetch_all(&mut *transaction)
        .await?;
        lock_contacts(&mut transaction, &keys).await?;
        // One that starts later by now is kept.
        let keys: Vec<Uuid> =
            sqlx::query_scalar("select contact_key from kore.contacts where contact_key = any($1) and started_at < $2")
                .bind(&keys)
                .bind(before)
                .fetch_all(&mut *transaction)
                .await?;
        remove(&mut transaction, &keys).await?;
        let aside = sqlx::query(
            "delete from koresync.quarantined_records where id in ( \
               select id from koresync.quarantined_records where requested_to < $1 order by id limit $2)",
        )
        .bind(before)
        .bind(most)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(keys.len() as u64 + aside.rows_affected())
    }

    async fn let_go_of_payloads(&self, before: DateTime<Utc>, most: i64) -> Result<u64, WarehouseError> {
        let mut transaction = self.begin().await?;
        let keys: Vec<Uuid> = sqlx::query_scalar(
            "select r.contact_key from koresync.raw_contacts r join kore.contacts c on c.contact_key = r.contact_key \
             where c.started_at < $1 and r.payload <> '' order by r.contact_key limit $2",
        )
        .bind(before)
        .bind(most)
        .fetch_all(&mut *transaction)
        .await?;
        lock_contacts(&mut transaction, &keys).await?;
        let emptied = sqlx::query(
            "update koresync.raw_contacts r set payload = '' from kore.contacts c \
             where r.contact_key = any($1) and r.payload <> '' and c.contact_key = r.contact_key and c.started_at < $2",
        )
        .bind(&keys)
        .bind(before)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(emptied.rows_affected())
    }
}

/// Takes contacts away with everything that hangs on them. Children first: their keys may be checked.
pub(super) async fn remove(connection: &mut PgConnection, keys: &[Uuid]) -> Result<(), WarehouseError> {
    let tables = CHILD_TABLES.iter().map(|table| format!("kore.{table}"));
    let others = ["kore.contact_changes", "koresync.raw_contacts", "kore.contacts"].map(str::to_owned);
    for table in tables.chain(others) {
        // The names are our own constants.
        sqlx::query(sqlx::AssertSqlSafe(format!("delete from {table} where contact_key = any($1)")))
            .bind(keys)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
