//! A fresh load, end to end, against COPY alone of the very same rows.

use anyhow::Context as _;

use super::Bench;
use super::copy::Rows;
use super::daemon::{Daemon, Run};
use super::postgres::{Cluster, Keys};
use super::process;
use super::records::{Extent, Records};
use super::report::Samples;
use super::settings::Section;
use super::staging;
use super::vendor::Vendor;

/// Over how many days the contacts are spread.
pub const DAYS: u32 = 30;
const LOADED: &str = "loaded";
const COPIED: &str = "copied";
const COPIED_CHECKED: &str = "copied_checked";
const STAGED: &str = "staged";
/// Beyond this size neither foreign keys nor the staging table are tried: what they cost is known by then.
const COMPARED_UP_TO: u64 = 50_000;
/// A vendor that takes more of the CPU makes a ratio void.
pub const VENDOR_PCT_MAX: f64 = 5.0;

/// What the runs of the daemon cost.
#[derive(Debug, Default)]
pub struct Loads {
    pub wall: Samples,
    pub daemon_cpu: Samples,
    pub postgres_cpu: Samples,
    pub vendor_pct: Samples,
    pub peak_memory: Samples,
}

impl Loads {
    pub fn add(&mut self, run: &Run) {
        self.wall.add(run.cost.wall);
        self.daemon_cpu.add(run.cost.cpu);
        self.postgres_cpu.add(run.postgres_cpu);
        self.vendor_pct.add(run.vendor_pct());
        self.peak_memory.add(run.cost.peak_memory as f64 / 1e6);
    }

    pub fn is_void(&self) -> bool {
        self.vendor_pct.max() > VENDOR_PCT_MAX
    }
}

/// What COPY alone or the staging table took, in seconds.
#[derive(Debug, Default)]
struct Times {
    wall: Samples,
    postgres_cpu: Samples,
    client_cpu: Samples,
}

impl Times {
    fn cpu(&self) -> Samples {
        self.postgres_cpu.plus(&self.client_cpu)
    }

    async fn put(&mut self, rows: &Rows, cluster: &Cluster, database: &str, keys: Keys) -> anyhow::Result<()> {
        cluster.fresh(database, keys).await?;
        let mut connection = cluster.connect(database).await?;
        let before = (cluster.cpu()?, process::cpu(std::process::id())?);
        self.wall.add(rows.put(&mut connection).await?);
        self.postgres_cpu.add(cluster.cpu()? - before.0);
        self.client_cpu.add(process::cpu(std::process::id())? - before.1);
        sqlx::Connection::close(connection).await?;
        Ok(())
    }
}

/// Requests of a load for every 100 contacts, from the ledger.
async fn requests_per_100(cluster: &Cluster, database: &str, contacts: u64) -> anyhow::Result<f64> {
    let mut connection = cluster.connect(database).await?;
    let requests: i64 =
        sqlx::query_scalar("select sum(requests)::int8 from koresync.windows").fetch_one(&mut connection).await?;
    sqlx::Connection::close(connection).await?;
    Ok(requests as f64 * 100.0 / contacts as f64)
}

/// The tables of `kore` in which the staging table's rows and the daemon's differ in number.
async fn differences(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let (loaded, staged) = (cluster.row_counts(LOADED).await?, cluster.row_counts(STAGED).await?);
    let both = loaded.iter().zip(&staged).filter(|((name, own), (_, other))| name.starts_with("kore.") && own != other);
    Ok(both.map(|((name, own), (_, other))| format!("{name} {other} instead of {own}")).collect())
}

