//! A server that answers from a script and keeps what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path_and_query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// One scripted answer: status, headers, body.
pub(super) type Line = (u16, Vec<(&'static str, String)>, Vec<u8>);

pub(super) fn line(status: u16, body: impl Into<Vec<u8>>) -> Line {
    (status, vec![("content-type", "application/json".to_owned())], body.into())
}

pub(super) fn empty_page() -> Line {
    line(200, r#"{"results":[],"totalResults":0,"hasMore":false,"totalPages":0}"#)
}

type Judge = Box<dyn Fn(&Asked) -> Option<Line> + Send + Sync>;

struct Play {
    script: Mutex<VecDeque<Line>>,
    judge: Judge,
    asked: Mutex<Vec<Asked>>,
}

pub(super) struct Server {
    pub(super) url: String,
    play: Arc<Play>,
}

impl Server {
    /// Gives the answers in turn, the last for ever.
    pub(super) async fn scripted(script: impl IntoIterator<Item = Line>) -> Self {
        Self::start(script.into_iter().collect(), Box::new(|_| None)).await
    }

    /// Lets `judge` answer each request.
    pub(super) async fn judging(judge: impl Fn(&Asked) -> Line + Send + Sync + 'static) -> Self {
        Self::start(VecDeque::new(), Box::new(move |asked| Some(judge(asked)))).await
    }

    async fn start(script: VecDeque<Line>, judge: Judge) -> Self {
        let play = Arc::new(Play { script: Mutex::new(script), judge, asked: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let app = axum::Router::new().fallback(answer).with_state(play.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, play }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.play.asked.lock().expect("a list").clone()
    }
}

async fn answer(State(play): State<Arc<Play>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let asked = Asked { path_and_query: uri.to_string(), headers, body };
    let judged = (play.judge)(&asked);
    play.asked.lock().expect("a list").push(asked);
    let (status, headers, body) = judged.unwrap_or_else(|| {
        let mut script = play.script.lock().expect("a script");
        if script.len() > 1 { script.pop_front() } else { script.front().cloned() }.expect("an answer")
    });
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).expect("a response")
}

/// A server that writes raw bytes to each connection in turn, the last for ever, then closes it, or
/// keeps it open for ever.
pub(super) async fn raw(script: Vec<&'static [u8]>, keeps_open: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let mut kept = Vec::new();
        for turn in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut request = vec![0; 64 * 1024];
            let mut length = 0;
            // The body follows the head, and both are small; it ends with the only object's brace.
            while !request[..length].ends_with(b"}") {
                match stream.read(&mut request[length..]).await {
                    Ok(read) if read > 0 => length += read,
                    _ => break,
                }
            }
            let bytes = script.get(turn).or(script.last()).expect("an answer");
            // A client that gave up is no fault of the server.
            let _ = stream.write_all(bytes).await;
            if keeps_open {
                kept.push(stream);
            }
        }
    });
    url
}
