//! Privacy settings: what they hide is nowhere, what they leave can still be joined, and a change of them is no
//! change of content.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use koresync::domain::privacy::{Treatment, Treatments};
use koresync::simulate::{Fault, FaultRate, Options};
use koresync::sync::{Outcome, requeue};
use koresync::warehouse::load::requeue::Selection;
use koresync::warehouse::privacy::Configured;
use sqlx::PgPool;

use crate::erasing::{KEY, key};
use crate::rereading::reread;
use crate::support::days::{assert_days_hold, keep_all_days};
use crate::support::dump::Dump;
use crate::support::mirror::{Mirror, STREAM_ID, Settings, contacts, end, population};
use crate::support::planting::plant;
use crate::support::process::{Configuration, Program, Stream};
use crate::support::vendor::answering;

const SOON: Duration = Duration::from_mins(1);
const KINDS: [&str; 6] =
    ["agent_name", "agent_email", "auditor_name", "custom_fields", "justification_text", "recording_urls"];

fn hiding(treatment: Treatment) -> Configured {
    Configured { treatments: Treatments::of(|_| treatment), key: Some(key()) }
}

fn settings(treatment: Treatment) -> Settings {
    Settings { privacy: hiding(treatment), ..Settings::default() }
}

fn options() -> Options {
    let faults = [(Fault::Changed, 0.4), (Fault::Drifted, 0.3), (Fault::Malformed, 0.2), (Fault::ScoredLater, 0.2)];
    let faults = faults.map(|(fault, probability)| FaultRate { fault, probability }).to_vec();
    Options { contacts: contacts() / 2, faults, ..population() }
}

/// The program on a mirror's warehouse, with one word for each kind.
fn program(mirror: &Mirror, word: &str, key: &str) -> Program {
    let stream = Stream::new("support", STREAM_ID, end() - TimeDelta::days(10));
    let configuration = Configuration::new(mirror.database.url(), &mirror.vendor.url(), vec![stream]);
    let kinds: Vec<String> = KINDS.iter().map(|kind| format!("{kind} = \"{word}\"")).collect();
    Program::new(&Configuration { privacy: format!("key = \"{key}\"\n{}", kinds.join("\n")), ..configuration })
}

async fn texts(pool: &PgPool, query: &'static str) -> Vec<String> {
    sqlx::query_scalar(query).fetch_all(pool).await.expect("texts")
}

/// What a warehouse holds of these kinds in clear, as far as it is long enough to be told from anything else; of
/// many, some.
async fn clear_values(pool: &PgPool) -> Vec<String> {
    let found = texts(
        pool,
        "select agent_name from kore.agents where agent_name is not null \
         union select agent_email from kore.agents where agent_email is not null \
         union select auditor_name from kore.contacts where auditor_name is not null \
         union select f.value from kore.contacts, jsonb_each_text(custom_fields) f \
         union select v from kore.metric_justifications, unnest(array[justification, source_system_value, agent_mentioned_value, agent_entity]) v \
           where v is not null \
         union select jsonb_array_elements_text(case jsonb_typeof(extra -> 'agentRecordings') when 'array' then extra -> 'agentRecordings' \
           else jsonb_build_array(extra -> 'agentRecordings') end) from kore.contacts where extra ? 'agentRecordings'",
    )
    .await;
    // A long text is known by its beginning: JSON and COPY write some signs their own way.
    let told = |text: String| {
        let plain: String = text.chars().take_while(|c| !matches!(c, '\\' | '"' | '\n' | '\t' | '\r')).collect();
        (plain.chars().filter(|c| c.is_alphanumeric()).count() > 5).then_some(plain)
    };
    let all: BTreeSet<String> = found.into_iter().filter_map(told).collect();
    let each = all.len() / 250 + 1;
    all.into_iter().step_by(each).collect()
}

