//! Tables, views, keys and comments in DBML, which dbdiagram and dbdocs read.

use std::fmt::Write as _;

use crate::warehouse::catalog::{Column, Relation};

pub(super) fn render(relations: &[Relation]) -> String {
    let mut text = String::new();
    for relation in relations {
        let _ = writeln!(text, "Table kore.{} {{", relation.name);
        for column in &relation.columns {
            let _ = writeln!(text, "  {} \"{}\" [{}]", column.name, column.data_type, settings(relation, column));
        }
        if relation.primary_key.len() > 1 {
            let _ = writeln!(text, "  indexes {{\n    ({}) [pk]\n  }}", relation.primary_key.join(", "));
        }
        let _ = writeln!(text, "  Note: {}\n}}\n", quoted(&relation.comment));
    }
    for relation in relations {
        for key in &relation.foreign_keys {
            let _ = writeln!(
                text,
                "Ref: kore.{}.({}) > kore.{}.({})",
                relation.name,
                key.columns.join(", "),
                key.table,
                key.table_columns.join(", ")
            );
        }
    }
    text
}

fn settings(relation: &Relation, column: &Column) -> String {
    let mut settings = Vec::new();
    if relation.primary_key == [column.name.as_str()] {
        settings.push("pk".to_owned());
    } else if column.is_required {
        settings.push("not null".to_owned());
    }
    settings.push(format!("note: {}", quoted(&column.comment)));
    settings.join(", ")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace(['\n', '\r'], " "))
}