pub async fn measure(bench: &mut Bench, contacts: u64) -> anyhow::Result<()> {
    let extent = Extent::until_now(contacts, DAYS);
    let records = Records::render(&bench.settings.folder, extent)?;
    let vendor = Vendor::start(&records)?;
    let cluster = &bench.cluster;
    let daemon = Daemon::new(&bench.settings.folder, &vendor, cluster, LOADED, extent.start())?;
    let (mut loads, mut free, mut checked) = (Loads::default(), Times::default(), Times::default());
    let mut rows = None;
    let (mut requests, mut deadlocks) = (Samples::default(), Samples::default());
    let mut staged = Times::default();
    let mut differing = Vec::new();
    let has_staging = bench.settings.has(Section::Staging) && contacts <= COMPARED_UP_TO;
    for _ in 0..bench.settings.runs {
        cluster.fresh(LOADED, Keys::Declared).await?;
        loads.add(&daemon.run_once(cluster, &vendor)?);
        cluster.check(LOADED, contacts).await?;
        requests.add(requests_per_100(cluster, LOADED, contacts).await?);
        deadlocks.add(cluster.deadlocks(LOADED).await?);
        if rows.is_none() {
            let mut connection = cluster.connect(LOADED).await?;
            rows = Some(Rows::take(&mut connection).await?);
            sqlx::Connection::close(connection).await?;
        }
        let rows = rows.as_ref().context("no rows were taken")?;
        free.put(rows, cluster, COPIED, Keys::None).await?;
        if contacts <= COMPARED_UP_TO {
            checked.put(rows, cluster, COPIED_CHECKED, Keys::Declared).await?;
            cluster.check_copied(COPIED_CHECKED, contacts).await?;
        }
        if has_staging {
            cluster.fresh(STAGED, Keys::Declared).await?;
            let before = (cluster.cpu()?, process::cpu(std::process::id())?);
            staged.wall.add(staging::load(cluster, STAGED, &vendor, &extent).await?);
            staged.postgres_cpu.add(cluster.cpu()? - before.0);
            staged.client_cpu.add(process::cpu(std::process::id())? - before.1);
            cluster.check_copied(STAGED, contacts).await?;
            differing = differences(cluster).await?;
        }
    }
    let rows = rows.context("no run was asked for")?;
    for database in [LOADED, COPIED, COPIED_CHECKED, STAGED] {
        bench.cluster.remove(database).await?;
    }

    let report = &mut bench.report;
    report.section(&format!("Fresh load of {contacts} contacts, {} rows", rows.count));
    let limit = if loads.is_void() { "VOID (the vendor took too much): " } else { "" };
    report.figure(&format!("{limit}time of COPY alone / time of koresync"), &free.wall.over(&loads.wall));
    if contacts <= COMPARED_UP_TO {
        report.figure(&format!("{limit}COPY with foreign keys / koresync"), &checked.wall.over(&loads.wall));
    }
    if has_staging {
        report.figure(&format!("{limit}time of the staging table / time of koresync"), &staged.wall.over(&loads.wall));
    }
    let cpu = loads.daemon_cpu.plus(&loads.postgres_cpu);
    report.figure("CPU of COPY alone / CPU of koresync and its PostgreSQL", &free.cpu().over(&cpu));
    if has_staging {
        report.figure("CPU of the staging table / CPU of koresync and its PostgreSQL", &staged.cpu().over(&cpu));
    }
    report.figure("koresync, s", &loads.wall);
    report.figure("koresync: its own CPU, s", &loads.daemon_cpu);
    report.figure("koresync: CPU of PostgreSQL, s", &loads.postgres_cpu);
    report.figure("koresync: share of all CPU that the vendor took, %", &loads.vendor_pct);
    report.figure("koresync: peak memory, MB", &loads.peak_memory);
    report.figure("koresync: contacts a second", &loads.wall.map(|wall| contacts as f64 / wall));
    report.figure("koresync: rows a second", &loads.wall.map(|wall| rows.count as f64 / wall));
    report.figure("koresync: requests per 100 contacts", &requests);
    report.figure("koresync: deadlocks", &deadlocks);
    report.figure("COPY alone, no foreign keys, s", &free.wall);
    report.figure("COPY alone: CPU of PostgreSQL, s", &free.postgres_cpu);
    report.figure("COPY alone: CPU of its client, s", &free.client_cpu);
    if contacts <= COMPARED_UP_TO {
        report.figure("COPY with foreign keys enforced, s", &checked.wall);
        report.figure("COPY with foreign keys: CPU of PostgreSQL, s", &checked.postgres_cpu);
    }
    if has_staging {
        report.figure("staging table and SQL, s", &staged.wall);
        report.figure("staging table and SQL: CPU of PostgreSQL, s", &staged.postgres_cpu);
        report.figure("staging table and SQL: CPU of its client, s", &staged.client_cpu);
        report.note(&match differing.as_slice() {
            [] => "The staging table gave the same number of rows in every table of `kore`; it keeps no payloads."
                .to_owned(),
            tables => format!("The staging table did NOT give the same rows: {}.", tables.join("; ")),
        });
    }
    report.note(&format!(
        "The vendor sent {:.0} MB of records; COPY was given {:.0} MB. After every load, {contacts} contacts were held and no \
         declared reference was broken.",
        records.bytes as f64 / 1e6,
        rows.bytes() as f64 / 1e6
    ));
    Ok(())
}
