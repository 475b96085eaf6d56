//! The history of contacts: what differed between two versions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::warehouse::WarehouseError;

/// A contact's content: its columns, and the rows of each table that hangs on it.
#[derive(Debug)]
pub struct Contents {
    columns: Map<String, Value>,
    updated_at: DateTime<Utc>,
}

type ContentsRow = (Uuid, sqlx::types::Json<Map<String, Value>>, DateTime<Utc>);

/// The contents of contacts, by key.
pub async fn contents(
    connection: &mut PgConnection,
    keys: &[Uuid],
) -> Result<BTreeMap<Uuid, Contents>, WarehouseError> {
    let rows: Vec<ContentsRow> = sqlx::query_as(
        "select c.contact_key, (to_jsonb(c) - array['first_seen_at', 'updated_at', 'removed_at']) || jsonb_build_object( \
           'contact_agents', (select jsonb_agg(to_jsonb(t) - 'contact_key' order by ordinal) from kore.contact_agents t where t.contact_key = c.contact_key), \
           'contact_queues', (select jsonb_agg(to_jsonb(t) - 'contact_key' order by ordinal) from kore.contact_queues t where t.contact_key = c.contact_key), \
           'contact_metrics', (select jsonb_agg(to_jsonb(t) - 'contact_key' order by ordinal) from kore.contact_metrics t where t.contact_key = c.contact_key), \
           'metric_justifications', (select jsonb_agg(to_jsonb(t) - 'contact_key' order by metric_ordinal, kind, ordinal) from kore.metric_justifications t where t.contact_key = c.contact_key), \
           'justification_messages', (select jsonb_agg(to_jsonb(t) - 'contact_key' order by metric_ordinal, kind, justification_ordinal, ordinal) from kore.justification_messages t where t.contact_key = c.contact_key), \
           'contact_emotions', (select jsonb_agg(to_jsonb(t) - 'contact_key' order by speaker, ordinal) from kore.contact_emotions t where t.contact_key = c.contact_key), \
           'speaking_rates', (select jsonb_agg(to_jsonb(t) - 'contact_key' order by ordinal) from kore.speaking_rates t where t.contact_key = c.contact_key), \
           'generated_intents', (select jsonb_agg(to_jsonb(t) - 'contact_key' order by ordinal) from kore.generated_intents t where t.contact_key = c.contact_key), \
           'generated_intent_keywords', (select jsonb_agg(to_jsonb(t) - 'contact_key' order by intent_ordinal, ordinal) from kore.generated_intent_keywords t where t.contact_key = c.contact_key), \
           'contact_topics', (select jsonb_agg(to_jsonb(t) - 'contact_key' order by ordinal) from kore.contact_topics t where t.contact_key = c.contact_key)), \
           c.updated_at \
         from kore.contacts c where c.contact_key = any($1)",
    )
    .bind(keys)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(key, columns, updated_at)| (key, Contents { columns: columns.0, updated_at })).collect())
}

/// Writes the differences; none for a contact whose rows are the same, as when only an unread part of
/// the payload changed.
pub async fn record(
    connection: &mut PgConnection,
    before: BTreeMap<Uuid, Contents>,
    after: &BTreeMap<Uuid, Contents>,
    now: DateTime<Utc>,
) -> Result<(), WarehouseError> {
    let (mut keys, mut since, mut old_values, mut new_values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (key, before) in before {
        let (mut old, mut new) = (Map::new(), Map::new());
        let after = after.get(&key).map(|after| &after.columns);
        let (plain_before, plain_after) = (without_order(&before.columns), after.map(without_order));
        for (column, value) in before.columns {
            let became = after.and_then(|after| after.get(&column)).cloned().unwrap_or_default();
            if value != became && plain_before.get(&column) != plain_after.as_ref().and_then(|a| a.get(&column)) {
                old.insert(column.clone(), value);
                new.insert(column, became);
            }
        }
        if !old.is_empty() {
            keys.push(key);
            since.push(before.updated_at);
            old_values.push(Value::Object(old));
            new_values.push(Value::Object(new));
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into kore.contact_changes (contact_key, version, valid_from, valid_to, changed_columns, old_values, new_values) \
         select n.key, coalesce((select max(version) from kore.contact_changes h where h.contact_key = n.key), 0) + 1, \
           n.since, $3, array(select jsonb_object_keys(n.old)), n.old, n.new \
         from unnest($1::uuid[], $2::timestamptz[], $4::jsonb[], $5::jsonb[]) as n (key, since, old, new)",
    )
    .bind(keys)
    .bind(since)
    .bind(now)
    .bind(old_values)
    .bind(new_values)
    .execute(connection)
    .await?;
    Ok(())
}

/// The tables whose rows stand in an order that means nothing, or name a row of such a table.
const UNORDERED: [&str; 6] = [
    "contact_emotions",
    "generated_intent_keywords",
    "contact_metrics",
    "metric_justifications",
    "justification_messages",
    "contact_topics",
];

/// The content as it is compared: in those tables what stands for a place is replaced by what stands
/// there, and the rows are sorted.
fn without_order(columns: &Map<String, Value>) -> Map<String, Value> {
    let rows = |table: &str| columns.get(table).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let member = |table: &str, key: &str, ordinal: &Value| {
        rows(table).iter().find(|row| row["ordinal"] == *ordinal).map_or(Value::Null, |row| row[key].clone())
    };
    let mut plain = columns.clone();
    for table in UNORDERED {
        let Some(Value::Array(rows)) = plain.get_mut(table) else { continue };
        for row in rows.iter_mut().filter_map(Value::as_object_mut) {
            if let Some(metric) = row.get("metric_ordinal") {
                let metric = member("contact_metrics", "metric_key", metric);
                row.insert("metric_ordinal".to_owned(), metric);
            } else {
                row.remove("ordinal");
            }
            if let Some(parent) = row.get("parent_ordinal") {
                let parent = member("contact_topics", "topic_key", parent);
                row.insert("parent_ordinal".to_owned(), parent);
            }
        }
        rows.sort_by_cached_key(Value::to_string);
    }
    plain
}
