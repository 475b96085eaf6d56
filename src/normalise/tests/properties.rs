//! No input makes it panic, and what is cheap agrees with what is thorough.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn agrees(raw: &[u8]) -> Result<(), TestCaseError> {
    let identity = identify(raw);
    match normalise(raw) {
        Ok(normalised) => {
            let contact = &normalised.contact;
            prop_assert_eq!(identity.conversation_id.as_deref(), Some(&*contact.conversation_id));
            prop_assert_eq!(identity.started_at, Some(contact.started_at));
            prop_assert_eq!(identity.ended_at, contact.ended_at);
            prop_assert_eq!(identity.is_evaluated, contact.evaluation_score.is_some());
            prop_assert!(contact.is_passed.is_none() || identity.is_evaluated);
            for text in [&contact.extra, &contact.custom_fields].into_iter().flatten() {
                prop_assert!(!text.contains('\0'));
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "{}", text);
            }
        }
        Err(Rejected { reason: Reason::NoConversationId | Reason::ConversationIdTooLong, .. }) => {
            prop_assert_eq!(identity.conversation_id, None);
        }
        Err(Rejected { reason: Reason::NoStartTime | Reason::StartNotATime | Reason::StartOutOfRange, .. }) => {
            prop_assert_eq!(identity.started_at, None);
        }
        Err(Rejected { reason: Reason::NotAnObject, .. }) => prop_assert_eq!(identity, Identity::default()),
        Err(Rejected { reason: Reason::NotJson | Reason::TooLarge, .. }) => {}
    }
    Ok(())
}

const WORDS: [&str; 40] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "77.0",
    "-1e3",
    "NaN",
    "1e999",
    "123456789012345678901",
    "1774261344727",
    "\"\"",
    "\"NA\"",
    "\"-\"",
    "\"YES\"",
    "\"66.67\"",
    "\"21216 ms\"",
    "\"2026-03-23T10:18:43.396Z\"",
    "\"2026-02-30\"",
    "[]",
    "{}",
    "[[]]",
    "[null,1,\"a\",{}]",
    "{\"a\":1}",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"Happy\"",
    "[\"a\",\"b\"]",
    "[{\"agentId\":1},{\"Agent Name\":[]}]",
    "[{\"Metric ID\":\"m\",\"justification\":{\"message_id\":\"x\"}}]",
    "{\"topics\":[{\"topic_name\":\"t\",\"level\":\"L2\",\"L2_topics\":{\"topic_name\":1}}]}",
    "[{\"emotion\":null}]",
    "\"c-1\"",
    "{\"start\":[],\"end\":\"x\"}",
    "[{\"topic_name\":\"\",\"L3_topics\":[]}]",
    "{\"positive\":\"50\"}",
    "\"L1\"",
    "[1774261344727]",
    "[{\"keywords\":\"k\",\"emotions\":[{}]}]",
    "\"0\"",
];

const KEYS: [&str; 34] = [
    "Conversation ID",
    "conversationId",
    "Conversation Start Time",
    "conversation_start_time",
    "Conversation End Time",
    "Kore Evaluation Score",
    "koreEvaluationScore",
    "IsPassed",
    "Duration",
    "Agents",
    "agents",
    "Queues",
    "Metrics",
    "Emotions",
    "Customer emotions",
    "Agent emotions",
    "Speaking Rate",
    "speechSpeed",
    "Generated Intents",
    "Intents",
    "Configured_Intents",
    "Sentiment Pattern",
    "Sentiment Ratio",
    "Fatal Errors",
    "custom_fields",
    "src",
    "Pass Score",
    "Taxonomy Resolution",
    "agentRecordings",
    "Shift",
    "conversationid",
    "IsChurnRiskObserved",
    "Evaluation Form Name",
    "Audit Date",
];

proptest! {
    #[test]
    fn arbitrary_bytes_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        agrees(&bytes)?;
    }

    #[test]
    fn arbitrary_values_under_known_keys_are_harmless(
        members in proptest::collection::vec((select(&KEYS[..]), select(&WORDS[..])), 0..25),
        has_identity in any::<bool>(),
    ) {
        let members: Vec<String> = members.iter().map(|(key, word)| format!("\"{key}\":{word}")).collect();
        let members = members.join(",");
        let record = if has_identity { with(&members) } else { format!("{{{members}}}") };
        agrees(record.as_bytes())?;
    }

    #[test]
    fn mutated_records_are_harmless(
        which in 0..2_usize,
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0..12_usize, "[\\[\\]{}\",:a-zL0-9\\\\\u{0}\u{e9} -]{0,6}"), 1..6),
    ) {
        let mut record = vendor_records()[which].as_bytes().to_vec();
        for (index, length, text) in cuts {
            let start = index.index(record.len());
            let end = (start + length).min(record.len());
            record.splice(start..end, text.bytes());
        }
        agrees(&record)?;
    }

    #[test]
    fn records_with_one_value_replaced_keep_the_rest(which in 0..2_usize, index in any::<prop::sample::Index>(), word in select(&WORDS[..])) {
        // After a colon or inside a list a whole value is replaced, so that the record stays JSON.
        let record = vendor_records()[which];
        let mut spots = Vec::new();
        for (at, _) in record.match_indices("\": ") {
            let start = at + 3;
            for end in start + 1..=record.len().min(start + 400) {
                if record.is_char_boundary(end) && parse(&record.as_bytes()[start..end]).is_ok()
                    && record[end..].starts_with([',', '\n', ' ', ']', '}']) {
                    spots.push(start..end);
                    break;
                }
            }
        }
        let spot = spots[index.index(spots.len())].clone();
        let changed = format!("{}{word}{}", &record[..spot.start], &record[spot.end..]);
        agrees(changed.as_bytes())?;
        let id_or_start = record[..spot.start].ends_with("Conversation ID\": ") || record[..spot.start].ends_with("Conversation Start Time\": ");
        prop_assert!(id_or_start || normalise(changed.as_bytes()).is_ok(), "{}", changed);
    }
}
