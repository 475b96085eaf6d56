//! People who were erased occur nowhere, and do not come back, whatever is read, rebuilt or tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::TimeDelta;
use koresync::domain::Window;
use koresync::domain::privacy::{PrivacyKey, Treatments};
use koresync::simulate::{Fault, FaultRate, Options};
use koresync::sync::erasing::{self, People};
use koresync::sync::{Mode, Outcome, requeue};
use koresync::warehouse::WarehouseError;
use koresync::warehouse::erasure::TEXTS;
use koresync::warehouse::load::requeue::Selection;
use koresync::warehouse::privacy::Configured;
use koresync::warehouse::rebuilds::RebuildScope;
use koresync::warehouse::windows::Scope;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};
use tokio_util::sync::CancellationToken;

use crate::rebuilding::rebuild_all;
use crate::rereading::reread;
use crate::support::days::{assert_days_hold, keep_all_days};
use crate::support::dump::Dump;
use crate::support::logins::Login;
use crate::support::mirror::{Mirror, STREAM, STREAM_ID, Settings, end, entry, population};
use crate::support::planting;
use crate::support::process::{Configuration, Program, Stream};

const SOON: Duration = Duration::from_mins(1);
pub const KEY: &str = "a key of the tests, long enough";

pub fn key() -> PrivacyKey {
    PrivacyKey::new(KEY).expect("long enough")
}

fn settings() -> Settings {
    let privacy = Configured { treatments: Treatments::default(), key: Some(key()) };
    Settings { privacy, ..Settings::default() }
}

fn program(mirror: &Mirror) -> Program {
    let stream = Stream::new("support", STREAM_ID, end() - TimeDelta::days(10));
    let configuration = Configuration::new(mirror.database.url(), &mirror.vendor.url(), vec![stream]);
    Program::new(&Configuration { privacy: format!("key = \"{KEY}\""), ..configuration })
}

async fn execute(pool: &PgPool, statement: String) {
    planting::plant(pool, &statement).await;
}

/// An agent with an id, as all kept payloads name them.
#[derive(Debug, Clone, Default)]
struct Agent {
    id: String,
    names: BTreeSet<String>,
    emails: BTreeSet<String>,
}

/// The agents of the kept payloads whose names are nobody else's, those with most names first.
async fn agents(pool: &PgPool) -> Vec<Agent> {
    let payloads: Vec<Vec<u8>> = sqlx::query_scalar("select payload from koresync.raw_contacts where payload <> ''")
        .fetch_all(pool)
        .await
        .expect("payloads");
    let mut agents: BTreeMap<String, Agent> = BTreeMap::new();
    for payload in payloads {
        let raw = zstd::stream::decode_all(payload.as_slice()).expect("a text");
        let Ok(record) = serde_json::from_slice::<Value>(&raw) else { continue };
        let parts = record.get("Agents").or_else(|| record.get("agents")).and_then(Value::as_array);
        for part in parts.into_iter().flatten() {
            let member = |keys: [&str; 3]| keys.iter().find_map(|key| part.get(key)?.as_str()).map(str::to_owned);
            let id = member(["agentId", "Agent ID", "agent_id"]).unwrap_or_default();
            let agent = agents.entry(id.clone()).or_insert_with(|| Agent { id, ..Agent::default() });
            agent.names.extend(member(["Agent Name", "agentName", "agent_name"]));
            agent
                .emails
                .extend(member(["Agent Email", "agentEmail", "agent_email"]).filter(|email| email.contains('@')));
        }
    }
    let is_alone = |agent: &&Agent| {
        let others = agents.values().filter(|other| other.id != agent.id);
        others.flat_map(|other| &other.names).all(|name| !agent.names.contains(name))
    };
    let mut alone: Vec<Agent> = agents
        .values()
        .filter(|agent| agent.id.starts_with("a-") && !agent.emails.is_empty())
        .filter(is_alone)
        .cloned()
        .collect();
    alone.sort_by_key(|agent| std::cmp::Reverse(agent.names.len()));
    alone
}

