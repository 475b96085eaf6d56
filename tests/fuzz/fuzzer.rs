//! Fuzzing on all cores for as long as told: `make fuzz`.
//!
//! From the environment: `SECONDS` (60, where neither is given) or `EXECUTIONS`; `SEED` begins the run with the same cases
//! again; `REPLAY` runs the one case of that seed, as a failure names it; `CORES`, all if not given.

mod cases;
mod children;
mod choices;
mod corpus;
mod mutate;
mod properties;
mod record;
mod rows;
mod tree;
mod values;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use cases::Failure;
use choices::{Choices, shrink};
use corpus::Corpus;

/// Cases that a core takes at once.
const BATCH: u64 = 500;
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// A failure is made smaller for so long at most.
const SHRINKING: Duration = Duration::from_secs(30);

struct Settings {
    lasting: Duration,
    executions: u64,
    seed: u64,
    replay: Option<u64>,
    cores: usize,
}

impl Settings {
    fn from_environment() -> anyhow::Result<Self> {
        let (seconds, executions) = (number("SECONDS")?, number("EXECUTIONS")?);
        let lasting = seconds.unwrap_or(if executions.is_some() { u64::MAX } else { 60 });
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            lasting: Duration::from_secs(lasting),
            executions: executions.unwrap_or(u64::MAX),
            seed: number("SEED")?.unwrap_or_else(rand::random),
            replay: number("REPLAY")?,
            cores: number("CORES")?.and_then(|cores| usize::try_from(cores).ok()).unwrap_or(all).max(1),
        })
    }
}

fn number(name: &str) -> anyhow::Result<Option<u64>> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => {
            Ok(Some(text.parse().with_context(|| format!("{name} is a whole number, not {text:?}"))?))
        }
        _ => Ok(None),
    }
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a case; a panic is a failure.
fn attempt(choices: &mut Choices<'_>, corpus: &Corpus) -> Result<(), Failure> {
    let mut made = Vec::new();
    let run = AssertUnwindSafe(|| cases::run(choices, corpus, &mut made));
    catch_unwind(run).unwrap_or_else(|_| {
        let what = PANIC.take();
        Err(Failure { what, text: std::mem::take(&mut made), chosen: None })
    })
}

/// The seed of the case that a run comes to after so many.
fn seed_of(run: u64, case: u64) -> u64 {
    let mut drawn = Choices::of_seed(run ^ case.wrapping_mul(0xd6e8_feb8_6659_fd93));
    u64::from(drawn.draw()) << 32 | u64::from(drawn.draw())
}

/// Until a case fails or the time is over; gives the seed of the first case that failed.
fn search(settings: &Settings, corpus: &Corpus) -> (u64, Duration, Option<u64>) {
    let begun = Instant::now();
    let (next, done, is_over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let failed: Mutex<Option<u64>> = Mutex::new(None);
    let told = Mutex::new(begun);
    std::thread::scope(|scope| {
        for _ in 0..settings.cores {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let first = next.fetch_add(BATCH, Ordering::Relaxed);
                    let cases = first..(first + BATCH).min(settings.executions);
                    for case in cases.clone() {
                        let seed = seed_of(settings.seed, case);
                        if attempt(&mut Choices::of_seed(seed), corpus).is_err() {
                            failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(seed);
                            is_over.store(true, Ordering::Relaxed);
                            break;
                        }
                    }
                    let count = done.fetch_add(cases.end.saturating_sub(cases.start), Ordering::Relaxed);
                    if cases.is_empty() || begun.elapsed() >= settings.lasting {
                        is_over.store(true, Ordering::Relaxed);
                    }
                    if let Ok(mut told) = told.try_lock()
                        && told.elapsed() >= TOLD_EVERY
                    {
                        tell(count, begun.elapsed());
                        *told = Instant::now();
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    (done.into_inner(), begun.elapsed(), failed)
}

fn tell(count: u64, elapsed: Duration) {
    let a_second = count as f64 / elapsed.as_secs_f64().max(0.001);
    eprintln!("fuzz: {count} executions in {:.0} s, {a_second:.0} a second", elapsed.as_secs_f64());
}

/// Makes the failing case of a seed small, and tells of it. `false` where it does not fail.
fn report(seed: u64, corpus: &Corpus) -> bool {
    let mut drawn = Choices::of_seed(seed);
    let Err(first) = attempt(&mut drawn, corpus) else { return false };
    let begun = Instant::now();
    let fails = |list: &[u32]| begun.elapsed() < SHRINKING && attempt(&mut Choices::given(list), corpus).is_err();
    let list = shrink(drawn.into_list(), fails);
    let failure = attempt(&mut Choices::given(&list), corpus).err().unwrap_or(first);
    tell_failure(&cases::without_parts(failure, fails_as_text));
    println!("fuzz: once more: make fuzz REPLAY={seed}");
    true
}

/// What a text fails with, panics too.
fn fails_as_text(text: &[u8], chosen: &[u32]) -> Option<String> {
    match catch_unwind(|| cases::text(text, chosen)) {
        Ok(held) => held.err(),
        Err(_) => Some(PANIC.take()),
    }
}

fn tell_failure(failure: &Failure) {
    println!("fuzz: {}", failure.what);
    match std::str::from_utf8(&failure.text) {
        Ok(text) if !text.contains(|c: char| c.is_control() && c != '\n') => println!("{text}"),
        _ => println!("as a byte string: \"{}\"", failure.text.escape_ascii()),
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let settings = Settings::from_environment()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let corpus = Corpus::load(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    std::panic::set_hook(Box::new(|info| PANIC.set(format!("panic: {info}"))));
    if let Some(seed) = settings.replay {
        let has_failed = report(seed, &corpus);
        if !has_failed {
            println!("fuzz: the case of seed {seed} holds");
        }
        return Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    if let Err(failure) = cases::as_kept(&corpus) {
        tell_failure(&failure);
        return Ok(ExitCode::FAILURE);
    }
    eprintln!("fuzz: seed {}, {} cores, {} records", settings.seed, settings.cores, corpus.bases.len());
    let (count, elapsed, failed) = search(&settings, &corpus);
    tell(count, elapsed);
    let Some(seed) = failed else {
        println!("fuzz: no failure; the same run again: make fuzz SEED={}", settings.seed);
        return Ok(ExitCode::SUCCESS);
    };
    if !report(seed, &corpus) {
        println!("fuzz: the case of seed {seed} failed once and holds now: it depends on something else");
    }
    Ok(ExitCode::FAILURE)
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("fuzz: {error:#}");
        ExitCode::FAILURE
    })
}
