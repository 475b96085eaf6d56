use std::borrow::Cow;

use proptest::prelude::*;

use super::*;

fn read(text: &[u8]) -> Parsed<'_> {
    parse(text).unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(text)))
}

fn string(text: &[u8]) -> String {
    match read(text).value {
        Value::String(text) => text.into_owned(),
        other => panic!("not a string: {other:?}"),
    }
}

#[test]
fn every_kind_of_value_is_read() {
    let parsed = read(br#" {"a": [1, -2.50e+3, true, false, null, "x"], "b": {}, "a": []} "#);
    assert_eq!(parsed.repairs, Repairs::default());
    let Value::Object(members) = &parsed.value else { panic!("not an object") };
    assert_eq!(members.iter().map(|(k, _)| &**k).collect::<Vec<_>>(), ["a", "b", "a"]);
    assert_eq!(
        members[0].1,
        Value::Array(vec![
            Value::Number("1"),
            Value::Number("-2.50e+3"),
            Value::Bool(true),
            Value::Bool(false),
            Value::Null,
            Value::String("x".into()),
        ])
    );
    assert_eq!(parsed.value.get("a"), Some(&Value::Array(vec![])), "the last of a name");
}

#[test]
fn a_string_without_escapes_is_borrowed() {
    assert!(matches!(read("\"naïve\"".as_bytes()).value, Value::String(Cow::Borrowed("naïve"))));
}

#[test]
fn escapes_are_read() {
    assert_eq!(string(br#""a\"\\\/\n\t\r\b\f\u00e9\uD83D\uDE00z""#), "a\"\\/\n\t\r\u{8}\u{c}é😀z");
}

#[test]
fn what_postgresql_refuses_is_cleaned_and_counted() {
    let parsed = read(b"[\"a\\u0000b\", \"c\x00d\", \"\\ud800x\", \"\\udc00\", \"\\ud800\\ud800\\udc00\", \"\\x\", \"\\u12\", \"\\u00e\xff\"]");
    let texts = ["ab", "cd", "\u{fffd}x", "\u{fffd}", "\u{fffd}\u{10000}", "\\x", "\\u12", "\\u00e\u{fffd}"];
    assert_eq!(parsed.value, Value::Array(texts.into_iter().map(|t| Value::String(t.into())).collect()));
    let expected =
        Repairs { nul_characters: 2, lone_surrogates: 3, invalid_utf8: 1, non_finite_numbers: 0, unknown_escapes: 3 };
    assert_eq!(parsed.repairs, expected);
    assert_eq!(parsed.repairs.total(), 9);
}

#[test]
fn invalid_utf8_is_replaced_and_other_control_characters_stay() {
    let parsed = read(b"[\"a\xffb\", \"\x01\n\", \"\xc3\xa9\"]");
    let texts = ["a\u{fffd}b", "\u{1}\n", "é"];
    assert_eq!(parsed.value, Value::Array(texts.into_iter().map(|t| Value::String(t.into())).collect()));
    assert_eq!(parsed.repairs.invalid_utf8, 1);
}

#[test]
fn bare_non_finite_numbers_are_numbers() {
    let parsed = read(b"[NaN, Infinity, -Infinity]");
    assert_eq!(
        parsed.value,
        Value::Array(vec![Value::Number("NaN"), Value::Number("Infinity"), Value::Number("-Infinity")])
    );
    assert_eq!(parsed.repairs.non_finite_numbers, 3);
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,}",
        "{a:1}",
        "\"a",
        "\"a\\",
        "\"\\u12",
        "nul",
        "tru",
        "-",
        "1e",
        "1 2",
        "[1]]",
        "{} x",
        "<html>",
        "[1 2]",
        "{\"a\" 1}",
        ".",
        "+",
        "\u{0}",
    ] {
        assert!(parse(text.as_bytes()).is_err(), "{text:?}");
    }
    let error = parse(b"[1,").expect_err("a truncated text");
    assert_eq!(error.to_string(), "the text ends too soon at byte 3");
}

#[test]
fn nesting_is_bounded() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(nested(128).as_bytes()).is_ok());
    assert!(parse(nested(129).as_bytes()).is_err());
    assert!(parse("[".repeat(1_000_000).as_bytes()).is_err());
}

#[test]
fn a_byte_order_mark_is_skipped() {
    assert_eq!(read(b"\xef\xbb\xbf{}").value, Value::Object(vec![]));
}

