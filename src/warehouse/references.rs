//! Whether every reference in the warehouse holds: the declared foreign keys, which the loading
//! transaction may leave unchecked, and what no foreign key can say.
//!
//! Each reference is one statement, so what it compares was true at one moment, whatever is being
//! loaded meanwhile.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};

use super::{Warehouse, WarehouseError, bound_transaction};

/// Keys shown of a reference that is broken.
const EXAMPLES: i64 = 10;

/// Something that must hold of every row it is about, not yet looked at.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Reference {
    /// `table.constraint` of a foreign key; one word of an invariant.
    pub name: String,
    /// For people: from where to where.
    pub words: String,
    /// Gives (rows, broken).
    counting: String,
    /// Gives keys of broken rows, as text; `$1` is how many.
    naming: String,
}

impl Reference {
    /// Whether a foreign key declares it.
    pub fn is_foreign_key(&self) -> bool {
        self.name.contains('.')
    }
}

/// A reference, looked at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    pub name: String,
    pub reference: String,
    /// Rows looked at: those that refer to something.
    pub rows: i64,
    pub broken: i64,
    /// Keys of at most ten broken rows.
    pub examples: Vec<String>,
}

impl Finding {
    pub fn is_broken(&self) -> bool {
        self.broken > 0
    }
}

/// True of a window whose sums are missing or do not add up.
macro_rules! windows_sums {
    () => {
        "(rows = \"distinct\" + repeated and \"distinct\" = inserted + changed + unchanged + quarantined + erased \
          and in_window between 0 and \"distinct\") is not true"
    };
}

/// True of a stream, `s`, some of whose history before the watermark was never verified.
macro_rules! watermark_ahead {
    () => {
        "s.watermark > s.start_at and not coalesce(( \
           select range_agg(tstzrange(w.from_at, w.to_at)) from koresync.windows w \
           where w.stream = s.stream and w.state = 'verified'), '{}'::tstzmultirange) @> tstzrange(s.start_at, s.watermark)"
    };
}

/// Name, meaning, (rows, broken), keys of the broken ones.
type Invariant = (&'static str, &'static str, &'static str, &'static str);

const INVARIANTS: [Invariant; 9] = [
    (
        "contacts_once",
        "kore.contacts: one row a stream and conversation",
        // Not by the unique index that promises it.
        "select coalesce(sum(n), 0)::bigint, coalesce(sum(n) filter (where n > 1), 0)::bigint \
         from (select count(*) as n from kore.contacts group by stream || '', conversation_id || '') c",
        "select format('stream=%s, conversation_id=%s', min(stream), min(conversation_id)) from kore.contacts \
         group by stream || '', conversation_id || '' having count(*) > 1 limit $1",
    ),
    (
        "contacts_stream",
        "kore.contacts (stream) → koresync.streams",
        "select count(*), count(*) filter (where s.stream is null) \
         from kore.contacts c left join koresync.streams s on s.stream = c.stream",
        "select format('contact_key=%s, stream=%s', c.contact_key, c.stream) \
         from kore.contacts c left join koresync.streams s on s.stream = c.stream where s.stream is null limit $1",
    ),
    (
        "contacts_started_on",
        "kore.contacts: started_on is the day of started_at in the zone of kore.settings",
        "select count(*), count(*) filter (where (c.started_at at time zone s.time_zone)::date is distinct from c.started_on) \
         from kore.contacts c left join kore.settings s on true",
        "select format('contact_key=%s, started_on=%s', c.contact_key, c.started_on) \
         from kore.contacts c left join kore.settings s on true \
         where (c.started_at at time zone s.time_zone)::date is distinct from c.started_on limit $1",
    ),
    (
        "contact_topics_parent",
        "kore.contact_topics (contact_key, parent_ordinal) → kore.contact_topics, the level above",
        "select count(*), count(*) filter (where p.ordinal is null) from kore.contact_topics c \
         left join kore.contact_topics p on p.contact_key = c.contact_key and p.ordinal = c.parent_ordinal and p.level = c.level - 1 \
         where c.parent_ordinal is not null",
        "select format('contact_key=%s, ordinal=%s, parent_ordinal=%s', c.contact_key, c.ordinal, c.parent_ordinal) \
         from kore.contact_topics c \
         left join kore.contact_topics p on p.contact_key = c.contact_key and p.ordinal = c.parent_ordinal and p.level = c.level - 1 \
         where c.parent_ordinal is not null and p.ordinal is null limit $1",
    ),
    (
        "payloads_contact",
        "koresync.raw_contacts (contact_key, stream) → kore.contacts",
        "select count(*), count(*) filter (where c.contact_key is null) from koresync.raw_contacts r \
         left join kore.contacts c on c.contact_key = r.contact_key and c.stream = r.stream",
        "select format('contact_key=%s, stream=%s', r.contact_key, r.stream) from koresync.raw_contacts r \
         left join kore.contacts c on c.contact_key = r.contact_key and c.stream = r.stream where c.contact_key is null limit $1",
    ),
    (
        "contacts_payload",
        "kore.contacts → koresync.raw_contacts (contact_key)",
        "select count(*), count(*) filter (where r.contact_key is null) from kore.contacts c \
         left join koresync.raw_contacts r on r.contact_key = c.contact_key",
        "select format('contact_key=%s', c.contact_key) from kore.contacts c \
         left join koresync.raw_contacts r on r.contact_key = c.contact_key where r.contact_key is null limit $1",
    ),
    (
        "windows_sums",
        "koresync.windows: a window that was read has all its sums, and they add up",
        concat!(
            "select count(*), count(*) filter (where ",
            windows_sums!(),
            ") from koresync.windows where verified_by is not null or state in ('verified', 'unverified')"
        ),
        concat!(
            "select format('id=%s', id) from koresync.windows where (verified_by is not null or state in ('verified', 'unverified')) and ",
            windows_sums!(),
            " limit $1"
        ),
    ),
    (
        "windows_request",
        "koresync.windows: a verified window was asked for whole",
        "select count(*), count(*) filter (where (requested_from < from_at and requested_to >= to_at) is not true) \
         from koresync.windows where state = 'verified'",
        "select format('id=%s', id) from koresync.windows \
         where state = 'verified' and (requested_from < from_at and requested_to >= to_at) is not true limit $1",
    ),
    (
        "streams_watermark",
        "koresync.streams: all from start_at to watermark lies in verified windows",
        concat!("select count(*), count(*) filter (where ", watermark_ahead!(), ") from koresync.streams s"),
        concat!(
            "select format('stream=%s, watermark=%s', s.stream, s.watermark) from koresync.streams s where ",
            watermark_ahead!(),
            " limit $1"
        ),
    ),
];

