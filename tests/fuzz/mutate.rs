//! Records of the corpus with something changed: their structure, their values or their bytes.

use crate::choices::Choices;
use crate::corpus::{Base, Corpus, Spot};

/// Values of every type, at their edges and beyond.
const VALUES: [&str; 44] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "-0",
    "77.0",
    "-1e3",
    "0.0001e+4",
    "NaN",
    "-Infinity",
    "1e999",
    "1e-400",
    "1e2147483648",
    "123456789012345678",
    "1234567890123456789",
    "9223372036854775808",
    "-9223372036854775809",
    "1774261344727",
    "1774261344",
    "99999999999",
    "100000000000",
    "2147483648",
    "+5",
    ".5",
    "5.",
    "007",
    "\"\"",
    "\"NA\"",
    "\" - \"",
    "\"YES\"",
    "\"no\"",
    "\"66.67\"",
    "\"21216 milliseconds\"",
    "\"2026-03-23T10:18:43.396+05:30\"",
    "\"2026-02-30\"",
    "\"2060-12-31T00:00:00Z\"",
    "\"1999-12-31T23:59:59.999Z\"",
    "[]",
    "{}",
    "[[]]",
    "[null,1,\"a\",{}]",
    "{\"a\":1,\"a\":2}",
    "\"L2\"",
];

/// Keys that mean something somewhere, in several spellings, and some that mean nothing.
const KEYS: [&str; 40] = [
    "Conversation ID",
    "conversationId",
    "conversation_id",
    "Conversation Start Time",
    "conversation_start_time",
    "Conversation End Time",
    "Kore Evaluation Score",
    "koreEvaluationScore",
    "IsPassed",
    "Duration",
    "Agents",
    "agents",
    "agentId",
    "Agent ID",
    "Agent Name",
    "Agent Email",
    "Queues",
    "Metrics",
    "Metric ID",
    "Emotions",
    "Customer emotions",
    "emotion",
    "Speaking Rate",
    "Generated Intents",
    "Topics",
    "Configured_Intents",
    "topics",
    "topic_name",
    "level",
    "L2_topics",
    "L3_topics",
    "justification",
    "message_id",
    "timestamp",
    "custom_fields",
    "Auditor Name",
    "agentRecordings",
    "agent_mail",
    "results",
    "",
];

/// Pieces of strings that readers stumble over, and broken ones.
const PIECES: [&str; 16] = [
    "\\u0000",
    "\\ud800",
    "\\udc00\\ud800",
    "\\ud83d\\ude00",
    "\\u12",
    "\\uZZZZ",
    "\\q",
    "\\",
    "\0",
    "\u{feff}",
    "\u{1}",
    "é",
    "😀",
    "\\\"",
    "\\u0022",
    "hmac:00000000000000000000000000000000",
];

/// Bytes that are thrown in anywhere.
const BYTES: [&[u8]; 14] =
    [b"{", b"}", b"[", b"]", b"\"", b",", b":", b"\\", b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"e", b"-"];

/// How long a record may grow.
const LONGEST_BYTES: usize = 40_000;

/// A record that is near the real ones.
pub fn record(choices: &mut Choices<'_>, corpus: &Corpus) -> Vec<u8> {
    let is_kept = !choices.percent(40);
    let base = if is_kept { choices.below(corpus.kept) } else { choices.below(corpus.bases.len()) };
    let base = &corpus.bases[base];
    let mut text = restructured(choices, base);
    if choices.percent(25) {
        for _ in 0..=choices.below(4) {
            break_bytes(choices, &mut text, corpus);
        }
    }
    text
}

/// A stretch of the text and what takes its place.
type Edit = (std::ops::Range<usize>, String);

fn restructured(choices: &mut Choices<'_>, base: &Base) -> Vec<u8> {
    let mut edits: Vec<Edit> = Vec::new();
    let mut growth = 0;
    for _ in 0..choices.below(6) {
        if base.spots.is_empty() {
            break;
        }
        let spot = choices.pick(&base.spots);
        for edit in edits_at(choices, base, spot) {
            growth += edit.1.len();
            if growth < LONGEST_BYTES {
                edits.push(edit);
            }
        }
    }
    edits.sort_by_key(|(range, _)| range.start);
    let mut out = String::with_capacity(base.text.len() + growth);
    let mut written = 0;
    for (range, with) in edits {
        // Of two that overlap the first is done.
        if range.start >= written {
            out.push_str(&base.text[written..range.start]);
            out.push_str(&with);
            written = range.end;
        }
    }
    out.push_str(&base.text[written..]);
    out.into_bytes()
}

