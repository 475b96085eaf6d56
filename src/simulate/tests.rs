//! The simulated vendor as a client meets it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::*;
use crate::domain::clock::Clock;

mod faults;

/// Stands still unless told to go on; a sleep moves it.
#[derive(Debug)]
struct StoppedClock(Mutex<DateTime<Utc>>);

impl Clock for StoppedClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("the clock")
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.pass(TimeDelta::from_std(span).expect("a span"));
        Box::pin(std::future::ready(()))
    }
}

impl StoppedClock {
    fn pass(&self, span: TimeDelta) {
        *self.0.lock().expect("the clock") += span;
    }
}

fn end() -> DateTime<Utc> {
    DateTime::from_timestamp(1_774_224_000, 0).expect("a time")
}

/// A vendor whose 300 contacts of two days are long since listed.
fn options() -> Options {
    Options { contacts: 300, days: 2, end: Some(end()), still: true, requests_per_minute: 0, ..Options::default() }
}

struct World {
    clock: Arc<StoppedClock>,
    vendor: Running,
    client: reqwest::Client,
}

impl World {
    async fn new(options: Options) -> Self {
        let clock = Arc::new(StoppedClock(Mutex::new(end() + TimeDelta::hours(1))));
        let vendor = start(options, Arc::clone(&clock) as SharedClock).await.expect("a vendor");
        Self { clock, vendor, client: reqwest::Client::new() }
    }

    async fn faulty(faults: &[(Fault, f64)]) -> Self {
        let faults = faults.iter().map(|(fault, probability)| FaultRate { fault: *fault, probability: *probability });
        Self::new(Options { faults: faults.collect(), ..options() }).await
    }

    async fn send(&self, body: &Value) -> reqwest::Result<reqwest::Response> {
        let path = "/qualityai/api/v1/public/qualitymanagement/app/st-1/rawdata";
        self.client
            .post(self.vendor.url() + path)
            .header("auth", "token")
            .header("accountId", "acc")
            .header("orgId", "o-1")
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
    }

    async fn text(&self, body: &Value) -> String {
        let response = self.send(body).await.expect("an answer");
        assert_eq!(response.status(), 200);
        response.text().await.expect("a body")
    }

    async fn page(&self, body: &Value) -> Value {
        serde_json::from_str(&self.text(body).await).expect("JSON")
    }

    /// Every page of everything, by offset.
    async fn everything(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        loop {
            let page = self.page(&ask(rows.len() as u64, 1, 100)).await;
            let more = page["results"].as_array().expect("results").clone();
            if more.is_empty() {
                return rows;
            }
            rows.extend(more);
        }
    }

    fn expect(&self) -> Expectation {
        self.vendor.expect("st-1", "support", None, None, None, true)
    }
}

fn ask(offset: u64, page: u64, limit: u64) -> Value {
    let from = (end() - TimeDelta::days(3)).format("%Y-%m-%d %H:%M:%S").to_string();
    let to = (end() + TimeDelta::days(3)).format("%Y-%m-%d %H:%M:%S").to_string();
    json!({"offset": offset, "page": page, "limit": limit, "startDate": from, "endDate": to, "include_below_threshold": true})
}

/// The value under one of a key's spellings.
fn field<'a>(record: &'a Value, key: &str) -> Option<&'a Value> {
    let words: Vec<&str> = key.split(' ').collect();
    let camel = words.iter().enumerate().map(|(place, word)| {
        let word = word.to_lowercase();
        if place == 0 { word } else { word[..1].to_uppercase() + &word[1..] }
    });
    record
        .get(key)
        .or_else(|| record.get(camel.collect::<String>()))
        .or_else(|| record.get(key.to_lowercase().replace(' ', "_")))
}

