//! What a daemon costs that has nothing to do.

use std::time::Duration;

use super::Bench;
use super::daemon::{Api, Daemon};
use super::postgres::Keys;
use super::process;
use super::records::{Extent, Records};
use super::report::Samples;
use super::vendor::Vendor;

const DATABASE: &str = "idle";
const STREAMS: u32 = 10;
/// Of each stream.
const CONTACTS: u64 = 200;
const DAYS: u32 = 3;
/// A daemon that has just started has things to look at.
const SETTLED: Duration = Duration::from_secs(10);
const STRETCH: Duration = Duration::from_mins(1);
/// A minute each.
const STRETCHES_MAX: usize = 5;

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let extent = Extent::until_now(CONTACTS, DAYS);
    let records = Records::render(&bench.settings.folder, extent)?;
    let vendor = Vendor::start(&records)?;
    let cluster = &bench.cluster;
    cluster.fresh(DATABASE, Keys::Declared).await?;
    let api = Api { url: vendor.url(), streams: STREAMS, ..Api::default() };
    let daemon = Daemon::with_api(&bench.settings.folder, &api, cluster, DATABASE, extent.start())?;
    daemon.run_once(cluster, &vendor)?;
    let running = daemon.start()?;
    tokio::time::sleep(SETTLED).await;
    let (mut own, mut postgres, mut memory) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..bench.settings.runs.min(STRETCHES_MAX) {
        let before = (running.cpu()?, cluster.cpu()?);
        tokio::time::sleep(STRETCH).await;
        own.add(running.cpu()? - before.0);
        postgres.add(cluster.cpu()? - before.1);
        memory.add(process::memory(running.pid(), "VmRSS").unwrap_or(0) as f64 / 1e6);
    }
    let peak = running.peak_memory();
    running.stop()?;
    cluster.check(DATABASE, CONTACTS * u64::from(STREAMS)).await?;
    cluster.remove(DATABASE).await?;

    let report = &mut bench.report;
    report.section(&format!("Idle: a daemon with {STREAMS} streams, all caught up, over {} s", STRETCH.as_secs()));
    report.figure("share of a core, %", &own.map(|cpu| cpu * 100.0 / STRETCH.as_secs_f64()));
    report.figure("CPU of koresync, s", &own);
    report.figure("CPU of PostgreSQL, its own chores too, s", &postgres);
    report.figure("memory of koresync, MB", &memory);
    report.figure("peak memory of koresync, MB", &Samples::one(peak as f64 / 1e6));
    Ok(())
}
