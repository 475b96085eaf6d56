//! Whoever calls the daemon's pages: no request crashes it, swells it or keeps others out.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::process::{Configuration, Process, Program, Stream};
use crate::support::site::chances;

const REQUESTS: usize = 10_000;
const CALLERS: usize = 8;
const GROWTH_MOST: u64 = 16_000_000;
const PATHS: [&str; 6] = ["/", "/livez", "/readyz", "/metrics", "/nothing", "*"];

/// A daemon that waits for its database: its pages are there from the first moment.
async fn daemon() -> (Program, Process, String) {
    let start = "2026-01-01T00:00:00Z".parse().expect("a time");
    let streams = vec![Stream::new("support", "st-1", start)];
    let program =
        Program::new(&Configuration::new("postgres://nobody@127.0.0.1:1/nothing", "http://127.0.0.1:1", streams));
    let mut daemon = program.spawn(&["run"]);
    let address = daemon.address().await;
    (program, daemon, address)
}

/// Sends this and reads to the end; empty when the server hung up at once.
async fn answer(address: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // It may hang up before it has heard everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    // What it takes for the start of a request it waits for, and longer than this test.
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    answer
}

fn random_bytes(chances: &mut StdRng, most: usize) -> Vec<u8> {
    let (length, is_text) = (chances.random_range(0..most), chances.random_bool(0.5));
    (0..length).map(|_| if is_text { chances.random_range(b'!'..=b'~') } else { chances.random() }).collect()
}

/// A request of which something is at random: method, path, query, a header's name and value, or the whole of it.
fn random_request(chances: &mut StdRng) -> Vec<u8> {
    if chances.random_bool(0.1) {
        return [random_bytes(chances, 4_000).as_slice(), b"\r\n\r\n"].concat();
    }
    let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "\u{0}"];
    let method = methods[chances.random_range(0..methods.len())];
    let path = PATHS[chances.random_range(0..PATHS.len())];
    let query = random_bytes(chances, 300);
    let (name, value) = (random_bytes(chances, 30), random_bytes(chances, 300));
    let name = if chances.random_bool(0.5) { b"accept".to_vec() } else { name };
    let request = [method.as_bytes(), b" ", path.as_bytes(), b"?", &query, b" HTTP/1.1\r\nhost: x\r\n", &name, b": "];
    [request.concat().as_slice(), &value, b"\r\nconnection: close\r\n\r\n"].concat()
}

fn status(answer: &[u8]) -> &str {
    std::str::from_utf8(answer.get(9..12).unwrap_or_default()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_brings_the_daemon_down_or_swells_it() {
    let (_program, mut daemon, address) = daemon().await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        for path in &PATHS[..4] {
            let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            assert_eq!(status(&answer(&address, request.as_bytes()).await), "405", "{method} {path}");
        }
    }
    let before = daemon.memory_peak();
    let long = "a".repeat(1 << 20);
    for request in [
        format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("GET /readyz?{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("GET /livez HTTP/1.1\r\nhost: x\r\naccept: {long}\r\n\r\n"),
        format!("GET /livez HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(100_000)),
        format!("GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{long}", u64::MAX),
        format!("GET /livez HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{long}"),
    ] {
        answer(&address, request.as_bytes()).await;
    }
    // Pipelined: what is well-formed is answered, what follows it ends the connection.
    let mut pipelined = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    pipelined.extend_from_slice(b"\x16\x03\x01\x00\xff garbage \r\n\r\n GET /metrics HTTP/1.1\r\n\r\n");
    let answers = answer(&address, &pipelined).await;
    let answered = answers.windows(12).filter(|window| window.starts_with(b"HTTP/1.1 200")).count();
    assert_eq!(answered, 100, "{}", String::from_utf8_lossy(&answers));

    let mut seeds = chances();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (address, mut chances): (String, StdRng) = (address.clone(), rand::SeedableRng::from_rng(&mut seeds));
            tokio::spawn(async move {
                let mut answered = 0;
                for _ in 0..REQUESTS / CALLERS {
                    let request = random_request(&mut chances);
                    let answer = answer(&address, &request).await;
                    let is_orderly = answer.is_empty() || answer.starts_with(b"HTTP/1.1 ");
                    assert!(is_orderly && status(&answer) != "500", "{request:?}: {answer:?}");
                    answered += u32::from(!answer.is_empty());
                }
                answered
            })
        })
        .collect();
    let mut answered = 0;
    for caller in callers {
        answered += caller.await.expect("answers");
    }
    assert!(daemon.is_running(), "{}", daemon.told());
    assert_eq!(daemon.page("/livez").await, "ok\n");
    match (before, daemon.memory_peak()) {
        (Ok(before), Ok(after)) => {
            println!("{answered} of {REQUESTS} were answered; {before} bytes before, {after} afterwards");
            assert!(after - before < GROWTH_MOST, "it grew from {before} to {after} bytes");
        }
        (before, _) => println!("SKIPPED: its memory is not known here: {before:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_never_get_to_the_point_keep_nobody_out() {
    let (_program, mut daemon, address) = daemon().await;
    let mut held = Vec::new();
    for place in 0..300 {
        let mut stream = TcpStream::connect(&address).await.expect("a connection");
        // Some say nothing at all, the others never end their headers.
        if place % 3 > 0 {
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nx: ").await.expect("a part of a request");
        }
        held.push(stream);
    }
    for round in 0..5 {
        let began = Instant::now();
        let answer = answer(&address, b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert_eq!(status(&answer), "200", "{}", daemon.told());
        assert!(began.elapsed() < Duration::from_secs(2), "round {round} took {:?}", began.elapsed());
        for stream in &mut held {
            // Those that were ended hear of it here.
            let _ = stream.write_all(b"a").await;
        }
    }
    assert!(daemon.is_running());
}
