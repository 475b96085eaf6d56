//! Names and dates of agents and queues, which follow the contact with the latest start.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Keys, Seen};

/// What was seen of members, a list a column.
#[derive(Debug, Default)]
struct Lists<'s> {
    keys: Vec<i32>,
    names: Vec<Option<&'s str>>,
    emails: Vec<Option<&'s str>>,
    first_at: Vec<DateTime<Utc>>,
    last_at: Vec<DateTime<Utc>>,
    last_keys: Vec<Uuid>,
}

impl<'s> Lists<'s> {
    fn of(members: impl Iterator<Item = (i32, &'s Seen)>) -> Self {
        let mut lists = Self::default();
        for (key, seen) in members {
            lists.keys.push(key);
            lists.names.push(seen.name.as_deref());
            lists.emails.push(seen.email.as_deref());
            lists.first_at.push(seen.first_at);
            lists.last_at.push(seen.last.0);
            lists.last_keys.push(seen.last.1);
        }
        lists
    }
}

impl Keys {
    /// Brings attributes and dates of agents and queues up to what this transaction saw. Rows that differ
    /// are locked in key order, late in the transaction, since neighbouring windows share them.
    pub async fn update_attributes(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let agents = self.agents_seen.iter();
        let agents = Lists::of(agents.filter_map(|(natural, seen)| Some((lookup!(self, agents, natural)?, seen))));
        if !agents.keys.is_empty() {
            update_agents(connection, &agents).await?;
        }
        let queues = self.queues_seen.iter();
        let queues = Lists::of(queues.filter_map(|(natural, seen)| Some((lookup!(self, queues, natural)?, seen))));
        if !queues.keys.is_empty() {
            update_queues(connection, &queues).await?;
        }
        Ok(())
    }
}

async fn update_agents(connection: &mut PgConnection, seen: &Lists<'_>) -> Result<(), sqlx::Error> {
    let differing: Vec<i32> = sqlx::query_scalar(
        "select a.agent_key \
         from unnest($1::int[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::uuid[]) \
           as n (key, name, email, first_at, last_at, last_key) join kore.agents a on a.agent_key = n.key \
         where n.first_at < a.first_seen_at or (n.last_at, n.last_key) > (a.last_seen_at, a.last_contact_key) \
            or ((n.last_at, n.last_key) = (a.last_seen_at, a.last_contact_key) \
                and (a.agent_name is distinct from n.name or a.agent_email is distinct from n.email)) \
         order by a.agent_key for no key update of a",
    )
    .bind(&seen.keys)
    .bind(&seen.names)
    .bind(&seen.emails)
    .bind(&seen.first_at)
    .bind(&seen.last_at)
    .bind(&seen.last_keys)
    .fetch_all(&mut *connection)
    .await?;
    if differing.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update kore.agents a set first_seen_at = least(a.first_seen_at, n.first_at), \
           agent_name = case when (n.last_at, n.last_key) >= (a.last_seen_at, a.last_contact_key) then n.name else a.agent_name end, \
           agent_email = case when (n.last_at, n.last_key) >= (a.last_seen_at, a.last_contact_key) then n.email else a.agent_email end, \
           last_contact_key = case when (n.last_at, n.last_key) >= (a.last_seen_at, a.last_contact_key) then n.last_key else a.last_contact_key end, \
           last_seen_at = greatest(a.last_seen_at, n.last_at) \
         from unnest($1::int[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::uuid[]) \
           as n (key, name, email, first_at, last_at, last_key) where n.key = a.agent_key and a.agent_key = any($7)",
    )
    .bind(&seen.keys)
    .bind(&seen.names)
    .bind(&seen.emails)
    .bind(&seen.first_at)
    .bind(&seen.last_at)
    .bind(&seen.last_keys)
    .bind(differing)
    .execute(connection)
    .await?;
    Ok(())
}

async fn update_queues(connection: &mut PgConnection, seen: &Lists<'_>) -> Result<(), sqlx::Error> {
    let differing: Vec<i32> = sqlx::query_scalar(
        "select q.queue_key from unnest($1::int[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::uuid[]) \
           as n (key, name, first_at, last_at, last_key) join kore.queues q on q.queue_key = n.key \
         where n.first_at < q.first_seen_at or (n.last_at, n.last_key) > (q.last_seen_at, q.last_contact_key) \
            or ((n.last_at, n.last_key) = (q.last_seen_at, q.last_contact_key) and q.queue_name is distinct from n.name) \
         order by q.queue_key for no key update of q",
    )
    .bind(&seen.keys)
    .bind(&seen.names)
    .bind(&seen.first_at)
    .bind(&seen.last_at)
    .bind(&seen.last_keys)
    .fetch_all(&mut *connection)
    .await?;
    if differing.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update kore.queues q set first_seen_at = least(q.first_seen_at, n.first_at), \
           queue_name = case when (n.last_at, n.last_key) >= (q.last_seen_at, q.last_contact_key) then n.name else q.queue_name end, \
           last_contact_key = case when (n.last_at, n.last_key) >= (q.last_seen_at, q.last_contact_key) then n.last_key else q.last_contact_key end, \
           last_seen_at = greatest(q.last_seen_at, n.last_at) \
         from unnest($1::int[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::uuid[]) \
           as n (key, name, first_at, last_at, last_key) where n.key = q.queue_key and q.queue_key = any($6)",
    )
    .bind(&seen.keys)
    .bind(&seen.names)
    .bind(&seen.first_at)
    .bind(&seen.last_at)
    .bind(&seen.last_keys)
    .bind(differing)
    .execute(connection)
    .await?;
    Ok(())
}
