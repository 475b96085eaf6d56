//! Everything that a database holds, as text: whoever looks for somebody looks through all of it.

use std::path::PathBuf;
use std::process::Command;

use super::postgres::TestDatabase;

/// A dump of the whole database, and the texts that are packed in it.
#[derive(Debug)]
pub struct Dump(Vec<(String, String)>);

impl Dump {
    pub async fn of(database: &TestDatabase) -> Self {
        let output = Command::new(bindir().join("pg_dump"))
            .args(["--dbname", database.url()])
            .output()
            .expect("the program pg_dump");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let dump = String::from_utf8(output.stdout).expect("text");
        assert!(dump.contains("COPY kore.contacts ("), "no data in the dump");
        let mut texts = vec![("pg_dump".to_owned(), dump.to_lowercase())];
        for table in ["koresync.raw_contacts", "koresync.quarantined_records"] {
            let payloads: Vec<Vec<u8>> =
                sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select payload from {table} where payload <> ''")))
                    .fetch_all(&database.pool().await)
                    .await
                    .expect("payloads");
            for payload in payloads {
                let raw = zstd::stream::decode_all(payload.as_slice()).expect("a packed text");
                texts.push((table.to_owned(), unescaped(&String::from_utf8_lossy(&raw)).to_lowercase()));
            }
        }
        Self(texts)
    }

    /// Where a value is found, whatever its letter case; in the bytes that the dump tells too.
    pub fn places(&self, value: &str) -> Vec<String> {
        let value = value.to_lowercase();
        let bytes = value.bytes().fold(String::new(), |bytes, byte| bytes + &format!("{byte:02x}"));
        let mut places = Vec::new();
        for (place, text) in &self.0 {
            let find = |sought: &str| memchr::memmem::find(text.as_bytes(), sought.as_bytes());
            if let Some(at) = find(&value).or_else(|| if place == "pg_dump" { find(&bytes) } else { None }) {
                let from = text[..at].char_indices().rev().nth(60).map_or(0, |(at, _)| at);
                let to = text[at..].char_indices().nth(80).map_or(text.len(), |(more, _)| at + more);
                places.push(format!("{place}: {}", &text[from..to]));
            }
        }
        places
    }

    #[track_caller]
    pub fn assert_without(&self, values: &[String]) {
        for value in values {
            let places = self.places(value);
            assert!(places.is_empty(), "{value} is in {} places, first {}", places.len(), places[0]);
        }
    }
}

/// Undoes the escapes of JSON, in what need not be JSON.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut units: Vec<u16> = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let unit = rest.strip_prefix("\\u").and_then(|digits| u16::from_str_radix(digits.get(..4)?, 16).ok());
        if let Some(unit) = unit {
            units.push(unit);
            rest = &rest[6..];
            continue;
        }
        out.push_str(&String::from_utf16_lossy(&units));
        units.clear();
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out + &String::from_utf16_lossy(&units)
}

fn bindir() -> PathBuf {
    if let Some(given) = std::env::var_os("KORESYNC_PG_BINDIR").filter(|given| !given.is_empty()) {
        return given.into();
    }
    let output = Command::new("pg_config").arg("--bindir").output().expect("the program pg_config");
    String::from_utf8_lossy(&output.stdout).trim().into()
}
