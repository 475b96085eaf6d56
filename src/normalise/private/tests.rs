use std::collections::HashSet;

use proptest::prelude::*;

use super::super::normalise;
use super::*;
use crate::domain::privacy::{HashKey, Treatments};

fn key() -> HashKey {
    HashKey::new([7; 32])
}

fn guard(treatments: Treatments, erased: &[Subject<'_>]) -> Arc<Guard> {
    let erased: HashSet<_> = erased.iter().map(|subject| key().subject(*subject)).collect();
    Arc::new(Guard { version: 1, privacy_id: 1, treatments, key: Some(key()), erased, ..Guard::default() })
}

fn all(treatment: Treatment) -> Filter {
    Filter::new(guard(Treatments::of(|_| treatment), &[]))
}

fn erasing(erased: &[Subject<'_>]) -> Filter {
    Filter::new(guard(Treatments::default(), erased))
}

#[track_caller]
fn without(filter: &Filter, record: &str) -> String {
    match filter.keep(record.as_bytes()) {
        Kept::Without { text, canonical_hash } => {
            // Of what was received, and done again it changes nothing.
            assert_eq!(canonical_hash, canonical::hash(&json::parse(record.as_bytes()).expect("JSON").value));
            assert_eq!(filter.keep(text.as_bytes()), Kept::AsReceived, "{text}");
            text
        }
        other => panic!("{other:?} of {record}"),
    }
}

const RECORD: &str = r#"{"Conversation ID":"conv-1","Conversation Start Time":"2026-03-23T10:18:43.396Z",
 "Agents":[{"agentId":"agent-1","Agent Name":"Jane Doe","Agent Email":"jane@example.org","nickname":"Janey"},
           {"agentId":"agent-2","Agent Name":"Ali Roe","Agent Email":"ali@example.org"},"Old Style"],
 "Auditor Name":"Max Auditor","custom_fields":{"order":"A-1234","count":17,"none":"NA"},
 "agentRecordings":["https://example.org/a.wav"],"Agent Full Name":"Jane M. Doe",
 "Metrics":[{"Metric ID":"m-1","justification":["bare words",{"justification":"Jane Doe was kind","message_id":"msg-1",
   "sourceSystemValue":"4711","note":"private"}]}],
 "summary":"JANE DOE and jane@example.org spoke; reviewed by Max Auditor"}"#;

const CLEAR: [&str; 13] = [
    "Jane Doe",
    "jane@example.org",
    "Janey",
    "Ali Roe",
    "ali@example.org",
    "Old Style",
    "Max Auditor",
    "A-1234",
    "a.wav",
    "Jane M. Doe",
    "bare words",
    "4711",
    "private",
];

#[test]
fn everything_personal_is_hashed_or_dropped_wherever_it_stands() {
    for treatment in [Treatment::Hash, Treatment::Drop] {
        let kept = without(&all(treatment), RECORD);
        for clear in CLEAR {
            assert!(!kept.to_lowercase().contains(&clear.to_lowercase()), "{clear} in {kept}");
        }
        for open in ["conv-1", "agent-1", "agent-2", "msg-1", "m-1"] {
            assert!(kept.contains(open), "no {open} in {kept}");
        }
        let read = normalise(kept.as_bytes()).expect("a record");
        let (name, auditor) =
            (read.contact.agents[0].agent.agent_name.as_deref(), read.contact.auditor_name.as_deref());
        if treatment == Treatment::Hash {
            assert_eq!(name, Some(&*key().value("Jane Doe")));
            assert_eq!(auditor, Some(&*key().value("Max Auditor")));
            let fields = read.contact.custom_fields.as_deref().expect("fields");
            assert_eq!(
                fields,
                format!(r#"{{"order":"{}","count":"{}","none":"NA"}}"#, key().value("A-1234"), key().value("17"))
            );
            assert!(kept.contains(&format!(
                "{} and {} spoke",
                key().value("Jane Doe"),
                key().value("jane@example.org")
            )));
        } else {
            assert_eq!((name, auditor, read.contact.custom_fields.as_deref()), (None, None, None));
        }
    }
}

#[test]
fn one_kind_that_is_hidden_leaves_the_others() {
    let only = |hidden| {
        Filter::new(guard(Treatments::of(|k| if k == hidden { Treatment::Drop } else { Treatment::Keep }), &[]))
    };
    for (kind, gone, left) in [
        (Kind::AgentName, "Ali Roe", "ali@example.org"),
        (Kind::AgentEmail, "ali@example.org", "Ali Roe"),
        (Kind::AuditorName, "Max Auditor", "Jane Doe"),
        (Kind::CustomFields, "A-1234", "Jane Doe"),
        (Kind::JustificationText, "bare words", "Max Auditor"),
        (Kind::RecordingUrls, "a.wav", "A-1234"),
    ] {
        let kept = without(&only(kind), RECORD);
        assert!(!kept.contains(gone) && kept.contains(left), "{kind:?}: {kept}");
    }
    assert_eq!(all(Treatment::Keep).keep(RECORD.as_bytes()), Kept::AsReceived);
}

#[test]
fn an_erased_agent_goes_with_every_mention_and_the_others_keep_their_places() {
    for subject in [Subject::AgentId("agent-1"), Subject::AgentEmail("JANE@example.org")] {
        let kept = without(&erasing(&[subject]), RECORD);
        for gone in ["Jane Doe", "JANE DOE", "jane@example.org", "agent-1"] {
            assert!(!kept.contains(gone), "{gone} in {kept}");
        }
        let read = normalise(kept.as_bytes()).expect("a record");
        let agents: Vec<_> = read.contact.agents.iter().map(|a| (a.ordinal, a.agent.agent_id.as_deref())).collect();
        assert_eq!(agents, [(2, Some("agent-2"))]);
        assert!(kept.contains("[erased] was kind"));
    }
    // People share names: one with another id stays.
    assert_eq!(erasing(&[Subject::AgentName("Jane Doe")]).keep(RECORD.as_bytes()), Kept::AsReceived);
    let nameless = r#"{"Agents":[{"Agent Name":"Jane Doe"}]}"#;
    assert_eq!(without(&erasing(&[Subject::AgentName("jane doe")]), nameless), r#"{"Agents":[null]}"#);
    let number = r#"{"Agents":[{"agentId":20260042}],"supervisor":20260042,"length":20260043}"#;
    assert_eq!(
        without(&erasing(&[Subject::AgentId("20260042")]), number),
        r#"{"Agents":[null],"supervisor":"[erased]","length":20260043}"#
    );
    let elsewhere = r#"{"supervisor":"agent-9","Agents":"agent-9"}"#;
    assert_eq!(
        without(&erasing(&[Subject::AgentId("agent-9")]), elsewhere),
        r#"{"supervisor":"[erased]","Agents":"[erased]"}"#
    );
}

#[test]
fn an_agent_whose_dropped_email_told_namesakes_apart_goes_at_once_and_not_at_the_next_rebuild() {
    let email_gone = Treatments::of(|kind| if kind == Kind::AgentEmail { Treatment::Drop } else { Treatment::Keep });
    let namesake = r#"{"Agents":[{"Agent Name":"Jane Doe","Agent Email":"other@example.org"}]}"#;
    let filter = Filter::new(guard(email_gone, &[Subject::AgentName("Jane Doe")]));
    assert_eq!(without(&filter, namesake), r#"{"Agents":[null]}"#);
    assert_eq!(erasing(&[Subject::AgentName("Jane Doe")]).keep(namesake.as_bytes()), Kept::AsReceived);
}

#[test]
fn an_erased_conversation_is_known_however_its_id_is_spelt() {
    let filter = erasing(&[Subject::Conversation("conv-1"), Subject::Conversation("42")]);
    for record in [
        RECORD,
        r#"{"conversationId":"conv-1"}"#,
        r#"{"conversation_id":42}"#,
        r#"{"Conversation ID":"conv-1", "x": tru"#,
    ] {
        assert_eq!(filter.keep(record.as_bytes()), Kept::Erased, "{record}");
    }
    assert_eq!(filter.keep(br#"{"conversationId":"conv-2","score":"42"}"#), Kept::AsReceived);
    assert_eq!(
        without(&filter, r#"{"conversationId":"conv-2","earlier":"conv-1"}"#),
        r#"{"conversationId":"conv-2","earlier":"[erased]"}"#
    );
}

#[test]
fn what_cannot_be_read_is_kept_only_where_it_can_hide_nobody() {
    let broken = br#"{"Agents":[{"agentId":"agent\u002d1","Agent Name":"Jane Doe"}"#;
    assert_eq!(all(Treatment::Hash).keep(broken), Kept::Nothing);
    assert_eq!(all(Treatment::Drop).keep(b"[1, 2]"), Kept::Nothing);
    assert_eq!(erasing(&[Subject::AgentId("agent-1")]).keep(broken), Kept::Nothing);
    assert_eq!(erasing(&[Subject::AgentId("agent-2")]).keep(broken), Kept::AsReceived);
    // However short: it may well be who was erased.
    let short = br#"{"conversationId": "42", "agentId": "7", oops"#;
    assert_eq!(erasing(&[Subject::AgentId("7")]).keep(short), Kept::Nothing);
    assert_eq!(erasing(&[Subject::Conversation("42")]).keep(short), Kept::Nothing);
}

#[test]
fn columns_obey_like_records() {
    let filter = all(Treatment::Drop);
    let row = r#"{"old_values":{"auditor_name":"Max Auditor","extra":{"Agents[0].nickname":"Janey","Agents[2]":"Old Style",
        "agentRecordings":["https://example.org/a.wav"],"shift":"late"},"language":"en",
        "metric_justifications":[{"kind":"trigger","justification":"bare words"}]},"new_values":null}"#;
    let kept = filter.columns(row).expect("something personal");
    let expected = r#"{"old_values":{"auditor_name":null,"extra":{"shift":"late"},"language":"en","metric_justifications":[{"kind":"trigger","justification":null}]},"new_values":null}"#;
    assert_eq!(kept, expected);
    assert_eq!(filter.columns(&kept), None);
    let agents = r#"{"old_values":{"contact_agents":[{"agent_key":5,"ordinal":1},{"agent_key":6,"ordinal":2}]}}"#;
    let kept = erasing(&[]).without_agents(&[5]).columns(agents);
    assert_eq!(kept.as_deref(), Some(r#"{"old_values":{"contact_agents":[{"agent_key":6,"ordinal":2}]}}"#));
}

proptest! {
    #[test]
    fn any_bytes_are_harmless_and_nothing_hidden_shows_through(raw in any::<Vec<u8>>(), name in "[A-Z][a-z]{4,8} [A-Z][a-z]{4,8}") {
        let filter = all(Treatment::Hash);
        let _ = filter.keep(&raw);
        let _ = erasing(&[Subject::AgentId("agent-1")]).keep(&raw);
        let text = String::from_utf8_lossy(&raw);
        let noise = json::to_string(&Value::String(format!("{text} {name} {text}").into()));
        let record = format!(r#"{{"Agents":[{{"Agent Name":"{name}"}}],"noise":{noise}}}"#);
        let kept = without(&filter, &record);
        prop_assert!(!kept.contains(&name), "{kept}");
    }
}
