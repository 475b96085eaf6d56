//! What is held of agents, and hashes without a payload, under settings that keep less.

use uuid::Uuid;

use super::erasure::{HeldAgent, lead_anew};
use super::locks::lock_contacts;
use super::{Warehouse, WarehouseError};
use crate::domain::ContentHash;
use crate::domain::privacy::Kind;

type Hide<'h> = dyn Fn(Kind, &str) -> Option<String> + Sync + 'h;

impl Warehouse {
    /// Hides names and e-mails of agents. One without an id is known by them: where another one is known by
    /// what is left, their parts become that one's; where nothing is left, they go. Gives how many were hidden.
    pub async fn hide_agents(&self, hide: &Hide<'_>) -> Result<u64, WarehouseError> {
        let (mut transaction, _) = self.begin_load().await?;
        let agents: Vec<HeldAgent> = sqlx::query_as(
            "select agent_key, agent_id, agent_name, agent_email from kore.agents \
             where agent_name is not null or agent_email is not null order by agent_key for update",
        )
        .fetch_all(&mut *transaction)
        .await?;
        let mut hidden = 0;
        for agent in agents {
            let name = agent.agent_name.as_deref().and_then(|name| hide(Kind::AgentName, name));
            let email = agent.agent_email.as_deref().and_then(|email| hide(Kind::AgentEmail, email));
            if name == agent.agent_name && email == agent.agent_email {
                continue;
            }
            hidden += 1;
            let other: Option<i32> = sqlx::query_scalar(
                "select agent_key from kore.agents where $1::text is null and agent_id is null and agent_key <> $2 \
                   and coalesce(agent_email, '') = coalesce($3, '') and coalesce(agent_name, '') = coalesce($4, '')",
            )
            .bind(&agent.agent_id)
            .bind(agent.agent_key)
            .bind(&email)
            .bind(&name)
            .fetch_optional(&mut *transaction)
            .await?;
            let is_nobody = agent.agent_id.is_none() && name.is_none() && email.is_none();
            if other.is_some() || is_nobody {
                sqlx::query("update kore.contact_agents set agent_key = $2 where agent_key = $1 and $2 is not null")
                    .bind(agent.agent_key)
                    .bind(other.filter(|_| !is_nobody))
                    .execute(&mut *transaction)
                    .await?;
                let left: Vec<Uuid> =
                    sqlx::query_scalar("delete from kore.contact_agents where agent_key = $1 returning contact_key")
                        .bind(agent.agent_key)
                        .fetch_all(&mut *transaction)
                        .await?;
                lead_anew(&mut transaction, &left).await?;
                sqlx::query("delete from kore.agents where agent_key = $1")
                    .bind(agent.agent_key)
                    .execute(&mut *transaction)
                    .await?;
            } else {
                sqlx::query("update kore.agents set agent_name = $2, agent_email = $3 where agent_key = $1")
                    .bind(agent.agent_key)
                    .bind(&name)
                    .bind(&email)
                    .execute(&mut *transaction)
                    .await?;
            }
        }
        transaction.commit().await?;
        self.dimensions.forget();
        Ok(hidden)
    }

    /// Keys the open hashes of the next contacts after a key whose payload was let go of under settings that
    /// kept everything. Such a record is read once more when it comes again. Gives the last key, `None` at the end.
    pub async fn key_hashes(&self, after: Option<Uuid>, most: i64) -> Result<(Option<Uuid>, u64), WarehouseError> {
        let (mut transaction, guard) = self.begin_load().await?;
        let open: Vec<i32> = guard.settings.iter().filter(|(_, kept)| kept.keep_all()).map(|(id, _)| *id).collect();
        let keys: Vec<Uuid> = sqlx::query_scalar(
            "select contact_key from koresync.raw_contacts \
             where contact_key > $1 and payload = '' and privacy_id = any($3) order by contact_key limit $2",
        )
        .bind(after.unwrap_or_default())
        .bind(most)
        .bind(&open)
        .fetch_all(&mut *transaction)
        .await?;
        lock_contacts(&mut transaction, &keys).await?;
        let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(
            "select contact_key, raw_hash from koresync.raw_contacts \
             where contact_key = any($1) and payload = '' and privacy_id = any($2)",
        )
        .bind(&keys)
        .bind(&open)
        .fetch_all(&mut *transaction)
        .await?;
        let hashes: Vec<ContentHash> = rows.iter().map(|(_, hash)| guard.raw_hash(hash)).collect();
        sqlx::query(
            "update koresync.raw_contacts r set raw_hash = n.hash, privacy_id = $3 \
             from unnest($1::uuid[], $2::bytea[]) as n (key, hash) where r.contact_key = n.key",
        )
        .bind(rows.iter().map(|(key, _)| *key).collect::<Vec<_>>())
        .bind(hashes.iter().map(|hash| hash.0.as_slice()).collect::<Vec<_>>())
        .bind(guard.privacy_id)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok((keys.last().copied(), rows.len() as u64))
    }
}
