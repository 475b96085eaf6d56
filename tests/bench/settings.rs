//! What is measured, and how often; from the environment.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Fresh,
    Staging,
    Reread,
    Recheck,
    Rebuild,
    Normalise,
    Growth,
    Views,
    Page,
    Budget,
    Replicas,
    Idle,
}

const SECTIONS: [(&str, Section); 12] = [
    ("fresh", Section::Fresh),
    ("staging", Section::Staging),
    ("reread", Section::Reread),
    ("recheck", Section::Recheck),
    ("rebuild", Section::Rebuild),
    ("normalise", Section::Normalise),
    ("growth", Section::Growth),
    ("views", Section::Views),
    ("page", Section::Page),
    ("budget", Section::Budget),
    ("replicas", Section::Replicas),
    ("idle", Section::Idle),
];

#[derive(Debug)]
pub struct Settings {
    sections: Vec<Section>,
    /// The sizes of the fresh load.
    pub contacts: Vec<u64>,
    /// How many are held in the end, where growth and views are measured.
    pub held: u64,
    /// How often each measurement is repeated.
    pub runs: usize,
    /// Where records, configurations and the report are written.
    pub folder: PathBuf,
    /// How all this was asked for.
    pub command: String,
}

impl Settings {
    pub fn from_environment() -> anyhow::Result<Self> {
        let mut command = "make bench".to_owned();
        let mut given = |name: &str| {
            let value = std::env::var(name).ok().filter(|value| !value.trim().is_empty())?;
            command = format!("{command} {name}={value}");
            Some(value)
        };
        let sections = match given("SECTIONS") {
            None => SECTIONS.iter().map(|(_, section)| *section).collect(),
            Some(names) => names.split(',').map(section).collect::<anyhow::Result<Vec<_>>>()?,
        };
        let contacts = given("CONTACTS").unwrap_or_else(|| "20000,200000".to_owned());
        let contacts =
            contacts.split(',').map(|size| number("CONTACTS", size)).collect::<anyhow::Result<Vec<u64>>>()?;
        let held = given("HELD").map_or(Ok(1_000_000), |held| number("HELD", &held))?;
        let runs = given("RUNS").map_or(Ok(5), |runs| number("RUNS", &runs))?;
        let runs = usize::try_from(runs)?;
        let folder = target_folder()?.join("bench");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { sections, contacts, held, runs, folder, command })
    }

    /// The size at which everything but the fresh load is measured: the least asked for.
    pub fn contacts_least(&self) -> u64 {
        self.contacts.iter().copied().min().unwrap_or(20_000)
    }

    pub fn has(&self, section: Section) -> bool {
        self.sections.contains(&section)
    }
}

fn section(name: &str) -> anyhow::Result<Section> {
    let known = SECTIONS.iter().find(|(known, _)| *known == name.trim());
    let names = || SECTIONS.map(|(known, _)| known).join(", ");
    known.map(|(_, section)| *section).with_context(|| format!("SECTIONS: `{name}` is none of {}", names()))
}

fn number(name: &str, text: &str) -> anyhow::Result<u64> {
    match text.trim().replace('_', "").parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => bail!("{name}: `{text}` is not a number above 0"),
    }
}

/// `target`, or where `CARGO_TARGET_DIR` says: this program lies in its `release/deps`.
fn target_folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("where is this program?")?;
    let folder = program.ancestors().nth(3).context("this program lies in no target folder")?;
    Ok(folder.to_owned())
}
