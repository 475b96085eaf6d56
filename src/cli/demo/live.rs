//! The demonstration goes on: the daemon mirrors what the simulated vendor has anew, until Ctrl-C.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::telling::Teller;
use super::{Demo, STREAM, Stage, ledger, run, session, stage};
use crate::cli::Exit;
use crate::cli::upkeep::{CHECKS, Upkeep};
use crate::config::Settings;
use crate::domain::clock::SharedClock;
use crate::domain::grouped;
use crate::server::{self, Bound, Readiness};
use crate::status::Board;
use crate::sync::Mode;
use crate::telemetry::metrics;
use crate::warehouse::Warehouse;

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A line at the latest, even if nothing is new.
const LINE_EVERY: Duration = Duration::from_mins(1);

/// The daemon's HTTP server on a free port. It answers from its making on.
#[derive(Debug)]
pub struct Server {
    readiness: Readiness,
    board: Board,
    address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn bind(settings: Arc<Settings>, clock: SharedClock) -> Result<Self, anyhow::Error> {
        let readiness = Readiness::awaiting(CHECKS);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let metrics = metrics::install(clock.now())?;
        let board = Board::new(settings, clock);
        let bound: Bound = server::bind(address, readiness.clone(), None, metrics, board.clone()).await?;
        let address = bound.address;
        // It answers to the end, also while the rest is being stopped.
        let serving = tokio::spawn(bound.run(tokio_util::sync::CancellationToken::new()));
        Ok(Self { readiness, board, address, serving })
    }

    /// Shows the warehouse from now on.
    pub fn open(&self, warehouse: &Warehouse) {
        self.board.open(warehouse.clone());
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Mirrors on until stopped, and tells what is new.
pub async fn go_on(demo: &Demo, stage: &Stage, warehouse: &Warehouse, server: Server) -> Result<Exit, anyhow::Error> {
    invite(demo, stage, &server)?;
    let engine = demo.engine(stage, warehouse).await?;
    let run = warehouse.begin_run(&session::owner(), "demo").await?;
    server.readiness.pass("schema");
    let check = Box::new(engine.database_check());
    let mut upkeep = Upkeep::new(
        warehouse.clone(),
        server.readiness.clone(),
        Arc::clone(&stage.settings),
        server.board.clone(),
        check,
    );
    upkeep.refresh().await;
    let upkeep = tokio::spawn(upkeep.repeat(demo.stop.clone()));
    let held = warehouse.clone();
    let mut running = tokio::spawn(async move {
        let work = run::ended(&held, run, engine.run(Mode::Forever));
        Box::pin(run::attended(&held, run, work)).await
    });
    let mut told = ledger(warehouse).await?.contacts;
    let mut told_at = Instant::now();
    let outcome = loop {
        if let Ok(ended) = tokio::time::timeout(LOOK_EVERY, &mut running).await {
            break ended?;
        }
        let Ok(ledger) = ledger(warehouse).await else { continue };
        if ledger.contacts > told || told_at.elapsed() >= LINE_EVERY {
            tell(demo, warehouse, ledger.contacts - told, ledger.contacts).await?;
            (told, told_at) = (ledger.contacts, Instant::now());
        }
    };
    Teller::blank()?;
    if !demo.stop.is_cancelled() {
        // The engine ended by itself; nothing else is to go on without it.
        demo.stop.cancel();
    }
    upkeep.await??;
    run::exit_of(outcome?, false)
}

fn invite(demo: &Demo, stage: &Stage, server: &Server) -> Result<(), anyhow::Error> {
    let file = stage.place.write_configuration(&stage.configuration)?;
    let file = file.strip_prefix(".").unwrap_or(&file).display();
    demo.teller.heading("It goes on: new contacts appear at the vendor and are mirrored, until Ctrl-C. Meanwhile")?;
    for (name, value) in [
        ("psql", format!("psql {}", stage.url(stage::ANALYST))),
        ("status", format!("koresync --config {file} status")),
        ("page", format!("http://{}, with /livez, /readyz and /metrics", server.address())),
    ] {
        Teller::line(&format!("  {name:<10} {value}"))?;
    }
    Ok(Teller::blank()?)
}

async fn tell(demo: &Demo, warehouse: &Warehouse, new: u64, all: u64) -> Result<(), anyhow::Error> {
    let state = warehouse.stream_state(STREAM).await?;
    let new = match new {
        0 => "nothing new".to_owned(),
        1 => "1 new contact".to_owned(),
        new => format!("{} new contacts", grouped(new)),
    };
    let (now, watermark) = (demo.clock.now().format("%H:%M:%S"), state.watermark.format("%H:%M:%S"));
    let words = format!("  {now} UTC  {new}, {} in all, complete up to {watermark}", grouped(all));
    Ok(Teller::line(&words)?)
}
