//! The schema: made once, whoever asks at the same time, by the role that may.

use sqlx::PgPool;

use super::{Koresync, migrated};
use crate::support::postgres::TestDatabase;

async fn texts(pool: &PgPool, query: &'static str) -> Vec<String> {
    sqlx::query_scalar(query).fetch_all(pool).await.expect("an answer")
}

#[tokio::test]
async fn migrating_twice_is_harmless_and_its_status_follows() {
    let database = TestDatabase::create().await;
    let koresync = Koresync::new(database.url());
    let status = koresync.run(&["migrate", "status"]).await;
    assert!(status.expect(3).stdout.contains("missing"), "{}", status.stdout);
    koresync.run(&["migrate"]).await.expect(0).tells("applied 0001");
    koresync.run(&["migrate", "up"]).await.expect(0).tells("up to date");
    let status = koresync.run(&["migrate", "status", "--json"]).await;
    let shown = status.expect(0).json();
    assert!(shown.as_array().is_some_and(|all| all.len() >= 2 && all.iter().all(|s| s["is_applied"] == true)));
    let printed = koresync.run(&["migrate", "print"]).await;
    assert!(printed.expect(0).stdout.contains("create table kore.contacts"));
}

#[tokio::test]
async fn two_databases_of_one_cluster_are_migrated_at_once() {
    let (one, other) = tokio::join!(TestDatabase::create(), TestDatabase::create());
    let (one, other) = (Koresync::new(one.url()), Koresync::new(other.url()));
    let (first, second) = tokio::join!(one.run(&["migrate"]), other.run(&["migrate"]));
    first.expect(0);
    second.expect(0);
}

#[tokio::test]
async fn two_migrations_of_one_database_do_not_wait_for_each_other() {
    let database = TestDatabase::create().await;
    let koresync = Koresync::new(database.url());
    let pool = database.pool().await;
    let mut holder = pool.acquire().await.expect("a connection");
    sqlx::query("select pg_advisory_lock(hashtext('koresync migrate'))")
        .execute(&mut *holder)
        .await
        .expect("the lock that a migration holds");
    koresync.run(&["migrate"]).await.expect(75).tells("another `koresync migrate`");
    drop(holder.detach());
    pool.close().await;
    koresync.run(&["migrate"]).await.expect(0);
}

#[tokio::test]
async fn every_table_view_and_column_is_explained() {
    let (database, _koresync) = migrated().await;
    let bare = texts(
        &database.pool().await,
        "select format('%s.%s%s', n.nspname, c.relname, '.' || a.attname) from pg_class c \
         join pg_namespace n on n.oid = c.relnamespace \
         left join lateral (select attname, attnum from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped \
           union all select null, 0) a on true \
         where n.nspname in ('kore', 'koresync') and c.relkind in ('r', 'p', 'v', 'm') and c.relname <> '_sqlx_migrations' \
           and coalesce(col_description(c.oid, a.attnum), obj_description(c.oid, 'pg_class')) is null \
            or (n.nspname in ('kore', 'koresync') and c.relkind in ('r', 'p', 'v', 'm') and c.relname <> '_sqlx_migrations' \
              and a.attnum > 0 and col_description(c.oid, a.attnum) is null)",
    )
    .await;
    assert!(bare.is_empty(), "without a comment: {bare:?}");
}