async fn texts(pool: &PgPool, query: &str) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(pool).await.expect("texts")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_erased_occur_nowhere_after_a_backfill_rechecks_and_a_rebuild() {
    let faults = [(Fault::Changed, 0.5), (Fault::Drifted, 0.2), (Fault::Malformed, 0.2), (Fault::ScoredLater, 0.2)];
    let faults = faults.map(|(fault, probability)| FaultRate { fault, probability }).to_vec();
    let mirror = Mirror::start(Options { faults, ..population() }, settings()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let pool = mirror.database.pool().await;
    let agents = agents(&pool).await;
    let agent = agents[0].clone();
    assert!(agent.names.len() > 1, "nobody married: {agent:?}");
    let known: Vec<String> =
        [agent.id.clone()].into_iter().chain(agent.names.clone()).chain(agent.emails.clone()).collect();
    // A contact that changes, one in quarantine with its id, and one of the agent's.
    let mut conversations =
        texts(&pool, "select conversation_id from kore.contacts order by contact_key limit 2").await;
    conversations.extend(
        texts(&pool, "select conversation_id from koresync.quarantined_records where conversation_id is not null order by id limit 1")
            .await,
    );
    assert_eq!(conversations.len(), 3);
    plant(&pool, &agent, &conversations).await;
    let others = mirror.number("select count(*) from kore.contacts").await - 2;
    let parts_of_others = format!(
        "select count(*) from kore.contact_agents p join kore.contacts c using (contact_key) \
        join kore.agents a using (agent_key) where a.agent_id is distinct from '{}' and not c.conversation_id = any(array['{}'])",
        agent.id,
        conversations.join("','")
    );
    let parts: i64 =
        sqlx::query_scalar(AssertSqlSafe(parts_of_others.clone())).fetch_one(&pool).await.expect("a count");

    let keys = format!(
        "select contact_key::text from kore.contacts where conversation_id = any(array['{}'])",
        conversations.join("','")
    );
    let keys = texts(&pool, &keys).await;
    let agent_key = texts(&pool, &format!("select agent_key::text from kore.agents where agent_id = '{}'", agent.id))
        .await
        .remove(0);

    keep_all_days(&mirror.warehouse()).await;
    let program = program(&mirror);
    let mut arguments = vec!["erase", "--yes", "--json", "--agent", &agent.id];
    arguments.extend(conversations.iter().flat_map(|id| ["--conversation", id]));
    let mut process = program.spawn(&arguments);
    assert_eq!(process.ended(SOON).await.code(), Some(0), "{}", process.told());
    let report: Value = serde_json::from_str(&process.printed()).expect("JSON");
    assert_eq!((&report["contacts_removed"], &report["agents_removed"]), (&2.into(), &1.into()), "{report}");
    assert!(report["contacts_rewritten"].as_u64() > Some(5) && report["rows_rewritten"].as_u64() > Some(3), "{report}");
    assert!(process.told().contains("vacuum full"), "{}", process.told());
    // A contact's key is made from the id of its conversation.
    let all: Vec<String> = known.iter().chain(&conversations).chain(&keys).cloned().collect();
    let parts_left = format!(
        "select count(*) from kore.contact_changes where old_values @> '{{\"contact_agents\": [{{\"agent_key\": {agent_key}}}]}}'"
    );
    let parts_left: i64 = sqlx::query_scalar(AssertSqlSafe(parts_left)).fetch_one(&pool).await.expect("a count");
    assert_eq!(parts_left, 0, "the history names the agent by key");
    Dump::of(&mirror.database).await.assert_without(&all);
    assert_eq!(mirror.number("select count(*) from kore.contacts").await, others);
    mirror.assert_keys_hold().await;
    assert_days_hold(&pool).await;
    keep_all_days(&mirror.warehouse()).await;

    // The same content, then another one, by a backfill and by the rungs.
    reread(&mirror).await;
    assert!(mirror.number("select sum(erased)::bigint from koresync.windows").await >= 3, "nothing was kept out");
    Dump::of(&mirror.database).await.assert_without(&all);
    assert_eq!(mirror.number("select count(*) from kore.contact_changes").await, 2, "the same content is no change");
    let mirror = mirror.later(TimeDelta::days(40)).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    assert!(
        mirror.number("select count(*) from koresync.windows where lane = 'recheck'").await > 0,
        "nothing was rechecked"
    );
    assert!(mirror.number("select count(*) from kore.contact_changes").await > 20, "nothing changed");
    rebuild_all(&mirror, &RebuildScope::default()).await;
    requeue::retry(&mirror.warehouse(), &Selection::default(), |_| true).await.expect("a retry");
    Dump::of(&mirror.database).await.assert_without(&all);
    let expected = mirror.expectation();
    let held = mirror.number("select count(*) from kore.contacts where removed_at is null").await;
    let contacts = expected.tables.iter().find(|(table, _)| table.ends_with("contacts")).map(|(_, sum)| sum.rows);
    assert_eq!(Some(held.cast_unsigned() + 2), contacts, "others went too");
    let kept: i64 = sqlx::query_scalar(AssertSqlSafe(parts_of_others)).fetch_one(&pool).await.expect("a count");
    assert!(kept >= parts, "{kept} of {parts} parts of other agents");
    let primaries = mirror.number("select count(*) from (select contact_key from kore.contact_agents group by 1 having count(*) filter (where is_primary) <> 1) odd").await;
    assert_eq!(primaries, 0, "contacts without a first agent");
    mirror.assert_keys_hold().await;
    assert_days_hold(&pool).await;
}

/// Places where a person may be that the vendor's records do not lead to.
async fn plant(pool: &PgPool, agent: &Agent, conversations: &[String]) {
    let name = agent.names.first().expect("a name").replace('\'', "''");
    let (id, conversation) = (&agent.id, &conversations[0]);
    let broken = format!(
        "{{\"Agents\": [{{\"agentId\": \"{id}\", \"Agent Name\": \"{}\"}}, oops",
        agent.names.first().expect("a name")
    );
    execute(pool, format!(
        // A contact of the agent whose payload was let go, with a history of its own and a mention in a text.
        "create temp table planted on commit drop as select p.contact_key, p.agent_key from kore.contact_agents p join kore.agents a using (agent_key) \
           where a.agent_id = '{id}' order by 1 limit 1; \
         update koresync.raw_contacts set payload = '' where contact_key in (select contact_key from planted); \
         update kore.contacts set extra = jsonb_build_object('Agents[0].note {name}', 'by {name}', 'n', 1.50), custom_fields = '{{\"see\": \"{conversation}\"}}' \
           where contact_key in (select contact_key from planted); \
         insert into kore.contact_changes select contact_key, 900, now(), now(), array['extra'], \
           jsonb_build_object('extra', jsonb_build_object('by', '{name}'), 'contact_agents', jsonb_build_array(jsonb_build_object('agent_key', agent_key, 'ordinal', 1))), \
           jsonb_build_object('extra', null, 'contact_agents', null) from planted; \
         insert into kore.contact_changes select contact_key, 901, now(), now(), array['contact_agents'], \
           jsonb_build_object('contact_agents', jsonb_build_array(jsonb_build_object('agent_key', agent_key, 'ordinal', 1))), \
           jsonb_build_object('contact_agents', null) from planted; \
         update kore.agents set last_contact_key = (select contact_key from kore.contacts where conversation_id = '{conversation}') \
           where agent_key = (select min(agent_key) from kore.agents where agent_id <> '{id}'); \
         update kore.metric_justifications set justification = 'As {name} said: ' || justification where (contact_key, metric_ordinal, kind, ordinal) in \
           (select contact_key, metric_ordinal, kind, ordinal from kore.metric_justifications order by 1, 2, 3, 4 limit 1); \
         insert into kore.queues (queue_name, first_seen_at, last_seen_at, last_contact_key) select 'Desk of {name}', now(), now(), contact_key from planted; \
         insert into koresync.unknown_fields (stream, path, kind, first_seen_at, last_seen_at, count, example_type) values ('support', 'notes.{name}', 'unknown', now(), now(), 1, 'string'); \
         update koresync.windows set last_error = 'refused for {id}' where id = (select min(id) from koresync.windows)"
    ))
    .await;
    sqlx::query(
        "insert into koresync.quarantined_records (stream, payload, raw_hash, reason, fault_path, first_seen_at, last_tried_at, requested_from, requested_to, mapper_version) \
         select 'support', n.payload, n.hash, 'not_json', '$', now(), now(), now(), now(), 1 from unnest($1::bytea[], $2::bytea[]) as n (payload, hash)",
    )
    .bind(vec![
        zstd::bulk::compress(broken.as_bytes(), 1).expect("packed"),
        zstd::bulk::compress(format!("{{\"id\": \"{conversation}\", oops").as_bytes(), 1).expect("packed"),
    ])
    .bind(vec![vec![1_u8; 16], vec![2_u8; 16]])
    .execute(pool)
    .await
    .expect("records in quarantine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_in_hand_obeys_an_erasure_that_comes_before_its_commit() {
    let mirror = Mirror::start(population(), settings()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let pool = mirror.database.pool().await;
    let agent = agents(&pool).await.remove(0);
    let conversation =
        texts(&pool, "select conversation_id from kore.contacts order by contact_key limit 1").await.remove(0);
    // An engine that knows who was erased before, and reads all anew.
    execute(&pool, "truncate kore.contacts, koresync.raw_contacts cascade".to_owned()).await;
    let engine = mirror.engine(CancellationToken::new()).await;
    let warehouse = mirror.warehouse();
    let range = Window::new(end() - TimeDelta::days(10), end()).expect("a range");
    let id = warehouse.file_backfill(STREAM, range, None).await.expect("a backfill");
    let people = People { conversations: vec![conversation.clone()], agents: vec![agent.id.clone()] };
    warehouse.begin_erasure(&["somebody else".to_owned()], &[]).await.expect("an earlier erasure");
    let running = tokio::spawn(engine.run(Mode::Backfill(id)));
    while mirror.number("select count(*) from kore.contacts").await == 0 {
        tokio::task::yield_now().await;
    }
    erasing::erase(&warehouse, &people, |_| true).await.expect("an erasure");
    assert_eq!(running.await.expect("no panic").expect("an engine that lives"), Outcome::Done);
    let all: Vec<String> = [conversation, agent.id].into_iter().chain(agent.emails).chain(agent.names).collect();
    Dump::of(&mirror.database).await.assert_without(&all);
    mirror.assert_keys_hold().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_was_interrupted_is_finished_by_the_same_again() {
    let mirror = Mirror::start(population(), settings()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let pool = mirror.database.pool().await;
    let agent = agents(&pool).await.remove(0);
    let people = People { conversations: Vec::new(), agents: vec![agent.id.clone()] };
    let warehouse = mirror.warehouse();
    warehouse.settle_privacy().await.expect("a key");
    let stopped = erasing::erase(&warehouse, &people, |_| false).await;
    assert!(matches!(stopped, Err(WarehouseError::Stopped)), "{stopped:?}");
    let all: Vec<String> = [agent.id].into_iter().chain(agent.emails).chain(agent.names).collect();
    assert!(!Dump::of(&mirror.database).await.places(&all[0]).is_empty(), "it was over already");
    let erased = erasing::erase(&warehouse, &people, |_| true).await.expect("an erasure");
    assert_eq!(erased.agents_removed, 1);
    Dump::of(&mirror.database).await.assert_without(&all);
    mirror.assert_keys_hold().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_waits_for_who_writes_and_a_transaction_after_it_knows() {
    let mirror = Mirror::start(population(), settings()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let (warehouse, other) = (mirror.warehouse(), mirror.warehouse());
    let range = Window::new(end() - TimeDelta::days(1), end()).expect("a range");
    let backfill = warehouse.file_backfill(STREAM, range, None).await.expect("a backfill");
    warehouse.plan_backfill(backfill, TimeDelta::days(1), 1).await.expect("a window");
    let scope = Scope { streams: vec![STREAM.to_owned()], backfill_id: Some(backfill) };
    let claim = warehouse.claim("test", &scope).await.expect("a claim").expect("a window");
    let open = warehouse.open_commit(&claim, entry(claim.window, 0, None)).await.expect("a transaction");
    assert!(open.guard().erased.is_empty());
    let erasing = tokio::spawn(async move { other.begin_erasure(&["c".to_owned()], &[]).await });
    let waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted";
    while mirror.number(waits).await == 0 {
        assert!(!erasing.is_finished(), "it did not wait");
        tokio::task::yield_now().await;
    }
    drop(open);
    erasing.await.expect("no panic").expect("an erasure");
    let open = warehouse.open_commit(&claim, entry(claim.window, 0, None)).await.expect("a transaction");
    assert_eq!(open.guard().erased.len(), 1, "an erasure was overlooked");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_erased_without_a_key_or_a_yes_and_verify_does_not_miss_them() {
    let mirror = Mirror::start(population(), settings()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let pool = mirror.database.pool().await;
    let with_key = program(&mirror);
    let stream = Stream::new("support", STREAM_ID, end() - TimeDelta::days(10));
    let keyless = Program::new(&Configuration::new(mirror.database.url(), &mirror.vendor.url(), vec![stream]));
    let (exit, told) = keyless.run(&["erase", "--yes", "--agent", "x"], SOON).await;
    assert_eq!(exit, Some(78), "{told}");
    assert!(told.contains("openssl rand -hex 32"), "{told}");
    for arguments in [&["erase", "--agent", "x"][..], &["erase", "--yes"], &["erase", "--yes", "--agent", " "]] {
        let (exit, told) = with_key.run(arguments, SOON).await;
        assert_eq!(exit, Some(2), "{told}");
    }
    assert_eq!(mirror.number("select count(*) from koresync.erased_subjects").await, 0);

    let conversation =
        texts(&pool, "select conversation_id from kore.contacts order by contact_key limit 1").await.remove(0);
    let (exit, told) = with_key.run(&["erase", "--yes", "--conversation", &conversation], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    let (exit, told) = with_key.run(&["erase", "--yes", "--conversation", &conversation], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains("kept out before"), "{told}");
    let (exit, told) = with_key.run(&["verify", "--stream", "support"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    // Without the key nobody could tell who is kept out.
    let (exit, told) = keyless.run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(78), "{told}");
    assert!(told.contains("set privacy.key_file"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemons_login_may_erase_and_hide() {
    let mirror = Mirror::start(Options { contacts: 60, ..population() }, settings()).await;
    let pool = mirror.database.pool().await;
    let stream = Stream::new("support", STREAM_ID, end() - TimeDelta::days(10));
    // Who migrated may more.
    let login = Login::of(&mirror.database, "kore_writer").await;
    let configuration = Configuration::new(&login.url, &mirror.vendor.url(), vec![stream]);
    let program = |words: &str| {
        let privacy = format!("key = \"{KEY}\"\n{words}");
        Program::new(&Configuration { privacy, ..configuration.clone() })
    };
    let open = program("");
    let (exit, told) = open.run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    let conversation = texts(&pool, "select conversation_id from kore.contacts limit 1").await.remove(0);
    let agent = texts(&pool, "select agent_id from kore.agents where agent_id is not null limit 1").await.remove(0);
    for arguments in [&["erase", "--yes", "--conversation", &conversation, "--agent", &agent][..], &["rebuild"]] {
        let (exit, told) = open.run(arguments, SOON).await;
        assert_eq!(exit, Some(0), "{told}");
    }
    let (exit, told) = program("agent_name = \"drop\"\nagent_email = \"hash\"").run(&["rebuild"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    assert_eq!(mirror.number("select count(*) from kore.agents where agent_name is not null").await, 0);
    mirror.assert_keys_hold().await;
}

#[tokio::test]
async fn every_text_of_a_contact_is_looked_through() {
    let mirror = Mirror::start(population(), settings()).await;
    let pool = mirror.database.pool().await;
    let columns = texts(
        &pool,
        "select c.table_name || '.' || c.column_name from information_schema.columns c \
         join information_schema.tables t using (table_schema, table_name) \
         where c.table_schema = 'kore' and t.table_type = 'BASE TABLE' and c.data_type in ('text', 'jsonb', 'ARRAY') and c.table_name in ( \
           select k.table_name from information_schema.columns k where k.table_schema = 'kore' and k.column_name = 'contact_key')",
    )
    .await;
    let known: BTreeSet<String> = TEXTS
        .iter()
        .flat_map(|place| place.columns.iter().map(|column| format!("{}.{column}", place.table)))
        .chain(["contacts.stream", "contacts.conversation_id", "contact_changes.changed_columns"].map(str::to_owned))
        .chain(
            ["contact_emotions.speaker", "metric_justifications.kind", "justification_messages.kind"]
                .map(str::to_owned),
        )
        .collect();
    assert_eq!(columns.into_iter().collect::<BTreeSet<_>>(), known);
}
