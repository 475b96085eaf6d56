//! What changes the hash of a record, and what does not.

use super::*;

fn hash(record: &str) -> ContentHash {
    let parsed = parse(record.as_bytes()).expect("JSON");
    canonical::hash(&parsed.value)
}

#[test]
fn what_means_nothing_changes_no_hash() {
    for (one, other) in [
        (r#"{"a":1,"b":2}"#, r#"{ "b" : 2,"a":1 }"#),
        (r#"{"a":77}"#, r#"{"a":77.0}"#),
        (r#"{"a":77}"#, r#"{"a":7.7e1}"#),
        (r#"{"a":0}"#, r#"{"a":-0.00}"#),
        (r#"{"a":1500}"#, r#"{"a":15E+2}"#),
        (r#"{"a":0.05}"#, r#"{"a":5e-2}"#),
        (r#"{"a":"é/"}"#, r#"{"a":"\u00e9\/"}"#),
        (r#"{"Emotions":["a","b","a"]}"#, r#"{"Emotions":["a","a","b"]}"#),
        (r#"{"Metrics":[{"x":1,"y":2},{"x":0}]}"#, r#"{"Metrics":[{"x":0},{"y":2.0,"x":1}]}"#),
        (r#"{"Generated Intents":[{"keywords":["a","b"]}]}"#, r#"{"Generated Intents":[{"keywords":["b","a"]}]}"#),
        (r#"{"C":{"topics":[1,2],"L2_topics":[3,4]}}"#, r#"{"C":{"L2_topics":[4,3],"topics":[2,1]}}"#),
    ] {
        assert_eq!(hash(one), hash(other), "{one} and {other}");
    }
}

#[test]
fn what_means_something_changes_the_hash() {
    for (one, other) in [
        (r#"{"a":1}"#, r#"{"a":2}"#),
        (r#"{"a":1}"#, r#"{"a":10}"#),
        (r#"{"a":1}"#, r#"{"a":-1}"#),
        (r#"{"a":1}"#, r#"{"a":"1"}"#),
        (r#"{"a":1}"#, r#"{"b":1}"#),
        (r#"{"a":null}"#, "{}"),
        (r#"{"a":[]}"#, r#"{"a":{}}"#),
        (r#"{"a":["b","c"]}"#, r#"{"a":["bc"]}"#),
        (r#"{"a":[[1],2]}"#, r#"{"a":[[1,2]]}"#),
        (r#"{"Emotions":["a","a"]}"#, r#"{"Emotions":["a"]}"#),
        (r#"{"Agents":[1,2]}"#, r#"{"Agents":[2,1]}"#),
        (r#"{"Queues":[1,2]}"#, r#"{"Queues":[2,1]}"#),
        (r#"{"Speaking Rate":[1,2]}"#, r#"{"Speaking Rate":[2,1]}"#),
        (r#"{"message_id":["a","b"]}"#, r#"{"message_id":["b","a"]}"#),
        (r#"{"unheard of":{"deep":[1]}}"#, r#"{"unheard of":{"deep":[2]}}"#),
        (r#"{"a":1e99999999999}"#, r#"{"a":1e99999999998}"#),
        (r#"{"a":NaN}"#, r#"{"a":"NaN"}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
    ] {
        assert_ne!(hash(one), hash(other), "{one} and {other}");
    }
}

#[test]
fn the_hashes_of_the_vendors_records_never_change() {
    // A change here marks every contact of every warehouse as changed.
    let hashes: Vec<String> = vendor_records().iter().map(|r| format!("{:?}", read(r).canonical_hash)).collect();
    assert_eq!(hashes, ["ecca70d097c31fcd18ef27da99046325", "8a33ddbea762fb5e3544274a584fdb39"]);
}
