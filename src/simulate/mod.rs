//! The simulated vendor: answers like the documented API, from a seed.
//!
//! Every contact is made anew from (seed, stream id, index) whenever it is asked for, so a population
//! of any size costs no memory, and its record, its history and what a perfect mirror holds of it
//! are the same for everybody who asks at the same moment. It obeys the vendor's page and shares no
//! code with the client and the normaliser: a judge must not inherit the faults of what it judges.
//!
//! Beside the API it answers `GET /stats`, `POST /control` with `{"faults": {name: probability}}`, and
//! `GET /oracle?stream=ID[&name=NAME][&from=T][&to=T][&at=T][&below=false]`.

mod answers;
mod ask;
mod auth;
mod connection;
mod contact;
mod dice;
mod faults;
mod json_text;
mod lifecycle;
mod limiter;
mod options;
mod oracle;
mod pages;
mod population;
mod render;
mod rendering;
mod server;
mod stats;
#[cfg(test)]
mod tests;
mod vendor;
mod vocabulary;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use faults::{Fault, FaultRate, NotAFault};
pub use options::{Disguise, Excess, Filter, Options, Order, Paging, RetryAfter, TotalCounts};
pub use oracle::{CHECKSUMS_SQL, Expectation, TABLES, TableSum};
pub use rendering::{Rendered, Rendering};
pub use stats::{AskedRange, Stats};

use crate::domain::clock::SharedClock;
use connection::{BreakableListener, Breaker};
use server::Simulator;

/// Connections that are still open are given up so long after the stop.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Answers on `listener` until `stop`.
pub async fn serve(
    options: Options,
    clock: SharedClock,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    run(Simulator::new(options, clock, stop.clone()), listener, stop).await
}

async fn run(simulator: Arc<Simulator>, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    let service: IntoMakeServiceWithConnectInfo<_, Breaker> = simulator.router().into_make_service_with_connect_info();
    let stopped = stop.clone();
    let serving = axum::serve(BreakableListener(listener), service)
        .with_graceful_shutdown(async move { stopped.cancelled().await });
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        served = serving => served.context("the simulated vendor stopped answering"),
        () = overdue => Ok(()),
    }
}

/// A simulated vendor in this process. Dropped, it stops.
#[derive(Debug)]
pub struct Running {
    pub address: SocketAddr,
    simulator: Arc<Simulator>,
    stop: CancellationToken,
    serving: Option<JoinHandle<anyhow::Result<()>>>,
}

/// Starts a simulated vendor on a free port of 127.0.0.1.
pub async fn start(options: Options, clock: SharedClock) -> anyhow::Result<Running> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on 127.0.0.1")?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let simulator = Simulator::new(options, clock, stop.clone());
    let serving = tokio::spawn(run(Arc::clone(&simulator), listener, stop.clone()));
    Ok(Running { address, simulator, stop, serving: Some(serving) })
}

impl Running {
    /// The base URL, without a slash at its end and without the path prefix.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn stats(&self) -> Stats {
        self.simulator.stats()
    }

    /// From the next request on. Record faults change what the vendor has always held.
    pub fn set_fault(&self, fault: Fault, probability: f64) -> Result<(), NotAFault> {
        let mut outcome = Ok(());
        self.simulator.change_faults(|faults| outcome = faults.set(fault, probability));
        outcome
    }

    /// What a perfect mirror holds of a stream under `name` at `at`, or now: contacts that start in
    /// `[from, to)`, or all. Takes seconds for tens of thousands of contacts.
    pub fn expect(
        &self,
        stream_id: &str,
        name: &str,
        from: Option<DateTime<Utc>>,
        to: Option<DateTime<Utc>>,
        at: Option<DateTime<Utc>>,
        includes_below_threshold: bool,
    ) -> Expectation {
        self.simulator.expect(stream_id, name, from, to, at, includes_below_threshold)
    }

    /// How long after its start, and after its end, each contact of a stream is first listed that started before now.
    pub fn delays(&self, stream_id: &str) -> Vec<(TimeDelta, TimeDelta)> {
        self.simulator.delays(stream_id)
    }

    /// What a mirror holds of a stream under `name` that looked at each contact at the moment that `look` tells by its start,
    /// contacts below the threshold too; one without such a moment was never looked at.
    pub fn expect_as_looked(
        &self,
        stream_id: &str,
        name: &str,
        look: &dyn Fn(DateTime<Utc>) -> Option<DateTime<Utc>>,
    ) -> Expectation {
        self.simulator.expect_as_looked(stream_id, name, look)
    }

    /// Stops answering; bounded, whatever is still open.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        match self.serving.take() {
            Some(serving) => serving.await.context("the simulated vendor panicked")?,
            None => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
