//! Sources of a dbt package: every table and view with its description, and tests of the keys that are declared.

use std::fmt::Write as _;

use crate::warehouse::catalog::Relation;

pub(super) fn render(relations: &[Relation]) -> String {
    let mut text = "\
# Made from the comments and keys of the database by `koresync schema --format dbt`. Change those, not this file.
version: 2

sources:
  - name: kore
    schema: kore
    tables:
"
    .to_owned();
    let mut relations: Vec<&Relation> = relations.iter().collect();
    relations.sort_by(|one, other| one.name.cmp(&other.name));
    for relation in relations {
        let _ = writeln!(text, "      - name: {}\n        description: {}", relation.name, quoted(&relation.comment));
        text.push_str("        columns:\n");
        for column in &relation.columns {
            let _ = writeln!(
                text,
                "          - name: {}\n            description: {}\n            data_type: {}",
                column.name,
                quoted(&column.comment),
                column.data_type
            );
            text.push_str(&tests(relation, &column.name));
        }
    }
    text
}

/// Of keys of one column: dbt's own tests know no others.
fn tests(relation: &Relation, column: &str) -> String {
    let mut tests = String::new();
    if relation.primary_key == [column] {
        tests.push_str("              - unique\n              - not_null\n");
    }
    for key in relation.foreign_keys.iter().filter(|key| key.columns == [column]) {
        let _ = write!(
            tests,
            "              - relationships:\n                  arguments:\n                    to: source('kore', '{}')\n                    field: {}\n",
            key.table, key.table_columns[0]
        );
    }
    if tests.is_empty() { tests } else { format!("            data_tests:\n{tests}") }
}

/// YAML reads a string of JSON as it is.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
