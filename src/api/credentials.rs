//! The secrets: where they come from, and when they are read again.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::AsyncReadExt as _;

use super::token;

/// A secret is a line; what is longer is the wrong file.
const LONGEST_BYTES: u64 = 64 * 1024;

/// A secret, given in place or as a file that is read when it is needed. White space around it is
/// no part of it.
#[derive(Debug, Clone)]
pub enum SecretSource {
    Inline(SecretString),
    File(PathBuf),
}

impl SecretSource {
    pub fn inline(secret: impl Into<String>) -> Self {
        Self::Inline(SecretString::from(secret.into()))
    }

    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    /// The secret as it is now.
    pub async fn read(&self) -> Result<SecretString, CredentialError> {
        let text = match self {
            Self::Inline(secret) => secret.clone(),
            Self::File(path) => read_file(path).await?,
        };
        let trimmed = text.expose_secret().trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if trimmed.is_empty() {
            return Err(CredentialError::Empty { place: self.place() });
        }
        Ok(SecretString::from(trimmed))
    }

    fn place(&self) -> String {
        match self {
            Self::Inline(_) => "in the configuration".to_owned(),
            Self::File(path) => format!("in {}", path.display()),
        }
    }
}

async fn read_file(path: &Path) -> Result<SecretString, CredentialError> {
    let unreadable = |kind| CredentialError::Unreadable { path: path.to_owned(), kind };
    let file = tokio::fs::File::open(path).await.map_err(|error| unreadable(error.kind()))?;
    let mut text = String::new();
    let read = file.take(LONGEST_BYTES + 1).read_to_string(&mut text).await;
    let text = SecretString::from(text);
    match read {
        Ok(length) if u64::try_from(length).is_ok_and(|length| length > LONGEST_BYTES) => {
            Err(unreadable(ErrorKind::FileTooLarge))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(unreadable(error.kind())),
    }
}

/// How requests are authenticated.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A fresh token, signed with the secret, for every request.
    ClientSecret { client_id: String, secret: SecretSource },
    /// A ready-made token, sent as it is.
    Token(SecretSource),
}

impl Credentials {
    fn secret(&self) -> &SecretSource {
        match self {
            Self::ClientSecret { secret, .. } | Self::Token(secret) => secret,
        }
    }
}

/// A secret that cannot be used. Never holds a part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("the secret file {} cannot be read: {kind}", path.display())]
    Unreadable { path: PathBuf, kind: ErrorKind },
    #[error("the secret {place} is empty")]
    Empty { place: String },
    #[error("the token {place} holds characters that no HTTP header may carry, such as a line break")]
    NotAHeader { place: String },
    #[error("a token could not be signed with the secret {place}")]
    Unsigned { place: String },
}

/// Makes the value of the `auth` header, and remembers the secret until it is told to read it again.
#[derive(Debug)]
pub(super) struct Signer {
    credentials: Credentials,
    loaded: Mutex<Option<SecretString>>,
}

impl Signer {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, loaded: Mutex::new(None) }
    }

    /// The token for one request.
    pub(super) async fn token(&self, now: DateTime<Utc>) -> Result<SecretString, CredentialError> {
        let known = self.loaded();
        let secret = match known {
            Some(secret) => secret,
            None => self.reload().await?,
        };
        match &self.credentials {
            Credentials::Token(_) => Ok(secret),
            Credentials::ClientSecret { client_id, secret: source } => token::mint(client_id, &secret, now)
                .map(SecretString::from)
                .map_err(|_| CredentialError::Unsigned { place: source.place() }),
        }
    }

    pub(super) async fn header(&self, now: DateTime<Utc>) -> Result<HeaderValue, CredentialError> {
        let token = self.token(now).await?;
        let mut value = HeaderValue::from_str(token.expose_secret())
            .map_err(|_| CredentialError::NotAHeader { place: self.credentials.secret().place() })?;
        value.set_sensitive(true);
        Ok(value)
    }

    pub(super) async fn reload(&self) -> Result<SecretString, CredentialError> {
        let secret = self.credentials.secret().read().await?;
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Some(secret.clone());
        Ok(secret)
    }

    /// Whether the secret that would be read now is another than the one used last. By content, not by
    /// time of change: a file that is swapped within its file system's tick is noticed too, and one
    /// that was only touched is not tried in vain.
    pub(super) async fn has_changed(&self) -> bool {
        let Ok(now) = self.credentials.secret().read().await else {
            return false;
        };
        self.loaded().is_none_or(|used| used.expose_secret() != now.expose_secret())
    }

    fn loaded(&self) -> Option<SecretString> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_secret_file_is_trimmed_and_a_bad_one_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let source = SecretSource::file(&path);
        let missing = source.read().await.expect_err("missing").to_string();
        assert!(missing.contains("secret cannot be read: entity not found"), "{missing}");
        std::fs::write(&path, "\u{feff}  hunter2\r\n").expect("written");
        assert_eq!(source.read().await.expect("read").expose_secret(), "hunter2");
        std::fs::write(&path, " \n").expect("written");
        assert!(matches!(source.read().await, Err(CredentialError::Empty { .. })));
        std::fs::write(&path, vec![b'x'; 70_000]).expect("written");
        assert!(matches!(source.read().await, Err(CredentialError::Unreadable { kind: ErrorKind::FileTooLarge, .. })));
    }

    #[tokio::test]
    async fn a_changed_file_is_noticed_and_a_touched_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "first").expect("written");
        let signer = Signer::new(Credentials::Token(SecretSource::file(&path)));
        signer.reload().await.expect("read");
        std::fs::write(&path, "first\n").expect("written");
        assert!(!signer.has_changed().await);
        std::fs::write(&path, "other").expect("written");
        assert!(signer.has_changed().await);
        std::fs::remove_file(&path).expect("removed");
        assert!(!signer.has_changed().await);
    }

    #[tokio::test]
    async fn secrets_are_in_no_debug_text() {
        let credentials =
            Credentials::ClientSecret { client_id: "cs-1".to_owned(), secret: SecretSource::inline("hunter2") };
        let signer = Signer::new(credentials.clone());
        signer.reload().await.expect("read");
        let header = signer.header(DateTime::UNIX_EPOCH).await.expect("a header");
        let text = format!("{credentials:?} {signer:?} {header:?}");
        assert!(!text.contains("hunter2") && !text.contains("eyJ"), "{text}");
    }
}
