//! Listening: bounded in connections, header size and patience.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::notify::Heartbeat;
use super::pages;
use super::readiness::Readiness;
use crate::status::Board;

/// Side by side. One more ends the oldest: whoever holds connections open and asks nothing must not keep others out, and
/// an answer takes no longer than a moment.
const CONNECTIONS: usize = 64;
/// For a request's headers, and for the next request of an idle connection.
const HEADER_PATIENCE: Duration = Duration::from_secs(30);
/// Of request line and headers together; more is answered 431.
const HEADER_BYTES: usize = 16 << 10;
/// For answers under way when the daemon stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// After a failed accept, which mostly means that file descriptors ran out.
const BREATH: Duration = Duration::from_millis(200);
const UPKEEP: Duration = Duration::from_secs(5);

/// A server that listens and is yet to be run.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    router: Router,
    metrics: PrometheusHandle,
    /// Where it listens: the port that was found when 0 was asked for.
    pub address: SocketAddr,
}

/// Binds the address, so that a taken port is told before anything starts. Without a heartbeat whoever answers lives.
pub async fn bind(
    address: SocketAddr,
    readiness: Readiness,
    heartbeat: Option<Heartbeat>,
    metrics: PrometheusHandle,
    board: Board,
) -> std::io::Result<Bound> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let router = pages::router(readiness, heartbeat, metrics.clone(), board);
    Ok(Bound { listener, router, metrics, address })
}

impl Bound {
    /// Answers until `stopping`, then finishes what is under way and returns.
    pub async fn run(self, stopping: CancellationToken) {
        let mut open: VecDeque<CancellationToken> = VecDeque::with_capacity(CONNECTIONS);
        let connections = TaskTracker::new();
        let mut upkeep = interval(UPKEEP);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                () = stopping.cancelled() => break,
                _ = upkeep.tick() => {
                    self.metrics.run_upkeep();
                    continue;
                }
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    open.retain(|connection| !connection.is_cancelled());
                    if open.len() >= CONNECTIONS
                        && let Some(oldest) = open.pop_front()
                    {
                        oldest.cancel();
                    }
                    let over = CancellationToken::new();
                    open.push_back(over.clone());
                    let serving = serve(stream, self.router.clone(), stopping.clone());
                    connections.spawn(async move {
                        over.run_until_cancelled(serving).await;
                        over.cancel();
                    });
                }
                Err(error) => {
                    tracing::warn!(error = %error, "A connection to server.listen could not be accepted; trying again.");
                    sleep(BREATH).await;
                }
            }
        }
        connections.close();
        if timeout(FAREWELL, connections.wait()).await.is_err() {
            tracing::debug!(connections = connections.len(), "Left connections that did not end.");
        }
    }
}

async fn serve(stream: TcpStream, router: Router, stopping: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(error = %error, "a connection ended early");
    }
}
