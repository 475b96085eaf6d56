//! `koresync verify --keys`: whether every reference in the warehouse holds.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::table::{Align, Table, harmless};
use crate::cli::{Context, Exit, output, session};
use crate::warehouse::references::Finding;

#[derive(Debug, Serialize)]
struct Report {
    is_whole: bool,
    references: Vec<Finding>,
}

pub(super) async fn execute(context: &Context) -> Result<Exit, anyhow::Error> {
    let settings = context.settings()?;
    let warehouse = session::open(&settings, &context.clock).await?;
    let mut findings = Vec::new();
    for reference in warehouse.references().await? {
        tracing::debug!(reference = reference.name, "Looking at a reference.");
        findings.push(warehouse.look_at(&reference).await?);
    }
    warehouse.close().await;
    let broken = findings.iter().filter(|finding| finding.is_broken()).count();
    if context.global.json {
        output::json(&Report { is_whole: broken == 0, references: findings })?;
    } else {
        output::data(&render(&findings))?;
        if broken == 0 {
            output::say(&format!("all {} references hold", findings.len()));
        } else {
            output::say(&format!("{broken} of {} references are broken", findings.len()));
        }
    }
    Ok(if broken == 0 { Exit::Done } else { Exit::Partly })
}

fn render(findings: &[Finding]) -> String {
    let mut table = Table::new([("reference", Align::Left), ("rows", Align::Right), ("broken", Align::Right)]);
    for finding in findings {
        let broken = match (finding.is_information, finding.broken) {
            (true, broken) if broken > 0 => format!("({broken})"),
            (_, broken) => broken.to_string(),
        };
        table.row([finding.reference.clone(), finding.rows.to_string(), broken]);
    }
    let mut text = table.render();
    for finding in findings.iter().filter(|finding| finding.is_broken()) {
        let _ = writeln!(text, "\n{} is broken by {} rows, as by", finding.reference, finding.broken);
        for key in &finding.examples {
            let _ = writeln!(text, "  {}", harmless(key));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(broken: i64, is_information: bool) -> Finding {
        Finding {
            name: "contacts_payload".into(),
            reference: "kore.contacts without payload".into(),
            rows: 7,
            broken,
            is_information,
            examples: vec!["contact_key=k\u{1b}".into()],
        }
    }

    #[test]
    fn what_is_information_is_told_and_is_no_break() {
        let told = render(&[finding(2, true)]);
        assert!(told.contains("(2)") && !told.contains("is broken"), "{told}");
        let broken = render(&[finding(2, false)]);
        assert!(broken.contains("is broken by 2 rows, as by\n  contact_key=k\u{fffd}\n"), "{broken}");
    }
}
