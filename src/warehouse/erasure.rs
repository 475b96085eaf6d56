//! Taking people out: of every table, whatever holds their texts; and rows made to keep less.
//!
//! Who is erased is written down first, so that nobody brings them back meanwhile. All that follows may be done again.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::locks::lock_contacts;
use super::retention::remove;
use super::{Warehouse, WarehouseError};
use crate::domain::Payload;
use crate::domain::privacy::Subject;

/// Text columns of a table whose rows belong to a contact.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    pub table: &'static str,
    pub columns: &'static [&'static str],
}

impl Columns {
    /// True of a row, `t`, that mentions a value of `$2` or, in the history, an agent of `$3`; of every row, where none is
    /// looked for.
    fn mentions(&self, looks_for_values: bool) -> String {
        let mut condition = if looks_for_values {
            let mentions: Vec<String> =
                self.columns.iter().map(|column| MENTIONS.replace("{column}", column)).collect();
            mentions.join(" or ")
        } else {
            "$2::text[] is not null".to_owned()
        };
        condition.push_str(if self.table == "contact_changes" {
            " or t.old_values @> any($3::jsonb[]) or t.new_values @> any($3::jsonb[])"
        } else {
            " or $3::jsonb[] is null"
        });
        condition
    }
}

/// Every column of `kore` that holds text or JSON of a contact, its stream and id apart.
pub const TEXTS: [Columns; 8] = [
    Columns {
        table: "contacts",
        columns: &[
            "custom_conversation_id",
            "source",
            "channel",
            "direction",
            "language",
            "duration_status",
            "sentiment",
            "sentiment_start",
            "sentiment_end",
            "taxonomy_resolution",
            "audit_status",
            "auditor_name",
            "custom_fields",
            "extra",
        ],
    },
    Columns { table: "contact_metrics", columns: &["qualification", "auditor_response"] },
    Columns {
        table: "metric_justifications",
        columns: &["justification", "source_system_value", "agent_mentioned_value", "agent_entity"],
    },
    Columns { table: "justification_messages", columns: &["message_id"] },
    Columns { table: "speaking_rates", columns: &["speaker", "source_id", "message_id"] },
    Columns { table: "generated_intents", columns: &["intent", "topic", "sentiment", "emotions"] },
    Columns { table: "generated_intent_keywords", columns: &["keyword"] },
    Columns { table: "contact_changes", columns: &["old_values", "new_values"] },
];

/// Those that a privacy setting is about.
pub const PERSONAL: [Columns; 3] = [
    Columns { table: "contacts", columns: &["auditor_name", "custom_fields", "extra"] },
    Columns {
        table: "metric_justifications",
        columns: &["justification", "source_system_value", "agent_mentioned_value", "agent_entity"],
    },
    Columns { table: "contact_changes", columns: &["old_values", "new_values"] },
];

/// Dimensions whose names are texts: key, then names. Agents are apart.
const DIMENSIONS: [(&str, &str, &[&str]); 5] = [
    ("queues", "queue_key", &["queue_id", "queue_name"]),
    ("evaluation_forms", "evaluation_form_key", &["form_name", "scoring_type"]),
    ("metrics", "metric_key", &["metric_id", "metric_name"]),
    ("emotions", "emotion_key", &["emotion"]),
    ("topics", "topic_key", &["topic_name", "l1_name", "l2_name", "l3_name", "topic_path"]),
];

/// A row of `kore.agents`.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct HeldAgent {
    pub agent_key: i32,
    pub agent_id: Option<String>,
    pub agent_name: Option<String>,
    pub agent_email: Option<String>,
}

/// What went when people were written down as erased.
#[derive(Debug, Clone, Default)]
pub struct Begun {
    pub contacts: u64,
    pub quarantined: u64,
    /// Subjects that were not written down before.
    pub new_subjects: u64,
    /// What was known of the agents.
    pub agents: Vec<HeldAgent>,
}

/// A record in quarantine, to be kept otherwise.
#[derive(Debug, Clone)]
pub struct KeptAside {
    pub id: i64,
    pub payload: Payload,
    pub privacy_id: i32,
}

