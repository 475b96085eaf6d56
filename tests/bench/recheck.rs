//! The recheck lane over contacts that did not change.

use anyhow::ensure;

use super::Bench;
use super::daemon::Daemon;
use super::fresh::DAYS;
use super::postgres::{Cluster, Keys, statement};
use super::records::{Extent, Records};
use super::reread::{HELD, Measured, traced};
use super::vendor::Vendor;

/// As though a month had passed since the windows were read: every rung is due.
const A_MONTH_LATER: &str = "update koresync.windows set read_at = read_at - interval '40 days', \
    first_verified_at = first_verified_at - interval '40 days', recheck_at = recheck_at - interval '40 days', \
    ripe_at = ripe_at - interval '40 days' where state = 'verified'";

/// Contacts that rechecks found unchanged, and contacts of windows that are still due.
async fn looked(cluster: &Cluster) -> anyhow::Result<(i64, i64)> {
    let mut connection = cluster.connect(HELD).await?;
    let looked = sqlx::query_as(
        "select coalesce(sum(unchanged) filter (where lane = 'recheck'), 0)::int8, \
           coalesce(sum(in_window) filter (where recheck_at <= now()), 0)::int8 from koresync.windows where state = 'verified'",
    )
    .fetch_one(&mut connection)
    .await?;
    sqlx::Connection::close(connection).await?;
    Ok(looked)
}

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let contacts = bench.settings.contacts_least();
    let extent = Extent::until_now(contacts, DAYS);
    let records = Records::render(&bench.settings.folder, extent)?;
    let vendor = Vendor::start(&records)?;
    let cluster = &bench.cluster;
    let (mut fresh, mut again) = (Measured::default(), Measured::default());
    for _ in 0..bench.settings.runs {
        cluster.fresh(HELD, Keys::Declared).await?;
        let daemon = Daemon::new(&bench.settings.folder, &vendor, cluster, HELD, extent.start())?;
        fresh.add(&traced(cluster, || daemon.run_once(cluster, &vendor)).await?);
        cluster.vacuum(HELD).await?;
        let mut connection = cluster.connect(HELD).await?;
        statement(&mut connection, A_MONTH_LATER).await?;
        sqlx::Connection::close(connection).await?;
        let traces = traced(cluster, || daemon.run_once(cluster, &vendor)).await?;
        ensure!(traces.rows.is_none(), "rechecks of unchanged contacts wrote rows in kore");
        again.add(&traces);
        let (unchanged, due) = looked(cluster).await?;
        // Those at the very edges of windows are read by both.
        ensure!(
            unchanged.unsigned_abs() >= contacts && due == 0,
            "rechecks read {unchanged} of {contacts}, {due} are due"
        );
        cluster.check(HELD, contacts).await?;
    }
    cluster.remove(HELD).await?;

    let report = &mut bench.report;
    report.section(&format!("Rechecking {contacts} unchanged contacts"));
    again.tell(report, "recheck", &fresh, contacts);
    report.figure("fresh load, s", &fresh.loads.wall);
    report.figure("fresh load: WAL, MB", &fresh.wal);
    report.note("The ledger was put back by forty days, so that every window was due; each contact was read by the recheck lane.");
    Ok(())
}
