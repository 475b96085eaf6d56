//! The program itself, as an operator runs it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use super::postgres::Cluster;
use super::process::{self, Cost, Running};
use super::records::STREAM_ID;
use super::vendor::Vendor;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_koresync");
const STREAM: &str = "bench";
/// So many that the daemon never waits for a slot.
const REQUESTS_PER_MINUTE: u32 = 1_000_000;

/// The daemon, told of a vendor and a database.
#[derive(Debug)]
pub struct Daemon {
    configuration: PathBuf,
    log: PathBuf,
}

/// What a run cost everybody. CPU in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub cost: Cost,
    pub postgres_cpu: f64,
    pub vendor_cpu: f64,
}

impl Run {
    pub fn cpu(&self) -> f64 {
        self.cost.cpu + self.postgres_cpu + self.vendor_cpu
    }

    /// The vendor's part of all CPU, in percent.
    pub fn vendor_pct(&self) -> f64 {
        100.0 * self.vendor_cpu / self.cpu()
    }
}

/// The API that a daemon is told of.
#[derive(Debug)]
pub struct Api {
    pub url: String,
    pub requests_per_minute: u32,
    pub page_size: u32,
    pub streams: u32,
}

impl Default for Api {
    fn default() -> Self {
        Self { url: String::new(), requests_per_minute: REQUESTS_PER_MINUTE, page_size: 100, streams: 1 }
    }
}

impl Daemon {
    /// `start`: from when on history is fetched by itself.
    pub fn new(
        folder: &Path,
        vendor: &Vendor,
        cluster: &Cluster,
        database: &str,
        start: DateTime<Utc>,
    ) -> anyhow::Result<Self> {
        Self::with_api(folder, &Api { url: vendor.url(), ..Api::default() }, cluster, database, start)
    }

    pub fn with_api(
        folder: &Path,
        api: &Api,
        cluster: &Cluster,
        database: &str,
        start: DateTime<Utc>,
    ) -> anyhow::Result<Self> {
        let configuration = folder.join(format!("{database}.toml"));
        let mut text = format!(
            "[warehouse]\n\
             url = \"{}\"\n\n\
             [api]\n\
             base_url = \"{}\"\n\
             account_id = \"acc-bench\"\n\
             org_id = \"o-bench\"\n\
             client_id = \"cs-bench\"\n\
             client_secret = \"the-stand-in-takes-any-secret-there-is\"\n\
             requests_per_minute = {}\n\
             page_size = {}\n\n\
             [server]\n\
             listen = \"127.0.0.1:0\"\n",
            cluster.daemon_url(database),
            api.url,
            api.requests_per_minute,
            api.page_size,
        );
        for number in 0..api.streams {
            // The first has the plain names.
            let suffix = if number == 0 { String::new() } else { format!("-{number}") };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "\n[streams.{STREAM}{suffix}]\nstream_id = \"{STREAM_ID}{suffix}\"\nstart = \"{}\"",
                start.format("%Y-%m-%dT%H:%M:%SZ"),
            );
        }
        std::fs::write(&configuration, text).with_context(|| format!("cannot write {}", configuration.display()))?;
        Ok(Self { configuration, log: folder.join(format!("{database}.log")) })
    }

    /// `koresync run`, until it is stopped.
    pub fn start(&self) -> anyhow::Result<Running> {
        let configuration = self.configuration.to_string_lossy();
        Running::start(Path::new(PROGRAM), &["--config", &configuration, "run"], &self.log)
    }

    /// `koresync run --once`
    pub fn run_once(&self, cluster: &Cluster, vendor: &Vendor) -> anyhow::Result<Run> {
        self.measured(&["run", "--once"], cluster, vendor)
    }

    /// `koresync backfill` over a range
    pub fn backfill(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        cluster: &Cluster,
        vendor: &Vendor,
    ) -> anyhow::Result<Run> {
        let [from, to] = [from, to].map(|at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        self.measured(&["backfill", "--stream", STREAM, "--from", &from, "--to", &to], cluster, vendor)
    }

    /// `koresync rebuild`
    pub fn rebuild(&self, cluster: &Cluster, vendor: &Vendor) -> anyhow::Result<Run> {
        self.measured(&["rebuild"], cluster, vendor)
    }

    fn measured(&self, arguments: &[&str], cluster: &Cluster, vendor: &Vendor) -> anyhow::Result<Run> {
        let configuration = self.configuration.to_string_lossy();
        let mut all = vec!["--config", &*configuration];
        all.extend(arguments);
        let before = (cluster.cpu()?, process::cpu(vendor.pid())?);
        let cost = process::run(Path::new(PROGRAM), &all, &self.log)?;
        let after = (cluster.cpu()?, process::cpu(vendor.pid())?);
        Ok(Run { cost, postgres_cpu: after.0 - before.0, vendor_cpu: after.1 - before.1 })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Only a run that failed is looked into, and that has been told already.
        for path in [&self.configuration, &self.log] {
            drop(std::fs::remove_file(path));
        }
    }
}
