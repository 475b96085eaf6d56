//! What an answer that is no page says, in whatever shape.

use std::borrow::Cow;

use crate::json::{Value, split_page};

/// Of a message of the vendor.
const LONGEST_CHARS: usize = 200;
/// A word longer than this is no word but an id, a token, a blob.
const LONGEST_WORD_CHARS: usize = 40;
/// A complaint is short: more of a body is not searched.
const SEARCHED_BYTES: usize = 64 * 1024;
/// The vendor's sentence: "You've exceeded the per-minute rate limit. Wait for sometime before retrying."
const RATE_LIMIT_WORDS: [&str; 6] = ["exceeded", "the", "per", "minute", "rate", "limit"];

/// What was read from a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) is_rate_limit: bool,
    pub(super) code: Option<i64>,
    /// Fit to be shown.
    pub(super) message: Option<String>,
    /// In a few words: what the body is, if it is no page.
    pub(super) what: Cow<'static, str>,
}

impl Complaint {
    /// Reads the body of an answer. In one that claims success, records are not searched: a
    /// conversation may be about a rate limit.
    pub(super) fn read(body: &[u8], is_success: bool) -> Self {
        match split_page(body) {
            Ok(page) => {
                let members = Value::Object(page.members);
                let source = source_of(&members);
                Self {
                    is_rate_limit: strings_mention_rate_limit(&members),
                    code: source.and_then(code_of),
                    message: source.and_then(message_of).and_then(clean),
                    what: match (page.records.is_some(), has_errors(&members)) {
                        (_, true) => "errors".into(),
                        (false, false) => "JSON without a list of results".into(),
                        (true, false) => "a page".into(),
                    },
                }
            }
            Err(error) => {
                let start = body.get(..SEARCHED_BYTES).unwrap_or(body);
                let text = String::from_utf8_lossy(start);
                let head = text.trim_start_matches('\u{feff}').trim_start();
                let is_html = head.starts_with('<');
                let is_part_of_a_page = is_success && text.contains("\"results\"");
                let is_empty = head.is_empty();
                Self {
                    is_rate_limit: !is_part_of_a_page && mentions_rate_limit(&text),
                    code: None,
                    // Of a success only what it is may be told: it may hold records.
                    message: if is_success || is_html || is_empty { None } else { clean(head) },
                    what: if is_html {
                        "an HTML page, perhaps of a proxy".into()
                    } else if is_empty {
                        "an empty body".into()
                    } else {
                        format!("{} bytes that are no whole page: {error}", body.len()).into()
                    },
                }
            }
        }
    }
}

/// Whether a page carries errors beside its results.
pub(super) fn has_errors(page: &Value<'_>) -> bool {
    match page.get("errors") {
        Some(Value::Array(errors)) => !errors.is_empty(),
        Some(Value::Object(errors)) => !errors.is_empty(),
        Some(Value::String(error)) => !error.trim().is_empty(),
        _ => false,
    }
}

/// The value that describes the first error: `errors[0]`, `errors`, `error`, or the object itself.
fn source_of<'v, 'a>(body: &'v Value<'a>) -> Option<&'v Value<'a>> {
    let named = body.get("errors").or_else(|| body.get("error"));
    match named {
        Some(Value::Array(errors)) => errors.first(),
        Some(error @ (Value::Object(_) | Value::String(_))) => Some(error),
        _ => Some(body),
    }
}

fn code_of(source: &Value<'_>) -> Option<i64> {
    let code = ["code", "errorCode", "statusCode"].iter().find_map(|key| source.get(key))?;
    code.as_number().or_else(|| code.as_str()).and_then(|text| text.trim().parse().ok())
}

fn message_of<'v>(source: &'v Value<'_>) -> Option<&'v str> {
    source.as_str().or_else(|| ["msg", "message", "detail", "error"].iter().find_map(|key| source.get(key)?.as_str()))
}

