//! Answers of the vendor that no client should choke on: bounded memory, an error in time that says what it was and,
//! where a setting mends it, which; and afterwards nothing is left of it.

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use koresync::simulate;

use crate::support::hostile_vendor::{HostileVendor, Trick};
use crate::support::mirror::population;
use crate::support::postgres::TestDatabase;
use crate::support::process::{Configuration, LOOK, Process, Program, Stream};
use crate::support::site::Site;

const MEMORY_MOST: u64 = 128_000_000;
const SOON: Duration = Duration::from_mins(1);
/// Windows of two streams are read side by side: so many hostile answers are at once, and again.
const ANSWERS_LEAST: u32 = 8;

/// The daemon, two streams of it, meets a vendor that plays a trick until it has told `words` and, where there is a
/// record to set aside, did so for this reason. Then the vendor is well.
async fn bears(trick: Trick, words: &str, set_aside: Option<&str>) {
    let database = TestDatabase::create().await;
    let site = Site::start(database.url(), simulate::Options { contacts: 300, days: 2, ..population() }).await;
    let vendor = HostileVendor::before(site.vendor.address).await;
    let configuration = Configuration { base_url: vendor.url.clone(), give_up: "10s", ..site.configuration() };
    let program = Program::new(&configuration);

    vendor.plays(Some(trick));
    let began = Instant::now();
    let mut daemon = program.spawn(&["run"]);
    daemon.tells(words).await;
    let told_after = began.elapsed();
    // One that trickles takes as long as it may.
    let least = if trick == Trick::Trickle { ANSWERS_LEAST / 2 } else { ANSWERS_LEAST };
    while vendor.answers() < least {
        assert!(daemon.is_running() && began.elapsed() < SOON, "{} answers:\n{}", vendor.answers(), daemon.told());
        tokio::time::sleep(LOOK).await;
    }
    assert!(daemon.page("/livez").await.starts_with("ok"));
    assert_is_small(&daemon, trick);
    println!("{trick:?}: told after {told_after:?}, {} answers", vendor.answers());
    daemon.terminate();
    assert_eq!(daemon.ended(SOON).await.code(), Some(0), "{}", daemon.told());

    let (_, aside) = program.run(&["quarantine", "list"], SOON).await;
    assert!(aside.contains(set_aside.unwrap_or("no record is in quarantine")), "{aside}");

    vendor.plays(None);
    site.forget_lost_slots().await;
    let (exit, told) = program.run(&["run", "--once"], SOON).await;
    assert_eq!(exit, Some(0), "{told}");
    if set_aside.is_some() {
        // The vendor had vouched for what it sent: somebody has to ask again.
        let moment = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        for Stream { name, start, .. } in &site.streams {
            let (from, to) = (moment(*start), moment(site.end));
            let again = ["backfill", "--stream", name, "--from", &from, "--to", &to];
            let (exit, told) = program.run(&again, SOON).await;
            assert_eq!(exit, Some(0), "{told}");
        }
    } else {
        site.assert_ledger_closed().await;
        assert_eq!(site.number("select count(*) from koresync.quarantined_records").await, 0, "left of the trick");
    }
    site.assert_equal().await;
}

fn assert_is_small(daemon: &Process, trick: Trick) {
    match daemon.memory_peak() {
        Ok(peak) => {
            println!("{trick:?}: {} MB at the most", peak / 1_000_000);
            assert!(peak < MEMORY_MOST, "{trick:?}: {peak} bytes:\n{}", daemon.told());
        }
        Err(why) => println!("SKIPPED: the memory of {trick:?} is not known here: {why}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gzip_bomb_is_cut_off_and_the_cap_is_named() {
    bears(Trick::GzipBomb, "larger than api.max_body_bytes", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_is_cut_off_and_the_cap_is_named() {
    bears(Trick::Gigabyte, "larger than api.max_body_bytes", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_nested_a_million_deep_is_set_aside() {
    bears(Trick::DeepRecord, "\"quarantined\":1", Some("not_json")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_nested_a_million_deep_is_no_page() {
    bears(Trick::DeepPage, "nested too deeply", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_ten_million_members_is_set_aside() {
    bears(Trick::ManyKeys, "\"quarantined\":1", Some("too_large")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_ten_million_records_is_no_page() {
    bears(Trick::ManyRecords, "more than 10000 records", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_trickles_ends_with_the_deadline_and_a_mend_is_named() {
    bears(Trick::Trickle, "no whole answer in time", None).await;
}
