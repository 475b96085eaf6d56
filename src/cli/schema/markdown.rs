//! The data dictionary.

use std::fmt::Write as _;

use crate::warehouse::catalog::{Column, Relation};

pub(super) fn render(relations: &[Relation]) -> String {
    let mut text = "# Data dictionary\n\nThe schema `kore`, as its comments tell it. Made by `koresync schema --format markdown`.\n".to_owned();
    for (heading, is_view) in [("Tables", false), ("Views", true)] {
        let _ = write!(text, "\n## {heading}\n\n| Name | What it is |\n|---|---|\n");
        for relation in relations.iter().filter(|relation| relation.is_view == is_view) {
            let _ = writeln!(text, "| [{name}](#{name}) | {} |", cell(&relation.comment), name = relation.name);
        }
    }
    for relation in relations {
        let _ = write!(
            text,
            "\n## {}\n\n{}\n\n| Column | Type | Key | Meaning |\n|---|---|---|---|\n",
            relation.name, relation.comment
        );
        for column in &relation.columns {
            let required = if column.is_required { " not null" } else { "" };
            let _ = writeln!(
                text,
                "| `{}` | {}{required} | {} | {} |",
                column.name,
                cell(&column.data_type),
                keys(relation, column),
                cell(&column.comment)
            );
        }
    }
    text
}

/// Of which keys a column is part.
fn keys(relation: &Relation, column: &Column) -> String {
    let mut keys = Vec::new();
    if relation.is_in_primary_key(&column.name) {
        keys.push("primary".to_owned());
    }
    for key in relation.foreign_keys.iter().filter(|key| key.columns.contains(&column.name)) {
        keys.push(format!("→ [{table}](#{table})", table = key.table));
    }
    keys.join(", ")
}

/// Text within a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
