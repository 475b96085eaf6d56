//! The two records of the vendor's own page, through the whole way into the tables.

use koresync::simulate::Options;
use koresync::sync::Outcome;
use sqlx::PgPool;

use crate::support::mirror::{Mirror, Settings, population};
use crate::support::vendor::answering;

const PAGE: &str = include_str!("../../src/normalise/testdata/vendor_page.json");

/// A server that has just these two records, all the time.
async fn vendor() -> String {
    let mut page: serde_json::Value = serde_json::from_str(PAGE).expect("the vendor's sample");
    page["totalResults"] = 2.into();
    page["hasMore"] = false.into();
    answering(page.to_string()).await
}

async fn texts(pool: &PgPool, query: &'static str) -> Vec<Vec<Option<String>>> {
    sqlx::query_scalar(query).fetch_all(pool).await.unwrap_or_else(|error| panic!("{query}: {error}"))
}

fn row(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| (*value != "NULL").then(|| (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_two_records_give_exactly_their_values() {
    let mut mirror = Mirror::start(Options { contacts: 1, ..population() }, Settings::default()).await;
    mirror.base_url = Some(vendor().await);
    assert_eq!(mirror.run_once().await, Outcome::Done);
    let pool = mirror.database.pool().await;
    assert_eq!(
        texts(&pool, "select array[duration_ms::text, evaluation_score::text, is_passed::text, positive_pct::text, neutral_pct::text, negative_pct::text, sentiment_score::text, total_topics_identified::text, pass_score::text, started_on::text] from kore.contacts order by started_at").await,
        [
            row(&["21216", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "40", "2026-03-23"]),
            row(&["187519", "77", "true", "50", "50", "0", "6.52", "5", "40", "2026-03-23"]),
        ]
    );
    assert_eq!(
        texts(&pool, "select array[speaker, emotion, proportion_pct::text] from kore.contact_emotions join kore.emotions using (emotion_key) order by speaker, ordinal").await,
        [
            row(&["agent", "happiness", "66.67"]),
            row(&["agent", "patience", "33.33"]),
            row(&["contact", "happy", "NULL"]),
            row(&["customer", "happy", "100"]),
        ]
    );
    assert_eq!(
        texts(&pool, "select array[topic_path, c.level::text, confidence_score::text, sentiment_score::text, is_resolved::text] from kore.contact_topics c join kore.topics using (topic_key) order by ordinal").await,
        [
            row(&["E-commerce", "1", "0.9", "NULL", "NULL"]),
            row(&["E-commerce > Order Management", "2", "0.85", "NULL", "NULL"]),
            row(&["E-commerce > Order Management > Place order", "3", "0.9", "9", "true"]),
        ]
    );
    assert_eq!(
        texts(&pool, "select array[kind, message_id, to_char(message_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), justification] from kore.metric_justifications j join kore.justification_messages m using (contact_key, metric_ordinal, kind) where m.justification_ordinal = j.ordinal").await,
        [row(&[
            "justification",
            "ms-a6224cf6-dbda-5cb5-8955-55eaec9exxxx",
            "2026-03-23T10:22:24.727Z",
            "The agent initiated the interaction with a courteous and welcoming greeting.",
        ])]
    );
    assert_eq!(
        texts(&pool, "select array[intent, sentiment, sentiment_score::text, array_to_string(emotions, ',')] || array(select keyword from kore.generated_intent_keywords k where (k.contact_key, k.intent_ordinal) = (i.contact_key, i.ordinal) order by k.ordinal) from kore.generated_intents i").await,
        [row(&["Book a flight to Amsterdam", "positive", "9", "Happy", "flight", "Amsterdam", "book"])]
    );
    assert_eq!(
        texts(&pool, "select array[agent_id, agent_name, agent_email] from kore.agents").await,
        [row(&["a-a25ad66-638d-46c0-b4db-7e5a7360xxxx", "John Doe", "johndoe@yopmail.com"])]
    );
    assert_eq!(
        texts(&pool, "select array[metric_id, weight::text, negative_weight::text, qualification] from kore.contact_metrics join kore.metrics using (metric_key) join kore.contacts using (contact_key) order by started_at").await,
        [
            row(&["em-44758b38-816c-557b-b6a9-2d2c6297xxxx", "28", "27", "NULL"]),
            row(&["em-44758b38-816c-557b-b6a9-2d2c6297xxxx", "28", "27", "YES"]),
        ]
    );
}
