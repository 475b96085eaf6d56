//! How the demonstration speaks: on stdout, a line a step.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use crate::cli::output;
use crate::cli::table::{Align, Table};
use crate::demo::questions::Answer;
use crate::telemetry::logs::is_coloured;

/// Column in which the times of the steps end.
const WIDTH: usize = 84;
const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const BOLD: &str = "\u{1b}[1m";
const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

#[derive(Debug, Clone, Copy)]
pub struct Teller {
    is_coloured: bool,
}

impl Teller {
    pub fn new() -> Self {
        let no_color = std::env::var_os("NO_COLOR");
        Self { is_coloured: is_coloured(io::stdout().is_terminal(), no_color.as_deref()) }
    }

    /// A step that is done, and how long it took.
    pub fn step(self, words: &str, took: Duration) -> io::Result<()> {
        output::data(&self.marked("✓", GREEN, words, took))
    }

    /// A step that went wrong.
    pub fn failure(self, words: &str, took: Duration) -> io::Result<()> {
        output::data(&self.marked("✗", RED, words, took))
    }

    /// Something to know about the step above.
    pub fn note(words: &str) -> io::Result<()> {
        output::data(&format!("    {words}"))
    }

    pub fn heading(self, words: &str) -> io::Result<()> {
        output::data(&format!("\n{}", self.painted(BOLD, words)))
    }

    pub fn line(words: &str) -> io::Result<()> {
        output::data(words)
    }

    pub fn blank() -> io::Result<()> {
        output::data("\n")
    }

    /// Indented, in the colour of what may be passed over.
    pub fn sql(self, sql: &str) -> io::Result<()> {
        let lines: Vec<String> = sql.lines().map(|line| self.painted(DIM, &format!("    {line}"))).collect();
        output::data(&lines.join("\n"))
    }

    pub fn table(table: &Table) -> io::Result<()> {
        let lines: Vec<String> = table.render().lines().map(|line| format!("  {line}")).collect();
        output::data(&lines.join("\n"))
    }

    fn marked(self, mark: &str, colour: &str, words: &str, took: Duration) -> String {
        let took = format!("{:.1} s", took.as_secs_f64());
        let room = WIDTH.saturating_sub(4 + took.chars().count());
        format!("  {} {words:<room$}{took}", self.painted(colour, mark))
    }

    fn painted(self, colour: &str, words: &str) -> String {
        if self.is_coloured { format!("{colour}{words}{PLAIN}") } else { words.to_owned() }
    }
}

/// An answer as a table.
pub fn answer_table(answer: &Answer) -> Table {
    let align = |is_number: bool| if is_number { Align::Right } else { Align::Left };
    let mut table = Table::new(answer.columns.iter().map(|(name, is_number)| (name.as_str(), align(*is_number))));
    for row in &answer.rows {
        table.row(row.iter().cloned());
    }
    table
}

/// With commas between the thousands.
pub fn grouped(number: impl Into<u128>) -> String {
    let digits = number.into().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        let _ = write!(text, "{digit}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let told = [0_u64, 7, 999, 1_000, 20_000, 1_234_567].map(grouped);
        assert_eq!(told, ["0", "7", "999", "1,000", "20,000", "1,234,567"]);
    }

    #[test]
    fn times_stand_in_one_column_and_marks_are_coloured_on_demand() {
        let plain = Teller { is_coloured: false };
        let lengths: Vec<usize> = ["short", "somewhat longer"]
            .iter()
            .map(|words| plain.marked("✓", GREEN, words, Duration::from_millis(1_250)).chars().count())
            .collect();
        assert_eq!(lengths, [WIDTH, WIDTH]);
        assert!(Teller { is_coloured: true }.marked("✓", GREEN, "x", Duration::ZERO).contains(GREEN));
    }
}
