use chrono::{DateTime, Utc};

use super::*;
use crate::domain::Decimal;
use crate::domain::rows::{ContactTopic, JustificationKind, Speaker};
use crate::json::{parse, split_page};

mod aliases;
mod drift;
mod hashes;
mod properties;

const VENDOR_PAGE: &str = include_str!("testdata/vendor_page.json");

fn vendor_records() -> Vec<&'static str> {
    let page = split_page(VENDOR_PAGE.as_bytes()).expect("a page");
    page.records.expect("a list").into_iter().map(|range| &VENDOR_PAGE[range]).collect()
}

fn read(record: &str) -> Normalised<'_> {
    normalise(record.as_bytes()).unwrap_or_else(|e| panic!("{e}: {record}"))
}

/// A record with an id, a start and some more members.
fn with(members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(r#"{{"Conversation ID":"c-1","Conversation Start Time":"2026-03-23T10:00:00Z"{comma}{members}}}"#)
}

fn extra(normalised: &Normalised<'_>) -> serde_json::Value {
    normalised
        .contact
        .extra
        .as_deref()
        .map_or(serde_json::Value::Null, |text| serde_json::from_str(text).expect("JSON"))
}

fn faults<'n>(normalised: &'n Normalised<'_>) -> Vec<(&'n str, FaultKind)> {
    normalised.faults.iter().map(|fault| (&*fault.path, fault.kind)).collect()
}

fn unknown<'n>(normalised: &'n Normalised<'_>) -> Vec<(&'n str, &'static str)> {
    normalised.unknown.iter().map(|field| (&*field.path, field.json_type)).collect()
}

