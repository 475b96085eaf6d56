//! What a contact costs when a million are held already, and what memory a large backlog takes.

use anyhow::ensure;

use super::Bench;
use super::fresh::Loads;
use super::history::{History, Loaded};
use super::postgres::Keys;
use super::report::Samples;

const SMALL: &str = "small";
/// As it is before each batch.
const SMALL_HELD: &str = "small_held";
const MIDDLE: &str = "middle";
const LARGE: &str = "large";

/// What a contact costs, in microseconds.
#[derive(Default)]
struct Each {
    wall: Samples,
    cpu: Samples,
}

impl Each {
    fn add(&mut self, loaded: &Loaded) {
        self.wall.add(loaded.run.cost.wall * 1e6 / loaded.contacts);
        self.cpu.add((loaded.run.cost.cpu + loaded.run.postgres_cpu) * 1e6 / loaded.contacts);
    }
}

pub async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let (batch, held) = (bench.settings.contacts_least(), bench.settings.held);
    ensure!(held > batch, "HELD={held} is no more than the least of CONTACTS, {batch}");
    let runs = bench.settings.runs as u64;
    let contacts = held + runs * batch + 1;
    let history = History::of(contacts, &bench.settings.folder, &bench.cluster)?;
    let cluster = &bench.cluster;
    let (mut loads, mut peaks) = (Loads::default(), Vec::new());
    let middle = 10 * batch;
    for (database, backlog) in [(SMALL_HELD, batch), (MIDDLE, middle), (LARGE, held)] {
        if database == MIDDLE && backlog >= held {
            continue;
        }
        cluster.fresh(database, Keys::Declared).await?;
        let loaded = history.load(database, 0, backlog).await?;
        loads.add(&loaded.run);
        peaks.push((backlog, loaded));
        cluster.vacuum(database).await?;
    }
    cluster.remove(MIDDLE).await?;

    let (mut small, mut large) = (Each::default(), Each::default());
    for run in 0..runs {
        cluster.copy(SMALL_HELD, SMALL).await?;
        for (database, from, each) in [(SMALL, batch, &mut small), (LARGE, held + run * batch, &mut large)] {
            let loaded = history.load(database, from, from + batch).await?;
            loads.add(&loaded.run);
            each.add(&loaded);
        }
    }
    cluster.check_references(SMALL).await?;
    cluster.check_references(LARGE).await?;
    for database in [SMALL, SMALL_HELD, LARGE] {
        cluster.remove(database).await?;
    }

    let void = if loads.is_void() { "VOID (the vendor took too much): " } else { "" };
    let report = &mut bench.report;
    report.section(&format!("Growth: {batch} contacts more at {batch} held and at {held} held"));
    report.figure(&format!("{void}time of a contact at {held} / at {batch}"), &large.wall.over(&small.wall));
    report.figure(&format!("{void}CPU of a contact at {held} / at {batch}"), &large.cpu.over(&small.cpu));
    for (held, each) in [(batch, &small), (held, &large)] {
        report.figure(&format!("time of a contact at {held} held, µs"), &each.wall);
        report.figure(&format!("CPU of a contact at {held} held, with PostgreSQL's, µs"), &each.cpu);
    }
    let peak = |loaded: &Loaded| loaded.run.cost.peak_memory as f64 / 1e6;
    for (backlog, loaded) in &peaks {
        report.figure(&format!("peak memory at a backlog of {backlog}, MB"), &Samples::one(peak(loaded)));
    }
    if let [(_, first), .., (_, last)] = peaks.as_slice() {
        report.figure(&format!("peak memory at {held} / at {batch}"), &Samples::one(peak(last) / peak(first)));
    }
    report.note(
        "Peak memory is that of one run each. After every load as many contacts were held as the vendor has up to there, and in \
         the end no declared reference was broken.",
    );
    Ok(())
}
