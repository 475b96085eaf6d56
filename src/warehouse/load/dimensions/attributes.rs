//! Names and dates of agents and queues, which follow the contact with the latest start.

use sqlx::PgConnection;

use super::{Keys, Seen};

impl Keys {
    /// Brings attributes and dates of agents and queues up to what this transaction saw. The rows
    /// are locked in key order, late in the transaction, since neighbouring windows share them.
    pub async fn update_attributes(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let agents: Vec<(i32, &Seen)> = self
            .agents_seen
            .iter()
            .filter_map(|(natural, seen)| Some((lookup!(self, agents, natural)?, seen)))
            .collect();
        if !agents.is_empty() {
            sqlx::query(
                "with n as (select * from unnest($1::int[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::uuid[]) \
                   as n (key, name, email, first_at, last_at, last_key)), \
                 differing as (select a.agent_key from kore.agents a join n on n.key = a.agent_key \
                   where n.first_at < a.first_seen_at or (n.last_at, n.last_key) > (a.last_seen_at, a.last_contact_key) \
                      or ((n.last_at, n.last_key) = (a.last_seen_at, a.last_contact_key) \
                          and (a.agent_name is distinct from n.name or a.agent_email is distinct from n.email)) \
                   order by a.agent_key for no key update of a) \
                 update kore.agents a set first_seen_at = least(a.first_seen_at, n.first_at), \
                   agent_name = case when (n.last_at, n.last_key) >= (a.last_seen_at, a.last_contact_key) then n.name else a.agent_name end, \
                   agent_email = case when (n.last_at, n.last_key) >= (a.last_seen_at, a.last_contact_key) then n.email else a.agent_email end, \
                   last_contact_key = case when (n.last_at, n.last_key) >= (a.last_seen_at, a.last_contact_key) then n.last_key else a.last_contact_key end, \
                   last_seen_at = greatest(a.last_seen_at, n.last_at) \
                 from n where n.key = a.agent_key and a.agent_key in (select agent_key from differing)",
            )
            .bind(agents.iter().map(|(key, _)| *key).collect::<Vec<_>>())
            .bind(agents.iter().map(|(_, s)| s.name.as_deref()).collect::<Vec<_>>())
            .bind(agents.iter().map(|(_, s)| s.email.as_deref()).collect::<Vec<_>>())
            .bind(agents.iter().map(|(_, s)| s.first_at).collect::<Vec<_>>())
            .bind(agents.iter().map(|(_, s)| s.last.0).collect::<Vec<_>>())
            .bind(agents.iter().map(|(_, s)| s.last.1).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
        }
        let queues: Vec<(i32, &Seen)> = self
            .queues_seen
            .iter()
            .filter_map(|(natural, seen)| Some((lookup!(self, queues, natural)?, seen)))
            .collect();
        if !queues.is_empty() {
            sqlx::query(
                "with n as (select * from unnest($1::int[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::uuid[]) \
                   as n (key, name, first_at, last_at, last_key)), \
                 differing as (select q.queue_key from kore.queues q join n on n.key = q.queue_key \
                   where n.first_at < q.first_seen_at or (n.last_at, n.last_key) > (q.last_seen_at, q.last_contact_key) \
                      or ((n.last_at, n.last_key) = (q.last_seen_at, q.last_contact_key) and q.queue_name is distinct from n.name) \
                   order by q.queue_key for no key update of q) \
                 update kore.queues q set first_seen_at = least(q.first_seen_at, n.first_at), \
                   queue_name = case when (n.last_at, n.last_key) >= (q.last_seen_at, q.last_contact_key) then n.name else q.queue_name end, \
                   last_contact_key = case when (n.last_at, n.last_key) >= (q.last_seen_at, q.last_contact_key) then n.last_key else q.last_contact_key end, \
                   last_seen_at = greatest(q.last_seen_at, n.last_at) \
                 from n where n.key = q.queue_key and q.queue_key in (select queue_key from differing)",
            )
            .bind(queues.iter().map(|(key, _)| *key).collect::<Vec<_>>())
            .bind(queues.iter().map(|(_, s)| s.name.as_deref()).collect::<Vec<_>>())
            .bind(queues.iter().map(|(_, s)| s.first_at).collect::<Vec<_>>())
            .bind(queues.iter().map(|(_, s)| s.last.0).collect::<Vec<_>>())
            .bind(queues.iter().map(|(_, s)| s.last.1).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        }
        Ok(())
    }
}
