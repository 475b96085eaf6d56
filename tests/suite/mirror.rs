//! The warehouse equals the vendor: every way of paging, every fault of a request, every kind of record.

use koresync::api::Placement;
use koresync::simulate::{Disguise, Excess, Fault, FaultRate, Options, Order, Paging, TotalCounts};
use koresync::sync::Outcome;

use crate::support::mirror::{Mirror, Settings, population};

async fn mirrors(population: Options, settings: Settings) -> Mirror {
    let mirror = Mirror::start(population, settings).await;
    let outcome = mirror.run_once().await;
    assert_eq!(outcome, Outcome::Done);
    mirror.assert_equal().await;
    mirror
}

fn with_page_size(page_size: u32) -> Settings {
    Settings { page_size, ..Settings::default() }
}

fn faulty(faults: &[(Fault, f64)]) -> Options {
    let faults =
        faults.iter().map(|(fault, probability)| FaultRate { fault: *fault, probability: *probability }).collect();
    Options { faults, ..population() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_paging_habit_order_and_page_size_is_mirrored() {
    for paging in [Paging::Offset, Paging::Page, Paging::Both, Paging::OffsetAsPages] {
        for order in [Order::Asc, Order::Desc] {
            for page_size in [7, 100] {
                println!("{paging:?} {order:?} {page_size}");
                mirrors(Options { paging, order, ..population() }, with_page_size(page_size)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_clamp_or_refuse_a_page_size_or_an_offset_are_mirrored() {
    for (name, quirk) in [
        ("clamps", Options { limit_max: 40, ..population() }),
        ("refuses", Options { limit_max: 40, limit_excess: Excess::Refuse, ..population() }),
        ("caps the offset", Options { offset_max: Some(100), ..population() }),
        ("clamps, obeys the page", Options { limit_max: 40, paging: Paging::Page, ..population() }),
    ] {
        println!("{name}");
        mirrors(quirk, Settings::default()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_tokens_encodings_and_totals_of_every_kind_are_mirrored() {
    for (name, quirk, page_size) in [
        ("exclusive ends", Options { end_exclusive: true, ..population() }, 100),
        ("exclusive ends, both", Options { end_exclusive: true, start_exclusive: true, ..population() }, 7),
        ("whole seconds", Options { end_exclusive: true, whole_seconds: true, ..population() }, 100),
        ("jti enforced", Options { enforce_jti: true, ..population() }, 100),
        ("no gzip", Options { no_gzip: true, ..population() }, 100),
        ("total counts everything", Options { total_counts: TotalCounts::Everything, ..population() }, 100),
        ("total is inflated", Options { total_counts: TotalCounts::Inflated, ..population() }, 100),
        ("total is inflated, small pages", Options { total_counts: TotalCounts::Inflated, ..population() }, 7),
        ("hasMore lies", Options { has_more_lies: true, ..population() }, 7),
        ("by id", Options { order: Order::ById, ..population() }, 7),
    ] {
        println!("{name}");
        mirrors(quirk, with_page_size(page_size)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn below_threshold_contacts_come_by_the_query_too_and_the_effect_is_counted() {
    let settings = Settings { below_in: Placement::Query, ..Settings::default() };
    let mirror = mirrors(population(), settings).await;
    let counted = mirror.number("select count(*) from koresync.streams where below_threshold_effect is not null").await;
    assert_eq!(counted, 1);
}

async fn mirrors_under(fault: Fault, probability: f64, page_size: u32) {
    println!("{fault:?} {probability} {page_size}");
    mirrors(faulty(&[(fault, probability)]), with_page_size(page_size)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_fail_cost_time_and_nothing_else() {
    for fault in [
        Fault::RateLimited429,
        Fault::RateLimited403,
        Fault::RateLimited400,
        Fault::RateLimited200,
        Fault::RateLimited503,
        Fault::Http500,
        Fault::Http503,
        Fault::Reset,
        Fault::Truncated,
        Fault::Html200,
        Fault::Stall,
    ] {
        mirrors_under(fault, 0.1, 25).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_lie_are_found_out() {
    for fault in [Fault::Duplicated, Fault::Slid, Fault::Shuffled, Fault::InsertWhilePaging] {
        mirrors_under(fault, 0.1, 25).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_every_kind_of_fault_lose_nothing() {
    for fault in [
        Fault::Drifted,
        Fault::Malformed,
        Fault::RepeatedIds,
        Fault::Late,
        Fault::ScoredLater,
        Fault::Changed,
        Fault::Vanished,
    ] {
        println!("{fault:?}");
        // Long after, when every record's history is over: what is read once is read for good.
        let settings = Settings { afterwards: chrono::TimeDelta::days(300), ..with_page_size(25) };
        mirrors(faulty(&[(fault, 0.2)]), settings).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_limit_in_every_disguise_is_kept_to() {
    for disguise in [Disguise::TooManyRequests, Disguise::Ok] {
        let settings = Settings { requests_per_minute: 60.0, time_scale: 200.0, ..Settings::default() };
        let mirror = mirrors(Options { requests_per_minute: 60, disguise, ..population() }, settings).await;
        assert_eq!(mirror.vendor.stats().refusals, 0);
    }
}