fn decimal(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

#[test]
fn the_vendors_own_records_lose_nothing() {
    for record in vendor_records() {
        let normalised = read(record);
        assert_eq!(extra(&normalised), serde_json::Value::Null);
        assert_eq!((faults(&normalised), unknown(&normalised)), (vec![], vec![]));
    }
}

#[test]
fn the_vendors_unscored_record_is_read_exactly() {
    let contact = read(vendor_records()[0]).contact;
    assert_eq!(contact.conversation_id, "c-e37aca9-0177-40be-8c2d-bc2789d6xxxx");
    assert_eq!(contact.source.as_deref(), Some("rtm"));
    assert_eq!(contact.started_at, at("2026-03-23T10:18:43.396Z"));
    assert_eq!(contact.ended_at, Some(at("2026-03-23T10:19:04.612Z")));
    assert_eq!(contact.duration_ms, Some(21216));
    assert_eq!(contact.language.as_deref(), Some("English"));
    assert_eq!(contact.duration_status.as_deref(), Some("below_threshold"));
    assert_eq!((contact.sentiment_score, contact.evaluation_score, contact.is_passed), (None, None, None));
    assert_eq!((contact.is_churn_risk, contact.is_escalation), (Some(false), Some(false)));
    assert_eq!((contact.fatal_error_count, contact.taxonomy_resolution), (Some(0), None));
    assert_eq!(
        (contact.sentiment_start.as_deref(), contact.sentiment_end.as_deref()),
        (Some("neutral"), Some("neutral"))
    );
    assert_eq!(contact.pass_score, Some(decimal("40")));
    let form = contact.evaluation_form.expect("a form");
    assert_eq!((form.form_name.as_deref(), form.scoring_type.as_deref()), (Some("Chat Form - COMMON"), Some("points")));
    assert_eq!(contact.queues.len(), 1);
    assert_eq!(contact.queues[0].queue.queue_name.as_deref(), Some("Default Queue - Q1"));
    let agent = &contact.agents[0];
    assert_eq!((agent.ordinal, agent.is_primary), (1, true));
    assert_eq!(agent.agent.agent_id.as_deref(), Some("a-a25ad66-638d-46c0-b4db-7e5a7360xxxx"));
    assert_eq!(agent.agent.agent_name.as_deref(), Some("John Doe"));
    assert_eq!(agent.agent.agent_email.as_deref(), Some("johndoe@yopmail.com"));
    assert_eq!(agent.agent_started_at, Some(at("2026-03-23T10:18:47.292Z")));
    let metric = &contact.metrics[0];
    assert_eq!(metric.metric.metric_name.as_deref(), Some("UK Greeting Compliance Rate GEN"));
    assert_eq!((metric.weight, metric.negative_weight), (Some(decimal("28")), Some(decimal("27"))));
    assert_eq!((&metric.qualification, metric.is_fatal_error), (&None, Some(false)));
    assert!(metric.justifications.is_empty() && contact.emotions.is_empty() && contact.topics.is_empty());
}

#[test]
fn the_vendors_scored_record_is_read_exactly() {
    let contact = read(vendor_records()[1]).contact;
    assert_eq!(contact.duration_ms, Some(187_519));
    assert_eq!(contact.sentiment_score, Some(decimal("6.52")));
    assert_eq!((contact.evaluation_score, contact.is_passed), (Some(decimal("77")), Some(true)));
    assert_eq!(contact.taxonomy_resolution.as_deref(), Some("YES"));
    let ratio = [contact.positive_pct, contact.neutral_pct, contact.negative_pct];
    assert_eq!(ratio, ["50", "50", "0"].map(|t| Some(decimal(t))));

    let emotions: Vec<_> =
        contact.emotions.iter().map(|e| (e.speaker, e.ordinal, &*e.emotion, e.duration_ms, e.proportion_pct)).collect();
    let zero = Some(decimal("0"));
    assert_eq!(
        emotions,
        [
            (Speaker::Contact, 1, "happy", None, None),
            (Speaker::Customer, 1, "happy", zero, Some(decimal("100"))),
            (Speaker::Agent, 1, "happiness", zero, Some(decimal("66.67"))),
            (Speaker::Agent, 2, "patience", zero, Some(decimal("33.33"))),
        ]
    );

    let metric = &contact.metrics[0];
    assert_eq!(metric.qualification.as_deref(), Some("YES"));
    assert_eq!(metric.justifications.len(), 1);
    let entry = &metric.justifications[0];
    assert_eq!((entry.kind, entry.ordinal), (JustificationKind::Justification, 1));
    assert_eq!(
        entry.justification.as_deref(),
        Some("The agent initiated the interaction with a courteous and welcoming greeting.")
    );
    assert_eq!(entry.messages.len(), 1);
    assert_eq!(entry.messages[0].message_id.as_deref(), Some("ms-a6224cf6-dbda-5cb5-8955-55eaec9exxxx"));
    assert_eq!(entry.messages[0].message_at, Some(at("2026-03-23T10:22:24.727Z")));

    let intent = &contact.intents[0];
    assert_eq!(intent.intent.as_deref(), Some("Book a flight to Amsterdam"));
    assert_eq!(intent.emotions, Some(vec!["Happy".into()]));
    assert_eq!((intent.sentiment.as_deref(), intent.sentiment_score), (Some("positive"), Some(decimal("9"))));
    let keywords: Vec<_> = intent.keywords.iter().map(|k| (k.ordinal, &*k.keyword)).collect();
    assert_eq!(keywords, [(1, "flight"), (2, "Amsterdam"), (3, "book")]);

    assert_eq!(contact.total_topics_identified, Some(5));
    assert_eq!(
        contact.topics.iter().map(topic_line).collect::<Vec<_>>(),
        [
            "1 under None: E-commerce 0.9",
            "2 under Some(1): E-commerce > Order Management 0.85",
            "3 under Some(2): E-commerce > Order Management > Place order 0.9",
        ]
    );
    assert_eq!((contact.topics[2].sentiment_score, contact.topics[2].is_resolved), (Some(decimal("9")), Some(true)));
    assert_eq!((contact.topics[0].sentiment_score, contact.topics[0].is_resolved), (None, None));
}

fn topic_line(row: &ContactTopic<'_>) -> String {
    let topic = &row.topic;
    let names: Vec<&str> = [Some(&topic.l1_name), topic.l2_name.as_ref(), topic.l3_name.as_ref()]
        .into_iter()
        .flatten()
        .map(|n| &**n)
        .collect();
    let confidence = row.confidence_score.map_or("-".to_owned(), |c| c.to_string());
    format!("{} under {:?}: {} {confidence}", row.ordinal, row.parent_ordinal, names.join(" > "))
}

#[test]
fn a_record_without_a_usable_id_or_start_is_rejected_with_its_path() {
    let long = "x".repeat(801);
    let start = r#""Conversation Start Time":"2026-03-23T10:00:00Z""#;
    for (record, path, reason) in [
        ("{".to_owned(), "$", Reason::NotJson),
        ("[]".to_owned(), "$", Reason::NotAnObject),
        (format!("{{{start}}}"), "Conversation ID", Reason::NoConversationId),
        (format!(r#"{{"conversationId":" - ",{start}}}"#), "conversationId", Reason::NoConversationId),
        (format!(r#"{{"Conversation ID":"  ",{start}}}"#), "Conversation ID", Reason::NoConversationId),
        (format!(r#"{{"Conversation ID":{{}},{start}}}"#), "Conversation ID", Reason::NoConversationId),
        (format!(r#"{{"conversationid":"c-1",{start}}}"#), "Conversation ID", Reason::NoConversationId),
        (format!(r#"{{"Conversation ID":"{long}",{start}}}"#), "Conversation ID", Reason::ConversationIdTooLong),
        (r#"{"Conversation ID":"c-1"}"#.to_owned(), "Conversation Start Time", Reason::NoStartTime),
        (
            r#"{"Conversation ID":"c-1","conversationStartTime":"NA"}"#.to_owned(),
            "conversationStartTime",
            Reason::NoStartTime,
        ),
        (
            r#"{"Conversation ID":"c-1","Conversation Start Time":"2026-02-30T00:00:00Z"}"#.to_owned(),
            "Conversation Start Time",
            Reason::StartNotATime,
        ),
    ] {
        let rejected = normalise(record.as_bytes()).expect_err(&record);
        assert_eq!((&*rejected.path, rejected.reason), (path, reason), "{record}");
    }
    assert_eq!(
        Rejected { path: "Conversation ID".to_owned(), reason: Reason::NoConversationId }.to_string(),
        "no_conversation_id at Conversation ID"
    );
}

#[test]
fn a_start_must_be_in_the_calendar() {
    let record = |start: &str| format!(r#"{{"Conversation ID":"c-1","Conversation Start Time":"{start}"}}"#);
    for start in ["2000-01-01T00:00:00Z", "2060-12-30T23:59:59.999999Z"] {
        assert_eq!(read(&record(start)).contact.started_at, at(start));
    }
    for start in ["1999-12-31T23:59:59.999Z", "2060-12-31T00:00:00Z", "0026-03-23T10:00:00Z", "9999-12-31T23:59:59Z"] {
        let record = record(start);
        let rejected = normalise(record.as_bytes()).expect_err(start);
        assert_eq!(rejected.reason, Reason::StartOutOfRange, "{start}");
        assert_eq!(identify(record.as_bytes()).started_at, None);
    }
}

#[test]
fn a_record_is_identified_by_its_top_level() {
    let identity = identify(vendor_records()[1].as_bytes());
    assert_eq!(identity.conversation_id.as_deref(), Some("c-d7bda7b-25be-4e01-975b-04e7aad1xxxx"));
    assert_eq!(identity.started_at, Some(at("2026-03-23T10:22:11.759Z")));
    assert_eq!(identity.ended_at, Some(at("2026-03-23T10:25:19.278Z")));
    assert!(identity.is_evaluated);
    assert!(!identify(vendor_records()[0].as_bytes()).is_evaluated);
    let nested = r#"{"x":{"Conversation ID":"c-9"},"Conversation ID":7}"#;
    assert_eq!(identify(nested.as_bytes()).conversation_id.as_deref(), Some("7"));
    for unreadable in ["", "[]", "null", r#"{"Conversation ID":"c-1""#, "{\"Conversation ID\" 1}"] {
        assert_eq!(identify(unreadable.as_bytes()), Identity::default(), "{unreadable}");
    }
}

#[test]
fn of_repeats_content_decides_and_not_arrival() {
    let unscored = with(r#""Conversation End Time":"2026-03-23T12:00:00Z""#);
    let early = with(r#""Conversation End Time":"2026-03-23T10:30:00Z","Kore Evaluation Score":10"#);
    let late = with(r#""Conversation End Time":"2026-03-23T11:00:00Z","Kore Evaluation Score":9"#);
    let other = with(r#""Conversation End Time":"2026-03-23T11:00:00Z","Kore Evaluation Score":8"#);
    let larger = std::cmp::max_by_key(&late, &other, |r| ContentHash::of(r.as_bytes()));
    let all = [&unscored, &early, &late, &other];
    let winner_of = |records: &[&[u8]]| {
        let told_apart: Vec<_> = records.iter().map(|raw| (identify(raw), ContentHash::of(raw))).collect();
        winner(told_apart.iter().map(|(identity, hash)| (identity, *hash)))
    };
    for shift in 0..4 {
        let turned: Vec<&[u8]> = (0..4).map(|i| all[(i + shift) % 4].as_bytes()).collect();
        assert_eq!(turned[winner_of(&turned)], larger.as_bytes());
    }
    assert_eq!(winner_of(&[early.as_bytes(), unscored.as_bytes()]), 0);
    assert_eq!(winner_of(&[early.as_bytes()]), 0);
}
