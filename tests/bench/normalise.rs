//! The mapper alone, on one core: MB/s of JSON, against `serde_json::Value` of the same bytes.
//!
//! `cargo bench --bench normalise`, or as a part of `make bench`.

mod sample;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use koresync::domain::ContentHash;
use koresync::json::split_page;
use koresync::normalise::{identify, normalise};

/// Records of a page, as the vendor sends them.
const PAGE: usize = 100;

fn measure(criterion: &mut Criterion) {
    let records = sample::records();
    let pages: Vec<String> = records
        .chunks(PAGE)
        .map(|page| format!("{{\"results\":[{}],\"totalResults\":{}}}", page.join(","), sample::RECORDS))
        .collect();
    let bytes = records.iter().map(|record| record.len() as u64).sum();
    let mut group = criterion.benchmark_group("records");
    group.throughput(Throughput::Bytes(bytes));
    let mut over_records = |name: &str, work: &dyn Fn(&[u8])| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| records.iter().for_each(|record| work(record.as_bytes())));
        });
    };
    over_records("serde_json_value", &|record| {
        black_box(serde_json::from_slice::<serde_json::Value>(record).is_ok());
    });
    over_records("normalise", &|record| {
        black_box(normalise(record).is_ok());
    });
    over_records("identify", &|record| {
        black_box(identify(record));
    });
    over_records("raw_hash", &|record| {
        black_box(ContentHash::of(record));
    });
    group.bench_function("split_page", |bencher| {
        bencher.iter(|| pages.iter().for_each(|page| drop(black_box(split_page(page.as_bytes())))));
    });
    group.finish();
}

criterion_group!(benches, measure);
criterion_main!(benches);
