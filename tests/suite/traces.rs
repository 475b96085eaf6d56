//! Spans of windows reach a collector, and a line of the log leads to its trace. With the feature `otel` (`make otel-check`).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Uri};
use axum::routing::post;
use koresync::simulate;
use serde_json::Value;

use crate::support::mirror::population;
use crate::support::postgres::TestDatabase;
use crate::support::process::Program;
use crate::support::site::Site;

const A_LOAD: Duration = Duration::from_mins(2);

/// Path, kind and body of what a collector was sent.
type Sent = Arc<Mutex<Vec<(String, String, Vec<u8>)>>>;

async fn collector() -> (String, Sent) {
    let sent = Sent::default();
    let keeps = Arc::clone(&sent);
    let take = move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        keeps.lock().expect("no panic").push((uri.path().to_owned(), kind, body.to_vec()));
        async { ([("content-type", "application/x-protobuf")], Vec::<u8>::new()) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(take))).await });
    (url, sent)
}

fn holds(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

/// The trace of each window that the log tells of, one at least.
fn traces(told: &str) -> Vec<String> {
    let lines = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let written = lines.filter(|line| line.to_string().contains("A window was written."));
    let traces: Vec<String> =
        written.map(|line| find(&line, "trace.id").unwrap_or_else(|| panic!("no trace in {line}"))).collect();
    assert!(!traces.is_empty(), "no window was written:\n{told}");
    traces
}

fn find(value: &Value, key: &str) -> Option<String> {
    match value {
        Value::Object(members) => {
            let own = members.get(key).and_then(Value::as_str).map(str::to_owned);
            own.or_else(|| members.values().find_map(|member| find(member, key)))
        }
        Value::Array(values) => values.iter().find_map(|value| find(value, key)),
        _ => None,
    }
}

/// What a load told that sends its spans there.
async fn told_by_a_load(endpoint: &str) -> String {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), simulate::Options { contacts: 200, days: 2, ..population() }).await;
    let program = Program::new(&site.configuration()).with("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    let (exit, told) = program.run(&["run", "--once"], A_LOAD).await;
    assert_eq!(exit, Some(0), "{told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn each_window_is_a_trace_that_its_lines_name() {
    let (endpoint, sent) = collector().await;
    let told = told_by_a_load(&endpoint).await;
    let sent = std::mem::take(&mut *sent.lock().expect("no panic"));
    assert!(!sent.is_empty(), "no span was sent:\n{told}");
    for (path, kind, body) in &sent {
        assert_eq!((path.as_str(), kind.as_str()), ("/v1/traces", "application/x-protobuf"));
        assert!(holds(body, b"koresync"), "the service has no name");
    }
    for trace in &traces(&told) {
        let bytes: Vec<u8> = (0..trace.len() / 2)
            .map(|n| u8::from_str_radix(&trace[2 * n..2 * n + 2], 16).expect("hexadecimal digits"))
            .collect();
        assert_eq!(bytes.len(), 16, "{trace}");
        assert!(sent.iter().any(|(.., body)| holds(body, &bytes)), "{trace} was not sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_nothing_but_its_spans() {
    traces(&told_by_a_load("http://127.0.0.1:1").await);
}
