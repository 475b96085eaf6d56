//! Data on stdout, words on stderr; neither panics when the reader has gone.

use std::io::{self, Write as _};

use serde::Serialize;

/// Prints data, a newline added where it lacks one. A closed pipe is an error whose exit is 0.
pub fn data(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    if !text.ends_with('\n') && !text.is_empty() {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

/// Prints data as JSON in one document.
pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<(), anyhow::Error> {
    let text = serde_json::to_string_pretty(value)?;
    Ok(data(&text)?)
}

/// Prints data as JSON in one line.
pub fn json_line<T: Serialize + ?Sized>(value: &T) -> Result<(), anyhow::Error> {
    Ok(data(&serde_json::to_string(value)?)?)
}

/// Says a line to the operator. Nobody listening is no error.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
