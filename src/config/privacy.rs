//! `[privacy]`: what is kept of personal data.

use secrecy::ExposeSecret as _;

use super::error::ConfigError;
use super::reader::Section;
use super::secret::Secret;
use super::settings::{PLACES, Settings};
use super::show::Shown as _;
use crate::domain::privacy::{PrivacyKey, Treatment, Treatments};

/// What is kept of personal data, and the key that keeps its hashes.
#[derive(Debug, Clone, Default)]
pub struct PrivacySettings {
    pub treatments: Treatments,
    /// There wherever something is hashed or dropped.
    pub key: Option<Secret>,
}

/// Told of a key that could be guessed.
const KEY_TOO_SHORT: &str =
    "too short: write a random text of 16 characters or more, as `openssl rand -hex 32` makes one";

impl Settings {
    /// The privacy key, when one is given. Errors when its file cannot be read, or it is so short that it could
    /// be guessed.
    pub fn privacy_key(&self) -> Result<Option<PrivacyKey>, ConfigError> {
        let Some(secret) = &self.privacy.key else { return Ok(None) };
        let key = if secret.file().is_some() { "privacy.key_file" } else { "privacy.key" };
        let text = secret.read().map_err(|error| ConfigError::missing(key, &error.to_string()))?;
        let made = PrivacyKey::new(text.expose_secret());
        made.map(Some).ok_or_else(|| ConfigError::missing(key, KEY_TOO_SHORT))
    }
}

pub(super) fn read_privacy(mut section: Section<'_>) -> PrivacySettings {
    let words = [Treatment::Keep, Treatment::Hash, Treatment::Drop].map(|treatment| (treatment.as_str(), treatment));
    let mut hiding = None;
    let treatments = Treatments::of(|kind| {
        let given = section.choice(kind.as_str(), &words);
        if given.is_none() {
            section.note_default(kind.as_str(), Treatment::Keep.as_str().shown());
        }
        hiding = hiding.or(given.filter(|treatment| *treatment != Treatment::Keep).map(|_| kind));
        given.unwrap_or_default()
    });
    let is_key_given = section.is_given("key") || section.is_given("key_file");
    let key = section.secret("key");
    if let (Some(kind), false) = (hiding, is_key_given) {
        let message = format!(
            "{} is not \"keep\", so a key is needed: write one to a file, as with `openssl rand -hex 32`, and set key_file to its path",
            kind.as_str()
        );
        section.missing("key", &message);
    }
    if let Some(Secret::Given(given)) = &key
        && PrivacyKey::new(given.expose_secret()).is_none()
    {
        section.refuse("key", KEY_TOO_SHORT);
    }
    section.finish(PLACES);
    PrivacySettings { treatments, key }
}