fn id(record: &Value) -> String {
    field(record, "Conversation ID").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn ids(rows: &[Value]) -> Vec<String> {
    rows.iter().map(id).collect()
}

fn starts(rows: &[Value]) -> Vec<&str> {
    rows.iter().filter_map(|row| field(row, "Conversation Start Time")?.as_str()).collect()
}

fn rows(page: &Value) -> Vec<Value> {
    page["results"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn all_pages_hold_every_contact_once_and_agree_with_the_oracle() {
    let world = World::new(options()).await;
    let rows = world.everything().await;
    let distinct: HashSet<String> = ids(&rows).into_iter().collect();
    let expected = world.expect();
    assert_eq!((rows.len(), distinct.len()), (300, 300));
    assert_eq!((expected.listed, expected.quarantined, expected.tables["contacts"].rows), (300, 0, 300));
    assert!(starts(&rows).is_sorted());
    world.vendor.stop().await.expect("an orderly stop");
}

#[tokio::test]
async fn the_oracle_counts_the_rows_that_the_records_hold() {
    let world = World::new(options()).await;
    let mut counted = BTreeMap::<&str, usize>::new();
    let length = |value: Option<&Value>| value.and_then(Value::as_array).map_or(0, Vec::len);
    let mut queues = BTreeSet::new();
    for row in world.everything().await {
        let mut count = |table, rows| *counted.entry(table).or_default() += rows;
        count("contact_agents", length(field(&row, "Agents")));
        count("contact_queues", length(field(&row, "Queues")));
        for list in ["Emotions", "Customer emotions", "Agent emotions"] {
            count("contact_emotions", length(field(&row, list)));
        }
        count("speaking_rates", length(field(&row, "Speaking Rate")) + length(row.get("speechSpeed")));
        for key in ["Generated Intents", "Intents", "Topics"] {
            count("generated_intents", length(field(&row, key)));
            for intent in field(&row, key).and_then(Value::as_array).into_iter().flatten() {
                count("generated_intent_keywords", length(intent.get("keywords")));
            }
        }
        for metric in field(&row, "Metrics").and_then(Value::as_array).into_iter().flatten() {
            count("contact_metrics", 1);
            for kind in ["justification", "triggerJustification"] {
                for entry in metric[kind].as_array().into_iter().flatten() {
                    count("metric_justifications", 1);
                    let ids = entry.get("message_id");
                    count("justification_messages", if ids.is_some_and(Value::is_string) { 1 } else { length(ids) });
                }
            }
        }
        for l1 in row.pointer("/Configured_Intents/topics").and_then(Value::as_array).into_iter().flatten() {
            count("contact_topics", 1);
            for l2 in l1["L2_topics"].as_array().into_iter().flatten() {
                count("contact_topics", 1 + length(l2.get("L3_topics")));
            }
        }
        for queue in field(&row, "Queues").and_then(Value::as_array).into_iter().flatten() {
            queues.insert(field(queue, "Queue ID").or(field(queue, "Queue Name")).map(Value::to_string));
        }
    }
    let expected = world.expect();
    for (table, rows) in counted {
        assert!(rows > 0, "no {table}");
        assert_eq!(expected.tables[table].rows, rows as u64, "{table}");
    }
    assert!(expected.tables["queues"].rows >= 7 && queues.len() >= 7);
    for table in TABLES {
        assert!(expected.tables[*table].rows > 0, "{table}");
        assert!(expected.tables[*table].checksum.parse::<u128>().expect("a number") > 0, "{table}");
    }
}

#[tokio::test]
async fn records_are_as_large_as_real_ones() {
    let world = World::new(options()).await;
    let size: usize = world.everything().await.iter().map(|row| row.to_string().len()).sum();
    assert!((7_500..12_500).contains(&(size / 300)), "{} bytes on average", size / 300);
}

#[tokio::test]
async fn each_habit_of_paging_shows_every_contact_to_who_obeys_it() {
    for (paging, offset_step, page_step) in [
        (Paging::Offset, 50, 0),
        (Paging::Page, 0, 1),
        (Paging::Both, 50, 0),
        (Paging::Both, 0, 1),
        (Paging::OffsetAsPages, 1, 0),
    ] {
        for order in [Order::Asc, Order::Desc, Order::ById] {
            let world = World::new(Options { paging, order, ..options() }).await;
            let mut seen = HashSet::new();
            for k in 0..6 {
                let page = world.page(&ask(k * offset_step, 1 + k * page_step, 50)).await;
                assert_eq!(page["totalResults"], 300);
                assert_eq!(page["totalPages"], 6);
                assert_eq!(page["hasMore"], k < 5);
                seen.extend(ids(&rows(&page)));
            }
            assert_eq!(seen.len(), 300, "{paging:?} {order:?}");
        }
    }
}

#[tokio::test]
async fn orders_differ_and_are_stable() {
    let mut firsts = HashSet::new();
    for order in [Order::Asc, Order::Desc, Order::ById] {
        let world = World::new(Options { order, ..options() }).await;
        let page = world.page(&ask(0, 1, 100)).await;
        assert_eq!(page, world.page(&ask(0, 1, 100)).await);
        let times = rows(&page);
        assert_eq!(starts(&times).is_sorted(), order == Order::Asc);
        firsts.insert(id(&times[0]));
    }
    assert_eq!(firsts.len(), 3);
}

#[tokio::test]
async fn the_same_seed_is_the_same_vendor_and_another_stream_is_not() {
    let one = World::new(options()).await;
    let same = World::new(options()).await;
    let other = World::new(Options { seed: 2, ..options() }).await;
    let text = one.text(&ask(0, 1, 100)).await;
    assert_eq!(text, same.text(&ask(0, 1, 100)).await);
    assert_ne!(text, other.text(&ask(0, 1, 100)).await);
    assert_eq!(one.expect(), same.expect());
    assert_ne!(one.expect().tables, one.vendor.expect("st-2", "support", None, None, None, true).tables);
}

#[tokio::test]
async fn contacts_below_the_threshold_are_left_out_unless_asked_for() {
    let world = World::new(options()).await;
    let mut body = ask(0, 1, 100);
    body["include_below_threshold"] = json!(false);
    let page = world.page(&body).await;
    let total = page["totalResults"].as_u64().expect("a total");
    assert!((240..295).contains(&total), "{total}");
    assert_eq!(world.vendor.expect("st-1", "s", None, None, None, false).listed, total);
    let everything = World::new(Options { total_counts: TotalCounts::Everything, ..options() }).await;
    assert_eq!(everything.page(&body).await["totalResults"], 300);
    let inflated = World::new(Options { total_counts: TotalCounts::Inflated, ..options() }).await;
    assert_eq!(inflated.page(&ask(0, 1, 10)).await["totalResults"], 331);
}

#[tokio::test]
async fn live_contacts_appear_as_time_passes() {
    let world = World::new(Options { still: false, contacts: 2_880, ..options() }).await;
    let total = async || world.page(&ask(0, 1, 1)).await["totalResults"].as_u64().expect("a total");
    let before = total().await;
    world.clock.pass(TimeDelta::hours(10));
    let after = total().await;
    assert!((560..640).contains(&(after - before)), "{before} then {after}");
    assert_eq!(world.expect().listed, after);
}

#[tokio::test]
async fn a_wrong_token_account_or_stream_is_refused_alike() {
    for options in [
        Options { token: Some("another".into()), ..options() },
        Options { client_secret: Some("secret".into()), ..options() },
        Options { account_id: Some("another".into()), ..options() },
        Options { stream_ids: vec!["st-9".into()], ..options() },
    ] {
        let world = World::new(options).await;
        let response = world.send(&ask(0, 1, 10)).await.expect("an answer");
        assert_eq!(response.status(), 401);
        let body: Value = serde_json::from_str(&response.text().await.expect("a body")).expect("JSON");
        assert_eq!(body, json!({"errors": [{"msg": "Invalid SDK credentials", "code": 4002}]}));
    }
}

#[tokio::test]
async fn the_rate_limit_slides_and_is_told_in_each_disguise() {
    for (disguise, status) in [
        (Disguise::TooManyRequests, 429),
        (Disguise::Forbidden, 403),
        (Disguise::BadRequest, 400),
        (Disguise::Ok, 200),
        (Disguise::Unavailable, 503),
    ] {
        let options = Options { requests_per_minute: 2, disguise, retry_after: RetryAfter::Seconds, ..options() };
        let world = World::new(options).await;
        world.page(&ask(0, 1, 1)).await;
        world.clock.pass(TimeDelta::seconds(40));
        world.page(&ask(0, 1, 1)).await;
        let refused = world.send(&ask(0, 1, 1)).await.expect("an answer");
        assert_eq!(refused.status(), status);
        assert_eq!(refused.headers()["retry-after"], "20");
        assert!(refused.text().await.expect("a body").contains("exceeded the per-minute rate limit"));
        world.clock.pass(TimeDelta::seconds(20));
        assert_eq!(rows(&world.page(&ask(0, 1, 1)).await).len(), 1);
        let stats = world.vendor.stats();
        assert_eq!((stats.refusals, stats.rows_served, stats.busiest_minute), (1, 3, 3));
        assert_eq!(stats.requests["st-1"]["ok"], 3);
    }
}

#[tokio::test]
async fn faults_and_stats_and_the_oracle_are_there_over_http() {
    let world = World::new(options()).await;
    let get = async |path: &str| -> Value {
        let text = world.client.get(world.vendor.url() + path).send().await.expect("an answer").text().await;
        serde_json::from_str(&text.expect("a body")).expect("JSON")
    };
    let control = async |body: &str| {
        world
            .client
            .post(world.vendor.url() + "/control")
            .body(body.to_owned())
            .send()
            .await
            .expect("an answer")
            .status()
    };
    assert_eq!(control(r#"{"faults":{"http_500":1.0}}"#).await, 200);
    assert_eq!(world.send(&ask(0, 1, 10)).await.expect("an answer").status(), 500);
    assert_eq!(control(r#"{"faults":{"gremlins":1.0}}"#).await, 400);
    assert_eq!(control(r#"{"faults":{"http_500":0}}"#).await, 200);
    world.page(&ask(0, 1, 10)).await;
    assert_eq!(get("/stats").await["requests"]["st-1"], json!({"http_500": 1, "ok": 1}));
    let expected = serde_json::to_value(world.expect()).expect("JSON");
    assert_eq!(get("/oracle?stream=st-1&name=support").await, expected);
    let half = get("/oracle?stream=st-1&name=support&from=2026-03-22T00:00:00Z&to=2026-03-23T00:00:00Z").await;
    assert!((130..170).contains(&half["listed"].as_u64().expect("a count")), "{half}");
    let response = world.client.get(world.vendor.url() + "/elsewhere").send().await.expect("an answer");
    assert_eq!(response.status(), 404);
}

/// Every key of the vendor's page and of its other editions, and some in other spellings.
const DOCUMENTED: &str = "src|customConversationId|Conversation ID|Conversation Start Time|Conversation End Time|Language|\
    Duration|Sentiment|Sentiment Score|Queues|Queue ID|Queue Name|Agents|agentId|Agent ID|Agent Name|\
    Agent Start Time|Agent Email|Kore Evaluation Score|IsChurnRiskObserved|IsEscalationObserved|\
    Fatal Errors|Taxonomy Resolution|resolution|Emotions|duration_status|Speaking Rate|speechSpeed|\
    Sentiment Pattern|start|end|Customer emotions|Agent emotions|emotion|proportion|Metrics|Metric ID|\
    Metric Name|Metric Weight|Metric Negative Weight|Qualification|isFatalError|Auditor Response|\
    triggerJustification|justification|Pass Score|IsPassed|message_id|timestamp|sourceSystemValue|\
    agentMentionedValue|AgentEntity|Evaluation Form Name|Evaluation Form Scoring Type|Sentiment Ratio|\
    positive|neutral|negative|Generated Intents|Intents|Topics|intent|topic|keywords|Configured_Intents|\
    topics|topic_name|level|confidence_score|L2_topics|L3_topics|total_topics_identified|nWords|\
    timeTaken|average|score|source|sourceId|messageId|msg_timestamp|Crutch Word Score|Empathy Score|\
    Customer talk ratio percentage|Agent talk ratio percentage|Silence percentage|Audit Status|\
    Audit Date|Auditor Name|Audit Score|custom_fields|agentRecordings|Channel|contactDirection|\
    is_direction_defaulted|conversationId|conversation_id|metricWeight|agent_name";

#[tokio::test]
async fn every_documented_field_occurs() {
    let world = World::new(options()).await;
    let text: String = world.everything().await.iter().map(Value::to_string).collect();
    for key in DOCUMENTED.split('|') {
        assert!(text.contains(&format!("\"{key}\":")), "no {key}");
    }
}

#[tokio::test]
async fn a_vendor_that_filters_by_the_end_shows_rows_that_start_before_the_range() {
    let options = Options { filter: Filter::End, contacts: 30_000, ..options() };
    let world = World::new(options).await;
    let body = json!({"offset": 0, "limit": 100, "include_below_threshold": true,
        "startDate": "2026-03-22 10:00:00", "endDate": "2026-03-22 10:05:00"});
    let rows = rows(&world.page(&body).await);
    let early = starts(&rows).iter().filter(|start| **start < "2026-03-22T10:00:00").count();
    assert!(rows.len() > 20 && early > 5, "{early} of {}", rows.len());
    let is_within = |row: &Value| {
        let end = field(row, "Conversation End Time").and_then(Value::as_str).unwrap_or_default();
        ("2026-03-22T10:00:00.000Z"..="2026-03-22T10:05:00.000Z").contains(&end)
    };
    assert!(rows.iter().all(is_within));
}

#[tokio::test]
async fn the_last_page_may_lie_and_bad_arguments_are_refused() {
    let world = World::new(Options { has_more_lies: true, ..options() }).await;
    assert_eq!(world.page(&ask(290, 1, 10)).await["hasMore"], true);
    let beyond = world.page(&ask(300, 1, 10)).await;
    assert_eq!((rows(&beyond).len(), &beyond["hasMore"], &beyond["totalResults"]), (0, &json!(false), &json!(300)));
    assert_eq!(world.send(&json!({"offset": 0})).await.expect("an answer").status(), 400);
    assert_eq!(world.send(&ask(0, 1, 0)).await.expect("an answer").status(), 400);
    assert_eq!(world.vendor.stats().requests["st-1"], BTreeMap::from([("bad_request".into(), 2), ("ok".into(), 2)]));
}
