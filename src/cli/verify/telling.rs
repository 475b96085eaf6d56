//! What a comparison found, for people and for machines. Ids alone: no personal data.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::cli::output;
use crate::cli::table::harmless;
use crate::status::time;
use crate::sync::verify::{Comparison, Counted, Differing};
use crate::warehouse::load::Proof;

/// The table's columns and their widths; the first two are times.
const COLUMNS: [(&str, usize); 9] = [
    ("FROM", 20),
    ("TO", 20),
    ("COMPARED", 8),
    ("EQUAL", 8),
    ("QUARANTINED", 11),
    ("MISSING HERE", 12),
    ("GONE THERE", 10),
    ("DIFFERENT", 9),
    ("PROVED BY", 9),
];
const COUNT_COLUMNS: [(&str, usize); 5] = [("FROM", 20), ("TO", 20), ("VENDOR", 10), ("HERE", 21), ("", 7)];

/// A table on a terminal, a JSON document a line otherwise.
#[derive(Debug)]
pub(super) struct Telling {
    is_json: bool,
    /// Of the table that was begun.
    heading: Option<String>,
}

/// What all windows of a stream showed together.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Totals {
    pub windows: u64,
    pub unproved: u64,
    pub compared: u64,
    pub equal: u64,
    pub quarantined: u64,
    pub by_id_alone: u64,
    pub missing_here: usize,
    pub gone_there: usize,
    pub different: usize,
    pub requests: u64,
}

impl Totals {
    pub(super) fn add(&mut self, comparison: &Comparison) {
        self.windows += 1;
        self.unproved += u64::from(comparison.proof.is_none());
        self.compared += comparison.compared;
        self.equal += comparison.equal;
        self.quarantined += comparison.quarantined;
        self.by_id_alone += comparison.by_id_alone;
        self.missing_here += comparison.missing_here.len();
        self.gone_there += comparison.gone_there.len();
        self.different += comparison.different.len();
        self.requests += comparison.requests;
    }

    pub(super) fn is_equal(&self) -> bool {
        self.unproved == 0 && self.missing_here + self.gone_there + self.different == 0
    }
}

#[derive(Serialize)]
struct WindowLine<'a> {
    stream: &'a str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    is_equal: bool,
    /// Whether it is the look after a repair.
    is_repaired: bool,
    proved_by: Option<&'static str>,
    doubt: Option<&'a str>,
    compared: u64,
    equal: u64,
    quarantined: u64,
    by_id_alone: u64,
    missing_here: Vec<&'a str>,
    gone_there: Vec<&'a str>,
    different: Vec<&'a str>,
    requests: u64,
}

#[derive(Serialize)]
struct TotalLine<'a> {
    stream: &'a str,
    is_equal: bool,
    is_repaired: bool,
    #[serde(flatten)]
    totals: &'a Totals,
}

#[derive(Serialize)]
struct CountLine<'a> {
    stream: &'a str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    is_equal: bool,
    total: u64,
    held_least: u64,
    held_most: u64,
}

impl Telling {
    pub(super) fn new(is_json: bool) -> Self {
        Self { is_json: is_json || !std::io::stdout().is_terminal(), heading: None }
    }

    pub(super) fn compared(
        &mut self,
        stream: &str,
        comparison: &Comparison,
        is_repaired: bool,
    ) -> Result<(), anyhow::Error> {
        if self.is_json {
            return output::json_line(&window_line(stream, comparison, is_repaired));
        }
        let words = if is_repaired { "after the repair" } else { "against the API" };
        self.head(&format!("{stream}, {words}"), &COLUMNS)?;
        Ok(output::data(&in_words(comparison))?)
    }

    pub(super) fn counted(&mut self, stream: &str, counted: &Counted) -> Result<(), anyhow::Error> {
        let Counted { window, total, held_least, held_most } = *counted;
        let is_equal = counted.is_equal();
        if self.is_json {
            let (from, to) = (window.from, window.to);
            return output::json_line(&CountLine { stream, from, to, is_equal, total, held_least, held_most });
        }
        self.head(&format!("{stream}, counted"), &COUNT_COLUMNS)?;
        let held = if held_least == held_most { held_most.to_string() } else { format!("{held_least} to {held_most}") };
        let verdict = if is_equal { "" } else { "differs" };
        let cells = [time(window.from), time(window.to), total.to_string(), held, verdict.to_owned()];
        Ok(output::data(&line(&cells, &COUNT_COLUMNS))?)
    }

    /// The sum of a stream: a line of JSON, or words on stderr.
    pub(super) fn total(&self, stream: &str, totals: &Totals, is_repaired: bool) -> Result<(), anyhow::Error> {
        let is_equal = totals.is_equal();
        if self.is_json {
            output::json_line(&TotalLine { stream, is_equal, is_repaired, totals })?;
        }
        let mut words = if is_equal {
            format!("{stream}: equal, {} records compared", totals.compared)
        } else {
            format!(
                "{stream}: {} missing here, {} gone there, {} different, {} of {} windows not proved",
                totals.missing_here, totals.gone_there, totals.different, totals.unproved, totals.windows
            )
        };
        for (count, what) in [
            (totals.quarantined, "are in quarantine"),
            (totals.by_id_alone, "have no entry in koresync.raw_contacts and were compared by id alone"),
        ] {
            if count > 0 {
                let _ = write!(words, "; {count} {what}");
            }
        }
        output::say(&format!("{words}; {} requests", totals.requests));
        Ok(())
    }

