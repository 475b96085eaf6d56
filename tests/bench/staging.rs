//! What one would write by hand: the pages one after the other into a staging table, and SQL that spreads them.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use sqlx::Connection as _;

use super::postgres::{Cluster, statement};
use super::records::{Extent, STREAM_ID};
use super::vendor::Vendor;

const SQL: &str = include_str!("staging.sql");
/// What stands before it in the file is run before the pages come.
const SPREAD: &str = "-- spread:";
const PAGE: u64 = 100;
const COPY: &str = "copy staging.pages (page) from stdin (format binary)";
/// The head of COPY's binary format: its signature, no flags, no extension.
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Loads everything that the vendor has into an empty warehouse; the seconds that took, fetching included.
pub async fn load(cluster: &Cluster, database: &str, vendor: &Vendor, extent: &Extent) -> anyhow::Result<f64> {
    let (before, spread) = SQL.split_once(SPREAD).context("staging.sql has lost its mark")?;
    let mut connection = cluster.connect(database).await?;
    let client = reqwest::Client::new();
    let url = format!("{}/qualityai/api/v1/public/qualitymanagement/app/{STREAM_ID}/rawdata", vendor.url());

    let began = Instant::now();
    statement(&mut connection, before).await?;
    let mut copy = connection.copy_in_raw(COPY).await?;
    copy.send(HEAD).await?;
    let mut offset = 0;
    loop {
        let body = json!({
            "startDate": extent.start().format("%Y-%m-%d %H:%M:%S").to_string(),
            "endDate": extent.end.format("%Y-%m-%d %H:%M:%S").to_string(),
            "offset": offset,
            "page": 1,
            "limit": PAGE,
            "include_below_threshold": true,
        });
        let page = client.post(&url).body(body.to_string()).send().await?.error_for_status()?.bytes().await?;
        // A row of one column, jsonb in its first version.
        let mut row = Vec::with_capacity(page.len() + 7);
        row.extend_from_slice(&1_i16.to_be_bytes());
        row.extend_from_slice(&i32::try_from(page.len() + 1)?.to_be_bytes());
        row.push(1);
        row.extend_from_slice(&page);
        copy.send(row).await?;
        offset += PAGE;
        if !has_more(&page)? {
            break;
        }
    }
    copy.send(&(-1_i16).to_be_bytes()[..]).await?;
    ensure!(copy.finish().await? == offset / PAGE, "pages were lost on the way");
    let mut transaction = connection.begin().await?;
    statement(&mut transaction, &format!("{SPREAD}{spread}")).await?;
    transaction.commit().await?;
    let took = began.elapsed().as_secs_f64();
    connection.close().await?;
    Ok(took)
}

/// The envelope's word on whether another page follows: the last 200 bytes hold all of it but the records.
fn has_more(page: &[u8]) -> anyhow::Result<bool> {
    let from = page.len().saturating_sub(200);
    let end = String::from_utf8_lossy(&page[from..]);
    let envelope = end.rfind("],\"totalResults\"").context("the page has no envelope")?;
    let envelope: Value = serde_json::from_str(&format!("{{\"results\":[{}", &end[envelope..]))?;
    envelope["hasMore"].as_bool().context("the page does not say whether there is more")
}
