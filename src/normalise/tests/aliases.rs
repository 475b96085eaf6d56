//! Every accepted spelling of every key lands where the documented one does.

use super::super::fields::*;
use super::*;

/// A key's accepted spellings and a value that its column can hold.
type Case = (&'static [&'static str], String);

fn case<F: Fields>(field: F, value: &str) -> Case {
    (field.spellings(), value.to_owned())
}

/// Each spelling gives the same contact, which is not the one without the field; of two the one
/// listed first wins, whatever their order, and the other goes to `extra`.
fn check(cases: &[Case], other: &str, place: impl Fn(&str) -> String) {
    for (spellings, value) in cases {
        let record = |key: &str, value: &str| place(&format!("\"{key}\":{value}"));
        let documented = record(spellings[0], value);
        let documented = read(&documented);
        assert_ne!(documented.contact, read(&place("\"unrelated\":null")).contact, "{spellings:?} has no effect");
        for (i, spelling) in spellings.iter().enumerate() {
            let record = record(spelling, value);
            let normalised = read(&record);
            assert_eq!(normalised.contact, documented.contact, "{spelling}");
            assert_eq!((faults(&normalised), unknown(&normalised)), (vec![], vec![]), "{spelling}");
            let Some(next) = spellings.get(i + 1) else { continue };
            for members in [
                format!("\"{spelling}\":{value},\"{next}\":{other}"),
                format!("\"{next}\":{other},\"{spelling}\":{value}"),
            ] {
                let record = place(&members);
                let mut both = read(&record);
                let extra = extra(&both);
                let (path, loser) = extra.as_object().expect("an object").iter().next().expect("the loser");
                assert!(path.ends_with(next), "{path} is not {next}");
                assert_eq!(*loser, serde_json::from_str::<serde_json::Value>(other).expect("JSON"));
                both.contact.extra = None;
                assert_eq!(both.contact, documented.contact, "{members}");
                assert_eq!((faults(&both), unknown(&both)), (vec![], vec![]), "{members}");
            }
        }
        let mixed: String =
            spellings[0].chars().map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c }).collect();
        let record = place(&format!("\"{mixed}\":{value}"));
        assert_eq!(unknown(&read(&record)).len(), 1, "{mixed} is another key");
    }
}

fn number<F: Fields>(field: F) -> Case {
    case(field, "12")
}

