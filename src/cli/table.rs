//! Aligned columns for people.

use std::fmt::Write as _;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    /// For numbers.
    Right,
}

/// Rows under headings, as wide as their content.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<'c>(columns: impl IntoIterator<Item = (&'c str, Align)>) -> Self {
        Self {
            columns: columns.into_iter().map(|(heading, align)| (heading.to_uppercase(), align)).collect(),
            rows: Vec::new(),
        }
    }

    /// Cells in the order of the columns; missing ones stay empty, further ones are left out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| harmless(&cell)).collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Headings and rows, a line each, without blanks at the ends.
    pub fn render(&self) -> String {
        let headings: Vec<String> = self.columns.iter().map(|(heading, _)| heading.clone()).collect();
        let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
        let all = || std::iter::once(&headings).chain(&self.rows);
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| all().map(|row| cell(row, column).chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in all() {
            let mut line = String::new();
            for (column, ((_, align), width)) in self.columns.iter().zip(&widths).enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                let cell = cell(row, column);
                let _ = match align {
                    Align::Left => write!(line, "{gap}{cell:<width$}"),
                    Align::Right => write!(line, "{gap}{cell:>width$}"),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Data from elsewhere cannot move the cursor or break the line.
pub fn harmless(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters_and_numbers_to_the_right() {
        let mut table = Table::new([("stream", Align::Left), ("rows", Align::Right), ("note", Align::Left)]);
        table.row(["süd".into(), "7".into(), "late".into()]);
        table.row(["support".into(), "1234".into()]);
        assert_eq!(table.render(), "STREAM   ROWS  NOTE\nsüd         7  late\nsupport  1234\n");
    }

    #[test]
    fn a_cell_cannot_carry_terminal_codes() {
        let mut table = Table::new([("a", Align::Left)]);
        table.row(["\u{1b}[2Jx\ny".into()]);
        assert_eq!(table.render(), "A\n\u{fffd}[2Jx\u{fffd}y\n");
    }
}