    fn head(&mut self, title: &str, columns: &[(&str, usize)]) -> Result<(), anyhow::Error> {
        if self.heading.as_deref() != Some(title) {
            let gap = if self.heading.is_some() { "\n" } else { "" };
            let headings: Vec<String> = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
            output::data(&format!("{gap}{title}\n{}", line(&headings, columns)))?;
            self.heading = Some(title.to_owned());
        }
        Ok(())
    }
}

fn ids(list: &[Differing]) -> Vec<&str> {
    list.iter().map(|differing| differing.id.as_str()).collect()
}

fn gone(comparison: &Comparison) -> Vec<&str> {
    comparison.gone_there.iter().map(|unseen| unseen.conversation_id.as_str()).collect()
}

fn window_line<'a>(stream: &'a str, comparison: &'a Comparison, is_repaired: bool) -> WindowLine<'a> {
    WindowLine {
        stream,
        from: comparison.window.from,
        to: comparison.window.to,
        is_equal: comparison.is_equal(),
        is_repaired,
        proved_by: comparison.proof.map(Proof::as_str),
        doubt: comparison.doubt.as_deref(),
        compared: comparison.compared,
        equal: comparison.equal,
        quarantined: comparison.quarantined,
        by_id_alone: comparison.by_id_alone,
        missing_here: ids(&comparison.missing_here),
        gone_there: gone(comparison),
        different: ids(&comparison.different),
        requests: comparison.requests,
    }
}

/// A row of the table, and below it each id that differs.
fn in_words(comparison: &Comparison) -> String {
    let cells = [
        time(comparison.window.from),
        time(comparison.window.to),
        comparison.compared.to_string(),
        comparison.equal.to_string(),
        comparison.quarantined.to_string(),
        comparison.missing_here.len().to_string(),
        comparison.gone_there.len().to_string(),
        comparison.different.len().to_string(),
        comparison.proof.map_or("not", Proof::as_str).to_owned(),
    ];
    let mut text = line(&cells, &COLUMNS);
    for (what, ids) in [
        ("missing here", ids(&comparison.missing_here)),
        ("gone there", gone(comparison)),
        ("different", ids(&comparison.different)),
    ] {
        for id in ids {
            let _ = writeln!(text, "  {what}: {}", harmless(id));
        }
    }
    if let Some(doubt) = &comparison.doubt {
        let _ = writeln!(text, "  {doubt}");
    }
    text
}

/// Times and words to the left, numbers to the right.
fn line(cells: &[String], columns: &[(&str, usize)]) -> String {
    let last = columns.len().saturating_sub(1);
    let cells = cells.iter().zip(columns).enumerate().map(|(place, (cell, (_, width)))| match place {
        0 | 1 => format!("{cell:<width$}"),
        _ if place == last => cell.clone(),
        _ => format!("{cell:>width$}"),
    });
    let text = cells.collect::<Vec<_>>().join("  ");
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Window;
    use crate::warehouse::verification::Unseen;

    fn comparison() -> Comparison {
        let at = |s| DateTime::from_timestamp(s, 0).expect("a time");
        Comparison {
            window: Window::new(at(0), at(3_600)).expect("a window"),
            began: at(0),
            proof: Some(Proof::Count),
            doubt: None,
            compared: 3,
            equal: 1,
            quarantined: 0,
            by_id_alone: 0,
            missing_here: vec![Differing { id: "c-1\u{1b}[2J".into(), started_at: None }],
            gone_there: vec![Unseen { conversation_id: "c-2".into(), requested_from: None, requested_to: None }],
            different: vec![Differing { id: "c-3".into(), started_at: None }],
            requests: 1,
        }
    }

    #[test]
    fn a_window_is_a_row_and_each_id_that_differs_a_line_below() {
        let text = in_words(&comparison());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("1970-01-01T00:00:00Z  1970-01-01T01:00:00Z         3"), "{text}");
        assert!(lines[0].ends_with("count"), "{text}");
        assert_eq!(&lines[1..], ["  missing here: c-1\u{fffd}[2J", "  gone there: c-2", "  different: c-3"]);
    }

    #[test]
    fn what_is_not_proved_is_not_equal() {
        let mut totals = Totals::default();
        let equal = Comparison { missing_here: vec![], gone_there: vec![], different: vec![], ..comparison() };
        totals.add(&equal);
        assert!(totals.is_equal() && equal.is_equal());
        let unproved = Comparison { proof: None, ..equal };
        totals.add(&unproved);
        assert!(!totals.is_equal() && !unproved.is_equal());
    }
}
