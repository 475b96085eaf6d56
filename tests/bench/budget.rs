//! How much of the vendor's rate limit a daemon with a large backlog uses, and whether it ever passes it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use koresync::simulate::Stats;

use super::Bench;
use super::daemon::{Api, Daemon, PROGRAM};
use super::postgres::Keys;
use super::records::{Extent, STREAM_ID};
use super::report::Samples;

const DATABASE: &str = "budgeted";
const REQUESTS_PER_MINUTE: u32 = 600;
const LATENCY: &str = "300ms";
/// The first moments are not steady yet.
const SKIPPED: Duration = Duration::from_secs(10);
const STRETCH: Duration = Duration::from_secs(10);
const STRETCHES: u32 = 9;
/// More than can be fetched in that time.
const CONTACTS: u64 = 300_000;
const DAYS: u32 = 90;

/// `koresync simulate`. Dropped, it ends.
struct Simulator {
    child: Child,
    url: String,
}

impl Simulator {
    fn start(extent: &Extent) -> anyhow::Result<Self> {
        let mut child = Command::new(PROGRAM)
            .args(["simulate", "--listen", "127.0.0.1:0", "--still", "--latency", LATENCY])
            .args(["--contacts", &extent.contacts.to_string(), "--days", &extent.days.to_string()])
            .args(["--end", &extent.end.to_rfc3339()])
            .args(["--requests-per-minute", &REQUESTS_PER_MINUTE.to_string()])
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
    let extent = Extent::until_now(CONTACTS, DAYS);
    let simulator = Simulator::start(&extent)?;
    let cluster = &bench.cluster;
    cluster.fresh(DATABASE, Keys::Declared).await?;
    let api = Api { url: simulator.url.clone(), requests_per_minute: REQUESTS_PER_MINUTE, streams: 1 };
    let daemon = Daemon::with_api(&bench.settings.folder, &api, cluster, DATABASE, extent.start())?;
    let running = daemon.start()?;
    tokio::time::sleep(SKIPPED).await;
    let (mut shares, mut cpu, mut contacts) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..STRETCHES {
        let began = Instant::now();
        let before =
            (requests(&simulator.stats().await?), running.cpu()? + cluster.cpu()?, cluster.contacts(DATABASE).await?);
        tokio::time::sleep(STRETCH).await;
        let made = requests(&simulator.stats().await?) - before.0;
        let seconds = began.elapsed().as_secs_f64();
        shares.add(made as f64 * 100.0 / (f64::from(REQUESTS_PER_MINUTE) / 60.0 * seconds));
        cpu.add((running.cpu()? + cluster.cpu()? - before.1) / seconds * 100.0);
        contacts.add((cluster.contacts(DATABASE).await? - before.2) as f64 / seconds);
    }
    let peak = running.peak_memory();
    running.stop()?;
    let stats = simulator.stats().await?;
    ensure!(requests(&stats) * 100 < CONTACTS, "the backlog was too small: nothing was left to fetch");
    cluster.check_references(DATABASE).await?;
    cluster.remove(DATABASE).await?;

    let report = &mut bench.report;
    report.section(&format!("The budget: {REQUESTS_PER_MINUTE} requests in any 60 s, {LATENCY} a request"));
    report.figure("share of the budget used, %", &shares);
    report.figure("requests that were refused", &Samples::one(stats.refusals as f64));
    report.figure("most requests in any 60 s", &Samples::one(stats.busiest_minute as f64));
    report.figure("contacts a second", &contacts);
    report.figure("CPU of koresync and PostgreSQL, % of a core", &cpu);
    report.figure("peak memory of koresync, MB", &Samples::one(peak as f64 / 1e6));
    report.note(&format!(
        "{STRETCHES} stretches of {} s each, the first {} s left out; the vendor is the simulated one, whose own CPU is not told.",
        STRETCH.as_secs(),
        SKIPPED.as_secs()
    ));
    Ok(())
}