/// The values of the population, from a warehouse that keeps them.
async fn open_values() -> Vec<String> {
    let mirror = Mirror::start(options(), Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let mirror = mirror.later(TimeDelta::days(300)).await;
    reread(&mirror).await;
    let values = clear_values(&mirror.database.pool().await).await;
    assert!(values.len() > 60, "only {} values: {values:?}", values.len());
    for part in ["@example.com", "http"] {
        assert!(values.iter().any(|value| value.contains(part)), "no {part} in {values:?}");
    }
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_from_the_start_is_nowhere() {
    let values = open_values().await;
    for treatment in [Treatment::Hash, Treatment::Drop] {
        let mirror = Mirror::start(options(), settings(treatment)).await;
        assert_eq!(mirror.run_once().await, Outcome::Done);
        let mirror = mirror.later(TimeDelta::days(300)).await;
        reread(&mirror).await;
        let changes = mirror.number("select count(*) from kore.contact_changes").await;
        assert!(changes > 20, "only {changes} changes");
        assert!(mirror.number("select count(*) from koresync.quarantined_records").await > 0);
        assert!(mirror.number("select count(*) from koresync.unknown_fields").await > 0);
        requeue::retry(&mirror.warehouse(), &Selection::default(), |_| true).await.expect("a retry");
        Dump::of(&mirror.database).await.assert_without(&values);
        // The same again is known by its keyed hash, and not even written.
        let rows = "select sum(hashtextextended(tableoid::text || ctid::text || xmin::text, 0) % 1000003)::bigint from \
            (select tableoid, ctid, xmin from kore.contacts union all select tableoid, ctid, xmin from koresync.raw_contacts) t";
        let written = mirror.number(rows).await;
        reread(&mirror).await;
        assert_eq!(mirror.number(rows).await, written);
        mirror.assert_keys_hold().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tightening_by_a_rebuild_hides_what_is_held_and_loosening_by_a_backfill_brings_it_back() {
    let mirror = Mirror::start(options(), Settings::default()).await;
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let mut mirror = mirror.later(TimeDelta::days(300)).await;
    // Among so few contacts none crosses the end of a window, so nothing has shown by which time the vendor filters.
    sqlx::query("update koresync.streams set filter_field = 'start'")
        .execute(&mirror.database.pool().await)
        .await
        .expect("a stream");
    reread(&mirror).await;
    mirror.assert_equal().await;
    let pool = mirror.database.pool().await;
    let values = clear_values(&pool).await;
    let open: i64 = mirror.number("select count(*) from koresync.raw_contacts where privacy_id = 0").await;
    let changes = mirror.number("select count(*) from kore.contact_changes").await;
    assert!(open > 100 && changes > 20 && values.len() > 60, "{open} {changes} {}", values.len());
    // Payloads that were let go, and an agent whom only such a one names.
    plant(
        &pool,
        "update koresync.raw_contacts set payload = '' where contact_key::text ~ '[0-3]$'; \
         insert into kore.agents (agent_name, agent_email, first_seen_at, last_seen_at, last_contact_key) \
           select 'Nobody Elsewhere', 'nobody@example.com', now(), now(), contact_key from kore.contacts limit 1; \
         insert into kore.contact_agents (contact_key, ordinal, agent_key, is_primary) \
           select r.contact_key, 99, a.agent_key, not exists (select from kore.contact_agents p where p.contact_key = r.contact_key) \
           from koresync.raw_contacts r, kore.agents a where r.payload = '' and a.agent_name = 'Nobody Elsewhere' order by 1 limit 1",
    )
    .await;
    let joins = joins(&pool).await;
    keep_all_days(&mirror.warehouse()).await;

    let hashing = program(&mirror, "hash", KEY);
    let (exit, told) = hashing.run(&["rebuild"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains("[privacy] keeps less than before") && told.contains("obey [privacy] now"), "{told}");
    let dump = Dump::of(&mirror.database).await;
    dump.assert_without(&values);
    dump.assert_without(&["Nobody Elsewhere".to_owned(), "nobody@example.com".to_owned()]);
    assert_eq!(self::joins(&pool).await, joins, "a hash joins what its value did");
    assert_eq!(mirror.number("select count(*) from kore.contact_changes").await, changes);
    mirror.assert_keys_hold().await;
    let (exit, told) = hashing.run(&["rebuild"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains(" 0 written anew") && !told.contains("obey [privacy] now"), "{told}");

    // Read again under the same settings: no change of content, and payloads that went stay away but for those
    // whose hash was open.
    mirror.settings = settings(Treatment::Hash);
    let id = reread(&mirror).await;
    let read = mirror.warehouse().backfill(id).await.expect("the backfill");
    assert_eq!((read.inserted, read.changed), (0, 0), "hashing is no change");
    assert_eq!(mirror.number("select count(*) from kore.contact_changes").await, changes, "hashing is no change");
    Dump::of(&mirror.database).await.assert_without(&values);

    assert_days_hold(&pool).await;
    keep_all_days(&mirror.warehouse()).await;

    // Tighter still, then looser: a rebuild cannot bring back what is gone, a backfill does.
    let (exit, told) = program(&mirror, "drop", KEY).run(&["rebuild"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    assert_eq!(
        mirror.number("select count(*) from kore.agents where agent_name is not null or agent_email is not null").await,
        0
    );
    assert_days_hold(&pool).await;
    mirror.settings = settings(Treatment::Keep);
    let (exit, told) = program(&mirror, "keep", KEY).run(&["rebuild"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains("[privacy] keeps more than before"), "{told}");
    Dump::of(&mirror.database).await.assert_without(&values);
    let id = reread(&mirror).await;
    let read = mirror.warehouse().backfill(id).await.expect("the backfill");
    assert_eq!((read.inserted, read.changed), (0, 0), "loosening is no change");
    mirror.assert_equal().await;
    assert_eq!(mirror.number("select count(*) from kore.contact_changes").await, changes, "loosening is no change");
    assert_eq!(mirror.number("select count(*) from koresync.raw_contacts where privacy_id = 0").await, open);
}

/// How many contacts share an agent, and an auditor, by name.
async fn joins(pool: &PgPool) -> Vec<String> {
    texts(
        pool,
        "(select 'agent ' || count(*) from kore.contact_agents join kore.agents using (agent_key) where agent_name is not null \
           group by agent_name order by count(*)) \
         union all (select 'auditor ' || count(*) from kore.contacts where auditor_name is not null group by auditor_name order by count(*)) \
         union all (select 'field ' || f.key || ' ' || count(*) from kore.contacts, jsonb_each_text(custom_fields) f \
           where f.value not in ('', '-', 'NA') group by f.key, f.value order by 1) \
         union all (select 'text ' || count(*) from kore.metric_justifications where justification is not null group by justification order by count(*))",
    )
    .await
}

/// A server with these records, all the time.
async fn vendor(records: &'static str, total: u32) -> String {
    answering(format!("{{\"results\": [{records}], \"totalResults\": {total}, \"hasMore\": false}}")).await
}

const BROKEN: &str = r#"{"Conversation ID": "c-1", "Conversation Start Time": "2026-03-23T10:18:43.396Z", "Agents": [{"Agent Name": "Broken Record"}], "n": tru},
    {"Conversation ID": "c-2", "Conversation Start Time": "no time at all", "Agents": "Bare Words"},
    {"Conversation ID": "c-3", "Conversation Start Time": "2026-03-23T10:18:43.396Z", "Agents": ["Bare Words", {"agentId": "a-1", "Full Name": "Unknown Key"}],
      "agent_mail": "somebody@example.org", "note": "UNKNOWN KEY called"},
    "Just A Text""#;

#[tokio::test(flavor = "multi_thread")]
async fn of_what_cannot_be_read_hash_length_and_place_are_kept() {
    for (treatment, are_hidden) in [(Treatment::Keep, false), (Treatment::Hash, true), (Treatment::Drop, true)] {
        let mut mirror = Mirror::start(Options { contacts: 1, ..population() }, settings(treatment)).await;
        mirror.base_url = Some(vendor(BROKEN, 4).await);
        assert_eq!(mirror.run_once().await, Outcome::Done);
        reread(&mirror).await;
        let pool = mirror.database.pool().await;
        let aside = texts(
            &pool,
            "select format('%s %s %s %s', coalesce(conversation_id, '?'), reason, payload = '', text_bytes) \
             from koresync.quarantined_records order by 1",
        )
        .await;
        let dump = Dump::of(&mirror.database).await;
        if !are_hidden {
            assert_eq!(aside, ["? not_an_object f ", "c-1 not_json f ", "c-2 start_not_a_time f "]);
            assert!(!dump.places("Broken Record").is_empty() && !dump.places("Unknown Key").is_empty());
            continue;
        }
        assert_eq!(aside, ["? not_an_object t 13", "c-1 not_json t 136", "c-2 start_not_a_time f "]);
        dump.assert_without(
            &["Broken Record", "Bare Words", "Unknown Key", "somebody@example.org", "Just A Text"].map(str::to_owned),
        );
        let open = koresync::domain::ContentHash::of(b"\"Just A Text\"");
        let same: i64 = sqlx::query_scalar("select count(*) from koresync.quarantined_records where raw_hash = $1")
            .bind(open.0.as_slice())
            .fetch_one(&pool)
            .await
            .expect("a count");
        assert_eq!(same, 0, "its hash is open");
        let shown = texts(&pool, "select extra::text from kore.contacts where extra is not null").await;
        assert_eq!(shown.len(), 1, "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_refused_and_a_rotation_keeps_every_hash() {
    const NEW: &str = "a new key of the tests, as long";
    let mirror = Mirror::start(Options { contacts: 60, ..population() }, settings(Treatment::Hash)).await;
    let (old, new) = (program(&mirror, "hash", KEY), program(&mirror, "hash", NEW));
    let (exit, told) = old.run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    let (exit, told) = old.run(&["check"], SOON).await;
    assert!(told.contains(&format!("✓ privacy: key {}", key().fingerprint())), "{exit:?} {told}");
    for arguments in [&["run", "--once"][..], &["run"], &["rebuild"], &["verify"], &["erase", "--yes", "--agent", "x"]]
    {
        let (exit, told) = new.run(arguments, SOON).await;
        assert_eq!(exit, Some(78), "{arguments:?}: {told}");
        assert!(told.contains("rotate-key") && told.contains(&key().fingerprint()), "{told}");
    }
    let (_, told) = program(&mirror, "drop", KEY).run(&["check"], SOON).await;
    assert!(told.contains("! privacy: ") && told.contains("in force until now: agent_name = hash"), "{told}");
    let (_, told) = new.run(&["check"], SOON).await;
    assert!(told.contains("✗ privacy: ") && told.contains("set privacy.key_file"), "{told}");
    let pool = mirror.database.pool().await;
    let erased = texts(&pool, "select conversation_id from kore.contacts order by contact_key limit 1").await;
    let (exit, told) = old.run(&["erase", "--yes", "--conversation", &erased[0]], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    let hashes = "select md5(string_agg(h, ',' order by h)) from (select encode(subject_hash, 'hex') from koresync.erased_subjects \
        union all select agent_name from kore.agents union all select encode(raw_hash, 'hex') from koresync.raw_contacts) t (h)";
    let before = texts(&pool, hashes).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("new");
    std::fs::write(&file, format!("{NEW}\n")).expect("a key file");
    let file = file.to_str().expect("a path");
    // Killed while it waits for who writes: nothing happened.
    let mut holder = pool.begin().await.expect("a transaction");
    sqlx::query("select pg_advisory_xact_lock_shared(hashtext('koresync time zone'))")
        .execute(&mut *holder)
        .await
        .expect("the lock of who writes");
    let killed = old.spawn(&["privacy", "rotate-key", "--new-key-file", file]);
    while mirror.number("select count(*) from pg_locks where locktype = 'advisory' and not granted").await == 0 {
        tokio::task::yield_now().await;
    }
    killed.kill().await;
    drop(holder);
    let (exit, told) = old.run(&["privacy", "rotate-key", "--new-key-file", "/nowhere"], SOON).await;
    assert_eq!(exit, Some(78), "{told}");
    let (exit, told) = new.run(&["privacy", "rotate-key", "--new-key-file", file], SOON).await;
    assert_eq!(exit, Some(78), "{told}");
    // The killed one may have waited on: its connection ends, and what it asked for with it.
    let idle = "select count(*) from pg_stat_activity where datname = current_database() and query like '%pg_advisory_xact_lock(%'";
    while mirror.number(idle).await > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(texts(&pool, "select key_fingerprint from koresync.privacy").await, [key().fingerprint()]);

    let (exit, told) = old.run(&["privacy", "rotate-key", "--new-key-file", file], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    assert_eq!(texts(&pool, hashes).await, before, "a hash is another one");
    let (exit, told) = old.run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(78), "{told}");
    let (exit, told) = new.run(&["rebuild"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    assert!(told.contains(" 0 written anew"), "{told}");
    // Read anew, every value has the hash that it had, and who was erased stays out.
    sqlx::query("truncate kore.contacts, kore.agents, koresync.raw_contacts cascade")
        .execute(&pool)
        .await
        .expect("no contacts");
    let (exit, told) =
        new.run(&["backfill", "--stream", "support", "--from", "2026-03-21", "--to", "2026-03-31"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    assert_eq!(texts(&pool, hashes).await, before, "a hash is another one");
    let back = texts(&pool, "select conversation_id from kore.contacts").await;
    assert!(back.len() > 40 && !back.contains(&erased[0]), "{back:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_started_with_other_settings_writes_nothing() {
    let mirror = Mirror::start(population(), settings(Treatment::Keep)).await;
    let keeping = mirror.warehouse();
    keeping.settle_privacy().await.expect("settings");
    keeping.guard().await.expect("a guard");
    let dropping = keeping.clone().with_privacy(hiding(Treatment::Drop));
    let settled = dropping.settle_privacy().await.expect("settings");
    assert_eq!((settled.tightened.len(), settled.loosened.len()), (6, 0));
    assert_eq!(dropping.settle_privacy().await.expect("settings"), koresync::warehouse::privacy::Settled::default());
    dropping.open_pass(None, 1).await.expect("a transaction");
    let refused = keeping.open_pass(None, 1).await.expect_err("other settings are in force");
    assert!(refused.to_string().contains("agent_name = drop"), "{refused}");
}