/// What becomes of a record in quarantine.
#[derive(Debug)]
pub enum AsideFate {
    Gone,
    /// Kept as this payload, with the hash by which it will be known.
    Kept {
        payload: Payload,
        raw_hash: Option<crate::domain::ContentHash>,
        text_bytes: Option<usize>,
    },
}

/// One transaction over records in quarantine.
#[derive(Debug)]
pub struct AsidePass {
    transaction: Transaction<'static, Postgres>,
    guard: std::sync::Arc<crate::domain::privacy::Guard>,
    pub records: Vec<KeptAside>,
}

/// True where a column, as text, holds one of the values bound to `$2`.
const MENTIONS: &str = "exists (select from unnest($2::text[]) v where position(v in lower(t.{column}::text)) > 0)";

/// Values as they are looked for in columns: in small letters, as they stand and as JSON writes them.
fn sought(values: &[String]) -> Vec<String> {
    let mut sought: Vec<String> = values
        .iter()
        .map(|value| value.trim().to_lowercase())
        .filter(|value| !value.is_empty())
        .flat_map(|value| {
            let json = serde_json::Value::from(value.as_str()).to_string();
            [json[1..json.len() - 1].to_owned(), value]
        })
        .collect();
    sought.sort_unstable();
    sought.dedup();
    sought
}

impl Warehouse {
    /// Writes people down as erased, and removes the conversations among them with all that hangs on them.
    /// Waits for who writes contacts; from its COMMIT on everybody keeps them out.
    pub async fn begin_erasure(&self, conversations: &[String], agents: &[String]) -> Result<Begun, WarehouseError> {
        let mut transaction = self.begin().await?;
        super::privacy::seize(&mut transaction).await?;
        let known: Vec<HeldAgent> = sqlx::query_as(
            "select agent_key, agent_id, agent_name, agent_email from kore.agents \
             where agent_id = any($1) order by agent_key",
        )
        .bind(agents)
        .fetch_all(&mut *transaction)
        .await?;
        let mut subjects: Vec<Subject<'_>> = conversations.iter().map(|id| Subject::Conversation(id)).collect();
        subjects.extend(agents.iter().map(|id| Subject::AgentId(id)));
        subjects.extend(known.iter().flat_map(names));
        let new_subjects = self.write_down(&mut transaction, &subjects).await?;
        let keys: Vec<Uuid> = sqlx::query_scalar(
            "select contact_key from kore.contacts where stream in (select stream from koresync.streams) \
               and conversation_id = any($1)",
        )
        .bind(conversations)
        .fetch_all(&mut *transaction)
        .await?;
        lock_contacts(&mut transaction, &keys).await?;
        remove(&mut transaction, &keys).await?;
        forget_keys(&mut transaction, &keys).await?;
        let aside = sqlx::query("delete from koresync.quarantined_records where conversation_id = any($1)")
            .bind(conversations)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let contacts = keys.len() as u64;
        Ok(Begun { contacts, quarantined: aside.rows_affected(), new_subjects, agents: known })
    }