#[test]
fn a_page_is_cut_into_its_records() {
    let body =
        br#" { "totalResults": 11, "results": [ {"a": "]}\"{"} , [1,[2]], "s", 12, null,{"b":{}}], "hasMore": true,
        "errors": [{"msg": "m", "code": 4}]} "#;
    let page = split_page(body).expect("a page");
    let records = page.records.as_deref().expect("a list");
    let texts: Vec<_> = records.iter().map(|r| std::str::from_utf8(&body[r.clone()]).expect("text")).collect();
    assert_eq!(texts, [r#"{"a": "]}\"{"}"#, "[1,[2]]", "\"s\"", "12", "null", r#"{"b":{}}"#]);
    assert_eq!(page.get("totalResults").and_then(Value::as_number), Some("11"));
    assert_eq!(page.get("hasMore").and_then(Value::as_bool), Some(true));
    let error = &page.get("errors").and_then(Value::as_array).expect("errors")[0];
    assert_eq!(error.get("msg").and_then(Value::as_str), Some("m"));
}

#[test]
fn a_missing_list_is_not_an_empty_one() {
    assert_eq!(split_page(b"{\"results\": [ ]}").expect("a page").records, Some(vec![]));
    for body in ["{}", "{\"Results\": []}", "{\"results\": null}", "{\"results\": {}}", "{\"data\": {\"results\": []}}"]
    {
        assert_eq!(split_page(body.as_bytes()).expect("a page").records, None, "{body}");
    }
    assert_eq!(split_page(b"{\"results\": \"x\"}").expect("a page").get("results").and_then(Value::as_str), Some("x"));
}

#[test]
fn every_truncation_of_a_page_is_an_error() {
    let body = br#"{"results":[{"a":"x\\\"y","b":[1,2]},{"c":null}],"totalResults":2,"hasMore":false}"#;
    assert!(split_page(body).is_ok());
    for end in 0..body.len() {
        assert!(split_page(&body[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn what_is_not_a_page_is_refused() {
    for body in [
        "[]",
        "<html></html>",
        "{} {}",
        "{\"results\":[]}x",
        "{\"results\":[1,]}",
        "{\"results\":[,1]}",
        "{\"results\":[]]}",
        "{\"results\":[],\"results\":[]}",
        "{\"results\":[}]}",
        "{\"results\":[{\"a\":1}{\"b\":2}]}",
    ] {
        assert!(split_page(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn no_more_values_and_records_are_read_than_memory_is_there_for() {
    let list = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
    assert!(parse(list(100_000).as_bytes()).is_ok());
    let error = parse(list(100_001).as_bytes()).expect_err("too many");
    assert!(error.is_excess(), "{error}");
    let page = |records: usize| format!("{{\"results\":[{}{{}}]}}", "{},".repeat(records - 1));
    assert_eq!(split_page(page(10_000).as_bytes()).expect("a page").records.map(|records| records.len()), Some(10_000));
    assert!(split_page(page(10_001).as_bytes()).is_err());
}

#[test]
fn one_bad_record_costs_no_other() {
    let body = b"{\"results\":[{\"a\" 1, oops},{\"b\":2}]}";
    let records = split_page(body).expect("a page").records.expect("a list");
    assert!(parse(&body[records[0].clone()]).is_err());
    assert!(parse(&body[records[1].clone()]).is_ok());
}

#[test]
fn what_is_written_suits_jsonb() {
    let value = Value::Object(vec![
        ("k\"\0".into(), Value::String("a\u{0}\u{1}\n\\é😀".into())),
        ("n".into(), Value::Array(["1.50", "-0", "1e5"].map(Value::Number).to_vec())),
        (
            "t".into(),
            Value::Array(["NaN", "007", ".5", "1.", "+1", "1e999999", "1e-20000"].map(Value::Number).to_vec()),
        ),
    ]);
    assert_eq!(
        to_string(&value),
        "{\"k\\\"\":\"a\\u0001\\n\\\\é😀\",\"n\":[1.50,-0,1e5],\"t\":[\"NaN\",\"007\",\".5\",\"1.\",\"+1\",\"1e999999\",\"1e-20000\"]}"
    );
}

/// JSON values whose numbers PostgreSQL can hold.
fn any_value() -> impl Strategy<Value = Value<'static>> {
    const NUMBERS: [&str; 6] = ["0", "-1", "66.67", "1e5", "7.7E-1", "123456789012345678901234567890"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        proptest::sample::select(NUMBERS.to_vec()).prop_map(Value::Number),
        "[^\0]*".prop_map(|text| Value::String(text.into())),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::vec(("[^\0]{0,8}".prop_map(Cow::Owned), inner), 0..6).prop_map(Value::Object),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(value in any_value()) {
        let text = to_string(&value);
        let parsed = parse(text.as_bytes()).expect("JSON");
        prop_assert_eq!(parsed.value, value);
        prop_assert_eq!(parsed.repairs.total(), 0);
        let strict: Result<serde_json::Value, _> = serde_json::from_str(&text);
        prop_assert!(strict.is_ok());
    }

    #[test]
    fn a_value_in_a_page_is_cut_whole(value in any_value()) {
        let text = to_string(&value);
        let body = format!("{{\"results\":[{text}, {text}],\"x\":{text}}}");
        let page = split_page(body.as_bytes()).expect("a page");
        let records = page.records.clone().expect("a list");
        prop_assert_eq!(records.len(), 2);
        prop_assert!(records.into_iter().all(|r| body[r] == text));
        prop_assert_eq!(page.get("x"), Some(&value));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(parse(&bytes));
        drop(split_page(&bytes));
    }

    #[test]
    fn no_near_json_makes_it_panic(text in r#"[\[\]{}",:\\u0-9a-fdD.eE+\- NIntr\x00]{0,80}"#) {
        if let Ok(parsed) = parse(text.as_bytes()) {
            let once = to_string(&parsed.value);
            let again = parse(once.as_bytes()).expect("what was written is JSON");
            prop_assert_eq!(to_string(&again.value), once);
        }
        drop(split_page(text.as_bytes()));
    }
}