fn edits_at(choices: &mut Choices<'_>, base: &Base, spot: &Spot) -> Vec<Edit> {
    let value = &base.text[spot.value.clone()];
    let replaced = |with: String| vec![(spot.value.clone(), with)];
    match choices.below(14) {
        0 => vec![(spot.whole.clone(), String::new())],
        1 => vec![(spot.start()..spot.start(), base.text[spot.start()..spot.value.end].to_owned() + ",")],
        2 | 3 => match &spot.key {
            Some(key) => vec![(key.clone(), another_key(choices, base))],
            None => replaced(choices.word(&VALUES).to_owned()),
        },
        4 | 5 => replaced(choices.word(&VALUES).to_owned()),
        6 => {
            let other = choices.pick(&base.spots);
            replaced(base.text[other.value.clone()].to_owned())
        }
        7 => {
            let other = choices.pick(&base.spots);
            let mut edits = replaced(base.text[other.value.clone()].to_owned());
            edits.push((other.value.clone(), value.to_owned()));
            edits
        }
        8 => {
            let depth = *choices.pick(&[1, 2, 5, 120, 127, 128, 129, 1_000]);
            let (open, close) = *choices.pick(&[("[", "]"), ("{\"a\":", "}")]);
            replaced(open.repeat(depth) + value + &close.repeat(depth))
        }
        9 => {
            let digits = *choices.pick(&[17, 18, 19, 40, 400]);
            let digit = choices.word(&["9", "0", "1"]);
            let sign = choices.word(&["", "-", "0.", "1e", "1e-"]);
            replaced(format!("{sign}{}", digit.repeat(digits)))
        }
        10 => {
            let piece = choices.word(&PIECES);
            match value.strip_prefix('"') {
                Some(rest) => replaced(format!("\"{piece}{rest}")),
                None => replaced(format!("\"{piece}\"")),
            }
        }
        11 => {
            let key = another_key(choices, base);
            let inserted = format!("{key}:{},", choices.word(&VALUES));
            vec![(spot.start()..spot.start(), inserted)]
        }
        12 => match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(inner) => replaced(inner.to_owned()),
            None => replaced(format!("\"{}\"", value.replace('"', "'"))),
        },
        _ => {
            // A list longer than ordinals count is rare, since it costs the time of a hundred others.
            let times = if choices.below(2_000) == 1_999 { 33_000 } else { *choices.pick(&[1, 2, 10, 101]) };
            let element = if times > 1_000 { "\"x\"" } else { value };
            if element.len() * times > 4 * LONGEST_BYTES {
                return replaced(format!("[{value}]"));
            }
            replaced(format!("[{}{element}]", format!("{element},").repeat(times)))
        }
    }
}

/// One of this record's, a known one, or one made of a known one; with its quotes.
fn another_key(choices: &mut Choices<'_>, base: &Base) -> String {
    match choices.below(4) {
        0 | 1 => format!("\"{}\"", choices.word(&KEYS)),
        2 => {
            let keys = choices.pick(&base.spots).key.clone();
            keys.map_or_else(|| "\"Shift\"".to_owned(), |key| base.text[key].to_owned())
        }
        _ => format!("\"{}{}\"", choices.word(&KEYS), choices.word(&PIECES)),
    }
}

fn break_bytes(choices: &mut Choices<'_>, text: &mut Vec<u8>, corpus: &Corpus) {
    if text.is_empty() {
        return;
    }
    let at = choices.below(text.len());
    let longest = *choices.pick(&[2, 8, 300]);
    let length = choices.below(longest).min(text.len() - at);
    match choices.below(8) {
        0 => text.truncate(at),
        1 => text[at] ^= 1 << choices.below(8),
        2 | 3 => {
            let bytes = *choices.pick(&BYTES);
            text.splice(at..at, bytes.iter().copied());
        }
        4 => drop(text.drain(at..at + length)),
        5 => {
            let piece = text[at..at + length].to_vec();
            text.splice(at..at, piece);
        }
        6 => {
            let other = choices.pick(&corpus.bases).text.as_bytes();
            let from = choices.below(other.len());
            let piece = &other[from..other.len().min(from + length)];
            text.splice(at..at + length, piece.iter().copied());
        }
        _ => text.splice(at..at, choices.word(&PIECES).bytes()).for_each(drop),
    }
}
