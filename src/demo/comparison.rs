//! The mirror against the vendor's own account of what a perfect mirror holds.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgExecutor;

use super::stage::{STREAM, STREAM_ID};
use crate::simulate::{self, CHECKSUMS_SQL, Expectation};

/// What the comparison came to.
#[derive(Debug)]
pub struct Verdict {
    pub tables: usize,
    /// A line for each table that differs.
    pub differing: Vec<String>,
}

/// Compares every table, row count and checksum, for the contacts that start up to the watermark.
pub async fn compare(
    vendor: Arc<simulate::Running>,
    warehouse: impl PgExecutor<'_> + Copy,
    watermark: DateTime<Utc>,
) -> Result<Verdict, anyhow::Error> {
    // The last window's request range holds its own end, and the vendor's dates are inclusive.
    let to = watermark + TimeDelta::milliseconds(1);
    let expected = tokio::task::spawn_blocking(move || vendor.expect(STREAM_ID, STREAM, None, Some(to), None, true));
    let held: Vec<(String, i64, String)> = sqlx::query_as(CHECKSUMS_SQL).bind(STREAM).fetch_all(warehouse).await?;
    let quarantined: i64 = sqlx::query_scalar("select count(*) from koresync.quarantined_records where stream = $1")
        .bind(STREAM)
        .fetch_one(warehouse)
        .await?;
    let expected = expected.await?;
    Ok(Verdict { tables: expected.tables.len(), differing: differing(&expected, &held, quarantined.cast_unsigned()) })
}

fn differing(expected: &Expectation, held: &[(String, i64, String)], quarantined: u64) -> Vec<String> {
    let mut differing = Vec::new();
    for (table, sum) in &expected.tables {
        match held.iter().find(|(name, ..)| name == table) {
            None => differing.push(format!("{table}: not in the warehouse")),
            Some((_, rows, _)) if rows.cast_unsigned() != sum.rows => {
                differing.push(format!("{table}: {rows} rows, the vendor has {}", sum.rows));
            }
            Some((.., checksum)) if *checksum != sum.checksum => {
                differing.push(format!("{table}: {} rows as the vendor has, of another content", sum.rows));
            }
            Some(_) => {}
        }
    }
    if quarantined != expected.quarantined {
        differing.push(format!("quarantine: {quarantined} records, {} are due", expected.quarantined));
    }
    differing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::TableSum;

    #[test]
    fn a_missing_table_a_row_too_many_and_another_content_are_told_apart() {
        let sum = |rows, checksum: &str| TableSum { rows, checksum: checksum.to_owned() };
        let names = ["contacts", "agents", "topics", "queues"];
        let expected = Expectation {
            stream: STREAM.to_owned(),
            tables: names.iter().map(|name| ((*name).to_owned(), sum(5, "17"))).collect(),
            quarantined: 0,
            listed: 5,
        };
        let row = |name: &str, rows, checksum: &str| (name.to_owned(), rows, checksum.to_owned());
        let held = [row("contacts", 5, "17"), row("agents", 6, "17"), row("topics", 5, "18")];
        let told = differing(&expected, &held, 1);
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told.iter().all(|line| !line.starts_with("contacts")), "{told:?}");
    }
}
