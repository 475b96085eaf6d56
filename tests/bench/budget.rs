//! How much of the vendor's rate limit daemons with a large backlog use, and whether they ever pass it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use koresync::simulate::Stats;

use super::Bench;
use super::daemon::{Api, Daemon, PROGRAM};
use super::postgres::Keys;
use super::process::Running;
use super::records::{Extent, STREAM_ID};
use super::report::Samples;

const DATABASE: &str = "budgeted";
/// The first moments are not steady yet.
const SKIPPED: Duration = Duration::from_secs(10);
const STRETCH: Duration = Duration::from_secs(10);

/// A vendor, and daemons that read from it.
struct Case {
    requests_per_minute: u32,
    latency: &'static str,
    page_size: u32,
    daemons: usize,
    stretches: u32,
    /// More than can be fetched in that time.
    contacts: u64,
    days: u32,
}

/// One daemon and a slow vendor.
const ALONE: Case = Case {
    requests_per_minute: 600,
    latency: "300ms",
    page_size: 100,
    daemons: 1,
    stretches: 9,
    contacts: 300_000,
    days: 90,
};
/// Three minutes of several that share a budget. Small pages, so that the limit is what holds them up.
const SHARED: Case = Case {
    requests_per_minute: 1_200,
    latency: "150ms",
    page_size: 25,
    daemons: 1,
    stretches: 18,
    contacts: 300_000,
    days: 90,
};

/// `koresync simulate`. Dropped, it ends.
struct Simulator {
    child: Child,
    url: String,
}

impl Simulator {
    fn start(extent: &Extent, case: &Case) -> anyhow::Result<Self> {
        let mut child = Command::new(PROGRAM)
            .args(["simulate", "--listen", "127.0.0.1:0", "--still", "--latency", case.latency])
            .args(["--contacts", &extent.contacts.to_string(), "--days", &extent.days.to_string()])
            .args(["--end", &extent.end.to_rfc3339()])
            .args(["--requests-per-minute", &case.requests_per_minute.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("the simulated vendor does not start")?;
        let output = child.stdout.take().context("the simulated vendor says nothing")?;
        let mut simulator = Self { child, url: String::new() };
        for line in BufReader::new(output).lines() {
            if let Some((_, rest)) = line?.split_once("base_url = \"") {
                rest.trim_end_matches('"').clone_into(&mut simulator.url);
                return Ok(simulator);
            }
        }
        bail!("the simulated vendor does not tell where it is")
    }

    async fn stats(&self) -> anyhow::Result<Stats> {
        let text = reqwest::get(format!("{}/stats", self.url)).await?.error_for_status()?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("bench: the simulated vendor does not end: {error}");
        }
    }
}

fn requests(stats: &Stats) -> u64 {
    stats.requests.get(STREAM_ID).map_or(0, |outcomes| outcomes.values().sum())
}

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    measure_case(bench, &ALONE).await
}

/// The same budget for one daemon, two and four.
pub async fn measure_shared(bench: &mut Bench) -> anyhow::Result<()> {
    for daemons in [1, 2, 4] {
        measure_case(bench, &Case { daemons, ..SHARED }).await?;
    }
    Ok(())
}

async fn measure_case(bench: &mut Bench, case: &Case) -> anyhow::Result<()> {
    let extent = Extent::until_now(case.contacts, case.days);
    let simulator = Simulator::start(&extent, case)?;
    let cluster = &bench.cluster;
    cluster.fresh(DATABASE, Keys::Declared).await?;
    let api = Api {
        url: simulator.url.clone(),
        requests_per_minute: case.requests_per_minute,
        page_size: case.page_size,
        ..Api::default()
    };
    let daemon = Daemon::with_api(&bench.settings.folder, &api, cluster, DATABASE, extent.start())?;
    let running = (0..case.daemons).map(|_| daemon.start()).collect::<Result<Vec<_>, _>>()?;
    let used = || -> anyhow::Result<f64> {
        let daemons = running.iter().map(Running::cpu).sum::<Result<f64, _>>()?;
        Ok(daemons + cluster.cpu()?)
    };
    tokio::time::sleep(SKIPPED).await;
    let (mut shares, mut cpu, mut contacts) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..case.stretches {
        let began = Instant::now();
        let before = (requests(&simulator.stats().await?), used()?, cluster.contacts(DATABASE).await?);
        tokio::time::sleep(STRETCH).await;
        let made = requests(&simulator.stats().await?) - before.0;
        let seconds = began.elapsed().as_secs_f64();
        shares.add(made as f64 * 100.0 / (f64::from(case.requests_per_minute) / 60.0 * seconds));
        cpu.add((used()? - before.1) / seconds * 100.0);
        contacts.add((cluster.contacts(DATABASE).await? - before.2) as f64 / seconds);
    }
    let peak = running.iter().map(Running::peak_memory).max().unwrap_or_default();
    for daemon in running {
        daemon.stop()?;
    }
    let stats = simulator.stats().await?;
    let left = case.contacts / u64::from(case.page_size);
    ensure!(requests(&stats) < left, "the backlog was too small: nothing was left to fetch");
    cluster.check_references(DATABASE).await?;
    cluster.remove(DATABASE).await?;

    let Case { requests_per_minute, latency, page_size, daemons, stretches, .. } = case;
    let report = &mut bench.report;
    report.section(&format!(
        "The budget: {requests_per_minute} requests in any 60 s, {latency} a request, pages of {page_size}, daemons: {daemons}"
    ));
    report.figure("share of the budget used, %", &shares);
    report.figure("requests that were refused", &Samples::one(stats.refusals as f64));
    report.figure("most requests in any 60 s", &Samples::one(stats.busiest_minute as f64));
    report.figure("contacts a second", &contacts);
    report.figure("CPU of koresync and PostgreSQL, % of a core", &cpu);
    report.figure("peak memory of a koresync, MB", &Samples::one(peak as f64 / 1e6));
    report.note(&format!(
        "{stretches} stretches of {} s each, the first {} s left out; the vendor is the simulated one, whose own CPU is not told.",
        STRETCH.as_secs(),
        SKIPPED.as_secs()
    ));
    Ok(())
}
