//! A range that is held already, read again: unchanged, and with one contact in twenty changed.

use super::Bench;
use super::daemon::{Daemon, Run};
use super::fresh::{DAYS, Loads};
use super::postgres::{Cluster, Keys, RowChanges};
use super::records::{Extent, Records};
use super::report::{Report, Samples};
use super::vendor::Vendor;

pub const HELD: &str = "held";

/// A run with what it left in the log and the tables.
pub struct Traces {
    run: Run,
    wal: f64,
    pub rows: RowChanges,
}

/// Several of them.
#[derive(Default)]
pub struct Measured {
    pub loads: Loads,
    pub wal: Samples,
    inserted: Samples,
    updated: Samples,
    deleted: Samples,
    dead: Samples,
}

impl Measured {
    pub fn add(&mut self, traces: &Traces) {
        self.loads.add(&traces.run);
        self.wal.add(traces.wal / 1e6);
        self.inserted.add(traces.rows.inserted as f64);
        self.updated.add(traces.rows.updated as f64);
        self.deleted.add(traces.rows.deleted as f64);
        self.dead.add(traces.rows.dead as f64);
    }

    pub fn tell(&self, report: &mut Report, what: &str, fresh: &Self, contacts: u64) {
        let void = if self.loads.is_void() || fresh.loads.is_void() { "VOID (the vendor took too much): " } else { "" };
        report.figure(
            &format!("{void}time of the fresh load / time of {what}"),
            &fresh.loads.wall.over(&self.loads.wall),
        );
        let cpu = |of: &Self| of.loads.daemon_cpu.plus(&of.loads.postgres_cpu);
        report.figure(&format!("CPU of the fresh load / CPU of {what}"), &cpu(fresh).over(&cpu(self)));
        report.figure(
            &format!("{what}: WAL, % of the fresh load's"),
            &self.wal.over(&fresh.wal).map(|share| share * 100.0),
        );
        report.figure(&format!("{what}, s"), &self.loads.wall);
        report.figure(&format!("{what}: its own CPU, s"), &self.loads.daemon_cpu);
        report.figure(&format!("{what}: CPU of PostgreSQL, s"), &self.loads.postgres_cpu);
        report.figure(&format!("{what}: share of CPU that the vendor took, %"), &self.loads.vendor_pct);
        report.figure(&format!("{what}: contacts a second"), &self.loads.wall.map(|wall| contacts as f64 / wall));
        report.figure(&format!("{what}: WAL, MB"), &self.wal);
        report.figure(&format!("{what}: rows inserted in kore"), &self.inserted);
        report.figure(&format!("{what}: rows updated in kore"), &self.updated);
        report.figure(&format!("{what}: rows deleted in kore"), &self.deleted);
        report.figure(&format!("{what}: dead rows it left in kore"), &self.dead);
    }
}

/// Runs the daemon, with nothing left to write to the disk before.
pub async fn traced(cluster: &Cluster, run: impl FnOnce() -> anyhow::Result<Run>) -> anyhow::Result<Traces> {
    let before = cluster.row_changes(HELD).await?;
    cluster.checkpoint().await?;
    let wal = cluster.wal().await?;
    let run = run()?;
    let wal = cluster.wal().await? - wal;
    let rows = cluster.row_changes(HELD).await?.since(before);
    Ok(Traces { run, wal, rows })
}

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let contacts = bench.settings.contacts_least();
    let extent = Extent::until_now(contacts, DAYS);
    let (records, changed) =
        (Records::render(&bench.settings.folder, extent)?, Records::render_changed(&bench.settings.folder, extent)?);
    let (vendor, later) = (Vendor::start(&records)?, Vendor::start(&changed)?);
    let cluster = &bench.cluster;
    let folder = &bench.settings.folder;
    let (mut fresh, mut unchanged, mut altered) = (Measured::default(), Measured::default(), Measured::default());
    for _ in 0..bench.settings.runs {
        cluster.fresh(HELD, Keys::Declared).await?;
        let daemon = Daemon::new(folder, &vendor, cluster, HELD, extent.start())?;
        fresh.add(&traced(cluster, || daemon.run_once(cluster, &vendor)).await?);
        cluster.vacuum(HELD).await?;
        let again = || daemon.backfill(extent.start(), extent.end, cluster, &vendor);
        unchanged.add(&traced(cluster, again).await?);
        cluster.check(HELD, contacts).await?;
        drop(daemon);
        let daemon = Daemon::new(folder, &later, cluster, HELD, extent.start())?;
        let again = || daemon.backfill(extent.start(), extent.end, cluster, &later);
        altered.add(&traced(cluster, again).await?);
        cluster.check(HELD, contacts).await?;
    }
    cluster.remove(HELD).await?;

    let report = &mut bench.report;
    report.section(&format!("Reading {contacts} contacts again"));
    unchanged.tell(report, "re-read", &fresh, contacts);
    altered.tell(report, "re-read with 5 % changed", &fresh, contacts);
    report.figure("fresh load, s", &fresh.loads.wall);
    report.figure("fresh load: WAL, MB", &fresh.wal);
    report.note(&format!(
        "{} contacts had changed at the vendor. After every load, {contacts} contacts were held and no declared reference was broken.",
        changed.changed
    ));
    Ok(())
}
