//! What the warehouse holds of a range, for a comparison with the vendor.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{Warehouse, WarehouseError};
use crate::domain::{ContentHash, Window};

/// The version of a conversation that the tables hold.
#[derive(Debug, Clone)]
pub struct HeldVersion {
    /// `None` when it has no entry in `koresync.raw_contacts`.
    pub raw_hash: Option<ContentHash>,
    pub canonical_hash: Option<ContentHash>,
    /// When its content was received.
    pub read_at: Option<DateTime<Utc>>,
    /// Whether it is marked as gone at the vendor.
    pub is_removed: bool,
}

/// A contact that the tables hold and a read did not bring.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Unseen {
    pub conversation_id: String,
    /// The request range that last delivered it; `None` when it has no entry in `koresync.raw_contacts`.
    pub requested_from: Option<DateTime<Utc>>,
    pub requested_to: Option<DateTime<Utc>>,
}

/// How many records of a range the warehouse holds, removed ones left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct HeldCount {
    /// Inside the range for sure.
    pub least: i64,
    /// With those at its edges, where nobody says which the vendor counts, and records in quarantine
    /// that may belong to it.
    pub most: i64,
}

/// What a read brought, that unseen contacts are looked for beside.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub ids: &'a [&'a str],
    /// When the read began: what was received later is not judged by it.
    pub began: DateTime<Utc>,
    /// Whether contacts below the threshold were asked for: their absence means nothing otherwise.
    pub includes_below_threshold: bool,
}

type VersionRow = (String, Option<Vec<u8>>, Option<Vec<u8>>, Option<DateTime<Utc>>, bool);

impl Warehouse {
    /// The verified stretches of a stream's history, in order; those that meet are one.
    pub async fn verified_stretches(&self, stream: &str) -> Result<Vec<Window>, WarehouseError> {
        let stretches: Vec<(DateTime<Utc>, DateTime<Utc>)> = sqlx::query_as(
            "select lower(span), upper(span) from ( \
               select unnest(range_agg(tstzrange(from_at, to_at))) as span from koresync.windows \
               where stream = $1 and state = 'verified') verified order by 1",
        )
        .bind(stream)
        .fetch_all(&self.pool)
        .await?;
        Ok(stretches.into_iter().filter_map(|(from, to)| Window::new(from, to)).collect())
    }

    /// What the tables hold of these conversations, by id.
    pub async fn held_versions(
        &self,
        stream: &str,
        ids: &[&str],
    ) -> Result<HashMap<String, HeldVersion>, WarehouseError> {
        let rows: Vec<VersionRow> = sqlx::query_as(
            "select c.conversation_id, r.raw_hash, r.canonical_hash, r.read_at, c.removed_at is not null \
             from kore.contacts c left join koresync.raw_contacts r on r.contact_key = c.contact_key \
             where c.stream = $1 and c.conversation_id = any($2)",
        )
        .bind(stream)
        .bind(ids)
        .fetch_all(&self.pool)
        .await?;
        let version = |(id, raw, canonical, read_at, is_removed)| {
            (id, HeldVersion { raw_hash: hash(raw), canonical_hash: hash(canonical), read_at, is_removed })
        };
        Ok(rows.into_iter().map(version).collect())
    }

    /// Which of these records are in quarantine as they are.
    pub async fn quarantined_hashes(
        &self,
        stream: &str,
        hashes: &[ContentHash],
    ) -> Result<HashSet<ContentHash>, WarehouseError> {
        let found: Vec<Vec<u8>> = sqlx::query_scalar(
            "select raw_hash from koresync.quarantined_records where stream = $1 and raw_hash = any($2)",
        )
        .bind(stream)
        .bind(hashes.iter().map(|hash| hash.0.as_slice()).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await?;
        Ok(found.into_iter().filter_map(|bytes| hash(Some(bytes))).collect())
    }

    /// Contacts of a window that are held, not marked as removed, and not among those seen.
    pub async fn unseen(&self, stream: &str, window: Window, seen: &Seen<'_>) -> Result<Vec<Unseen>, WarehouseError> {
        Ok(sqlx::query_as(
            "select c.conversation_id, r.requested_from, r.requested_to \
             from kore.contacts c left join koresync.raw_contacts r on r.contact_key = c.contact_key \
             where c.stream = $1 and c.started_at >= $2 and c.started_at < $3 and c.removed_at is null \
               and coalesce(r.read_at, c.updated_at) < $4 \
               and ($5 or c.duration_status is distinct from 'below_threshold') \
               and not exists (select from unnest($6::text[]) as seen (id) where seen.id = c.conversation_id) \
             order by c.started_at, c.conversation_id",
        )
        .bind(stream)
        .bind(window.from)
        .bind(window.to)
        .bind(seen.began)
        .bind(seen.includes_below_threshold)
        .bind(seen.ids)
        .fetch_all(&self.pool)
        .await?)
    }

    /// What the vendor's total of a range should be. A record in quarantine counts once, and not when
    /// an earlier version of it is a contact; surely, when it has an id and was asked for within the range.
    pub async fn held_count(&self, stream: &str, window: Window) -> Result<HeldCount, WarehouseError> {
        let (from, _) = window.request_range();
        Ok(sqlx::query_as(
            "with aside as materialized (select conversation_id, raw_hash, requested_from, requested_to \
               from koresync.quarantined_records where stream = $1 and requested_from <= $3 and requested_to >= $2), \
             known as materialized (select k.conversation_id from kore.contacts k \
               join aside q on q.conversation_id = k.conversation_id where k.stream = $1), \
             held as materialized (select count(*) filter (where started_at >= $2 and started_at < $3) as inside, count(*) as near \
               from kore.contacts where stream = $1 and started_at >= $4 and started_at < $3 + interval '1 second' \
                 and removed_at is null) \
             select held.inside + q.sure as least, held.near + q.perhaps as most from held, \
               (select count(distinct q.conversation_id) filter (where q.requested_from >= $4 and q.requested_to <= $3) as sure, \
                  count(distinct coalesce(q.conversation_id, encode(q.raw_hash, 'hex'))) as perhaps from aside q \
                where not exists (select from known k where k.conversation_id = q.conversation_id)) q",
        )
        .bind(stream)
        .bind(window.from)
        .bind(window.to)
        .bind(from)
        .fetch_one(&self.pool)
        .await?)
    }
}

fn hash(bytes: Option<Vec<u8>>) -> Option<ContentHash> {
    Some(ContentHash(bytes?.try_into().ok()?))
}
