//! What is remembered of a contact's earlier content, and what can be asked of a past moment.

use std::sync::{Arc, RwLock};

use axum::Router;
use axum::routing::post;
use chrono::{DateTime, TimeDelta, Utc};
use koresync::domain::Window;
use koresync::simulate::Options;
use koresync::sync::{Mode, Outcome};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use crate::support::logins::Login;
use crate::support::mirror::{Mirror, STREAM, Settings, end, population};

const PAGE: &str = include_str!("../../src/normalise/testdata/vendor_page.json");

/// A vendor whose records the test writes.
#[derive(Clone)]
struct Vendor(Arc<RwLock<Vec<Value>>>);

impl Vendor {
    /// The page of the vendor's own documentation.
    async fn start() -> (Self, String) {
        let page: Value = serde_json::from_str(PAGE).expect("the vendor's sample");
        let records = page["results"].as_array().expect("records").clone();
        let vendor = Self(Arc::new(RwLock::new(records)));
        let answer = {
            let vendor = vendor.clone();
            move || {
                let records = vendor.0.read().expect("the records").clone();
                let page = json!({ "totalResults": records.len(), "hasMore": false, "results": records });
                async move { ([("content-type", "application/json")], page.to_string()) }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(answer))).await });
        (vendor, url)
    }

    fn edit(&self, edit: impl FnOnce(&mut Vec<Value>)) {
        edit(&mut self.0.write().expect("the records"));
    }
}

struct History {
    mirror: Mirror,
    vendor: Vendor,
    pool: PgPool,
}

impl History {
    async fn start() -> Self {
        let mut mirror = Mirror::start(Options { contacts: 1, ..population() }, Settings::default()).await;
        let (vendor, url) = Vendor::start().await;
        mirror.base_url = Some(url);
        let pool = mirror.database.pool().await;
        Self { mirror, vendor, pool }
    }

    async fn read(&self) {
        let range = Window::new(end() - self.mirror.settings.history, end()).expect("a range");
        let engine = self.mirror.engine(CancellationToken::new()).await;
        let id = self.mirror.warehouse().file_backfill(STREAM, range, None).await.expect("a backfill");
        assert_eq!(engine.run(Mode::Backfill(id)).await.expect("an engine that lives"), Outcome::Done);
    }

    async fn changes(&self) -> i64 {
        self.mirror.number("select count(*) from kore.contact_changes").await
    }

    /// Scores by conversation, as they were known at a moment.
    async fn scores_at(&self, moment: DateTime<Utc>) -> Vec<(String, Option<String>)> {
        sqlx::query_as(
            "select conversation_id, evaluation_score::text from kore.contacts_as_of($1) order by conversation_id",
        )
        .bind(moment)
        .fetch_all(&self.pool)
        .await
        .expect("contacts of a moment")
    }

