//! The fields of a record: their keys in the record's spelling, their values in one of the ways that the vendor writes them.

use super::super::contact::Number;
use super::super::dice::Dice;
use super::super::json_text::JsonText;
use super::super::lifecycle::Malformation;
use super::super::vendor::Manner;
use super::time_text;

/// How the keys that the vendor's page writes with spaces are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    AsDocumented,
    Camel,
    Snake,
}

fn spelt(documented: &str, spelling: Spelling) -> String {
    if !documented.contains(' ') {
        return documented.to_owned();
    }
    let mut spelt = String::with_capacity(documented.len());
    for (place, word) in documented.split(' ').enumerate() {
        match spelling {
            Spelling::AsDocumented => return documented.to_owned(),
            Spelling::Snake => {
                if place > 0 {
                    spelt.push('_');
                }
                spelt.push_str(&word.to_lowercase());
            }
            Spelling::Camel if place == 0 => spelt.push_str(&word.to_lowercase()),
            Spelling::Camel => {
                let mut letters = word.chars();
                spelt.extend(letters.next().into_iter().flat_map(char::to_uppercase));
                spelt.push_str(&letters.as_str().to_lowercase());
            }
        }
    }
    spelt
}

/// A record that is being written.
pub(super) struct Record {
    pub json: JsonText,
    pub dice: Dice,
    spelling: Spelling,
    drifts: bool,
    malformation: Option<Malformation>,
}

/// Runs `fill` with the record whose JSON is inside a new object or list.
macro_rules! nested {
    ($record:expr, $open:literal, $close:literal, $fill:expr) => {{
        $record.json.open($open);
        $fill;
        $record.json.close($close);
    }};
}

pub(super) use nested;

impl Record {
    pub fn new(manner: Manner) -> Self {
        let mut dice = Dice::new(manner.key, &[1]);
        let spelling = match dice.below(10) {
            0 => Spelling::Camel,
            1 => Spelling::Snake,
            _ => Spelling::AsDocumented,
        };
        let mut json = JsonText::default();
        json.escapes_all = dice.percent(10);
        Self { json, dice, spelling, drifts: manner.is_drifted, malformation: manner.malformation }
    }

    pub fn is(&self, malformation: Malformation) -> bool {
        self.malformation == Some(malformation)
    }

    fn drifts_here(&mut self) -> bool {
        self.drifts && self.dice.percent(35)
    }

    pub fn key(&mut self, documented: &str) {
        let key = spelt(documented, self.spelling);
        self.json.key(&key);
    }

    /// One of the ways of saying "not reported", or no key at all.
    pub fn nothing(&mut self, key: &str) {
        let word = *self.dice.pick(&[
            None,
            None,
            None,
            Some("null"),
            Some("null"),
            Some("\"NA\""),
            Some("\"-\""),
            Some("\"\""),
        ]);
        if let Some(word) = word {
            self.key(key);
            self.json.raw(word);
        }
    }

    pub fn text(&mut self, key: &str, value: Option<&str>) {
        let Some(value) = value else { return self.nothing(key) };
        self.key(key);
        // Only digits without a leading zero come back the same from a number.
        let is_digits = !value.starts_with('0') && value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty();
        if is_digits && self.drifts_here() {
            self.json.raw(value);
        } else {
            self.json.quoted(value);
        }
    }

    pub fn number(&mut self, key: &str, value: Option<Number>) {
        let Some(value) = value else { return self.nothing(key) };
        self.key(key);
        let text = value.to_string();
        if self.drifts_here() {
            self.json.quoted(&text);
        } else if self.dice.percent(5) && !text.contains('.') {
            self.json.raw(&(text + ".0"));
        } else {
            self.json.raw(&text);
        }
    }

    pub fn whole(&mut self, key: &str, value: Option<i64>) {
        self.number(key, value.map(Number::whole));
    }

    pub fn boolean(&mut self, key: &str, value: Option<bool>) {
        let Some(value) = value else { return self.nothing(key) };
        self.key(key);
        if self.drifts_here() {
            let words = if value { ["YES", "true"] } else { ["NO", "false"] };
            let word = *self.dice.pick(&words);
            self.json.quoted(word);
        } else {
            self.json.raw(if value { "true" } else { "false" });
        }
    }

    pub fn time(&mut self, key: &str, value: Option<i64>) {
        let Some(value) = value else { return self.nothing(key) };
        self.key(key);
        self.json.quoted(&time_text(value));
    }

    pub fn texts(&mut self, key: &str, values: &[String]) {
        self.key(key);
        if let [only] = values
            && self.drifts_here()
        {
            return self.json.quoted(only);
        }
        nested!(self, '[', ']', {
            for value in values {
                self.json.item();
                self.json.quoted(value);
            }
        });
    }

    pub fn objects<T>(&mut self, key: &str, values: &[T], mut one: impl FnMut(&mut Self, &T)) {
        self.key(key);
        nested!(self, '[', ']', {
            for value in values {
                self.json.item();
                nested!(self, '{', '}', one(self, value));
            }
        });
    }

    /// What no page documents, at a place where it may turn up.
    pub fn unknown(&mut self, name: &str) {
        if self.drifts_here() {
            self.json.key(name);
            let value = *self.dice.pick(&["true", "17", "\"beta\"", "{\"deep\":[1,{\"er\":null}]}", "[]"]);
            self.json.raw(value);
        }
    }

    pub fn json_pair(&mut self, key: &str, raw: &str) {
        self.key(key);
        self.json.raw(raw);
    }
}
