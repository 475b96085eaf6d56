//! A vendor of one page.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;

/// A server that gives this answer to every request; where it is.
pub async fn answering(body: String) -> String {
    let body: Arc<str> = body.into();
    let answer = move || {
        let body = Arc::clone(&body);
        async move { ([("content-type", "application/json")], body.to_string()) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(answer))).await });
    url
}

/// A server that fails at every request; where it is.
pub async fn failing() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "out of order") });
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}