    async fn moments(&self, query: &'static str) -> Vec<DateTime<Utc>> {
        sqlx::query_scalar(query).fetch_all(&self.pool).await.expect("moments")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_history_is_made_by_a_real_change_alone() {
    let history = History::start().await;
    history.read().await;
    history.read().await;
    assert_eq!(history.changes().await, 0, "the same records, read twice");
    history.vendor.edit(|records| {
        let record = &mut records[1];
        let mut metric = record["Metrics"][0].clone();
        metric["Metric ID"] = json!("em-2");
        record["Metrics"].as_array_mut().expect("a list").push(metric);
    });
    history.read().await;
    assert_eq!(history.changes().await, 1, "a metric more");
    history.vendor.edit(|records| {
        let record = &mut records[1];
        // Another order of lists whose order means nothing, of keys, and another spelling of a number.
        let emotions = record["Agent emotions"].as_array_mut().expect("a list");
        emotions.reverse();
        let keywords = record["Generated Intents"][0]["keywords"].as_array_mut().expect("a list");
        keywords.reverse();
        record["Metrics"].as_array_mut().expect("a list").reverse();
        record["Kore Evaluation Score"] = json!(77.0);
        let members: Vec<(String, Value)> = record.as_object().expect("a record").clone().into_iter().rev().collect();
        *record = Value::Object(members.into_iter().collect());
        records.reverse();
    });
    history.read().await;
    assert_eq!(history.changes().await, 1, "order alone");
    history.vendor.edit(|records| {
        records.reverse();
        records[1]["Kore Evaluation Score"] = json!(78);
        records[0]["Agents"][0]["Agent Start Time"] = json!("2026-03-23T10:18:48.000Z");
    });
    history.read().await;
    let changed: Vec<String> = sqlx::query_scalar(
        "select array_to_string(changed_columns, ',') || ' ' || (old_values ->> 'evaluation_score' is not null)::text \
         from kore.contact_changes join kore.contacts using (contact_key) order by started_at, version",
    )
    .fetch_all(&history.pool)
    .await
    .expect("changes");
    // Lists that only stand in another order than they were written in are no part of it.
    let expected = [
        "contact_agents false",
        "contact_metrics,metric_justifications,justification_messages false",
        "evaluation_score true",
    ];
    assert_eq!(changed, expected, "a row for each real change");
    history.read().await;
    assert_eq!(history.changes().await, 3, "the changed records, read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_score_of_any_past_moment_can_be_asked() {
    let history = History::start().await;
    history.vendor.edit(|records| {
        records.remove(0);
        records[0]["Kore Evaluation Score"] = json!("NA");
    });
    history.read().await;
    let one =
        |score: Option<&str>| vec![("c-d7bda7b-25be-4e01-975b-04e7aad1xxxx".to_owned(), score.map(str::to_owned))];
    let scores = [json!(40), json!(55.5), json!("NA"), json!(91)];
    for value in &scores {
        history.vendor.edit(|records| records[0]["Kore Evaluation Score"] = value.clone());
        history.read().await;
    }
    history.vendor.edit(|records| {
        let page: Value = serde_json::from_str(PAGE).expect("the vendor's sample");
        records.push(page["results"][0].clone());
    });
    history.read().await;
    let changed = history.moments("select valid_to from kore.contact_changes order by version").await;
    let [first_seen, other_seen]: [DateTime<Utc>; 2] =
        history.moments("select first_seen_at from kore.contacts order by 1").await.try_into().expect("two contacts");
    assert_eq!(changed.len(), scores.len());
    let tick = TimeDelta::microseconds(1);
    assert_eq!(history.scores_at(first_seen - tick).await, [], "before anything was known");
    assert_eq!(history.scores_at(first_seen).await, one(None));
    let known = [None, Some("40"), Some("55.5"), None, Some("91")];
    for (place, moment) in changed.iter().enumerate() {
        assert_eq!(history.scores_at(*moment - tick).await, one(known[place]), "just before change {place}");
        assert_eq!(history.scores_at(*moment).await, one(known[place + 1]), "in the moment of change {place}");
    }
    assert_eq!(history.scores_at(other_seen - tick).await.len(), 1, "a contact first seen later is absent");
    assert_eq!(history.scores_at(other_seen).await.len(), 2);

    // The whole row: of now, and of a moment whose columns only differ in what changed since.
    let differing =
        "select count(*) from (select * from kore.contacts_as_of('infinity') except select * from kore.contacts) d";
    assert_eq!(history.mirror.number(differing).await, 0);
    let columns: Vec<String> = sqlx::query_scalar(
        "select n.key from kore.contacts_as_of($1) o join kore.contacts c using (contact_key), \
           lateral jsonb_each(to_jsonb(c)) n where to_jsonb(o) -> n.key is distinct from n.value order by 1",
    )
    .bind(changed[0])
    .fetch_all(&history.pool)
    .await
    .expect("columns");
    assert_eq!(columns, ["evaluation_score", "updated_at"]);
    let updated: DateTime<Utc> = sqlx::query_scalar("select updated_at from kore.contacts_as_of($1)")
        .bind(changed[1] - tick)
        .fetch_one(&history.pool)
        .await
        .expect("a contact");
    assert_eq!(updated, changed[0], "updated_at is the time of the version shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_may_ask_for_a_past_moment() {
    let history = History::start().await;
    history.read().await;
    let login = Login::of(&history.mirror.database, "kore_reader").await;
    let mut connection = PgConnection::connect(&login.url).await.expect("the reader's connection");
    let known: i64 = sqlx::query_scalar("select count(*) from kore.contacts_as_of(now() + interval '100 years')")
        .fetch_one(&mut connection)
        .await
        .expect("a count");
    assert_eq!(known, 2);
    let comment: Option<String> =
        sqlx::query_scalar("select obj_description('kore.contacts_as_of(timestamptz)'::regprocedure)")
            .fetch_one(&history.pool)
            .await
            .expect("a comment");
    assert!(comment.is_some_and(|comment| comment.contains("Grain")));
    sqlx::query("update kore.contacts set removed_at = (first_seen_at at time zone 'UTC' + interval '1 hour') at time zone 'UTC'")
        .execute(&history.pool)
        .await
        .expect("contacts that vanished");
    for (hours, gone) in [("59 minutes", 0), ("1 hour", 2)] {
        let known: (i64, i64) = sqlx::query_as(
            "select count(*), count(removed_at) from kore.contacts_as_of((select min(first_seen_at) from kore.contacts) + $1::interval)",
        )
        .bind(hours)
        .fetch_one(&history.pool)
        .await
        .expect("counts");
        assert_eq!(known, (2, gone), "known to be gone after {hours}");
    }
}
