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
async fn probe() {
    tracing_subscriber::fmt()
        .with_env_filter(std::env::var("PROBE_LOG").unwrap_or_default())
        .with_writer(std::io::stderr)
        .init();
    let began = std::time::Instant::now();
    let mirror = Mirror::start(population(), with_page_size(100)).await;
    println!("started {:?}", began.elapsed());
    let outcome = mirror.run_once().await;
    println!("{outcome:?} {:?}", began.elapsed());
    mirror.assert_equal().await;
    println!("compared {:?} {:?}", began.elapsed(), mirror.vendor.stats().requests);
    println!("windows {}", mirror.number("select count(*) from koresync.windows").await);
}
