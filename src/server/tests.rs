use std::net::SocketAddr;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::notify::Heartbeat;
use super::*;
use crate::config::Loader;
use crate::domain::SystemClock;
use crate::status::Board;

/// Of a daemon that waits for its warehouse.
fn board() -> Board {
    let settings = Loader::default().load_text("test.toml", "").expect("settings");
    Board::new(Arc::new(settings), Arc::new(SystemClock))
}

struct Running {
    address: SocketAddr,
    readiness: Readiness,
    stopping: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn start() -> Running {
    start_with(Heartbeat::default()).await
}

async fn start_with(heartbeat: Heartbeat) -> Running {
    let readiness = Readiness::awaiting(["database", "schema", "streams"]);
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let bound = bind(([127, 0, 0, 1], 0).into(), readiness.clone(), Some(heartbeat), metrics, board())
        .await
        .expect("a listener");
    let stopping = CancellationToken::new();
    let address = bound.address;
    let task = tokio::spawn(bound.run(stopping.clone()));
    Running { address, readiness, stopping, task }
}

impl Running {
    /// Sends these bytes and reads to the end.
    async fn send(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        // The server may hang up on an oversized request before it is sent whole.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn ask(&self, method: &str, path: &str) -> String {
        self.send(format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await
    }
}

#[tokio::test]
async fn readyz_is_503_and_names_the_failing_checks_until_all_pass() {
    let server = start().await;
    let answer = server.ask("GET", "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("database: waiting\n"), "{answer}");
    server.readiness.pass("database");
    server.readiness.pass("schema");
    server.readiness.fail("streams", "support is\nrefused");
    let answer = server.ask("GET", "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("schema: ok\nstreams: failing: support is refused\nnot ready\n"), "{answer}");
    let json = server.ask("GET", "/readyz?format=json").await;
    assert!(json.contains(r#""check":"streams""#) && json.contains(r#""ready":false"#), "{json}");
    server.readiness.pass("streams");
    let answer = server.ask("GET", "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ready\n"), "{answer}");
}

#[tokio::test]
async fn livez_asks_nobody() {
    let server = start().await;
    server.readiness.fail("database", "gone");
    assert!(server.ask("GET", "/livez").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn livez_is_503_while_nothing_gets_on() {
    let heartbeat = Heartbeat::silent_for(std::time::Duration::from_secs(90));
    let server = start_with(heartbeat.clone()).await;
    let answer = server.ask("GET", "/livez").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("no progress for 90 seconds"), "{answer}");
    heartbeat.beat();
    assert!(server.ask("GET", "/livez").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    let server = start().await;
    let head = server.ask("HEAD", "/livez").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        for path in ["/", "/livez", "/readyz", "/metrics"] {
            assert!(server.ask(method, path).await.starts_with("HTTP/1.1 405"), "{method} {path}");
        }
    }
    assert!(server.ask("GET", "/nothing").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn no_request_brings_it_down() {
    let server = start().await;
    for path in ["/readyz?%", "/readyz?format=%ff&&=&", "/%00", "//", "/readyz?a=\u{fc}"] {
        let answer = server.ask("GET", path).await;
        assert!(answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
    }
    server.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    server.send(b"GET /readyz HTTP/1.1\r\nhost: x\r\naccept: \xff\xfe\r\nconnection: close\r\n\r\n").await;
    let long = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\nconnection: close\r\n\r\n", "a".repeat(1 << 20));
    assert!(!server.send(long.as_bytes()).await.starts_with("HTTP/1.1 200"));
    let many = format!("GET /livez HTTP/1.1\r\n{}connection: close\r\n\r\n", "x: y\r\n".repeat(1_000));
    assert!(!server.send(many.as_bytes()).await.starts_with("HTTP/1.1 200"));
    assert!(server.ask("GET", "/livez").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn it_stops_when_told_even_with_an_idle_connection() {
    let server = start().await;
    let mut idle = TcpStream::connect(server.address).await.expect("a connection");
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let mut byte = [0; 1];
    idle.read_exact(&mut byte).await.expect("an answer");
    server.stopping.cancel();
    server.task.await.expect("a clean end");
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_taken_port_is_told_at_once() {
    let server = start().await;
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    assert!(bind(server.address, Readiness::default(), None, metrics, board()).await.is_err());
}

#[tokio::test]
async fn while_the_warehouse_is_waited_for_the_page_says_so() {
    let server = start().await;
    server.readiness.fail("database", "no connection to <db>");
    let page = server.ask("GET", "/").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("The warehouse is out of reach"), "{page}");
    assert!(page.contains("<b>database</b>: no connection to &lt;db&gt;"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'; style-src 'self'"), "{page}");
    for path in
        ["/streams/support", "/windows/1", "/streams/x/windows?from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z"]
    {
        let answer = server.ask("GET", path).await;
        assert!(answer.contains("waited for"), "{path}: {answer}");
    }
    assert!(server.ask("GET", "/status.json").await.starts_with("HTTP/1.1 503"));
}
