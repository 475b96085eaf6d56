//! Writes JSON by hand, since much of what this vendor sends is not what a serialiser would write.

use std::fmt::Write as _;

#[derive(Debug, Default)]
pub struct JsonText {
    out: String,
    /// Whether the next key or item is the first of its object or list.
    is_first: bool,
    /// Whether every character beyond ASCII is written as an escape.
    pub escapes_all: bool,
}

impl JsonText {
    pub fn into_string(self) -> String {
        self.out
    }

    fn separate(&mut self) {
        if !self.is_first {
            self.out.push(',');
        }
        self.is_first = false;
    }

    pub fn key(&mut self, name: &str) {
        self.separate();
        self.quoted(name);
        self.out.push(':');
    }

    /// Before each item of a list.
    pub fn item(&mut self) {
        self.separate();
    }

    /// A value exactly as written here.
    pub fn raw(&mut self, value: &str) {
        self.out.push_str(value);
    }

    pub fn quoted(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '/' if self.escapes_all => self.out.push_str("\\/"),
                c if u32::from(c) < 0x20 || (self.escapes_all && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // Writing to a String does not fail.
                        let _ = write!(self.out, "\\u{unit:04x}");
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    pub fn open(&mut self, bracket: char) {
        self.out.push(bracket);
        self.is_first = true;
    }

    pub fn close(&mut self, bracket: char) {
        self.out.push(bracket);
        self.is_first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for escapes_all in [false, true] {
            let mut json = JsonText { escapes_all, ..JsonText::default() };
            let text = "a\"\\\n\t\u{1}/é\u{1f600}";
            json.open('{');
            json.key("a");
            json.quoted(text);
            json.key("b");
            json.open('[');
            for _ in 0..2 {
                json.item();
                json.open('[');
                json.close(']');
            }
            json.close(']');
            json.close('}');
            let read: serde_json::Value = serde_json::from_str(&json.into_string()).expect("JSON");
            assert_eq!(read, serde_json::json!({"a": text, "b": [[], []]}));
        }
    }
}
