//! How the demonstration speaks: on stdout, a line a step.

use std::io;
use std::time::Duration;

use crate::cli::output;
use crate::cli::paint::{self, Colour, painted};
use crate::cli::table::{Align, Table};
use crate::demo::questions::Answer;

/// Column in which the times of the steps end.
const WIDTH: usize = 84;

#[derive(Debug, Clone, Copy)]
pub struct Teller {
    is_coloured: bool,
}

impl Teller {
    pub fn new() -> Self {
        Self { is_coloured: paint::is_wanted() }
    }

    /// A step that is done, and how long it took.
    pub fn step(self, words: &str, took: Duration) -> io::Result<()> {
        output::data(&self.marked("✓", Colour::Green, words, took))
    }

    /// A step that went wrong.
    pub fn failure(self, words: &str, took: Duration) -> io::Result<()> {
        output::data(&self.marked("✗", Colour::Red, words, took))
    }

    /// Something to know about the step above.
    pub fn note(words: &str) -> io::Result<()> {
        output::data(&format!("    {words}"))
    }

    pub fn heading(self, words: &str) -> io::Result<()> {
        output::data(&format!("\n{}", painted(self.is_coloured, Colour::Bold, words)))
    }

    pub fn line(words: &str) -> io::Result<()> {
        output::data(words)
    }

    pub fn blank() -> io::Result<()> {
        output::data("\n")
    }

    /// Indented, in the colour of what may be passed over.
    pub fn sql(self, sql: &str) -> io::Result<()> {
        let lines: Vec<String> =
            sql.lines().map(|line| painted(self.is_coloured, Colour::Dim, &format!("    {line}"))).collect();
        output::data(&lines.join("\n"))
    }

    pub fn table(table: &Table) -> io::Result<()> {
        let lines: Vec<String> = table.render().lines().map(|line| format!("  {line}")).collect();
        output::data(&lines.join("\n"))
    }

    fn marked(self, mark: &str, colour: Colour, words: &str, took: Duration) -> String {
        let took = format!("{:.1} s", took.as_secs_f64());
        let room = WIDTH.saturating_sub(4 + took.chars().count());
        format!("  {} {words:<room$}{took}", painted(self.is_coloured, colour, mark))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_in_one_column_and_marks_are_coloured_on_demand() {
        let plain = Teller { is_coloured: false };
        let lengths: Vec<usize> = ["short", "somewhat longer"]
            .iter()
            .map(|words| plain.marked("✓", Colour::Green, words, Duration::from_millis(1_250)).chars().count())
            .collect();
        assert_eq!(lengths, [WIDTH, WIDTH]);
        assert!(
            Teller { is_coloured: true }
                .marked("✓", Colour::Green, "x", Duration::ZERO)
                .contains("\u{1b}[32m✓\u{1b}[0m")
        );
    }
}
