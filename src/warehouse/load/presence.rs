//! Contacts that vanish at the vendor and contacts that come back: told by a read, never by a guess.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::WindowCommit;
use super::changes::next_versions;
use crate::faults::{Defect, is_planted};
use crate::warehouse::locks::lock_contacts;
use crate::warehouse::{Warehouse, WarehouseError};

/// What a read showed to be there.
#[derive(Debug, Clone, Copy)]
pub struct Presence<'a> {
    /// The conversation ids received.
    pub ids: &'a [&'a str],
    /// Those, and what other reads of the range brought; `None` where nobody's absence is to be concluded.
    pub seen: Option<&'a [&'a str]>,
    /// When the work on the read began: contacts that came later are not judged by it.
    pub read_at: DateTime<Utc>,
    /// Whether contacts below the threshold were asked for; their absence means nothing otherwise.
    pub includes_below_threshold: bool,
    /// What this read says of the vendor's filter.
    pub filter_field: Option<&'a str>,
}

/// A contact that goes or comes back: its key, `removed_at` and `updated_at` before.
type Turn = (Uuid, Option<DateTime<Utc>>, DateTime<Utc>);

/// Contacts of a stream ($1) within a range ($2, $3) that were received before ($4), whether below the threshold too ($5),
/// and are not among those seen ($6): of those that a range within $7 to $8 brought, all or these ($9).
macro_rules! gone {
    ($select:literal) => {
        concat!(
            $select,
            " from kore.contacts c join koresync.raw_contacts r on r.contact_key = c.contact_key \
             where c.stream = $1 and c.started_at >= $2 and c.started_at <= $3 + interval '1 second' and c.removed_at is null \
               and r.requested_from >= $7 and r.requested_to <= $8 and r.read_at < $4 \
               and ($5 or c.duration_status is distinct from 'below_threshold') \
               and ($9::uuid[] is null or c.contact_key = any($9)) \
               and not exists (select from unnest($6::text[]) as seen (id) where seen.id = c.conversation_id)"
        )
    };
}

impl Warehouse {
    /// Whether a read of this request range would call a contact gone, were it to be concluded.
    pub async fn lacks_held(
        &self,
        stream: &str,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        presence: &Presence<'_>,
    ) -> Result<bool, WarehouseError> {
        Ok(sqlx::query_scalar(gone!("select count(*) > 0"))
            .bind(stream)
            .bind(from)
            .bind(to)
            .bind(presence.read_at)
            .bind(presence.includes_below_threshold)
            .bind(presence.ids)
            .bind(from)
            .bind(to)
            .bind(None::<&[Uuid]>)
            .fetch_one(&self.pool)
            .await?)
    }
}

/// Writes `removed_at` of contacts, and a row of history for each.
async fn turn(
    connection: &mut PgConnection,
    contacts: &[Turn],
    removed_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), WarehouseError> {
    if contacts.is_empty() {
        return Ok(());
    }
    let turned: Vec<Uuid> = sqlx::query_scalar(
        "update kore.contacts set removed_at = $2, updated_at = $3 where contact_key = any($1) returning contact_key",
    )
    .bind(keys(contacts))
    .bind(removed_at)
    .bind(now)
    .fetch_all(&mut *connection)
    .await?;
    let contacts: Vec<&Turn> = contacts.iter().filter(|(key, ..)| turned.contains(key)).collect();
    let keys: Vec<Uuid> = contacts.iter().map(|(key, ..)| *key).collect();
    let versions = next_versions(connection, &keys).await?;
    sqlx::query(
        "insert into kore.contact_changes (contact_key, version, valid_from, valid_to, changed_columns, old_values, new_values) \
         select n.key, n.version, n.since, $4, array['removed_at'], jsonb_build_object('removed_at', n.was), \
           jsonb_build_object('removed_at', $5::timestamptz) \
         from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $6::integer[]) as n (key, was, since, version)",
    )
    .bind(keys)
    .bind(contacts.iter().map(|(_, was, _)| *was).collect::<Vec<_>>())
    .bind(contacts.iter().map(|(.., since)| *since).collect::<Vec<_>>())
    .bind(now)
    .bind(removed_at)
    .bind(versions)
    .execute(connection)
    .await?;
    Ok(())
}

fn keys(contacts: &[Turn]) -> Vec<Uuid> {
    contacts.iter().map(|(key, ..)| *key).collect()
}

