//! Every reference of the warehouse is proved, and a broken one of each kind is found.

use std::time::Duration;

use chrono::TimeDelta;
use koresync::simulate::Options;
use koresync::sync::Outcome;
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::mirror::{Mirror, STREAM_ID, Settings, end, population, references};
use crate::support::planting::plant;
use crate::support::process::{Configuration, Program, Stream};

/// A warehouse of a few contacts, one of which has a history, with a row at least in each table that refers to another.
async fn mirror() -> Mirror {
    let mirror = Mirror::start(Options { contacts: 60, ..population() }, Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    sqlx::raw_sql(
        "insert into kore.contact_changes select contact_key, 1, first_seen_at, updated_at, '{}', '{}', '{}' \
           from kore.contacts limit 1; \
         insert into koresync.rebuilds (stream, mapper_version, state, expected, created_at) \
           select stream, 1, 'done', 0, now() from koresync.streams; \
         insert into koresync.counted_ranges (stream, from_at, to_at, due_at) \
           select stream, now(), now() + interval '7 days', now() from koresync.streams; \
         insert into koresync.spending (stream, day, lane, requests) \
           select stream, '2026-01-01', 'live', 1 from koresync.streams",
    )
    .execute(&mirror.database.pool().await)
    .await
    .expect("rows");
    mirror.assert_keys_hold().await;
    mirror
}

async fn broken(mirror: &Mirror) -> Vec<(String, i64, Vec<String>)> {
    let findings = references(mirror.database.url()).await;
    findings.into_iter().filter(|f| f.broken > 0).map(|f| (f.name, f.broken, f.examples)).collect()
}

async fn text(pool: &PgPool, query: &str) -> Option<String> {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_optional(pool).await.expect("a look")
}

/// Statements about constraints, in one transaction; each by itself, as a coordinator hands them on to other nodes.
async fn change_constraints(pool: &PgPool, statements: &[&'static str]) {
    let mut transaction = pool.begin().await.expect("a transaction");
    for statement in ["set local citus.multi_shard_modify_mode = 'sequential'"].iter().chain(statements) {
        sqlx::query(*statement).execute(&mut *transaction).await.expect("another constraint");
    }
    transaction.commit().await.expect("a commit");
}

/// A row of a table that has a value in this column: what is true of it alone.
async fn row_with(pool: &PgPool, table: &str, column: &str) -> String {
    // Every key of a row begins with the key of its contact, if it has one: such a row is one of its node's.
    let keys = format!(
        "select string_agg(format('format(%L, %I)', quote_ident(a.attname) || ' = %L', a.attname), ' || '' and '' || ' order by u.place) \
         from pg_constraint p, unnest(p.conkey) with ordinality u (number, place) \
         join pg_attribute a on a.attrelid = '{table}'::regclass and a.attnum = u.number \
         where p.conrelid = '{table}'::regclass and p.contype = 'p'"
    );
    let keys = text(pool, &keys).await.expect("a primary key");
    let row = format!("select {keys} from {table} where {column} is not null order by 1 limit 1");
    text(pool, &row).await.unwrap_or_else(|| panic!("no row of {table} has {column}"))
}

/// The statements that give one row of a table another key of a contact, which is another place in a cluster.
fn moved(table: &str, row: &str, contact_key: &str) -> String {
    format!(
        "insert into {table} select (jsonb_populate_record(t, '{{\"contact_key\": \"{contact_key}\"}}')).* from {table} t where {row}; \
         delete from {table} where {row}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_breaks_any_declared_key_is_found() {
    let mirror = mirror().await;
    let pool = mirror.database.pool().await;
    // One that was never validated is proved like the others.
    change_constraints(
        &pool,
        &[
            "alter table kore.contact_queues drop constraint contact_queues_queue_key_fkey",
            "alter table kore.contact_queues add constraint contact_queues_queue_key_fkey \
             foreign key (queue_key) references kore.queues not valid",
        ],
    )
    .await;
    // The last column of each key, and its type: the key dangles when that has a value which no parent has.
    let keys: Vec<(String, String, String, String)> = sqlx::query_as(
        "select format('%I.%I', n.nspname, r.relname), f.conname::text, a.attname::text, a.atttypid::regtype::text \
         from pg_constraint f join pg_class r on r.oid = f.conrelid join pg_namespace n on n.oid = r.relnamespace \
         join pg_attribute a on a.attrelid = r.oid and a.attnum = f.conkey[array_upper(f.conkey, 1)] \
         where f.contype = 'f' and n.nspname in ('kore', 'koresync') order by 1, 2",
    )
    .fetch_all(&pool)
    .await
    .expect("the declared keys");
    assert!(keys.len() > 20, "only {} foreign keys are declared", keys.len());
    for (table, constraint, column, kind) in keys {
        let dangling = match kind.as_str() {
            "uuid" => "ffffffff-ffff-8fff-bfff-ffffffffffff",
            "smallint" => "32767",
            "integer" | "bigint" => "2147483647",
            "date" => "1999-12-31",
            "text" => "nobody",
            other => panic!("what dangles as {other}?"),
        };
        let row = row_with(&pool, &table, &column).await;
        let held = format!("select {column}::text from {table} where {row}");
        let held = text(&pool, &held).await.expect("the value that is held");
        let (planted, mended) = if column == "contact_key" {
            let gone = row.replace(&held, dangling);
            (moved(&table, &row, dangling), moved(&table, &gone, &held))
        } else {
            (
                format!("update {table} set {column} = '{dangling}' where {row}"),
                format!("update {table} set {column} = '{held}' where {column} = '{dangling}'"),
            )
        };
        let changed = planted.split("; ").count() as u64;
        assert_eq!(plant(&pool, &planted).await, changed, "{table}");
        let name = format!("{table}.{constraint}");
        let found = broken(&mirror).await;
        let (_, count, examples) =
            found.iter().find(|(broken, ..)| *broken == name).unwrap_or_else(|| panic!("{name} is not in {found:?}"));
        assert_eq!((*count, examples.len()), (1, 1), "{name}");
        assert!(examples[0].contains(&format!("{column}={dangling}")), "{name}: {examples:?}");
        assert_eq!(plant(&pool, &mended).await, changed, "{table}");
    }
    mirror.assert_keys_hold().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_key_can_carry_is_found_broken_too() {
    let mirror = mirror().await;
    let pool = mirror.database.pool().await;
    change_constraints(
        &pool,
        &[
            "alter table kore.contacts drop constraint if exists contacts_conversation",
            "alter table koresync.windows drop constraint windows_rows_add_up, drop constraint windows_outcomes_add_up",
        ],
    )
    .await;
    let one = "(select contact_key from kore.contacts order by contact_key limit 1)";
    let window = "(select id from koresync.windows where state = 'verified' order by distinct desc limit 1)";
    let window = window.replace("by distinct", "by \"distinct\"");
    let last = "select conversation_id from kore.contacts order by contact_key desc limit 1";
    let last = text(&pool, last).await.expect("a contact");
    let child = row_with(&pool, "kore.contact_topics", "parent_ordinal").await;
    for (name, rows, planted, mended) in [
        (
            "contacts_once",
            2,
            format!(
                "update kore.contacts set audit_status = conversation_id, conversation_id = '{last}' where contact_key = {one}"
            ),
            format!("update kore.contacts set conversation_id = audit_status where contact_key = {one}"),
        ),
        (
            "contacts_stream",
            1,
            format!("update kore.contacts set stream = 'nobody' where contact_key = {one}"),
            "update kore.contacts set stream = 'support' where stream = 'nobody'".to_owned(),
        ),
        (
            "contacts_started_on",
            1,
            format!("update kore.contacts set started_on = started_on + 1 where contact_key = {one}"),
            format!("update kore.contacts set started_on = started_on - 1 where contact_key = {one}"),
        ),
        (
            "contact_topics_parent",
            1,
            format!("update kore.contact_topics set parent_ordinal = parent_ordinal + 10000 where {child}"),
            "update kore.contact_topics set parent_ordinal = parent_ordinal - 10000 where parent_ordinal > 10000"
                .to_owned(),
        ),
        (
            "payloads_contact",
            1,
            format!(
                "insert into koresync.raw_contacts select 'ffffffff-ffff-8fff-bfff-ffffffffffff', stream, payload, \
                     raw_hash, canonical_hash, read_at, requested_from, requested_to, mapper_version \
                     from koresync.raw_contacts where contact_key = {one}"
            ),
            "delete from koresync.raw_contacts where contact_key = 'ffffffff-ffff-8fff-bfff-ffffffffffff'".to_owned(),
        ),
        (
            "windows_sums",
            1,
            format!("update koresync.windows set rows = rows + 1 where id = {window}"),
            format!("update koresync.windows set rows = rows - 1 where id = {window}"),
        ),
        (
            "windows_sums",
            1,
            format!("update koresync.windows set inserted = inserted + 1 where id = {window}"),
            format!("update koresync.windows set inserted = inserted - 1 where id = {window}"),
        ),
        (
            "windows_request",
            1,
            format!("update koresync.windows set requested_to = requested_to - interval '1 hour' where id = {window}"),
            format!("update koresync.windows set requested_to = requested_to + interval '1 hour' where id = {window}"),
        ),
        (
            "streams_watermark",
            1,
            "update koresync.streams set watermark = watermark + interval '1 day'".to_owned(),
            "update koresync.streams set watermark = watermark - interval '1 day'".to_owned(),
        ),
    ] {
        assert_eq!(plant(&pool, &planted).await, 1, "{name}");
        let found = broken(&mirror).await;
        let names: Vec<_> = found.iter().map(|(name, count, _)| (name.as_str(), *count)).collect();
        assert!(names.contains(&(name, rows)), "{name}: {found:?}");
        assert_eq!(plant(&pool, &mended).await, 1, "{name}");
        mirror.assert_keys_hold().await;
    }
    // A payload that retention let go leaves its row and breaks nothing; a row that is gone is a loss.
    plant(&pool, &format!("update koresync.raw_contacts set payload = '' where contact_key = {one}")).await;
    mirror.assert_keys_hold().await;
    plant(&pool, &format!("delete from koresync.raw_contacts where contact_key = {one}")).await;
    let found = broken(&mirror).await;
    assert_eq!((found.len(), found[0].0.as_str(), found[0].1), (1, "contacts_payload", 1), "{found:?}");
    // Without the zone that days are counted in, none of them can be right.
    plant(&pool, "delete from kore.settings").await;
    let found = broken(&mirror).await;
    assert!(found.iter().any(|(name, count, keys)| name == "contacts_started_on" && *count > 10 && keys.len() == 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_keys_tells_a_broken_reference_with_its_key_and_exits_3() {
    let mirror = mirror().await;
    let stream = Stream::new("support", STREAM_ID, end() - TimeDelta::days(10));
    let program = Program::new(&Configuration::new(mirror.database.url(), &mirror.vendor.url(), vec![stream]));
    let within = Duration::from_secs(30);
    let (exit, told) = program.run(&["verify", "--keys"], within).await;
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains("kore.contact_agents (agent_key) → kore.agents"), "{told}");
    plant(
        &mirror.database.pool().await,
        "update kore.contact_agents set agent_key = agent_key + 1000000 where ordinal = 1",
    )
    .await;
    let (exit, told) = program.run(&["verify", "--keys"], within).await;
    assert_eq!(exit, Some(3), "{told}");
    assert!(told.contains("1 of ") && told.matches("agent_key=100").count() == 10, "{told}");
    let mut process = program.spawn(&["verify", "--keys", "--json"]);
    assert_eq!(process.ended(within).await.code(), Some(3));
    let json: serde_json::Value = serde_json::from_str(&process.printed()).expect("JSON");
    assert_eq!(json["is_whole"], false);
    let finding = json["references"].as_array().and_then(|all| all.iter().find(|one| one["broken"] != 0)).expect("one");
    assert_eq!(finding["name"], "kore.contact_agents.contact_agents_agent_key_fkey");
    assert_eq!(finding["examples"].as_array().map(Vec::len), Some(10));
}