#[tokio::test]
async fn a_schema_that_asks_for_a_newer_program_is_not_written_to() {
    let (database, koresync) = migrated().await;
    let pool = database.pool().await;
    sqlx::query("insert into koresync.schema_versions (migration, oldest_program) values (9999, '99.0.0')")
        .execute(&pool)
        .await
        .expect("a later migration");
    for arguments in [&["run", "--once"][..], &["run"]] {
        koresync.run(arguments).await.expect(1).tells("asks for 99.0.0 or newer: upgrade koresync");
    }
    let rows: i64 = sqlx::query_scalar(
        "select (select count(*) from koresync.streams) + (select count(*) from koresync.runs) + (select count(*) from kore.settings)",
    )
    .fetch_one(&pool)
    .await
    .expect("a count");
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_program_refuses_a_schema_that_is_behind_and_bears_a_newer_one() {
    let (database, koresync) = migrated().await;
    let pool = database.pool().await;
    sqlx::query("insert into koresync.schema_versions (migration, oldest_program) values (9999, '0.0.1')")
        .execute(&pool)
        .await
        .expect("a later migration that bears older programs");
    koresync.run(&["run", "--once"]).await.expect(69);
    sqlx::query("delete from koresync.schema_versions where migration = 2").execute(&pool).await.expect("one less");
    koresync.run(&["run", "--once"]).await.expect(1).tells("koresync migrate");
}

#[tokio::test]
async fn the_reader_sees_what_is_for_analysts_and_nothing_else() {
    let (database, _koresync) = migrated().await;
    let pool = database.pool().await;
    let closed = texts(
        &pool,
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname = 'kore' and c.relkind in ('r', 'p', 'v', 'm') and not has_table_privilege('kore_reader', c.oid, 'select')",
    )
    .await;
    assert!(closed.is_empty(), "closed to the reader: {closed:?}");
    let open = texts(
        &pool,
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname in ('kore', 'koresync') and c.relkind in ('r', 'p', 'v', 'm') \
           and (has_table_privilege('kore_reader', c.oid, 'insert, update, delete, truncate') \
             or (n.nspname = 'koresync' and has_table_privilege('kore_reader', c.oid, 'select')))",
    )
    .await;
    assert!(open.is_empty(), "too open to the reader: {open:?}");
    let unwritable = texts(
        &pool,
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname in ('kore', 'koresync') and c.relkind in ('r', 'p') \
           and c.relname not in ('_sqlx_migrations', 'dates', 'schema_versions') \
           and not (has_table_privilege('kore_writer', c.oid, 'select') and has_table_privilege('kore_writer', c.oid, 'insert') \
             and has_table_privilege('kore_writer', c.oid, 'update') and has_table_privilege('kore_writer', c.oid, 'delete'))",
    )
    .await;
    assert!(unwritable.is_empty(), "closed to the writer: {unwritable:?}");
    let usage: bool = sqlx::query_scalar("select has_schema_privilege('kore_reader', 'koresync', 'usage')")
        .fetch_one(&pool)
        .await
        .expect("an answer");
    assert!(!usage, "the reader may look into the daemon's own schema");
}

/// The address of `url` with another user.
fn as_user(url: &str, user: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{user}@{host}")
}

#[tokio::test]
async fn a_role_without_rights_is_told_the_sql_and_may_migrate_once_it_was_run() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    sqlx::raw_sql("create role plain login password 'p'").execute(&pool).await.expect("a role");
    let koresync = Koresync::new(&as_user(database.url(), "plain:p"));
    let refused = koresync.run(&["migrate"]).await;
    refused.expect(77).tells("grant kore_owner, kore_writer to \"plain\";");
    let check = koresync.run(&["check"]).await;
    assert!(check.stdout.contains("✗ rights: plain may not migrate"), "{}", check.stdout);
    let sql: String =
        refused.stderr.lines().filter(|line| line.starts_with("create role") || line.starts_with("grant")).collect();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.expect("the SQL that was told works");
    koresync.run(&["migrate"]).await.expect(0);
    let reads: bool = sqlx::query_scalar(
        "select has_column_privilege('kore_reader_restricted', 'kore.contacts', 'evaluation_score', 'select')",
    )
    .fetch_one(&pool)
    .await
    .expect("an answer");
    assert!(reads, "the restricted reader has no rights");
    koresync.run(&["run", "--once"]).await.expect(69);
    let check = koresync.run(&["check"]).await;
    assert!(check.stdout.contains("! rights: plain may write"), "{}", check.stdout);

    sqlx::raw_sql("create role stranger login password 'p'").execute(&pool).await.expect("a role");
    let stranger = Koresync::new(&as_user(database.url(), "stranger:p"));
    stranger.run(&["run", "--once"]).await.expect(77);
    stranger.run(&["status"]).await.expect(77);
}

#[tokio::test]
async fn a_role_that_makes_roles_migrates_by_itself() {
    let database = TestDatabase::create().await;
    let pool = database.pool().await;
    let name: String = sqlx::query_scalar("select current_database()::text").fetch_one(&pool).await.expect("a name");
    let sql = format!("create role maker login createrole password 'p'; grant create on database {name} to maker");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.expect("a role");
    Koresync::new(&as_user(database.url(), "maker:p")).run(&["migrate"]).await.expect(0);
}

/// What is made from the catalog, and where it is kept for who has no database at hand.
const MADE: [(&str, &str); 4] = [
    ("markdown", "deploy/schema/dictionary.md"),
    ("mermaid", "deploy/schema/tables.mmd"),
    ("dbml", "deploy/schema/tables.dbml"),
    ("dbt", "deploy/dbt/models/sources.yml"),
];

#[tokio::test]
async fn what_deploy_says_of_the_schema_is_what_the_database_says() {
    let (_database, koresync) = migrated().await;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    // `make schema` writes what everybody else compares.
    let writes = std::env::var_os("KORESYNC_WRITE_SCHEMA").is_some();
    for (format, file) in MADE {
        let told = koresync.run(&["schema", "--format", format]).await;
        let told = &told.expect(0).stdout;
        if writes {
            std::fs::create_dir_all(root.join(file).parent().expect("a folder")).expect("a folder");
            std::fs::write(root.join(file), told).expect("a file in deploy");
        } else {
            let kept = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            assert!(kept == *told, "{file} is not what `koresync schema --format {format}` prints: run `make schema`");
        }
    }
    let json = koresync.run(&["schema", "--json"]).await;
    let contacts = json.expect(0).json();
    let contacts =
        contacts.as_array().and_then(|all| all.iter().find(|one| one["name"] == "contacts")).expect("contacts");
    assert_eq!(contacts["primary_key"], serde_json::json!(["contact_key"]));
    assert!(contacts["foreign_keys"].as_array().is_some_and(|keys| keys.iter().any(|key| key["table"] == "dates")));
}
