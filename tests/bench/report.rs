//! The table of figures, printed as it grows and written down at the end.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use koresync::domain::clock::{Clock as _, SystemClock};

use super::settings::Settings;

/// The figures of one bench.
#[derive(Debug)]
pub struct Report {
    text: String,
    path: PathBuf,
}

/// Several measurements of one figure.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// A figure that was measured once.
    pub fn one(value: f64) -> Self {
        Self(vec![value])
    }

    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// What each run gives when this is divided by the other's same run.
    pub fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own / other).collect())
    }

    pub fn plus(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own + other).collect())
    }

    pub fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self(self.0.iter().copied().map(change).collect())
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        match (sorted.get(middle), sorted.len() % 2) {
            (None, _) => f64::NAN,
            (Some(value), 1) => *value,
            (Some(value), _) => f64::midpoint(*value, sorted[middle - 1]),
        }
    }

    pub fn max(&self) -> f64 {
        self.sorted().last().copied().unwrap_or(f64::NAN)
    }

    pub fn min(&self) -> f64 {
        self.sorted().first().copied().unwrap_or(f64::NAN)
    }
}

impl Report {
    pub fn new(settings: &Settings, postgres: &str) -> Self {
        let now = SystemClock.now();
        let mut report =
            Self { text: String::new(), path: settings.folder.join(format!("{}.md", now.format("%Y-%m-%d-%H%M%S"))) };
        report.line("# koresync: what it costs");
        report.line("");
        report.line(&format!("- when: {}", now.format("%Y-%m-%d %H:%M UTC")));
        report.line(&format!("- command: `{}`", settings.command));
        report.line(&format!("- machine: {}", machine()));
        report.line(&format!("- PostgreSQL {postgres} with its default settings, on the same machine"));
        report.line(&format!(
            "- runs: {}, the variants in turns; a ratio is taken within a run; the table tells median, least and greatest",
            settings.runs
        ));
        report
    }

    fn line(&mut self, text: &str) {
        println!("{text}");
        self.text.push_str(text);
        self.text.push('\n');
    }

    pub fn section(&mut self, title: &str) {
        self.line("");
        self.line(&format!("## {title}"));
        self.line("");
        self.line(&format!("| {:<58} | {:>10} | {:>10} | {:>10} |", "figure", "median", "min", "max"));
        self.line(&format!("|{}|{}:|{}:|{}:|", "-".repeat(60), "-".repeat(11), "-".repeat(11), "-".repeat(11)));
    }

    pub fn figure(&mut self, name: &str, samples: &Samples) {
        let [median, min, max] = [samples.median(), samples.min(), samples.max()].map(written);
        self.line(&format!("| {name:<58} | {median:>10} | {min:>10} | {max:>10} |"));
    }

    /// A sentence below the table.
    pub fn note(&mut self, text: &str) {
        self.line("");
        self.line(text);
    }

    /// Writes it all down.
    pub fn finish(self) -> anyhow::Result<()> {
        std::fs::write(&self.path, &self.text).with_context(|| format!("cannot write {}", self.path.display()))?;
        println!("\nwritten to {}", self.path.display());
        Ok(())
    }
}

/// With as many places as it deserves.
fn written(value: f64) -> String {
    let size = value.abs();
    let places = if size >= 1_000.0 {
        0
    } else if size >= 20.0 {
        1
    } else if size >= 0.1 {
        2
    } else {
        4
    };
    let text = format!("{value:.places$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && digit.is_ascii_digit() && (whole.len() - place).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// The processor and how many of it this process may use.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let mut text = model.map_or("unknown processor", |(_, name)| name.trim()).to_owned();
    if let Ok(cores) = std::thread::available_parallelism() {
        let _ = write!(text, ", {cores} cores");
    }
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    if let Some(kb) = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")) {
        let _ = write!(text, ", {:.0} GB", kb.trim().parse::<f64>().unwrap_or(f64::NAN) / 1e6);
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let _ = write!(text, "; load average before: {}", load.split(' ').next().unwrap_or("unknown"));
    text
}
