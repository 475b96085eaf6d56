//! The picture of the tables, as Mermaid draws it (`erDiagram`). Views have no keys, so they are not in it.

use std::fmt::Write as _;

use crate::warehouse::catalog::{Column, ForeignKey, Relation};

pub(super) fn render(relations: &[Relation]) -> String {
    let mut text = "erDiagram\n".to_owned();
    for relation in relations.iter().filter(|relation| !relation.is_view) {
        let _ = writeln!(text, "    {} {{", relation.name);
        for column in &relation.columns {
            let _ = writeln!(text, "        {} {}{}", column.data_type, column.name, marks(relation, column));
        }
        text.push_str("    }\n");
    }
    for relation in relations {
        for key in &relation.foreign_keys {
            let one = if is_required(relation, key) { "||" } else { "|o" };
            let _ = writeln!(text, "    {} {one}--o{{ {} : \"{}\"", key.table, relation.name, key.columns.join(", "));
        }
    }
    text
}

fn marks(relation: &Relation, column: &Column) -> &'static str {
    match (relation.is_in_primary_key(&column.name), relation.is_in_foreign_key(&column.name)) {
        (true, true) => " PK, FK",
        (true, false) => " PK",
        (false, true) => " FK",
        (false, false) => "",
    }
}

/// Whether every row refers to something by this key.
fn is_required(relation: &Relation, key: &ForeignKey) -> bool {
    key.columns.iter().all(|name| relation.columns.iter().any(|column| column.name == *name && column.is_required))
}
