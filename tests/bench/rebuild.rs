//! The rows made anew from the kept payloads: when all of them are as they should be, and when each must be written.

use anyhow::ensure;

use super::Bench;
use super::daemon::Daemon;
use super::fresh::DAYS;
use super::postgres::{Cluster, Keys, statement};
use super::records::{Extent, Records};
use super::reread::{HELD, Measured, traced};
use super::vendor::Vendor;

/// What hangs on contacts; all of it is lost, and every contact has to be written again.
const LOSE_CHILDREN: &str = "truncate kore.contact_agents, kore.contact_queues, kore.contact_metrics, kore.metric_justifications, \
    kore.justification_messages, kore.contact_emotions, kore.speaking_rates, kore.generated_intents, \
    kore.generated_intent_keywords, kore.contact_topics";

/// The slots that the account has used, as text: none is used without a trace here.
async fn slots(cluster: &Cluster) -> anyhow::Result<String> {
    let mut connection = cluster.connect(HELD).await?;
    let slots = sqlx::query_scalar("select coalesce(max(next_slot_at)::text, '') from koresync.api_budgets")
        .fetch_one(&mut connection)
        .await?;
    sqlx::Connection::close(connection).await?;
    Ok(slots)
}

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let contacts = bench.settings.contacts_least();
    let extent = Extent::until_now(contacts, DAYS);
    let records = Records::render(&bench.settings.folder, extent)?;
    let vendor = Vendor::start(&records)?;
    let cluster = &bench.cluster;
    let (mut fresh, mut equal, mut lost) = (Measured::default(), Measured::default(), Measured::default());
    for _ in 0..bench.settings.runs {
        cluster.fresh(HELD, Keys::Declared).await?;
        let daemon = Daemon::new(&bench.settings.folder, &vendor, cluster, HELD, extent.start())?;
        fresh.add(&traced(cluster, || daemon.run_once(cluster, &vendor)).await?);
        let (rows, slot) = (cluster.row_counts(HELD).await?, slots(cluster).await?);
        let again = traced(cluster, || daemon.rebuild(cluster, &vendor)).await?;
        ensure!(again.rows.is_none(), "a rebuild wrote rows that were right");
        equal.add(&again);
        let mut connection = cluster.connect(HELD).await?;
        statement(&mut connection, LOSE_CHILDREN).await?;
        sqlx::Connection::close(connection).await?;
        lost.add(&traced(cluster, || daemon.rebuild(cluster, &vendor)).await?);
        cluster.check(HELD, contacts).await?;
        let kore = |rows: &[(String, i64)]| -> Vec<_> {
            rows.iter().filter(|(table, _)| table.starts_with("kore.")).cloned().collect()
        };
        ensure!(kore(&cluster.row_counts(HELD).await?) == kore(&rows), "a rebuild did not bring all rows back");
        ensure!(slots(cluster).await? == slot, "a rebuild asked the vendor");
    }
    cluster.remove(HELD).await?;

    let report = &mut bench.report;
    report.section(&format!("Rebuilding {contacts} contacts from their payloads"));
    equal.tell(report, "rebuild with nothing to write", &fresh, contacts);
    lost.tell(report, "rebuild of all rows", &fresh, contacts);
    report.figure("fresh load, s", &fresh.loads.wall);
    report.note(
        "Before the second rebuild all tables that hang on contacts were emptied, so that each contact was deleted and written. \
         After it every table had as many rows as before, no declared reference was broken, and no request had been sent.",
    );
    Ok(())
}