fn strings_mention_rate_limit(value: &Value<'_>) -> bool {
    match value {
        Value::String(text) => mentions_rate_limit(text),
        Value::Array(elements) => elements.iter().any(strings_mention_rate_limit),
        Value::Object(members) => members.iter().any(|(_, value)| strings_mention_rate_limit(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Compares words alone, so that case, line breaks and punctuation do not matter.
fn mentions_rate_limit(text: &str) -> bool {
    let mut matched = 0;
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if word.eq_ignore_ascii_case(RATE_LIMIT_WORDS[matched]) {
            matched += 1;
        } else {
            // No word of the sentence stands in it twice, so a match can only begin anew here.
            matched = usize::from(word.eq_ignore_ascii_case(RATE_LIMIT_WORDS[0]));
        }
        if matched == RATE_LIMIT_WORDS.len() {
            return true;
        }
    }
    false
}

/// A message without line breaks, control characters, addresses and what may be a secret.
fn clean(message: &str) -> Option<String> {
    let mut text = String::new();
    for word in message.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !text.is_empty() {
            text.push(' ');
        }
        let is_private = word.contains('@') || word.contains("://") || word.chars().nth(LONGEST_WORD_CHARS).is_some();
        text.push_str(if is_private { "[…]" } else { word });
    }
    if text.chars().nth(LONGEST_CHARS).is_some() {
        text = text.chars().take(LONGEST_CHARS - 1).chain(['…']).collect();
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_error_body_is_read() {
        for (body, code, message) in [
            (
                r#"{"errors":[{"msg":"Invalid SDK credentials","code":4002}]}"#,
                Some(4002),
                Some("Invalid SDK credentials"),
            ),
            (r#"{"errors":[{"message":"no","code":"400"}]}"#, Some(400), Some("no")),
            (r#"{"errors":["no"]}"#, None, Some("no")),
            (r#"{"error":{"detail":"no"}}"#, None, Some("no")),
            (r#"{"error":"no","code":7}"#, None, Some("no")),
            (r#"{"message":"no","code":7}"#, Some(7), Some("no")),
            ("no  such\r\nthing", None, Some("no such thing")),
            ("<html>no</html>", None, None),
            ("", None, None),
            ("{}", None, None),
        ] {
            let complaint = Complaint::read(body.as_bytes(), false);
            assert_eq!((complaint.code, complaint.message.as_deref()), (code, message), "{body}");
        }
    }

    #[test]
    fn a_message_is_cut_and_loses_what_may_be_private() {
        let message = format!("see https://x.y/z or ask me@x.org about {} \u{7}now", "e".repeat(60));
        assert_eq!(clean(&message).as_deref(), Some("see […] or ask […] about […] now"));
        let long = clean(&"é a ".repeat(200)).expect("a message");
        assert_eq!(long.chars().count(), LONGEST_CHARS);
    }

    #[test]
    fn the_rate_limit_is_known_by_its_words_alone() {
        for text in [
            "You've exceeded the per-minute rate limit. Wait for sometime before retrying.",
            "YOU'VE EXCEEDED THE\n  PER-MINUTE RATE LIMIT",
            "exceeded exceeded the per minute rate limit",
        ] {
            assert!(mentions_rate_limit(text), "{text}");
        }
        assert!(!mentions_rate_limit("exceeded the per-minute limit; the rate limit"));
    }

    #[test]
    fn a_conversation_about_rate_limits_is_no_rate_limit() {
        let text = "You've exceeded the per-minute rate limit.";
        let page = format!(r#"{{"results":[{{"note":"{text}"}}],"totalResults":1}}"#);
        assert!(!Complaint::read(page.as_bytes(), true).is_rate_limit);
        let cut = &page.as_bytes()[..page.len() - 4];
        assert!(!Complaint::read(cut, true).is_rate_limit);
        assert!(Complaint::read(text.as_bytes(), true).is_rate_limit);
    }
}