    /// Writes down what agents who are erased are known by as well.
    pub async fn erase_names(&self, subjects: &[Subject<'_>]) -> Result<(), WarehouseError> {
        let mut transaction = self.begin().await?;
        super::privacy::seize(&mut transaction).await?;
        self.write_down(&mut transaction, subjects).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn write_down(&self, connection: &mut PgConnection, subjects: &[Subject<'_>]) -> Result<u64, WarehouseError> {
        let key = self.hash_key(connection).await?;
        let written = sqlx::query(
            "insert into koresync.erased_subjects (subject_hash, kind, basis, erased_at) \
             select n.hash, n.kind, n.basis, coalesce($4, clock_timestamp()) \
             from unnest($1::bytea[], $2::text[], $3::text[]) as n (hash, kind, basis) on conflict do nothing",
        )
        .bind(subjects.iter().map(|subject| key.subject(*subject).to_vec()).collect::<Vec<_>>())
        .bind(subjects.iter().map(|subject| subject.kind()).collect::<Vec<_>>())
        .bind(subjects.iter().map(|subject| subject.basis()).collect::<Vec<_>>())
        .bind(self.clock.database_time())
        .execute(&mut *connection)
        .await?;
        sqlx::query("update koresync.privacy set version = version + 1").execute(connection).await?;
        Ok(written.rows_affected())
    }

    /// The next records in quarantine after an id, at most `most`, locked.
    pub async fn open_aside_pass(&self, after: i64, most: i64) -> Result<AsidePass, WarehouseError> {
        let (mut transaction, guard) = self.begin_load().await?;
        let rows: Vec<(i64, Vec<u8>, i32)> = sqlx::query_as(
            "select id, payload, privacy_id from koresync.quarantined_records where id > $1 and payload <> '' \
             order by id limit $2 for update",
        )
        .bind(after)
        .bind(most)
        .fetch_all(&mut *transaction)
        .await?;
        let record = |(id, payload, privacy_id)| Ok(KeptAside { id, payload: Payload::kept(payload)?, privacy_id });
        let records = rows.into_iter().map(record).collect::<Result<_, std::io::Error>>()?;
        Ok(AsidePass { transaction, guard, records })
    }

    /// Rewrites texts of the contacts after a key, at most `most` of them, by what `rewrite` makes of a row's
    /// columns, a JSON object by name; `None` leaves the row alone. With `values`, rows that mention none of
    /// them, and hold none of these agents, are not looked at. Gives the last key, `None` at the end, and how
    /// many rows were written.
    pub async fn rewrite_texts(
        &self,
        places: &[Columns],
        (after, most): (Option<Uuid>, i64),
        (values, agent_keys): (Option<&[String]>, &[i32]),
        rewrite: &(impl Fn(&str) -> Option<String> + Sync),
    ) -> Result<(Option<Uuid>, u64), WarehouseError> {
        let (mut transaction, _) = self.begin_load().await?;
        let keys: Vec<Uuid> = sqlx::query_scalar(
            "select contact_key from kore.contacts where contact_key > $1 order by contact_key limit $2",
        )
        .bind(after.unwrap_or_default())
        .bind(most)
        .fetch_all(&mut *transaction)
        .await?;
        let Some(last) = keys.last().copied() else { return Ok((None, 0)) };
        let sought = values.map(sought).unwrap_or_default();
        let agents: Vec<sqlx::types::Json<serde_json::Value>> = agent_keys
            .iter()
            .map(|key| sqlx::types::Json(serde_json::json!({ "contact_agents": [{ "agent_key": key }] })))
            .collect();
        // All are locked at once, in key order; a range of keys is read along the index.
        let mut among = BTreeSet::new();
        for place in places {
            let (table, condition) = (place.table, place.mentions(values.is_some()));
            // The names are our own constants.
            let found = format!(
                "select distinct t.contact_key from kore.{table} t where t.contact_key > $1 and t.contact_key <= $4 and ({condition})"
            );
            let found: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(found))
                .bind(after.unwrap_or_default())
                .bind(&sought)
                .bind(&agents)
                .bind(last)
                .fetch_all(&mut *transaction)
                .await?;
            among.extend(found);
        }
        let among: Vec<Uuid> = among.into_iter().collect();
        lock_contacts(&mut transaction, &among).await?;
        let mut written = 0;
        for place @ Columns { table, columns } in places.iter().filter(|_| !among.is_empty()) {
            let pairs: Vec<String> = columns.iter().map(|column| format!("'{column}', t.{column}")).collect();
            let select = format!(
                "select t.contact_key, t.ctid::text, jsonb_build_object({})::text from kore.{table} t \
                 where t.contact_key = any($1) and ({})",
                pairs.join(", "),
                place.mentions(values.is_some())
            );
            let rows: Vec<(Uuid, String, String)> = sqlx::query_as(AssertSqlSafe(select))
                .bind(&among)
                .bind(&sought)
                .bind(&agents)
                .fetch_all(&mut *transaction)
                .await?;
            let set: Vec<String> = columns.iter().map(|column| format!("{column} = r.{column}")).collect();
            let update = format!(
                "update kore.{table} t set {} from jsonb_populate_record(null::kore.{table}, $3::jsonb) r \
                 where t.contact_key = $1 and t.ctid = $2::tid",
                set.join(", ")
            );
            for (key, place, row) in rows {
                let Some(row) = rewrite(&row) else { continue };
                // A place is one of many where the table is spread over nodes, and one alone beside the key.
                let update = sqlx::query(AssertSqlSafe(update.clone())).bind(key).bind(place).bind(row);
                update.execute(&mut *transaction).await?;
                written += 1;
            }
        }
        transaction.commit().await?;
        Ok((Some(last), written))
    }

    /// The same for the names of dimensions, agents apart, and for words about failures, which go where they
    /// mention somebody. A name that another member has by now gets its own number.
    pub async fn rewrite_names(
        &self,
        values: &[String],
        rewrite: &(impl Fn(&str) -> Option<String> + Sync),
    ) -> Result<u64, WarehouseError> {
        let (mut transaction, _) = self.begin_load().await?;
        let sought = sought(values);
        let mut written = 0;
        for (table, key, columns) in DIMENSIONS {
            let pairs: Vec<String> = columns.iter().map(|column| format!("'{column}', t.{column}")).collect();
            let mentions: Vec<String> =
                columns.iter().map(|c| MENTIONS.replace("$2", "$1").replace("{column}", c)).collect();
            // The names are our own constants.
            let select = format!(
                "select t.{key}, jsonb_build_object({})::text from kore.{table} t where {} order by 1 for update",
                pairs.join(", "),
                mentions.join(" or ")
            );
            let rows: Vec<(i32, String)> =
                sqlx::query_as(AssertSqlSafe(select)).bind(&sought).fetch_all(&mut *transaction).await?;
            // An index that is unique by all names: a number at the end of the last one tells two apart.
            let set: Vec<String> = columns
                .iter()
                .map(|c| format!("{c} = r.{c} || case when t.{c} is distinct from r.{c} then $3 else '' end"))
                .collect();
            let update = format!(
                "update kore.{table} t set {} from jsonb_populate_record(null::kore.{table}, $2::jsonb) r where t.{key} = $1",
                set.join(", ")
            );
            for (member, row) in rows {
                let Some(row) = rewrite(&row) else { continue };
                sqlx::query(AssertSqlSafe(update.clone()))
                    .bind(member)
                    .bind(row)
                    .bind(format!(" {member}"))
                    .execute(&mut *transaction)
                    .await?;
                written += 1;
            }
        }
        for statement in [
            "delete from koresync.unknown_fields t where exists (select from unnest($1::text[]) v where position(v in lower(t.path)) > 0)",
            "update koresync.windows t set last_error = null where exists (select from unnest($1::text[]) v where position(v in lower(t.last_error)) > 0)",
            "update koresync.streams t set paused_reason = null where exists (select from unnest($1::text[]) v where position(v in lower(t.paused_reason)) > 0)",
        ] {
            written += sqlx::query(statement).bind(&sought).execute(&mut *transaction).await?.rows_affected();
        }
        transaction.commit().await?;
        Ok(written)
    }

    /// Takes an agent's part from the next contacts that have one, at most `most`. What was the first part of a
    /// contact is then the next one. Gives how many went.
    pub async fn part_from_agents(&self, agent_keys: &[i32], most: i64) -> Result<u64, WarehouseError> {
        let (mut transaction, _) = self.begin_load().await?;
        let contacts: Vec<Uuid> = sqlx::query_scalar(
            "select distinct contact_key from kore.contact_agents where agent_key = any($1) limit $2",
        )
        .bind(agent_keys)
        .bind(most)
        .fetch_all(&mut *transaction)
        .await?;
        lock_contacts(&mut transaction, &contacts).await?;
        let now = self.now_in(&mut transaction).await?;
        let gone = sqlx::query("delete from kore.contact_agents where contact_key = any($1) and agent_key = any($2)")
            .bind(&contacts)
            .bind(agent_keys)
            .execute(&mut *transaction)
            .await?;
        lead_anew(&mut transaction, &contacts).await?;
        sqlx::query("update kore.contacts set updated_at = $2 where contact_key = any($1)")
            .bind(&contacts)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(gone.rows_affected())
    }

    /// Removes agents who have no part in any contact any more.
    pub async fn remove_agents(&self, agent_keys: &[i32]) -> Result<u64, WarehouseError> {
        let (mut transaction, _) = self.begin_load().await?;
        let partaking: Vec<i32> =
            sqlx::query_scalar("select distinct agent_key from kore.contact_agents where agent_key = any($1)")
                .bind(agent_keys)
                .fetch_all(&mut *transaction)
                .await?;
        let gone = sqlx::query("delete from kore.agents where agent_key = any($1) and agent_key <> all($2)")
            .bind(agent_keys)
            .bind(partaking)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        self.dimensions.forget();
        Ok(gone.rows_affected())
    }
}

impl AsidePass {
    pub fn guard(&self) -> &std::sync::Arc<crate::domain::privacy::Guard> {
        &self.guard
    }

    /// Writes what becomes of these records, by id, under these settings; then COMMIT.
    pub async fn finish(mut self, fates: &[(i64, i32, AsideFate)]) -> Result<(), WarehouseError> {
        for (id, privacy_id, fate) in fates {
            let AsideFate::Kept { payload, raw_hash, text_bytes } = fate else {
                sqlx::query("delete from koresync.quarantined_records where id = $1")
                    .bind(id)
                    .execute(&mut *self.transaction)
                    .await?;
                continue;
            };
            // It may have come again under its new hash.
            sqlx::query(
                "delete from koresync.quarantined_records q using koresync.quarantined_records o \
                 where o.id = $1 and q.stream = o.stream and q.id <> o.id and q.raw_hash = $2",
            )
            .bind(id)
            .bind(raw_hash.as_ref().map(|hash| hash.0.as_slice()))
            .execute(&mut *self.transaction)
            .await?;
            sqlx::query(
                "update koresync.quarantined_records set payload = $2, raw_hash = coalesce($3, raw_hash), \
                   text_bytes = $4, privacy_id = $5 where id = $1",
            )
            .bind(id)
            .bind(payload.compressed())
            .bind(raw_hash.as_ref().map(|hash| hash.0.as_slice()))
            .bind(text_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)))
            .bind(privacy_id)
            .execute(&mut *self.transaction)
            .await?;
        }
        self.transaction.commit().await?;
        Ok(())
    }
}

