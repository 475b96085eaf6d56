//! The vendor's records, rendered before anything is measured, in a file in order of start.
//!
//! They are parted by commas, so that any page is one piece of the file. Beside it lies an index: for each record its
//! start (ms since the epoch) and its first byte, and a last entry for the end, all little-endian.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use koresync::domain::clock::{Clock as _, SystemClock};
use koresync::simulate::{self, Rendering};

pub const STREAM_ID: &str = "st-bench";
/// One record in so many is changed where some are to be.
const CHANGED_EVERY: u64 = 20;

/// A stretch of the vendor's history.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    pub contacts: u64,
    pub days: u32,
    pub end: DateTime<Utc>,
}

impl Extent {
    /// It ended an hour ago, so all of it is settled.
    pub fn until_now(contacts: u64, days: u32) -> Self {
        let end = SystemClock.now().timestamp() - 3_600;
        Self { contacts, days, end: DateTime::from_timestamp(end, 0).unwrap_or_default() }
    }

    pub fn start(&self) -> DateTime<Utc> {
        self.end - TimeDelta::days(i64::from(self.days))
    }

    fn rendering(&self) -> Rendering {
        let options = simulate::Options {
            contacts: self.contacts,
            days: self.days,
            end: Some(self.end),
            still: true,
            ..simulate::Options::default()
        };
        Rendering::new(&options, self.end, STREAM_ID)
    }
}

/// A file of records. Dropped, it is removed.
#[derive(Debug)]
pub struct Records {
    pub path: PathBuf,
    pub bytes: u64,
    /// How many differ from the first version.
    pub changed: u64,
}

impl Records {
    /// Renders all of them.
    pub fn render(folder: &Path, extent: Extent) -> anyhow::Result<Self> {
        Self::write(folder.join(format!("records-{}.json", extent.contacts)), extent, false)
    }

    /// The same, but one in twenty has changed at the vendor.
    pub fn render_changed(folder: &Path, extent: Extent) -> anyhow::Result<Self> {
        Self::write(folder.join(format!("records-{}-changed.json", extent.contacts)), extent, true)
    }

    fn write(path: PathBuf, extent: Extent, some_change: bool) -> anyhow::Result<Self> {
        let failed = || format!("cannot write {}", path.display());
        let rendering = extent.rendering();
        let mut texts = BufWriter::with_capacity(1 << 20, File::create(&path).with_context(failed)?);
        let mut index = BufWriter::new(File::create(index_path(&path)).with_context(failed)?);
        let (mut at, mut changed) = (0_u64, 0);
        for number in 0..extent.contacts {
            let mut record = rendering.record(number, false);
            // One that cannot change passes its turn on.
            if some_change && changed < number.div_ceil(CHANGED_EVERY) {
                let later = rendering.record(number, true);
                changed += u64::from(later != record);
                record = later;
            }
            index.write_all(&record.start_ms.to_le_bytes()).with_context(failed)?;
            index.write_all(&at.to_le_bytes()).with_context(failed)?;
            texts.write_all(record.text.as_bytes()).with_context(failed)?;
            texts.write_all(b",").with_context(failed)?;
            at += record.text.len() as u64 + 1;
        }
        index.write_all(&i64::MAX.to_le_bytes()).with_context(failed)?;
        index.write_all(&at.to_le_bytes()).with_context(failed)?;
        index.flush().with_context(failed)?;
        texts.flush().with_context(failed)?;
        Ok(Self { path, bytes: at, changed })
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        for path in [&self.path, &index_path(&self.path)] {
            if let Err(error) = std::fs::remove_file(path) {
                eprintln!("bench: {} stays behind: {error}", path.display());
            }
        }
    }
}

fn index_path(records: &Path) -> PathBuf {
    records.with_extension("index")
}

/// Where each record lies in its file.
#[derive(Debug)]
pub struct Index {
    starts_ms: Vec<i64>,
    /// One more than there are records.
    offsets: Vec<u64>,
}

impl Index {
    pub fn read(records: &Path) -> anyhow::Result<Self> {
        let path = index_path(records);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (mut starts_ms, mut offsets) = (Vec::new(), Vec::new());
        for entry in bytes.as_chunks::<16>().0 {
            let [start, offset] = [&entry[..8], &entry[8..]].map(|half| half.try_into().unwrap_or_default());
            starts_ms.push(i64::from_le_bytes(start));
            offsets.push(u64::from_le_bytes(offset));
        }
        starts_ms.pop();
        Ok(Self { starts_ms, offsets })
    }

    /// When a record starts, in milliseconds since the epoch; nothing beyond the last.
    pub fn start_ms(&self, number: usize) -> Option<i64> {
        self.starts_ms.get(number).copied()
    }

    /// The numbers of the records that start in `[from, to]`, in milliseconds since the epoch.
    pub fn between(&self, from_ms: i64, to_ms: i64) -> std::ops::Range<usize> {
        self.starts_ms.partition_point(|start| *start < from_ms)
            ..self.starts_ms.partition_point(|start| *start <= to_ms)
    }

    /// The bytes of those records, the comma after the last one left out.
    pub fn bytes(&self, numbers: &std::ops::Range<usize>) -> std::ops::Range<u64> {
        if numbers.is_empty() {
            return 0..0;
        }
        self.offsets[numbers.start]..self.offsets[numbers.end] - 1
    }
}
