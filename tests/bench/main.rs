//! What koresync costs, against PostgreSQL's own COPY and against what one would write by hand.
//!
//! `make bench` builds the release program and runs this. Every figure is a ratio whose two sides were measured
//! in the same run, in turns, so that the noise of the machine meets both; the median of several is told
//! with the least and the greatest. It reads `/proc`, so it works on Linux alone.
//!
//! From the environment: `SECTIONS` (`fresh,staging,reread,recheck,rebuild,normalise,growth,views,page,budget,replicas,idle`; all, if not given),
//! `CONTACTS` (the sizes of the fresh load, `20000,200000`; the least is used
//! everywhere else), `HELD` (contacts held where growth and views are measured, 1000000), `RUNS` (repetitions, 5).

mod budget;
mod copy;
mod daemon;
mod fresh;
mod growth;
mod history;
mod idle;
mod mapper;
mod page;
mod postgres;
mod process;
mod rebuild;
mod recheck;
mod records;
mod report;
mod reread;
mod sample;
mod settings;
mod staging;
mod vendor;
mod views;

use std::process::ExitCode;

use anyhow::Context as _;

use report::Report;
use settings::{Section, Settings};

/// Everything a section needs.
struct Bench {
    settings: Settings,
    cluster: postgres::Cluster,
    report: Report,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some(vendor::ROLE) => vendor::serve(&arguments[1..]),
        // What `cargo bench` passes on (`--bench`) means nothing here.
        _ => tokio::runtime::Runtime::new().context("no runtime").and_then(|runtime| runtime.block_on(Box::pin(run()))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let settings = Settings::from_environment()?;
    let cluster = postgres::Cluster::start().await?;
    let report = Report::new(&settings, cluster.version());
    let mut bench = Bench { settings, cluster, report };
    if bench.settings.has(Section::Fresh) || bench.settings.has(Section::Staging) {
        for contacts in bench.settings.contacts.clone() {
            Box::pin(fresh::measure(&mut bench, contacts)).await?;
        }
    }
    if bench.settings.has(Section::Reread) {
        Box::pin(reread::measure(&mut bench)).await?;
    }
    if bench.settings.has(Section::Recheck) {
        Box::pin(recheck::measure(&mut bench)).await?;
    }
    if bench.settings.has(Section::Rebuild) {
        Box::pin(rebuild::measure(&mut bench)).await?;
    }
    if bench.settings.has(Section::Normalise) {
        mapper::measure(&mut bench);
    }
    if bench.settings.has(Section::Growth) {
        Box::pin(growth::measure(&mut bench)).await?;
    }
    if bench.settings.has(Section::Views) {
        Box::pin(views::measure(&mut bench)).await?;
    }
    if bench.settings.has(Section::Page) {
        Box::pin(page::measure(&mut bench)).await?;
    }
    if bench.settings.has(Section::Budget) {
        Box::pin(budget::measure(&mut bench)).await?;
    }
    if bench.settings.has(Section::Replicas) {
        Box::pin(budget::measure_shared(&mut bench)).await?;
    }
    if bench.settings.has(Section::Idle) {
        Box::pin(idle::measure(&mut bench)).await?;
    }
    bench.report.finish()
}
