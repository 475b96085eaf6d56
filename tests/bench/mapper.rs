//! The mapper on one core against `serde_json::Value` of the same bytes, in turns. The bench `normalise` measures the
//! same with criterion.

use std::hint::black_box;
use std::time::Instant;

use koresync::domain::ContentHash;
use koresync::normalise::{identify, normalise};

use super::Bench;
use super::report::Samples;
use super::sample;

/// What is done to each record; its result is kept from being optimised away.
type Work = fn(&[u8]);

const WORKS: [(&str, Work); 4] = [
    ("serde_json::Value", |record| {
        black_box(serde_json::from_slice::<serde_json::Value>(record).is_ok());
    }),
    ("normalise", |record| {
        black_box(normalise(record).is_ok());
    }),
    ("identify", |record| {
        black_box(identify(record));
    }),
    ("raw hash", |record| {
        black_box(ContentHash::of(record));
    }),
];
/// Times that the records are gone through in a run, beside once to warm up.
const ROUNDS: usize = 10;

pub fn measure(bench: &mut Bench) {
    let records = sample::records();
    let megabytes = records.iter().map(String::len).sum::<usize>() as f64 / 1e6;
    let mut speeds = WORKS.map(|_| Samples::default());
    for run in 0..=bench.settings.runs {
        for ((_, work), speed) in WORKS.iter().zip(&mut speeds) {
            let began = Instant::now();
            for _ in 0..ROUNDS {
                for record in &records {
                    work(record.as_bytes());
                }
            }
            // The first run warms up.
            if run > 0 {
                speed.add(megabytes * ROUNDS as f64 / began.elapsed().as_secs_f64());
            }
        }
    }
    let report = &mut bench.report;
    report.section(&format!("The mapper alone, {} records, {megabytes:.1} MB", sample::RECORDS));
    report.figure("speed of normalise / speed of serde_json::Value", &speeds[1].over(&speeds[0]));
    for ((name, _), speed) in WORKS.iter().zip(&speeds) {
        report.figure(&format!("{name}, MB/s"), speed);
    }
}
