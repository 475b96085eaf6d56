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
        table.row([finding.reference.clone(), finding.rows.to_string(), finding.broken.to_string()]);
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

    #[test]
    fn a_broken_reference_is_told_with_keys_that_harm_no_terminal() {
        let finding = |broken| Finding {
            name: "contacts_payload".into(),
            reference: "kore.contacts → koresync.raw_contacts".into(),
            rows: 7,
            broken,
            examples: vec!["contact_key=k\u{1b}".into()],
        };
        assert!(!render(&[finding(0)]).contains("is broken"));
        let broken = render(&[finding(2)]);
        assert!(broken.contains("is broken by 2 rows, as by\n  contact_key=k\u{fffd}\n"), "{broken}");
    }
}
