//! Settings: flags, environment and file, merged, checked and explained.
//!
//! A [`Loader`] finds the layers and merges them; [`Settings`] is what comes out when every value
//! is right. What is wrong comes out as one [`ConfigError`] with all problems found.

mod api;
mod error;
mod layers;
mod loader;
mod privacy;
mod reader;
mod sample;
mod secret;
mod settings;
mod show;
mod url;

pub use api::{ApiSettings, Credentials, Paging, ThresholdPlace};
pub use error::{ConfigError, Problem};
pub use layers::Override;
pub use loader::{Loader, SEARCHED};
pub use privacy::PrivacySettings;
pub use sample::{SAMPLE, Starter};
pub use secret::{Exposure, Secret, SecretError};
pub use settings::{
    LogFormat, LogSettings, ServerSettings, Settings, StreamSettings, SyncSettings, WarehouseConnection,
    WarehouseSettings,
};
pub use show::Entry;

#[cfg(test)]
mod tests;