/// What an agent is known by besides the id. Hashes of a privacy setting say nothing.
fn names(agent: &HeldAgent) -> impl Iterator<Item = Subject<'_>> {
    let telling =
        |value: &Option<String>| value.as_deref().is_some_and(|value| !crate::domain::privacy::is_hashed(value));
    let email = agent.agent_email.as_deref().filter(|_| telling(&agent.agent_email)).map(Subject::AgentEmail);
    let name = agent.agent_name.as_deref().filter(|_| telling(&agent.agent_name)).map(Subject::AgentName);
    email.into_iter().chain(name)
}

/// What is the first part of these contacts now leads them, as where rows are made.
pub(super) async fn lead_anew(connection: &mut PgConnection, contacts: &[Uuid]) -> Result<(), WarehouseError> {
    sqlx::query(
        "update kore.contact_agents a set is_primary = true \
         from (select contact_key, min(ordinal) as ordinal from kore.contact_agents where contact_key = any($1) group by 1) f \
         where a.contact_key = f.contact_key and a.ordinal = f.ordinal and not a.is_primary",
    )
    .bind(contacts)
    .execute(connection)
    .await?;
    Ok(())
}

/// A contact's key is made from its conversation's id: what remembers one forgets it.
async fn forget_keys(connection: &mut PgConnection, keys: &[Uuid]) -> Result<(), WarehouseError> {
    for statement in [
        "update kore.agents set last_contact_key = '00000000-0000-0000-0000-000000000000' where last_contact_key = any($1)",
        "update kore.queues set last_contact_key = '00000000-0000-0000-0000-000000000000' where last_contact_key = any($1)",
        // The first key of the same moment: a rebuild under way looks at a few contacts twice.
        "update koresync.rebuilds set done_through = (left(done_through::text, 13) || '-0000-0000-000000000000')::uuid \
         where done_through = any($1)",
    ] {
        sqlx::query(statement).bind(keys).execute(&mut *connection).await?;
    }
    Ok(())
}
