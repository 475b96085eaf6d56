//! Finds the layers, merges them, and has them read.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{Config, Source};

use super::error::{ConfigError, Problem};
use super::layers::{Layer, Override};
use super::settings::Settings;

/// Where a configuration file is looked for when none is named; the first that exists counts.
pub const SEARCHED: [&str; 2] = ["config/koresync.toml", "/etc/koresync/koresync.toml"];

/// Everything that settings are made of, before it is merged.
///
/// Flags win over the environment, the environment over the file, the file over the defaults.
#[derive(Clone, Default)]
pub struct Loader {
    /// `--config`. Must exist when given.
    pub file: Option<PathBuf>,
    pub overrides: Vec<Override>,
    /// `KORESYNC_CONFIG` and `KORESYNC__…` are taken from here, the rest is passed over.
    pub environment: Vec<(OsString, OsString)>,
    pub searched: Vec<PathBuf>,
}

impl fmt::Debug for Loader {
    /// Without the environment, which holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("file", &self.file)
            .field("overrides", &self.overrides)
            .field("searched", &self.searched)
            .finish_non_exhaustive()
    }
}

impl Loader {
    /// With the environment of this process and the usual places.
    pub fn from_process(file: Option<PathBuf>, overrides: Vec<Override>) -> Self {
        Self {
            file,
            overrides,
            environment: std::env::vars_os().collect(),
            searched: SEARCHED.iter().map(PathBuf::from).collect(),
        }
    }

    /// The configuration file that counts: named by the flag, then by `$KORESYNC_CONFIG`, then the
    /// first that exists of the usual places.
    pub fn chosen_file(&self) -> Option<PathBuf> {
        let named = || {
            let (_, path) =
                self.environment.iter().find(|(name, value)| name == "KORESYNC_CONFIG" && !value.is_empty())?;
            Some(PathBuf::from(path))
        };
        self.file.clone().or_else(named).or_else(|| self.searched.iter().find(|path| path.exists()).cloned())
    }

    /// The settings, or every problem found on the way.
    pub fn load(&self) -> Result<Settings, ConfigError> {
        let file = match self.chosen_file() {
            Some(path) => read_layer(&path)?,
            None => Layer::default(),
        };
        self.merge(file)
    }

    /// As [`Loader::load`], with this text for the file. `name` is how errors call it.
    pub fn load_text(&self, name: &str, text: &str) -> Result<Settings, ConfigError> {
        self.merge(Layer::from_toml(name, text)?)
    }

    fn merge(&self, file: Layer) -> Result<Settings, ConfigError> {
        let environment = Layer::from_environment(&self.environment, &file.streams())?;
        let merged = Config::builder()
            .add_source(file)
            .add_source(environment)
            .add_source(Layer::from_overrides(&self.overrides))
            .build()
            .and_then(|merged| merged.collect())
            .map_err(|error| ConfigError::missing("", &error.to_string()))?;
        Settings::read(merged)
    }
}

fn read_layer(path: &Path) -> Result<Layer, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError::of(Problem {
            origin: Some(name.clone()),
            key: String::new(),
            value: None,
            message: format!("cannot read the configuration file: {error}"),
        })
    })?;
    Layer::from_toml(&name, &text)
}
