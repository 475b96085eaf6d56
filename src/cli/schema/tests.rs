use super::*;
use crate::warehouse::catalog::{Column, ForeignKey};

fn column(name: &str, data_type: &str, is_required: bool, comment: &str) -> Column {
    Column { name: name.into(), data_type: data_type.into(), is_required, comment: comment.into() }
}

/// A table, another that refers to it by a nullable key, and a view.
fn relations() -> Vec<Relation> {
    let table = |name: &str, columns, primary_key: &[&str], foreign_keys| Relation {
        name: name.into(),
        is_view: false,
        comment: format!("It's about {name}."),
        columns,
        primary_key: primary_key.iter().map(ToString::to_string).collect(),
        foreign_keys,
    };
    vec![
        table("forms", vec![column("form_key", "integer", true, "A \"key\" | surrogate.")], &["form_key"], vec![]),
        table(
            "parts",
            vec![
                column("part_key", "uuid", true, "One."),
                column("ordinal", "smallint", true, "Two."),
                column("form_key", "integer", false, "C:\\three."),
            ],
            &["part_key", "ordinal"],
            vec![ForeignKey {
                columns: vec!["form_key".into()],
                table: "forms".into(),
                table_columns: vec!["form_key".into()],
            }],
        ),
        Relation { is_view: true, ..table("daily", vec![column("names", "text[]", false, "All.")], &[], vec![]) },
    ]
}

#[test]
fn the_dictionary_names_every_column_with_its_keys_and_escapes_cells() {
    let text = render(Format::Markdown, &relations());
    assert!(text.contains("| `form_key` | integer not null | primary | A \"key\" \\| surrogate. |"), "{text}");
    assert!(text.contains("| `form_key` | integer | → [forms](#forms) | C:\\three. |"), "{text}");
    assert!(
        text.contains("## Views\n\n| Name | What it is |\n|---|---|\n| [daily](#daily) | It's about daily. |"),
        "{text}"
    );
}

#[test]
fn the_picture_tells_keys_and_whether_a_reference_may_be_missing() {
    let text = render(Format::Mermaid, &relations());
    assert!(
        text.contains("        uuid part_key PK\n        smallint ordinal PK\n        integer form_key FK\n"),
        "{text}"
    );
    assert!(text.contains("    forms |o--o{ parts : \"form_key\"\n"), "{text}");
    assert!(!text.contains("daily"), "{text}");
}

#[test]
fn dbml_has_keys_of_several_columns_and_quotes_notes() {
    let text = render(Format::Dbml, &relations());
    assert!(text.contains("  form_key \"integer\" [pk, note: 'A \"key\" | surrogate.']\n"), "{text}");
    assert!(
        text.contains(
            "  form_key \"integer\" [note: 'C:\\\\three.']\n  indexes {\n    (part_key, ordinal) [pk]\n  }\n"
        ),
        "{text}"
    );
    assert!(text.contains("  Note: 'It\\'s about daily.'\n}\n"), "{text}");
    assert!(text.contains("Ref: kore.parts.(form_key) > kore.forms.(form_key)\n"), "{text}");
}

#[test]
fn sources_test_keys_of_one_column_alone() {
    let text = render(Format::Dbt, &relations());
    let expected = "      - name: parts\n        description: \"It's about parts.\"\n        columns:\n          - name: part_key\n            \
        description: \"One.\"\n            data_type: uuid\n          - name: ordinal\n            description: \"Two.\"\n            \
        data_type: smallint\n          - name: form_key\n            description: \"C:\\\\three.\"\n            data_type: integer\n            \
        data_tests:\n              - relationships:\n                  arguments:\n                    to: source('kore', 'forms')\n                    \
        field: form_key\n";
    assert!(text.ends_with(expected), "{text}");
    assert!(text.contains("            data_tests:\n              - unique\n              - not_null\n"), "{text}");
    assert!(text.find("name: daily") < text.find("name: forms"), "by name: {text}");
}
