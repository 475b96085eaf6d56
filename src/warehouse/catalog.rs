//! What the analysts' schema is made of, as the server's own catalog tells it: tables and views, their columns, keys and comments.

use serde::Serialize;

use super::{Warehouse, WarehouseError};

/// A table or view of `kore`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Relation {
    pub name: String,
    pub is_view: bool,
    pub comment: String,
    pub columns: Vec<Column>,
    /// Empty for a view.
    pub primary_key: Vec<String>,
    pub foreign_keys: Vec<ForeignKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    pub name: String,
    /// The type in PostgreSQL's short words, as `timestamptz`.
    pub data_type: String,
    /// Always false in a view, of which the server knows no such thing.
    pub is_required: bool,
    pub comment: String,
}

/// Columns that hold the key of another table, in the order of that key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForeignKey {
    pub columns: Vec<String>,
    pub table: String,
    pub table_columns: Vec<String>,
}

impl Relation {
    pub fn is_in_primary_key(&self, column: &str) -> bool {
        self.primary_key.iter().any(|key| key == column)
    }

    pub fn is_in_foreign_key(&self, column: &str) -> bool {
        self.foreign_keys.iter().any(|key| key.columns.iter().any(|one| one == column))
    }
}

/// The names of a key's columns, in its order.
macro_rules! named {
    ($relation:literal, $key:literal) => {
        concat!(
            "(select coalesce(array_agg(a.attname::text order by u.place), '{}') from unnest(",
            $key,
            ") with ordinality u (number, place) join pg_attribute a on a.attrelid = ",
            $relation,
            " and a.attnum = u.number)"
        )
    };
}

#[derive(sqlx::FromRow)]
struct ColumnRow {
    relation: String,
    name: String,
    data_type: String,
    is_required: bool,
    comment: String,
}

/// A primary key refers to nothing.
#[derive(sqlx::FromRow)]
struct KeyRow {
    relation: String,
    columns: Vec<String>,
    table: Option<String>,
    table_columns: Vec<String>,
}

impl Warehouse {
    /// Tables first, then views, each by name.
    pub async fn catalog(&self) -> Result<Vec<Relation>, WarehouseError> {
        let mut connection = self.pool.lend().await?;
        let relations: Vec<(String, bool, String)> = sqlx::query_as(
            "select c.relname::text, c.relkind = 'v', coalesce(obj_description(c.oid, 'pg_class'), '') \
             from pg_class c where c.relnamespace = 'kore'::regnamespace and c.relkind in ('r', 'p', 'v') \
             order by c.relkind = 'v', c.relname",
        )
        .fetch_all(&mut *connection)
        .await?;
        let columns: Vec<ColumnRow> = sqlx::query_as(
            "select c.relname::text as relation, a.attname::text as name, format_type(a.atttypid, a.atttypmod) as data_type, \
               a.attnotnull as is_required, coalesce(col_description(c.oid, a.attnum), '') as comment \
             from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
             where c.relnamespace = 'kore'::regnamespace and c.relkind in ('r', 'p', 'v') order by c.relname, a.attnum",
        )
        .fetch_all(&mut *connection)
        .await?;
        let keys: Vec<KeyRow> = sqlx::query_as(concat!(
            "select c.relname::text as relation, ",
            named!("k.conrelid", "k.conkey"),
            " as columns, f.relname::text as table, ",
            named!("k.confrelid", "k.confkey"),
            " as table_columns from pg_constraint k join pg_class c on c.oid = k.conrelid left join pg_class f on f.oid = k.confrelid \
             where k.contype in ('p', 'f') and c.relnamespace = 'kore'::regnamespace and c.relkind in ('r', 'p') \
             order by c.relname, k.contype desc, k.conname",
        ))
        .fetch_all(&mut *connection)
        .await?;
        connection.done().await?;
        Ok(relations
            .into_iter()
            .map(|(name, is_view, comment)| {
                let own_keys = || keys.iter().filter(|key| key.relation == name);
                let foreign = |key: &KeyRow| {
                    key.table.clone().map(|table| ForeignKey {
                        columns: key.columns.clone(),
                        table,
                        table_columns: key.table_columns.clone(),
                    })
                };
                Relation {
                    columns: columns.iter().filter(|column| column.relation == name).map(column).collect(),
                    primary_key: own_keys()
                        .find(|key| key.table.is_none())
                        .map(|key| key.columns.clone())
                        .unwrap_or_default(),
                    foreign_keys: own_keys().filter_map(foreign).collect(),
                    name,
                    is_view,
                    comment,
                }
            })
            .collect())
    }
}

fn column(row: &ColumnRow) -> Column {
    Column {
        name: row.name.clone(),
        data_type: row
            .data_type
            .replace("timestamp with time zone", "timestamptz")
            .replace("timestamp without time zone", "timestamp"),
        is_required: row.is_required,
        comment: row.comment.clone(),
    }
}
