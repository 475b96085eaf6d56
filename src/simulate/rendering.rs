//! The records of a stream, rendered one after the other without a server: for measurements, in which the vendor must
//! cost next to nothing.

use chrono::{DateTime, Utc};

use super::dice::Share;
use super::lifecycle::Shares;
use super::options::Options;
use super::render;
use super::vendor::Vendor;

/// A moment by which every change has happened.
const AFTER_ALL: i64 = i64::MAX / 4;

/// One record as the vendor sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// When the contact starts, in milliseconds since the epoch.
    pub start_ms: i64,
    /// A JSON object.
    pub text: String,
}

/// A stream whose records are rendered by index. None of them is late, drifted or malformed.
#[derive(Debug)]
pub struct Rendering {
    vendor: Vendor,
}

impl Rendering {
    /// The stream that a simulated vendor with these options holds; its population ends at `end`.
    pub fn new(options: &Options, end: DateTime<Utc>, stream_id: &str) -> Self {
        Self { vendor: Vendor::of(options, end, stream_id) }
    }

    /// Contact `index`, in order of start. `is_changed`: as it is after the vendor has changed it.
    pub fn record(&self, index: u64, is_changed: bool) -> Rendered {
        let changed = Share::new(if is_changed { 1.0 } else { 0.0 });
        let shares = Shares { changed, ..Shares::default() };
        let life = self.vendor.life(index, &shares);
        let contact = self.vendor.contact(index, &life, AFTER_ALL, false);
        Rendered { start_ms: life.start, text: render::record(&contact, self.vendor.manner(index, &life)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_in_order_of_start_and_change_when_told_to() {
        let options = Options { contacts: 200, days: 3, ..Options::default() };
        let end = DateTime::from_timestamp(1_774_261_123, 0).expect("a time");
        let rendering = Rendering::new(&options, end, "st-1");
        let records: Vec<Rendered> = (0..200).map(|index| rendering.record(index, false)).collect();
        assert!(records.is_sorted_by_key(|record| record.start_ms));
        assert!(records.iter().all(|record| serde_json::from_str::<serde_json::Value>(&record.text).is_ok()));
        let changed =
            (0..200).zip(&records).filter(|(index, before)| rendering.record(*index, true) != **before).count();
        // One below the threshold has little that may change.
        assert!(changed > 150, "{changed} of 200 records differ");
    }
}
