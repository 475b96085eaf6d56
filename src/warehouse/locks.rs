//! Locking contacts. Whoever writes a contact, or what hangs on it, locks its row first, so that of two who do one waits
//! and then sees what the other wrote.

use sqlx::PgConnection;
use uuid::Uuid;

/// Locks contacts until the end of the transaction. Those that somebody removed meanwhile are not there to be locked:
/// what was read of them before must be read again.
pub(super) async fn lock_contacts(connection: &mut PgConnection, keys: &[Uuid]) -> Result<(), sqlx::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    // A function of the database: how it is done depends on whether the table is spread over nodes.
    sqlx::query("select koresync.lock_contacts($1)").bind(keys).execute(connection).await?;
    Ok(())
}
