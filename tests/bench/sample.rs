//! Some records of the simulated vendor, for measuring the mapper alone.

use chrono::DateTime;
use koresync::simulate::{Options, Rendering};

pub const RECORDS: u64 = 2_000;

/// The same at every call.
pub fn records() -> Vec<String> {
    let end = DateTime::from_timestamp(1_774_261_123, 0).unwrap_or_default();
    let rendering = Rendering::new(&Options { contacts: RECORDS, ..Options::default() }, end, "st-bench");
    (0..RECORDS).map(|index| rendering.record(index, false).text).collect()
}
