//! COPY alone: the rows of a load, taken from a warehouse and put into an empty one as fast as PostgreSQL takes them.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::ensure;
use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// Large, so that the client costs next to nothing beside the server.
const PIECE_BYTES: usize = 1 << 20;

/// A table that a load fills.
#[derive(Debug)]
pub struct Table {
    /// With its schema.
    pub name: String,
    columns: String,
    primary_key: String,
}

/// All rows of a load in COPY's binary format, parents before children.
#[derive(Debug)]
pub struct Rows {
    tables: Vec<(Table, Vec<u8>)>,
    pub count: u64,
}

/// The tables that a load fills, parents before children: `kore` but for what migrations and settings fill, and the
/// kept payloads.
pub async fn tables(connection: &mut PgConnection) -> anyhow::Result<Vec<Table>> {
    let found: Vec<(String, String, String)> = sqlx::query_as(
        "select c.oid::regclass::text, \
           (select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a \
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), \
           (select string_agg(quote_ident(a.attname), ', ' order by k.place) from pg_index i \
            cross join unnest(i.indkey) with ordinality as k (attnum, place) \
            join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum where i.indrelid = c.oid and i.indisprimary) \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where c.relkind = 'r' and (n.nspname = 'kore' and c.relname not in ('dates', 'settings') \
           or n.nspname = 'koresync' and c.relname = 'raw_contacts') order by 1",
    )
    .fetch_all(&mut *connection)
    .await?;
    let references: Vec<(String, String)> = sqlx::query_as(
        "select conrelid::regclass::text, confrelid::regclass::text from pg_constraint \
         where contype = 'f' and conrelid <> confrelid and confrelid <> 'kore.dates'::regclass",
    )
    .fetch_all(connection)
    .await?;
    let mut waiting: Vec<Table> =
        found.into_iter().map(|(name, columns, primary_key)| Table { name, columns, primary_key }).collect();
    let mut ordered = Vec::new();
    let mut placed: HashSet<String> = HashSet::new();
    while !waiting.is_empty() {
        let is_free =
            |table: &Table| !references.iter().any(|(own, other)| *own == table.name && !placed.contains(other));
        let (free, held): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_free);
        ensure!(!free.is_empty(), "the references of the tables go round in a circle");
        placed.extend(free.iter().map(|table| table.name.clone()));
        ordered.extend(free);
        waiting = held;
    }
    Ok(ordered)
}

impl Rows {
    /// Takes every row of a warehouse, in the order of the primary keys.
    pub async fn take(connection: &mut PgConnection) -> anyhow::Result<Self> {
        let mut rows = Self { tables: Vec::new(), count: 0 };
        for table in tables(connection).await? {
            let Table { name, columns, primary_key } = &table;
            let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {name}")))
                .fetch_one(&mut *connection)
                .await?;
            if count == 0 {
                continue;
            }
            rows.count += count.unsigned_abs();
            let statement =
                format!("copy (select {columns} from {name} order by {primary_key}) to stdout (format binary)");
            let mut bytes = Vec::new();
            let mut stream = connection.copy_out_raw(&statement).await?;
            while let Some(piece) = stream.try_next().await? {
                bytes.extend_from_slice(&piece);
            }
            drop(stream);
            rows.tables.push((table, bytes));
        }
        Ok(rows)
    }

    pub fn bytes(&self) -> usize {
        self.tables.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Puts them into an empty warehouse in one transaction; the seconds from its BEGIN to its COMMIT.
    pub async fn put(&self, connection: &mut PgConnection) -> anyhow::Result<f64> {
        let began = Instant::now();
        let mut transaction = connection.begin().await?;
        let mut written = 0;
        for (table, bytes) in &self.tables {
            let statement = format!("copy {} ({}) from stdin (format binary)", table.name, table.columns);
            let mut copy = transaction.copy_in_raw(&statement).await?;
            for piece in bytes.chunks(PIECE_BYTES) {
                copy.send(piece).await?;
            }
            written += copy.finish().await?;
        }
        transaction.commit().await?;
        let took = began.elapsed().as_secs_f64();
        ensure!(written == self.count, "{written} rows of {} were copied", self.count);
        Ok(took)
    }
}
