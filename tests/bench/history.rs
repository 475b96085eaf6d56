//! A long history at the vendor, loaded part by part.

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};

use super::daemon::{Daemon, Run};
use super::postgres::Cluster;
use super::records::{Extent, Index, Records};
use super::vendor::Vendor;

/// Contacts in a day, at every size alike.
const A_DAY: u64 = 10_000;

/// The vendor's history, and a part of it after the other.
pub struct History<'a> {
    index: Index,
    pub extent: Extent,
    vendor: Vendor,
    cluster: &'a Cluster,
    folder: &'a std::path::Path,
    /// Until the vendor has ended.
    _records: Records,
}

/// A part that was loaded.
pub struct Loaded {
    pub run: Run,
    pub contacts: f64,
}

impl<'a> History<'a> {
    /// So many contacts at the same density as any other number, up to now.
    pub fn of(contacts: u64, folder: &'a std::path::Path, cluster: &'a Cluster) -> anyhow::Result<Self> {
        let days = u32::try_from(contacts.div_ceil(A_DAY)).context("so many days?")?;
        let extent = Extent::until_now(contacts, days);
        let records = Records::render(folder, extent)?;
        let (index, vendor) = (Index::read(&records.path)?, Vendor::start(&records)?);
        Ok(Self { index, extent, vendor, cluster, folder, _records: records })
    }

    /// The whole second in which contact `number` starts, at most the end.
    fn moment(&self, number: u64) -> anyhow::Result<DateTime<Utc>> {
        let start = self.index.start_ms(usize::try_from(number)?).unwrap_or(i64::MAX);
        Ok(DateTime::from_timestamp(start.div_euclid(1_000), 0).map_or(self.extent.end, |at| at.min(self.extent.end)))
    }

    /// Loads the contacts `from` to `to` by a backfill, and checks that all up to there are held.
    pub async fn load(&self, database: &str, from: u64, to: u64) -> anyhow::Result<Loaded> {
        let daemon = Daemon::new(self.folder, &self.vendor, self.cluster, database, self.extent.end)?;
        let first = if from == 0 { self.extent.start() } else { self.moment(from)? };
        let last = self.moment(to)?;
        let before = self.cluster.contacts(database).await?;
        self.cluster.checkpoint().await?;
        let run = daemon.backfill(first, last, self.cluster, &self.vendor)?;
        let held = self.cluster.contacts(database).await?;
        // The range is asked for with its end.
        let due = self.index.between(i64::MIN, last.timestamp_millis()).len() as u64;
        ensure!(held == due, "{database} holds {held} contacts, {due} are due");
        ensure!(held > before, "{database}: nothing was loaded");
        Ok(Loaded { run, contacts: (held - before) as f64 })
    }
}
