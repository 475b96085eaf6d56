//! What the warehouse holds of contacts that a read brought.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::ContentHash;
use crate::warehouse::locks::lock_contacts;
use crate::warehouse::{Warehouse, WarehouseError};

/// What the warehouse holds of a conversation.
#[derive(Debug, Clone)]
pub struct Held {
    pub contact_key: Uuid,
    /// `None` when it has no entry in `koresync.raw_contacts`.
    pub raw_hash: Option<ContentHash>,
    pub canonical_hash: Option<ContentHash>,
    pub first_seen_at: DateTime<Utc>,
    /// The settings of `[privacy]` that it is kept under.
    pub privacy_id: i32,
}

pub(super) fn hash(bytes: Option<Vec<u8>>) -> Option<ContentHash> {
    Some(ContentHash(bytes?.try_into().ok()?))
}

impl Warehouse {
    /// The hash of the text held under each of these keys, as far as there is one that is kept under these
    /// privacy settings. Outside any transaction: what is done about it has to be confirmed in the one that counts.
    pub async fn held_texts(
        &self,
        keys: &[Uuid],
        privacy_id: i32,
    ) -> Result<HashMap<Uuid, ContentHash>, WarehouseError> {
        let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(
            "select contact_key, raw_hash from koresync.raw_contacts where contact_key = any($1) and privacy_id = $2",
        )
        .bind(keys)
        .bind(privacy_id)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().filter_map(|(key, raw)| Some((key, hash(Some(raw))?))).collect())
    }
}

/// How many of these texts are held under these keys now.
pub(super) async fn count_texts(
    connection: &mut PgConnection,
    texts: &[(Uuid, ContentHash)],
) -> Result<usize, WarehouseError> {
    let count: i64 = sqlx::query_scalar(
        "select count(*) from unnest($1::uuid[], $2::bytea[]) as n (key, hash) \
         join koresync.raw_contacts r on r.contact_key = n.key and r.raw_hash = n.hash",
    )
    .bind(texts.iter().map(|(key, _)| *key).collect::<Vec<_>>())
    .bind(texts.iter().map(|(_, hash)| hash.0.as_slice()).collect::<Vec<_>>())
    .fetch_one(connection)
    .await?;
    Ok(usize::try_from(count).unwrap_or_default())
}

type HeldRow = (String, Uuid, DateTime<Utc>, Option<Vec<u8>>, Option<Vec<u8>>, Option<i32>);

pub(super) async fn held(
    connection: &mut PgConnection,
    stream: &str,
    ids: &[&str],
) -> Result<HashMap<String, Held>, WarehouseError> {
    // Joined with the list, an id at a time is looked up in the index: compared with it as a whole, a table without
    // statistics is read from end to end for each batch of a first load.
    let rows: Vec<HeldRow> = sqlx::query_as(
        "select n.id, c.contact_key, c.first_seen_at, r.raw_hash, r.canonical_hash, r.privacy_id \
         from unnest($2::text[]) as n (id) \
         join kore.contacts c on c.stream = $1 and c.conversation_id = n.id \
         left join koresync.raw_contacts r on r.contact_key = c.contact_key",
    )
    .bind(stream)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(id, contact_key, first_seen_at, raw, canonical, privacy_id)| {
            let privacy_id = privacy_id.unwrap_or_default();
            (id, Held { contact_key, raw_hash: hash(raw), canonical_hash: hash(canonical), first_seen_at, privacy_id })
        })
        .collect())
}

/// The hash of a version, and when it was received.
pub(super) type Version = (Option<ContentHash>, Option<DateTime<Utc>>);

type VersionRow = (Uuid, Option<Vec<u8>>, Option<DateTime<Utc>>);

/// Locks contacts in key order and gives the version that each has now.
pub(super) async fn lock_versions(
    connection: &mut PgConnection,
    keys: &[Uuid],
) -> Result<HashMap<Uuid, Version>, WarehouseError> {
    lock_contacts(connection, keys).await?;
    let rows: Vec<VersionRow> = sqlx::query_as(
        "select c.contact_key, r.canonical_hash, r.read_at from kore.contacts c \
         left join koresync.raw_contacts r on r.contact_key = c.contact_key \
         where c.contact_key = any($1)",
    )
    .bind(keys)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(key, canonical, read_at)| (key, (hash(canonical), read_at))).collect())
}
