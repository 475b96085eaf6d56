//! What a transaction did, for the metrics: told once it is committed, since one that loses is done again.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// By table and operation.
    rows: BTreeMap<(&'static str, &'static str), u64>,
    /// By reason.
    quarantined: BTreeMap<String, u64>,
    drifted: u64,
}

impl Counts {
    pub(super) fn rows(&mut self, table: &'static str, operation: &'static str, written: u64) {
        *self.rows.entry((table, operation)).or_default() += written;
    }

    pub(super) fn quarantined(&mut self, reason: &str) {
        *self.quarantined.entry(reason.to_owned()).or_default() += 1;
    }

    pub(super) fn drifted(&mut self, times: u64) {
        self.drifted += times;
    }

    /// To be called after the COMMIT.
    pub(super) fn tell(self, stream: &str) {
        for ((table, operation), rows) in self.rows {
            metrics::counter!("koresync_rows_written_total", "table" => table, "operation" => operation)
                .increment(rows);
        }
        for (reason, records) in self.quarantined {
            metrics::counter!("koresync_records_quarantined_total", "stream" => stream.to_owned(), "reason" => reason)
                .increment(records);
        }
        if self.drifted > 0 {
            metrics::counter!("koresync_unknown_fields_total", "stream" => stream.to_owned()).increment(self.drifted);
        }
    }
}
