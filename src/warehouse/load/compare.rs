//! Whether rows are in the tables as they would be written: both sides in COPY's binary format, field by
//! field, so that what is equal need not be written.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::copy::{CopyBuffer, SIGNATURE};
use super::tables::Tables;
use crate::domain::rows::Contact;

/// Columns of `kore.contacts` that are no content, or whose text the server writes in its own way.
const COMPARED_OTHERWISE: [&str; 4] = ["custom_fields", "extra", "first_seen_at", "updated_at"];

/// So many contacts for each that is compared may lie in the range that is read.
const OTHERS_MOST: usize = 4;

/// The fields of a row, NULL as `None`.
type Fields<'b> = Vec<Option<&'b [u8]>>;

/// Keys of the contacts whose rows are missing or differ from the encoded ones. `tables` holds all rows
/// of exactly these contacts, and no payloads.
pub async fn differing(
    connection: &mut PgConnection,
    tables: &Tables,
    contacts: &[(Uuid, &Contact<'_>)],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let condition = condition(connection, contacts.iter().map(|(key, _)| *key).collect()).await?;
    let mut differing = HashSet::new();
    for buffer in tables.facts() {
        let (table, columns) = target(buffer);
        // Names are our own constants, and a key has no quotes.
        let statement = format!("copy (select {columns} from {table} where {condition}) to stdout (format binary)");
        let mut bytes = Vec::new();
        let mut pieces = connection.copy_out_raw(&statement).await?;
        while let Some(piece) = pieces.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        drop(pieces);
        let skipped: Vec<usize> = columns
            .split(',')
            .enumerate()
            .filter(|(_, c)| COMPARED_OTHERWISE.contains(&c.trim()))
            .map(|(i, _)| i)
            .collect();
        let (held, due) = (rows(&bytes, &skipped), rows(buffer.encoded(), &skipped));
        differing.extend(contacts.iter().map(|(key, _)| *key).filter(|key| held.get(key) != due.get(key)));
    }
    let rewritten: Vec<Uuid> = sqlx::query_scalar(
        "select n.key from unnest($1::uuid[], $2::text[], $3::text[]) as n (key, custom_fields, extra) \
         join kore.contacts c on c.contact_key = n.key \
         where c.custom_fields is distinct from n.custom_fields::jsonb or c.extra is distinct from n.extra::jsonb",
    )
    .bind(contacts.iter().map(|(key, _)| *key).collect::<Vec<_>>())
    .bind(contacts.iter().map(|(_, contact)| contact.custom_fields.as_deref()).collect::<Vec<_>>())
    .bind(contacts.iter().map(|(_, contact)| contact.extra.as_deref()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    differing.extend(rewritten);
    Ok(differing)
}

/// What holds of the rows of these contacts. Where few others lie between them the rows are read in one go along
/// the index and sifted by their keys, which is several times as fast as to look each contact up in each table.
async fn condition(connection: &mut PgConnection, keys: Vec<Uuid>) -> Result<String, sqlx::Error> {
    let listed: Vec<String> = keys.iter().map(|key| format!("'{key}'")).collect();
    let listed = format!("contact_key in ({})", listed.join(","));
    let (Some(first), Some(last)) = (keys.iter().min(), keys.iter().max()) else { return Ok(listed) };
    let most = i64::try_from(keys.len() * OTHERS_MOST).unwrap_or(i64::MAX);
    let between: i64 = sqlx::query_scalar(
        "select count(*) from (select 1 from kore.contacts where contact_key between $1 and $2 limit $3) c",
    )
    .bind(first)
    .bind(last)
    .bind(most + 1)
    .fetch_one(connection)
    .await?;
    // `is true` keeps the planner from looking the listed keys up after all.
    let sifted = format!("contact_key between '{first}' and '{last}' and ({listed}) is true");
    Ok(if between <= most { sifted } else { listed })
}

/// Table and column list of `copy <table> (<columns>) from stdin (format binary)`.
fn target(buffer: &CopyBuffer) -> (&'static str, &'static str) {
    let statement = buffer.statement();
    let (head, rest) = statement.split_once('(').unwrap_or((statement, ""));
    let columns = rest.split_once(')').map_or("", |(columns, _)| columns);
    (head.trim_start_matches("copy").trim(), columns)
}

/// The rows of each contact, whose key is the first field, sorted: their order in the file means nothing.
fn rows<'b>(bytes: &'b [u8], skipped: &[usize]) -> HashMap<Uuid, Vec<Fields<'b>>> {
    let mut rows: HashMap<Uuid, Vec<Fields<'b>>> = HashMap::new();
    let mut rest = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    while let Some(count) = take::<2>(&mut rest).map(i16::from_be_bytes).filter(|count| *count > 0) {
        let mut fields = Fields::with_capacity(usize::from(count.unsigned_abs()));
        for _ in 0..count {
            let length = take::<4>(&mut rest).map_or(-1, i32::from_be_bytes);
            fields.push(usize::try_from(length).ok().and_then(|length| rest.split_off(..length)));
        }
        let key = fields.first().copied().flatten().and_then(|key| Uuid::from_slice(key).ok()).unwrap_or_default();
        for place in skipped {
            fields[*place] = None;
        }
        rows.entry(key).or_default().push(fields);
    }
    for rows in rows.values_mut() {
        rows.sort_unstable();
    }
    rows
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}
