//! The history of contacts: what differed between two versions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::warehouse::WarehouseError;

/// A contact's content: its columns, and the rows of each table that hangs on it.
#[derive(Debug)]
pub struct Contents {
    /// As the server writes them: a number in `extra` may be larger than any that we can hold.
    columns: BTreeMap<String, Box<RawValue>>,
    updated_at: DateTime<Utc>,
}

impl Contents {
    pub(super) fn is_scored(&self) -> bool {
        self.columns.get("evaluation_score").is_some_and(|score| score.get() != "null")
    }
}

type ContentsRow = (Uuid, sqlx::types::Json<BTreeMap<String, Box<RawValue>>>, DateTime<Utc>);

/// The contents of contacts, by key.
pub async fn contents(
    connection: &mut PgConnection,
    keys: &[Uuid],
) -> Result<BTreeMap<Uuid, Contents>, WarehouseError> {
    let rows: Vec<ContentsRow> = sqlx::query_as(
        "select c.contact_key, (to_jsonb(c) - array['first_seen_at', 'updated_at']) || jsonb_build_object( \
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
    before: &BTreeMap<Uuid, Contents>,
    after: &BTreeMap<Uuid, Contents>,
    now: DateTime<Utc>,
) -> Result<(), WarehouseError> {
    let (mut keys, mut since, mut old_values, mut new_values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (key, before) in before {
        let Some(after) = after.get(key).map(|after| &after.columns) else { continue };
        let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
        let (plain_before, plain_after) = (without_order(&before.columns), without_order(after));
        for (column, value) in &before.columns {
            // Both have all columns of the table.
            let Some(became) = after.get(column).filter(|became| !is_same(value, became)) else { continue };
            let (plain, plain_became) = (plain_before.get(column.as_str()), plain_after.get(column.as_str()));
            if plain.is_none() || plain != plain_became {
                old.insert(column, value);
                new.insert(column, became);
            }
        }
        if !old.is_empty() {
            keys.push(*key);
            since.push(before.updated_at);
            old_values.push(sqlx::types::Json(old));
            new_values.push(sqlx::types::Json(new));
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    let versions = next_versions(connection, &keys).await?;
    sqlx::query(
        "insert into kore.contact_changes (contact_key, version, valid_from, valid_to, changed_columns, old_values, new_values) \
         select n.key, n.version, n.since, $3, array(select jsonb_object_keys(n.old)), n.old, n.new \
         from unnest($1::uuid[], $2::timestamptz[], $4::jsonb[], $5::jsonb[], $6::integer[]) as n (key, since, old, new, version)",
    )
    .bind(keys)
    .bind(since)
    .bind(now)
    .bind(old_values)
    .bind(new_values)
    .bind(versions)
    .execute(connection)
    .await?;
    Ok(())
}

/// The number of the next change of each of these contacts, which are locked.
pub(super) async fn next_versions(connection: &mut PgConnection, keys: &[Uuid]) -> Result<Vec<i32>, WarehouseError> {
    let last: Vec<(Uuid, i32)> = sqlx::query_as(
        "select contact_key, max(version) from kore.contact_changes where contact_key = any($1) group by contact_key",
    )
    .bind(keys)
    .fetch_all(connection)
    .await?;
    let last: BTreeMap<Uuid, i32> = last.into_iter().collect();
    Ok(keys.iter().map(|key| last.get(key).map_or(1, |version| version + 1)).collect())
}

/// Whether two values mean the same: 1.0 is 1.00.
fn is_same(one: &RawValue, other: &RawValue) -> bool {
    let parsed = |value: &RawValue| serde_json::from_str::<Value>(value.get()).ok();
    one.get() == other.get() || parsed(one).zip(parsed(other)).is_some_and(|(one, other)| one == other)
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
fn without_order(columns: &BTreeMap<String, Box<RawValue>>) -> BTreeMap<&'static str, Value> {
    // What does not parse, as a number larger than any that we can hold, is compared as it is written.
    let parsed = |table: &'static str| Some((table, serde_json::from_str(columns.get(table)?.get()).ok()?));
    let ordered: BTreeMap<&str, Value> = UNORDERED.iter().copied().filter_map(parsed).collect();
    let rows = |table: &str| ordered.get(table).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let member = |table: &str, key: &str, ordinal: &Value| {
        rows(table).iter().find(|row| row["ordinal"] == *ordinal).map_or(Value::Null, |row| row[key].clone())
    };
    let mut plain = ordered.clone();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_value_and_huge_ones_by_their_digits() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).expect("JSON");
        let huge = format!("{{\"a\": 1{}}}", "0".repeat(400));
        assert!(is_same(&raw("1.0"), &raw("1.00")));
        assert!(!is_same(&raw("1.0"), &raw("1.5")));
        assert!(is_same(&raw(&huge), &raw(&huge)));
        assert!(!is_same(&raw(&huge), &raw("null")));
    }
}
