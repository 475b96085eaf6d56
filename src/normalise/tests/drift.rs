//! Values of another shape than the documented one: read without loss, or set aside and counted.

use serde_json::json;

use super::*;

/// A member, what is read of it, what goes to `extra`, and the kinds of fault.
type Drift = (&'static str, String, serde_json::Value, Vec<FaultKind>);

fn check(cases: &[Drift], shown: impl Fn(&Contact<'_>) -> String) {
    for (members, expected, expected_extra, expected_faults) in cases {
        let record = with(members);
        let normalised = read(&record);
        assert_eq!(shown(&normalised.contact), *expected, "{members}");
        assert_eq!(extra(&normalised), *expected_extra, "{members}");
        assert_eq!(normalised.faults.iter().map(|f| f.kind).collect::<Vec<_>>(), *expected_faults, "{members}");
        assert_eq!(unknown(&normalised), [], "{members}");
    }
}

fn show<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or("NULL".to_owned(), |value| value.to_string())
}

fn fine(members: &'static str, expected: &str) -> Drift {
    (members, expected.to_owned(), serde_json::Value::Null, vec![])
}

fn aside(members: &'static str, extra: serde_json::Value, kind: FaultKind) -> Drift {
    (members, "NULL".to_owned(), extra, vec![kind])
}

#[test]
fn durations() {
    let cases = [
        fine(r#""Duration":21216"#, "21216"),
        fine(r#""Duration":21216.0"#, "21216"),
        fine(r#""Duration":"21216""#, "21216"),
        fine(r#""Duration":" 21216 ms ""#, "21216"),
        fine(r#""Duration":"21216milliseconds""#, "21216"),
        fine(r#""Duration":0"#, "0"),
        fine(r#""Duration":"NA""#, "NULL"),
        fine(r#""Duration":null"#, "NULL"),
        aside(r#""Duration":21216.5"#, json!({"Duration": 21216.5}), FaultKind::NotAnInteger),
        aside(r#""Duration":"ages""#, json!({"Duration": "ages"}), FaultKind::NotANumber),
        aside(r#""Duration":true"#, json!({"Duration": true}), FaultKind::NotANumber),
        aside(r#""Duration":[5]"#, json!({"Duration": [5]}), FaultKind::NotAScalar),
        aside(r#""Duration":1e30"#, json!({"Duration": 1e30}), FaultKind::OutOfRange),
    ];
    check(&cases, |c| show(c.duration_ms));
}

#[test]
fn numbers() {
    let cases = [
        fine(r#""Kore Evaluation Score":"66.67""#, "66.67"),
        fine(r#""Kore Evaluation Score":-100"#, "-100"),
        fine(r#""Kore Evaluation Score":0"#, "0"),
        fine(r#""Kore Evaluation Score":"-""#, "NULL"),
        fine(r#""Kore Evaluation Score":" NA ""#, "NULL"),
        aside(r#""Kore Evaluation Score":"N/A""#, json!({"Kore Evaluation Score": "N/A"}), FaultKind::NotANumber),
        aside(r#""koreEvaluationScore":{}"#, json!({"koreEvaluationScore": {}}), FaultKind::NotAScalar),
    ];
    check(&cases, |c| show(c.evaluation_score));
    let cases = [
        fine(r#""Fatal Errors":"2""#, "2"),
        fine(r#""Fatal Errors":2147483647"#, "2147483647"),
        aside(r#""Fatal Errors":2147483648"#, json!({"Fatal Errors": 2_147_483_648_u32}), FaultKind::OutOfRange),
    ];
    check(&cases, |c| show(c.fatal_error_count));
    let record = with(r#""Fatal Errors":NaN"#);
    let normalised = read(&record);
    assert_eq!(extra(&normalised), json!({"Fatal Errors": "NaN"}));
    assert_eq!(faults(&normalised), [("Fatal Errors", FaultKind::NotANumber), ("$", FaultKind::NonFiniteNumber)]);
}

#[test]
fn booleans() {
    let cases = [
        fine(r#""IsEscalationObserved":"YES""#, "true"),
        fine(r#""IsEscalationObserved":"true""#, "true"),
        fine(r#""IsEscalationObserved":1"#, "true"),
        fine(r#""IsEscalationObserved":1.0"#, "true"),
        fine(r#""IsEscalationObserved":"NO""#, "false"),
        fine(r#""IsEscalationObserved":"false""#, "false"),
        fine(r#""IsEscalationObserved":0"#, "false"),
        fine(r#""IsEscalationObserved":"NA""#, "NULL"),
        aside(r#""IsEscalationObserved":2"#, json!({"IsEscalationObserved": 2}), FaultKind::NotABoolean),
        aside(
            r#""IsEscalationObserved":"perhaps""#,
            json!({"IsEscalationObserved": "perhaps"}),
            FaultKind::NotABoolean,
        ),
    ];
    check(&cases, |c| show(c.is_escalation));
}

#[test]
fn texts() {
    let cases = [
        fine(r#""Taxonomy Resolution":"YES""#, "YES"),
        fine(r#""Taxonomy Resolution":false"#, "false"),
        fine(r#""Taxonomy Resolution":12.50"#, "12.50"),
        fine(r#""Taxonomy Resolution":" kept as sent ""#, " kept as sent "),
        fine(r#""Taxonomy Resolution":"""#, "NULL"),
        fine(r#""Taxonomy Resolution":"null""#, "null"),
        aside(r#""Taxonomy Resolution":["YES"]"#, json!({"Taxonomy Resolution": ["YES"]}), FaultKind::NotAScalar),
    ];
    check(&cases, |c| show(c.taxonomy_resolution.as_deref()));
}

#[test]
fn times() {
    let cases = [
        fine(r#""Conversation End Time":1774261344727"#, "2026-03-23 10:22:24.727 UTC"),
        fine(r#""Conversation End Time":"-""#, "NULL"),
        aside(
            r#""Conversation End Time":"2026-02-30T00:00:00Z""#,
            json!({"Conversation End Time": "2026-02-30T00:00:00Z"}),
            FaultKind::NotATime,
        ),
        aside(
            r#""Conversation End Time":"1969-01-01""#,
            json!({"Conversation End Time": "1969-01-01"}),
            FaultKind::OutOfRange,
        ),
    ];
    check(&cases, |c| show(c.ended_at));
}

#[test]
fn a_pass_means_nothing_without_a_score() {
    let cases = [
        fine(r#""IsPassed":false"#, "NULL"),
        fine(r#""IsPassed":false,"Kore Evaluation Score":"NA""#, "NULL"),
        fine(r#""IsPassed":false,"Kore Evaluation Score":0"#, "false"),
        fine(r#""IsPassed":"YES","Kore Evaluation Score":77"#, "true"),
    ];
    check(&cases, |c| show(c.is_passed));
    let said = with(r#""IsPassed":"YES","Kore Evaluation Score":"NA""#);
    assert_eq!(extra(&read(&said)), json!({"IsPassed": "YES"}), "true says something, and is not lost");
    let wrong = with(r#""IsPassed":[1]"#);
    assert_eq!(faults(&read(&wrong)), [("IsPassed", FaultKind::NotAScalar)]);
}

#[test]
fn nested_objects() {
    let cases = [
        fine(r#""Sentiment Pattern":null"#, "NULL"),
        fine(r#""Sentiment Pattern":"NA""#, "NULL"),
        aside(r#""Sentiment Pattern":"up""#, json!({"Sentiment Pattern": "up"}), FaultKind::NotAnObject),
        aside(r#""Sentiment Pattern":{"end":[]}"#, json!({"Sentiment Pattern.end": []}), FaultKind::NotAScalar),
    ];
    check(&cases, |c| show(c.sentiment_end.as_deref()));
}

#[test]
fn custom_fields_are_kept_as_json() {
    let cases = [
        fine(r#""custom_fields":{"region":"north","n":1}"#, r#"{"region":"north","n":1}"#),
        fine(r#""custom_fields":["a"]"#, r#"["a"]"#),
        fine(r#""custom_fields":"NA""#, "NULL"),
        fine(r#""custom_fields":null"#, "NULL"),
    ];
    check(&cases, |c| show(c.custom_fields.as_deref()));
}

fn agents(contact: &Contact<'_>) -> String {
    let lines: Vec<_> = contact
        .agents
        .iter()
        .map(|a| format!("{} {} {}", a.ordinal, show(a.agent.agent_id.as_deref()), a.is_primary))
        .collect();
    lines.join("; ")
}

#[test]
fn elements_that_cannot_be_a_row_leave_the_others_in_their_place() {
    let cases = [
        fine(r#""Agents":{"agentId":"a"}"#, "1 a true"),
        fine(r#""Agents":null"#, ""),
        fine(r#""Agents":"NA""#, ""),
        fine(r#""Agents":[null,{"agentId":7}]"#, "2 7 true"),
        (
            r#""Agents":[{"agentId":"a"},{"Empathy Score":"x","agentId":"-"},"b",{"agentId":"c"}]"#,
            "1 a true; 4 c false".to_owned(),
            json!({"Agents[1]": {"Empathy Score": "x", "agentId": "-"}, "Agents[2]": "b"}),
            vec![FaultKind::NotARow, FaultKind::NotARow],
        ),
        (
            r#""Agents":[{"agentId":"a","Empathy Score":"x"}]"#,
            "1 a true".to_owned(),
            json!({"Agents[0].Empathy Score": "x"}),
            vec![FaultKind::NotANumber],
        ),
    ];
    check(&cases, agents);
}

#[test]
fn a_metric_needs_an_id_or_a_name() {
    let record =
        with(r#""Metrics":[{"Metric Weight":1,"Odd":1},{"Metric Name":" n "},{"Metric ID":"m"},{"Metric ID":"m"}]"#);
    let normalised = read(&record);
    let ordinals: Vec<_> = normalised.contact.metrics.iter().map(|m| m.ordinal).collect();
    assert_eq!(ordinals, [2, 3, 4]);
    assert_eq!(normalised.contact.metrics[0].metric.metric_name.as_deref(), Some(" n "));
    assert_eq!(extra(&normalised), json!({"Metrics[0]": {"Metric Weight": 1, "Odd": 1}}));
    assert_eq!(faults(&normalised), [("Metrics[]", FaultKind::NotARow)]);
    assert_eq!(unknown(&normalised), []);
}

#[test]
fn qualifications_are_kept_as_sent() {
    for (sent, expected) in [
        (r#""NA""#, Some("NA")),
        (r#""YES""#, Some("YES")),
        (r#""NO""#, Some("NO")),
        (r#""-""#, None),
        (r#""""#, None),
        ("null", None),
    ] {
        let record = with(&format!(r#""Metrics":[{{"Metric ID":"m","Qualification":{sent}}}]"#));
        assert_eq!(read(&record).contact.metrics[0].qualification.as_deref(), expected, "{sent}");
    }
}

fn justifications(contact: &Contact<'_>) -> String {
    let mut lines = Vec::new();
    for j in contact.metrics.iter().flat_map(|m| &m.justifications) {
        let messages: Vec<_> = j
            .messages
            .iter()
            .map(|m| {
                format!("{} {} {}", m.ordinal, show(m.message_id.as_deref()), show(m.message_at.map(|t| t.timestamp())))
            })
            .collect();
        lines.push(format!(
            "{} {} {} [{}]",
            j.kind.as_str(),
            j.ordinal,
            show(j.justification.as_deref()),
            messages.join(", ")
        ));
    }
    lines.join("; ")
}

#[test]
fn justifications_come_in_every_shape() {
    let cases = [
        fine(r#""Metrics":{"Metric ID":"m","justification":"why"}"#, "justification 1 why []"),
        fine(
            r#""Metrics":[{"Metric ID":"m","justification":[],"triggerJustification":{"justification":"t","message_id":"x","timestamp":1774261344727}}]"#,
            "trigger 1 t [1 x 1774261344]",
        ),
        fine(
            r#""Metrics":[{"Metric ID":"m","justification":[null,{"message_id":["x",null,"-"],"timestamp":[null,"1774261344"]}]}]"#,
            "justification 2 NULL [1 x NULL, 2 NULL 1774261344]",
        ),
        (
            r#""Metrics":[{"Metric ID":"m","justification":[["x"],{"timestamp":["soon",1774261344],"message_id":{}}]}]"#,
            "justification 2 NULL [2 NULL 1774261344]".to_owned(),
            json!({
                "Metrics[0].justification[0]": ["x"],
                "Metrics[0].justification[1].message_id[0]": {},
                "Metrics[0].justification[1].timestamp[0]": "soon",
            }),
            vec![FaultKind::NotARow, FaultKind::NotAScalar, FaultKind::NotATime],
        ),
    ];
    check(&cases, justifications);
    let record = with(
        r#""Metrics":[{"Metric ID":"m","justification":[{"sourceSystemValue":5,"agentMentionedValue":"six","AgentEntity":"n"}]}]"#,
    );
    let contact = read(&record).contact;
    let entry = &contact.metrics[0].justifications[0];
    let by_value = [&entry.source_system_value, &entry.agent_mentioned_value, &entry.agent_entity];
    assert_eq!(by_value.map(|v| v.as_deref()), [Some("5"), Some("six"), Some("n")]);
}

#[test]
fn emotions_come_as_labels_and_as_objects() {
    let cases = [
        fine(r#""Emotions":"Happy""#, "contact 1 happy NULL"),
        fine(
            r#""Emotions":[" HAPPY ","NA",{"emotion":"Calm","proportion":"12.5"}]"#,
            "contact 1 happy NULL; contact 3 calm 12.5",
        ),
        fine(r#""Customer emotions":["Énervé"]"#, "customer 1 énervé NULL"),
        fine(r#""Agent emotions":{"emotion":"Calm","duration":"5 ms"}"#, "agent 1 calm NULL"),
        (
            r#""Agent emotions":[{"emotion":null,"proportion":5},{"emotion":"ok"},[]]"#,
            "agent 2 ok NULL".to_owned(),
            json!({"Agent emotions[0]": {"emotion": null, "proportion": 5}, "Agent emotions[2]": []}),
            vec![FaultKind::NotARow, FaultKind::NotAScalar],
        ),
    ];
    check(&cases, |c| {
        let line = |e: &crate::domain::rows::ContactEmotion<'_>| {
            format!("{} {} {} {}", e.speaker.as_str(), e.ordinal, e.emotion, show(e.proportion_pct))
        };
        c.emotions.iter().map(line).collect::<Vec<_>>().join("; ")
    });
}

#[test]
fn speaking_rates_are_read_whole() {
    let record = with(
        r#""speechSpeed":[{"nWords":12,"timeTaken":4.5,"average":160.2,"score":3,"source":"agent","sourceId":"u-1","messageId":"ms-1","msg_timestamp":1774261344727,"start":1500}]"#,
    );
    let normalised = read(&record);
    let rate = &normalised.contact.speaking_rates[0];
    assert_eq!((rate.ordinal, rate.word_count, rate.start_offset_ms), (1, Some(12), Some(1500)));
    let numbers = [rate.time_taken_seconds, rate.words_per_minute, rate.score];
    assert_eq!(numbers, ["4.5", "160.2", "3"].map(|t| Some(decimal(t))));
    let texts = [&rate.speaker, &rate.source_id, &rate.message_id].map(|t| t.as_deref());
    assert_eq!(texts, [Some("agent"), Some("u-1"), Some("ms-1")]);
    assert_eq!(rate.message_at, Some(at("2026-03-23T10:22:24.727Z")));
    assert_eq!(normalised.contact.extra, None);
}

#[test]
fn intents_keep_their_words() {
    let cases = [
        fine(r#""Intents":[{"topic":"Flights","keywords":"fly"}]"#, "1 NULL Flights None fly@1"),
        fine(
            r#""Generated Intents":[{"intent":"i","emotions":[],"keywords":["a","-",5]}]"#,
            "1 i NULL Some([]) a@1,5@3",
        ),
        fine(r#""Generated Intents":[{"intent":"i","emotions":"Happy"}]"#, "1 i NULL Some([\"Happy\"]) "),
        (
            r#""Topics":[5,{"intent":"i","keywords":[{"k":1},"b"]}]"#,
            "2 i NULL None b@2".to_owned(),
            json!({"Topics[0]": 5, "Topics[1].keywords[0]": {"k": 1}}),
            vec![FaultKind::NotARow, FaultKind::NotAScalar],
        ),
    ];
    check(&cases, |c| {
        let line = |i: &crate::domain::rows::GeneratedIntent<'_>| {
            let keywords: Vec<_> = i.keywords.iter().map(|k| format!("{}@{}", k.keyword, k.ordinal)).collect();
            let (intent, topic) = (show(i.intent.as_deref()), show(i.topic.as_deref()));
            format!("{} {intent} {topic} {:?} {}", i.ordinal, i.emotions, keywords.join(","))
        };
        c.intents.iter().map(line).collect::<Vec<_>>().join("; ")
    });
}

#[test]
fn topics_take_their_level_from_their_place() {
    let cases = [
        fine(
            r#""Configured_Intents":{"topics":{"topic_name":"a","level":"L1","L2_topics":{"topic_name":"b","level":2}}}"#,
            "1 under None: a -; 2 under Some(1): a > b -",
        ),
        fine(r#""Configured_Intents":{"topics":null,"total_topics_identified":0}"#, ""),
        (
            r#""Configured_Intents":{"topics":[{"topic_name":"a","level":"L2"}]}"#,
            "1 under None: a -".to_owned(),
            json!({"Configured_Intents.topics[0].level": "L2"}),
            vec![FaultKind::OtherLevel],
        ),
        (
            r#""Configured_Intents":{"topics":[{"level":"L1","L2_topics":[{"topic_name":"lost"}]},{"topic_name":"a","confidence_score":"0.5"}]}"#,
            "2 under None: a 0.5".to_owned(),
            json!({"Configured_Intents.topics[0]": {"level": "L1", "L2_topics": [{"topic_name": "lost"}]}}),
            vec![FaultKind::NotARow],
        ),
    ];
    check(&cases, |c| c.topics.iter().map(topic_line).collect::<Vec<_>>().join("; "));
    let record = with(
        r#""Configured_Intents":{"topics":[{"topic_name":"a","sentiment":-3,"resolution":"YES","L3_topics":[1],"L2_topics":[{"topic_name":"b","resolution":0}]}]}"#,
    );
    let normalised = read(&record);
    let resolved: Vec<_> = normalised.contact.topics.iter().map(|t| (t.sentiment_score, t.is_resolved)).collect();
    assert_eq!(resolved, [(Some(decimal("-3")), Some(true)), (None, Some(false))]);
    assert_eq!(unknown(&normalised), [("Configured_Intents.topics[].L3_topics", "array")]);
    assert_eq!(extra(&normalised), json!({"Configured_Intents.topics[0].L3_topics": [1]}));
}

#[test]
fn unknown_fields_are_kept_and_told_once_a_path() {
    let record = with(
        r#""conversationid":"x","New":{"a":[1]},"Agents":[{"agentId":"a","Shift":1},{"agentId":"b","Shift":2}],"agentRecordings":["u"],"is_direction_defaulted":true"#,
    );
    let normalised = read(&record);
    assert_eq!(unknown(&normalised), [("Agents[].Shift", "number"), ("New", "object"), ("conversationid", "string")]);
    assert_eq!(
        extra(&normalised),
        json!({
            "conversationid": "x", "New": {"a": [1]}, "Agents[0].Shift": 1, "Agents[1].Shift": 2, "agentRecordings": ["u"],
            "is_direction_defaulted": true,
        })
    );
    assert_eq!(faults(&normalised), []);
}

#[test]
fn what_is_told_of_unknown_fields_is_bounded_and_what_is_kept_is_not() {
    let key = "é".repeat(600);
    let members: Vec<_> = (100..300).map(|n| format!(r#""{n}{key}":{n}"#)).collect();
    let record = with(&members.join(","));
    let normalised = read(&record);
    assert_eq!(normalised.unknown.len(), 100);
    assert!(normalised.unknown.iter().all(|field| field.path.len() <= 500));
    assert_eq!(extra(&normalised).as_object().map(serde_json::Map::len), Some(200));
}

#[test]
fn a_topics_score_is_taken_where_its_sentiment_is_a_word() {
    let record = with(
        r#""Configured_Intents":{"topics":[{"topic_name":"a","sentiment":"positive","Sentiment Score":9},{"topic_name":"b","sentiment":3,"Sentiment Score":9}]}"#,
    );
    let normalised = read(&record);
    let scores: Vec<_> = normalised.contact.topics.iter().map(|t| t.sentiment_score).collect();
    assert_eq!(scores, [Some(decimal("9")), Some(decimal("3"))]);
    assert_eq!(
        extra(&normalised),
        json!({"Configured_Intents.topics[0].sentiment": "positive", "Configured_Intents.topics[1].Sentiment Score": 9})
    );
}

#[test]
fn of_a_key_that_stands_twice_the_last_wins_and_none_is_lost() {
    let record = with(r#""Language":"one","Language":"two","Language":"three""#);
    let normalised = read(&record);
    assert_eq!(normalised.contact.language.as_deref(), Some("three"));
    assert_eq!(extra(&normalised), json!({"Language": "one", "Language (2)": "two"}));
}

#[test]
fn dirt_is_cleaned_and_counted() {
    use FaultKind::{InvalidUtf8, LoneSurrogate, NulCharacter};
    let raw = b"{\"Conversation ID\":\"c\\u0000-1\",\"Conversation Start Time\":1774261344727,\"Language\":\"\\ud800\",\"src\":\"\xff\",\"N\\u0000ew\":\"a\\u0000b\"}";
    let normalised = normalise(raw).expect("a contact");
    assert_eq!(normalised.contact.conversation_id, "c-1");
    assert_eq!(normalised.contact.language.as_deref(), Some("\u{fffd}"));
    assert_eq!(extra(&normalised), json!({"New": "ab"}));
    let kinds: Vec<_> = normalised.faults.iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [NulCharacter, NulCharacter, NulCharacter, LoneSurrogate, InvalidUtf8]);
}

#[test]
fn a_list_longer_than_the_ordinals_leaves_its_rest_aside() {
    let record = with(&format!(r#""Emotions":[{}"x"]"#, "\"calm\",".repeat(32_768)));
    let normalised = read(&record);
    assert_eq!(normalised.contact.emotions.len(), 32_767);
    assert_eq!(normalised.contact.emotions.last().map(|e| e.ordinal), Some(i16::MAX));
    assert_eq!(extra(&normalised), json!({"Emotions[32767]": "calm", "Emotions[32768]": "x"}));
    assert_eq!(faults(&normalised), [("Emotions[]", FaultKind::TooMany); 2]);
}

#[test]
fn a_text_too_long_for_a_key_is_set_aside() {
    let long = "x".repeat(801);
    let record = with(&format!(r#""Queues":[{{"Queue ID":"q","Queue Name":"{long}"}}],"Emotions":["{long}"]"#));
    let normalised = read(&record);
    assert_eq!(normalised.contact.queues[0].queue.queue_name, None);
    assert_eq!(extra(&normalised), json!({"Queues[0].Queue Name": long, "Emotions[0]": long}));
    assert_eq!(normalised.faults.iter().map(|f| f.kind).collect::<Vec<_>>(), [FaultKind::TooLong; 2]);
}
