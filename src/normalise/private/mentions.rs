//! Where a text mentions somebody.

use std::sync::Arc;

/// Characters of a value that is looked for in the midst of texts; shorter ones are too often something else.
const SHORTEST: usize = 5;
/// Digits of a number that is somebody's and not a measure.
const DIGITS: usize = 8;

/// Whether a text can be somebody's id, address or name, wherever it stands.
pub(super) fn is_telling(text: &str) -> bool {
    text.chars().filter(|c| !c.is_whitespace()).count() >= SHORTEST
        && (text.chars().any(char::is_alphabetic) || text.chars().filter(char::is_ascii_digit).count() >= DIGITS)
}

fn fold(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// Values, and what takes their place.
#[derive(Debug, Clone, Default)]
pub(super) struct Mentions(Arc<Vec<(Vec<char>, String)>>);

impl Mentions {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, value: &str, replacement: &str) {
        let value = value.trim();
        if !is_telling(value) || crate::domain::privacy::is_hashed(value) {
            return;
        }
        let folded: Vec<char> = value.chars().map(fold).collect();
        if self.0.iter().any(|(known, _)| *known == folded) {
            return;
        }
        let values = Arc::make_mut(&mut self.0);
        values.push((folded, replacement.to_owned()));
        // A full name before a part of it.
        values.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    }

    /// The text with each mention replaced, whatever its letter case; `None` where there is none. A mention is
    /// a whole word or several.
    pub(super) fn replace(&self, text: &str) -> Option<String> {
        if self.0.is_empty() || text.len() < SHORTEST {
            return None;
        }
        let mut replaced: Option<String> = None;
        for (value, replacement) in self.0.iter() {
            let current = replaced.as_deref().unwrap_or(text);
            replaced = replace_words(current, value, replacement).or(replaced);
        }
        replaced
    }
}

fn replace_words(text: &str, value: &[char], replacement: &str) -> Option<String> {
    let first = *value.first()?;
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let is_word = |at: Option<&(usize, char)>| at.is_some_and(|(_, c)| c.is_alphanumeric());
    let (mut out, mut written, mut at) = (String::new(), 0, 0);
    while at + value.len() <= chars.len() {
        let end = at + value.len();
        let is_here = fold(chars[at].1) == first
            && chars[at..end].iter().zip(value).all(|((_, c), wanted)| fold(*c) == *wanted)
            && !(at > 0 && is_word(chars.get(at - 1)) && is_word(chars.get(at)))
            && !(is_word(chars.get(end)) && is_word(chars.get(end - 1)));
        if is_here {
            out.push_str(&text[written..chars[at].0]);
            out.push_str(replacement);
            written = chars.get(end).map_or(text.len(), |(byte, _)| *byte);
            at = end;
        } else {
            at += 1;
        }
    }
    (written > 0).then(|| out + &text[written..])
}

/// The texts between quotation marks in what is no JSON, escapes undone; and the whole, where there are none.
pub(super) fn quoted(raw: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(raw);
    let mut texts = Vec::new();
    let mut rest = text.chars();
    let mut current = String::new();
    while let Some(c) = rest.next() {
        match c {
            '"' => texts.push(std::mem::take(&mut current)),
            '\\' => match rest.next() {
                Some('u') => {
                    let digits: String = rest.clone().take(4).collect();
                    if let Some(c) = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32) {
                        current.push(c);
                        rest.by_ref().take(4).for_each(drop);
                    }
                }
                Some('n' | 'r' | 't') => current.push(' '),
                Some(other) => current.push(other),
                None => {}
            },
            other => current.push(other),
        }
    }
    texts.push(current);
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mention_is_whole_words_in_any_letter_case() {
        let mut mentions = Mentions::default();
        mentions.add("Jane Doe", "[x]");
        mentions.add("jane@example.org", "[y]");
        for (text, expected) in [
            ("jane doe, hello", Some("[x], hello")),
            ("JANE DOE", Some("[x]")),
            ("Jane Doe's and Jane Doe", Some("[x]'s and [x]")),
            ("to <Jane@Example.org>", Some("to <[y]>")),
            ("Mary-Jane Doering", None),
            ("Jane Doering", None),
            ("Jane", None),
            ("", None),
        ] {
            assert_eq!(mentions.replace(text).as_deref(), expected, "{text}");
        }
        let mut short = Mentions::default();
        for value in ["Ann", "12345", "", "-"] {
            short.add(value, "[x]");
        }
        assert!(short.is_empty(), "too short to be told from anything else");
    }

    #[test]
    fn texts_are_found_in_what_is_no_json() {
        let found = quoted(br#"{"id": "a\u0062c", 'n': "J\"D", "#);
        assert!(found.contains(&"abc".to_owned()) && found.contains(&"J\"D".to_owned()), "{found:?}");
    }
}