impl WindowCommit {
    /// Marks as removed what the read proves gone, and takes the mark from what is there again. Before
    /// [`WindowCommit::finish`], after the records.
    ///
    /// A contact is gone when a proved read lacks it whose request range covers the one that last
    /// delivered it. Where the vendor filters by another time than the start, or it is not known by
    /// which, nothing is concluded; nor while a record came whose id cannot be read and that is new: it
    /// may be any of the missing.
    pub async fn judge_presence(&mut self, presence: &Presence<'_>) -> Result<(), WarehouseError> {
        self.read_at = presence.read_at;
        let mut returned = self.returned(presence, None).await?;
        if !returned.is_empty() {
            let keys = keys(&returned);
            lock_contacts(&mut self.transaction, &keys).await?;
            returned = self.returned(presence, Some(&keys)).await?;
        }
        turn(&mut self.transaction, &returned, None, self.now).await?;
        self.outcomes.returned = returned.len() as u64;
        let is_proved = self.entry.proof.is_some() || is_planted(Defect::RemovedUnproved);
        let Some(seen) = presence.seen.filter(|_| is_proved) else { return Ok(()) };
        if !self.may_conclude(presence).await? {
            return Ok(());
        }
        let mut gone = self.gone(presence, seen, None).await?;
        if !gone.is_empty() {
            let keys = keys(&gone);
            lock_contacts(&mut self.transaction, &keys).await?;
            gone = self.gone(presence, seen, Some(&keys)).await?;
        }
        turn(&mut self.transaction, &gone, Some(self.now), self.now).await?;
        self.outcomes.removed = gone.len() as u64;
        Ok(())
    }

    /// Contacts that the read brought and that are marked as removed; of these alone, once they are locked.
    async fn returned(&mut self, presence: &Presence<'_>, among: Option<&[Uuid]>) -> Result<Vec<Turn>, WarehouseError> {
        Ok(sqlx::query_as(
            "select contact_key, removed_at, updated_at from kore.contacts where stream = $1 and conversation_id = any($2) \
               and removed_at is not null and ($3::uuid[] is null or contact_key = any($3)) order by contact_key",
        )
        .bind(&self.claim.stream)
        .bind(presence.ids)
        .bind(among)
        .fetch_all(&mut *self.transaction)
        .await?)
    }

    /// Contacts that the read lacks though it should have brought them; of these alone, once they are locked.
    async fn gone(
        &mut self,
        presence: &Presence<'_>,
        seen: &[&str],
        among: Option<&[Uuid]>,
    ) -> Result<Vec<Turn>, WarehouseError> {
        let everything = (DateTime::UNIX_EPOCH, self.now + TimeDelta::days(1));
        let asked = (self.entry.requested_from, self.entry.requested_to);
        let (covered_from, covered_to) = if is_planted(Defect::RemovedUncovered) { everything } else { asked };
        Ok(sqlx::query_as(gone!("select c.contact_key, c.removed_at, c.updated_at"))
            .bind(&self.claim.stream)
            .bind(self.entry.requested_from)
            .bind(self.entry.requested_to)
            .bind(presence.read_at)
            .bind(presence.includes_below_threshold)
            .bind(seen)
            .bind(covered_from)
            .bind(covered_to)
            .bind(among)
            .fetch_all(&mut *self.transaction)
            .await?)
    }

    async fn may_conclude(&mut self, presence: &Presence<'_>) -> Result<bool, WarehouseError> {
        if presence.filter_field == Some("other") {
            return Ok(false);
        }
        // The first read of a range has nothing to miss.
        Ok(sqlx::query_scalar(
            "select s.filter_field is not distinct from 'start' \
               and ($2 > 0 or exists (select from koresync.windows v where v.stream = $1 and v.state = 'verified' \
                 and v.id <> $3 and v.to_at > $4 and v.from_at < $5)) \
               and not exists (select from koresync.quarantined_records q where q.stream = $1 \
                 and q.conversation_id is null and q.first_seen_at = $6) \
             from koresync.streams s where s.stream = $1",
        )
        .bind(&self.claim.stream)
        .bind(self.claim.attempts)
        .bind(self.claim.id)
        .bind(self.claim.window.from)
        .bind(self.claim.window.to)
        .bind(self.now)
        .fetch_one(&mut *self.transaction)
        .await?)
    }
}
