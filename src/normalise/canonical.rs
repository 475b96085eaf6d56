//! The canonical form of a record, whose hash tells whether its content changed.
//!
//! It covers everything that was sent and nothing of our mapping: a newer mapper changes no hash.
//! Left out is what means nothing: the order of keys and of some lists, spaces, escapes, and the way
//! a number is written.

use crate::domain::ContentHash;
use crate::json::Value;

/// Lists whose order means nothing, wherever they stand.
fn is_unordered(key: &str) -> bool {
    matches!(
        key,
        "Emotions"
            | "emotions"
            | "Customer emotions"
            | "Customer Emotions"
            | "customerEmotions"
            | "customer_emotions"
            | "Agent emotions"
            | "Agent Emotions"
            | "agentEmotions"
            | "agent_emotions"
            | "Metrics"
            | "metrics"
            | "keywords"
            | "Keywords"
            | "topics"
            | "L2_topics"
            | "L2 Topics"
            | "L2 topics"
            | "L2Topics"
            | "l2Topics"
            | "l2_topics"
            | "L3_topics"
            | "L3 Topics"
            | "L3 topics"
            | "L3Topics"
            | "l3Topics"
            | "l3_topics"
    )
}

pub(super) fn hash(record: &Value<'_>) -> ContentHash {
    let mut form = Vec::with_capacity(4096);
    write(record, false, &mut form);
    ContentHash::of(&form)
}

/// Each value starts with its kind, each text with its length, so that no two values look alike.
fn write(value: &Value<'_>, unordered: bool, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(b'n'),
        Value::Bool(true) => out.push(b't'),
        Value::Bool(false) => out.push(b'f'),
        Value::Number(number) => {
            out.push(b'#');
            write_number(number, out);
            out.push(b';');
        }
        Value::String(text) => {
            out.push(b'"');
            write_text(text, out);
        }
        Value::Array(elements) => {
            out.push(b'[');
            if unordered && elements.len() > 1 {
                write_sorted(elements, out);
            } else {
                for element in elements {
                    write(element, false, out);
                }
            }
            out.push(b']');
        }
        Value::Object(members) => {
            out.push(b'{');
            let mut sorted: Vec<_> = members.iter().collect();
            // Stable: of a key that stands twice the last one counts, so their order means something.
            sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
            for (key, member) in sorted {
                write_text(key, out);
                write(member, is_unordered(key), out);
            }
            out.push(b'}');
        }
    }
}

fn write_sorted(elements: &[Value<'_>], out: &mut Vec<u8>) {
    let mut forms = Vec::new();
    let mut ranges = Vec::with_capacity(elements.len());
    for element in elements {
        let start = forms.len();
        write(element, false, &mut forms);
        ranges.push(start..forms.len());
    }
    ranges.sort_by(|a, b| forms[a.clone()].cmp(&forms[b.clone()]));
    for range in ranges {
        out.extend_from_slice(&forms[range]);
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u64).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Writes a number by its value: sign, digits without zeros at either end, and the power of ten.
fn write_number(number: &str, out: &mut Vec<u8>) {
    let (negative, unsigned) = match number.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let (mantissa, exponent) = match unsigned.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => {
            (&unsigned[..at], std::str::from_utf8(&unsigned[at + 1..]).ok().and_then(|e| e.parse::<i64>().ok()))
        }
        None => (unsigned, Some(0)),
    };
    let is_plain = mantissa.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    let (Some(mut power), true) = (exponent.filter(|e| e.unsigned_abs() < 1 << 32), is_plain) else {
        out.extend_from_slice(number.as_bytes());
        return;
    };
    let start = out.len();
    let (mut seen_point, mut significant) = (false, false);
    if negative {
        out.push(b'-');
    }
    let digits = out.len();
    for byte in mantissa {
        if *byte == b'.' {
            seen_point = true;
            continue;
        }
        power -= i64::from(seen_point);
        significant |= *byte != b'0';
        if significant {
            out.push(*byte);
        }
    }
    if !significant {
        out.truncate(start);
        out.push(b'0');
        return;
    }
    while out.len() > digits && out.last() == Some(&b'0') {
        out.pop();
        power += 1;
    }
    out.push(b'e');
    out.extend_from_slice(&power.to_be_bytes());
}