impl Warehouse {
    /// All that must hold: every foreign key that schemas `kore` and `koresync` declare, enforced and
    /// validated or not, then what no foreign key can carry.
    pub async fn references(&self) -> Result<Vec<Reference>, WarehouseError> {
        let mut references: Vec<Reference> = sqlx::query_as(
            "select format('%s.%s', k.child_name, k.conname) as name, \
               format('%s (%s) → %s', k.child_name, \
                 (select string_agg(ca.attname, ', ' order by c.place) from unnest(k.conkey) with ordinality as c (number, place) \
                  join pg_attribute ca on (ca.attrelid, ca.attnum) = (k.conrelid, c.number)), k.parent_name) as words, \
               format('select count(*), count(*) filter (where p.%I is null) from %s', j.parent_column, j.joined) as counting, \
               format('select concat_ws('', '', %s) from %s and p.%I is null limit $1', j.shown, j.joined, j.parent_column) as naming \
             from (select f.*, format('%I.%I', cn.nspname, cr.relname) as child_name, format('%I.%I', pn.nspname, pr.relname) as parent_name \
                   from pg_constraint f \
                   join pg_class cr on cr.oid = f.conrelid join pg_namespace cn on cn.oid = cr.relnamespace \
                   join pg_class pr on pr.oid = f.confrelid join pg_namespace pn on pn.oid = pr.relnamespace \
                   where f.contype = 'f' and f.conparentid = 0 and cn.nspname in ('kore', 'koresync')) k, \
             lateral (select \
                 (array_agg(pa.attname order by c.place))[1] as parent_column, \
                 format('%s c left join %s p on %s where (%s)', k.child_name, k.parent_name, \
                   string_agg(format('p.%I = c.%I', pa.attname, ca.attname), ' and '), \
                   string_agg(format('c.%I is not null', ca.attname), case k.confmatchtype when 'f' then ' or ' else ' and ' end)) as joined, \
                 (select string_agg(format('%L || c.%I', sa.attname || '=', sa.attname), ', ' order by sa.attnum) \
                  from pg_attribute sa where sa.attrelid = k.conrelid and (sa.attnum = any(k.conkey) or sa.attnum = any( \
                    (select unnest(i.conkey) from pg_constraint i where i.conrelid = k.conrelid and i.contype = 'p')))) as shown \
               from unnest(k.conkey, k.confkey) with ordinality as c (child, parent, place) \
               join pg_attribute ca on (ca.attrelid, ca.attnum) = (k.conrelid, c.child) \
               join pg_attribute pa on (pa.attrelid, pa.attnum) = (k.confrelid, c.parent)) j \
             order by k.child_name, k.conname",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.explained(error))?;
        references.extend(INVARIANTS.iter().map(|(name, words, counting, naming)| Reference {
            name: (*name).to_owned(),
            words: (*words).to_owned(),
            counting: (*counting).to_owned(),
            naming: (*naming).to_owned(),
        }));
        Ok(references)
    }

    /// Looks at one reference over the whole warehouse: a scan of its tables, however long it takes.
    pub async fn look_at(&self, reference: &Reference) -> Result<Finding, WarehouseError> {
        let mut transaction = self.pool.begin().await.map_err(|error| self.explained(error))?;
        // No bound: tables grow beyond what a statement may take otherwise.
        bound_transaction(&mut transaction, Duration::ZERO).await?;
        let finding = look_at(&mut transaction, reference).await?;
        transaction.rollback().await?;
        Ok(finding)
    }
}

async fn look_at(connection: &mut PgConnection, reference: &Reference) -> Result<Finding, WarehouseError> {
    // The statements are our own, their names quoted by the catalog.
    let (rows, broken): (i64, i64) =
        sqlx::query_as(AssertSqlSafe(reference.counting.clone())).fetch_one(&mut *connection).await?;
    let examples = if broken == 0 {
        Vec::new()
    } else {
        sqlx::query_scalar(AssertSqlSafe(reference.naming.clone())).bind(EXAMPLES).fetch_all(connection).await?
    };
    Ok(Finding { name: reference.name.clone(), reference: reference.words.clone(), rows, broken, examples })
}
