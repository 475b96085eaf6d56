//! What a text looks like, without what it says: an example that holds no personal data.

use crate::json::Value;

/// Characters of a shape; what follows is cut off.
const LONGEST: usize = 24;
/// Kept as they are: they part the pieces of ids, dates, addresses and lists.
const SEPARATORS: &str = " -_.,:;/@#+()";

/// The class of a string's length and its shape, as `1-8: aaa-999`; `None` for what is no string.
///
/// Letters become `a` or `A`, digits `9`, separators stay, anything else is `*`.
pub(super) fn shape(value: &Value<'_>) -> Option<String> {
    let Value::String(text) = value else { return None };
    let class = match text.chars().count() {
        0 => return Some("0:".to_owned()),
        1..=8 => "1-8",
        9..=32 => "9-32",
        33..=128 => "33-128",
        _ => "129-",
    };
    let shown: String = text.chars().take(LONGEST).map(sign).collect();
    let rest = if text.chars().nth(LONGEST).is_some() { "…" } else { "" };
    Some(format!("{class}: {shown}{rest}"))
}

fn sign(character: char) -> char {
    match character {
        c if c.is_uppercase() => 'A',
        c if c.is_alphabetic() => 'a',
        c if c.is_numeric() => '9',
        c if SEPARATORS.contains(c) => c,
        _ => '*',
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> String {
        shape(&Value::String(text.into())).expect("a shape")
    }

    #[test]
    fn a_text_is_shown_by_its_length_and_shape_alone() {
        for (text, shown) in [
            ("", "0:"),
            ("abc-123", "1-8: aaa-999"),
            ("Zoë Ødegård", "9-32: Aaa Aaaaaaa"),
            ("هدى ٣", "1-8: aaa 9"),
            ("jane@example.org", "9-32: aaaa@aaaaaaa.aaa"),
            ("1\u{1b}😀", "1-8: 9**"),
        ] {
            assert_eq!(of(text), shown);
        }
        assert_eq!(of(&"x".repeat(129)), format!("129-: {}…", "a".repeat(24)));
        assert_eq!(shape(&Value::Number("5")), None);
    }

    proptest! {
        #[test]
        fn no_text_shows_through(text in any::<String>()) {
            let shown = of(&text);
            let signs = shown.split_once(':').map_or("", |(_, signs)| signs);
            prop_assert!(signs.chars().all(|c| matches!(c, 'a' | 'A' | '9' | '*' | '…') || SEPARATORS.contains(c)), "{shown}");
            prop_assert!(shown.chars().count() <= 34);
        }
    }
}