fn text<F: Fields>(field: F) -> Case {
    case(field, r#""some text""#)
}

#[test]
fn of_a_record() {
    use ContactField as F;
    let cases: Vec<Case> = F::ALL
        .iter()
        .filter(|field| !matches!(field, F::ConversationId | F::StartTime | F::Source | F::IsPassed))
        .map(|field| {
            let value = match field {
                F::EndTime | F::AuditDate => r#""2026-03-23T11:00:00Z""#,
                F::Duration
                | F::SentimentScore
                | F::EvaluationScore
                | F::PassScore
                | F::FatalErrors
                | F::CustomerTalk
                | F::AgentTalk
                | F::Silence
                | F::AuditScore => "12",
                F::SentimentPattern => r#"{"start":"neutral"}"#,
                F::SentimentRatio => r#"{"positive":50}"#,
                F::IsChurnRisk | F::IsEscalation => "true",
                F::CustomFields => r#"{"region":"north"}"#,
                F::Agents => r#"[{"agentId":"a-1"}]"#,
                F::Queues => r#"[{"Queue ID":"q-1"}]"#,
                F::Metrics => r#"[{"Metric ID":"m-1"}]"#,
                F::Emotions | F::CustomerEmotions | F::AgentEmotions => r#"["Happy"]"#,
                F::SpeakingRate => r#"[{"score":1}]"#,
                F::GeneratedIntents => r#"[{"intent":"Book"}]"#,
                F::ConfiguredIntents => r#"{"topics":[{"topic_name":"Orders"}]}"#,
                _ => r#""some text""#,
            };
            case(*field, value)
        })
        .collect();
    check(&cases, "\"other\"", with);
    check(&[case(F::IsPassed, "true")], "false", |member| with(&format!("\"Kore Evaluation Score\":77,{member}")));
    check(&[case(F::ConversationId, "\"c-1\"")], "\"c-2\"", |member| {
        let fallback = if F::ALL
            .iter()
            .any(|f| f.spellings().iter().any(|s| *f == F::ConversationId && member.contains(&format!("\"{s}\""))))
        {
            ""
        } else {
            r#","Conversation ID":"fallback""#
        };
        format!(r#"{{"Conversation Start Time":"2026-03-23T10:00:00Z",{member}{fallback}}}"#)
    });
    check(&[case(F::StartTime, "\"2026-03-23T10:00:00Z\"")], "\"2026-03-24\"", |member| {
        let fallback = if F::StartTime.spellings().iter().any(|s| member.contains(&format!("\"{s}\""))) {
            ""
        } else {
            r#","Conversation Start Time":"2026-03-25""#
        };
        format!(r#"{{"Conversation ID":"c-1",{member}{fallback}}}"#)
    });
}

#[test]
fn of_nested_objects() {
    let under = |key: &'static str| move |member: &str| with(&format!("\"{key}\":{{{member}}}"));
    check(&PatternField::ALL.iter().map(|f| text(*f)).collect::<Vec<_>>(), "\"o\"", under("Sentiment Pattern"));
    check(&RatioField::ALL.iter().map(|f| number(*f)).collect::<Vec<_>>(), "\"o\"", under("Sentiment Ratio"));
    check(
        &[case(ConfiguredField::Topics, r#"[{"topic_name":"Orders"}]"#), number(ConfiguredField::Total)],
        "\"o\"",
        under("Configured_Intents"),
    );
}

#[test]
fn of_agents_and_queues() {
    use AgentField as A;
    let agents = |member: &str| with(&format!("\"Agents\":[{{\"agentId\":\"a-1\",{member}}}]"));
    let cases = [
        text(A::Name),
        text(A::Email),
        case(A::StartTime, "1774261344727"),
        number(A::CrutchWordScore),
        number(A::EmpathyScore),
    ];
    check(&cases, "\"o\"", agents);
    check(&[text(A::Id)], "\"o\"", |member| with(&format!("\"Agents\":[{{\"Agent Name\":\"a\",{member}}}]")));
    check(&[text(QueueField::Id)], "\"o\"", |member| with(&format!("\"Queues\":[{{\"Queue Name\":\"q\",{member}}}]")));
    check(&[text(QueueField::Name)], "\"o\"", |member| with(&format!("\"Queues\":[{{\"Queue ID\":\"q\",{member}}}]")));
}

#[test]
fn of_metrics_and_justifications() {
    use JustificationField as J;
    use MetricField as M;
    let cases = [
        text(M::Name),
        number(M::Weight),
        number(M::NegativeWeight),
        case(M::Qualification, "\"NA\""),
        case(M::IsFatalError, "true"),
        text(M::AuditorResponse),
        case(M::Justification, "[\"because\"]"),
        case(M::TriggerJustification, "[\"because\"]"),
    ];
    check(&cases, "\"o\"", |member| with(&format!("\"Metrics\":[{{\"Metric ID\":\"m\",{member}}}]")));
    check(&[text(M::Id)], "\"o\"", |member| with(&format!("\"Metrics\":[{{\"Metric Name\":\"m\",{member}}}]")));
    let cases = [
        text(J::Justification),
        case(J::MessageId, "[\"ms-1\"]"),
        case(J::Timestamp, "[1774261344727]"),
        text(J::SourceSystemValue),
        text(J::AgentMentionedValue),
        text(J::AgentEntity),
    ];
    check(&cases, "\"o\"", |member| {
        with(&format!("\"Metrics\":[{{\"Metric ID\":\"m\",\"triggerJustification\":[{{{member}}}]}}]"))
    });
}

#[test]
fn of_emotions_rates_intents_and_topics() {
    use {EmotionField as E, IntentField as I, RateField as R, TopicField as T};
    for list in ["Emotions", "Customer emotions", "Agent emotions"] {
        let emotions = move |member: &str| with(&format!("\"{list}\":[{{{member},\"emotion\":\"calm\"}}]"));
        check(&[number(E::Duration), number(E::Proportion)], "\"o\"", emotions);
    }
    let cases = [
        text(R::Source),
        text(R::SourceId),
        text(R::MessageId),
        case(R::Timestamp, "1774261344727"),
        number(R::Start),
        number(R::WordCount),
        number(R::TimeTaken),
        number(R::Average),
        number(R::Score),
    ];
    check(&cases, "\"o\"", |member| with(&format!("\"Speaking Rate\":[{{{member}}}]")));
    let cases = [
        text(I::Intent),
        text(I::Topic),
        text(I::Sentiment),
        number(I::SentimentScore),
        case(I::Emotions, "[\"Happy\"]"),
        case(I::Keywords, "[\"flight\"]"),
    ];
    check(&cases, "\"o\"", |member| with(&format!("\"Generated Intents\":[{{{member}}}]")));
    let cases = [
        number(T::Confidence),
        number(T::Sentiment),
        number(T::SentimentScore),
        case(T::Resolution, "1"),
        case(T::SecondLevel, r#"[{"topic_name":"second"}]"#),
    ];
    check(&cases, "\"o\"", |member| {
        with(&format!(r#""Configured_Intents":{{"topics":[{{"topic_name":"first",{member}}}]}}"#))
    });
    check(&[case(T::ThirdLevel, r#"[{"topic_name":"third"}]"#)], "\"o\"", |member| {
        with(&format!(
            r#""Configured_Intents":{{"topics":[{{"topic_name":"first","L2_topics":[{{"topic_name":"second",{member}}}]}}]}}"#
        ))
    });
}
