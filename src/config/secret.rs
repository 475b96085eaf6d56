//! Values that nobody may see.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

/// A secret given in the configuration, or the file that holds it.
///
/// A file is read anew by each [`Secret::read`], so that a rotated secret is picked up without a
/// restart.
#[derive(Clone)]
pub enum Secret {
    Given(SecretString),
    File(PathBuf),
}

impl Secret {
    /// The value now. Of a file, without the white space around it: editors and `echo` end files
    /// with a newline.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| SecretError::Unreadable { path: path.clone(), source })?;
                match text.trim() {
                    "" => Err(SecretError::Empty { path: path.clone() }),
                    secret => Ok(SecretString::from(secret)),
                }
            }
        }
    }

    /// The file to watch for a rotated secret.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Given(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("Secret(redacted)"),
            Self::File(path) => write!(f, "Secret(file {})", path.display()),
        }
    }
}

/// A secret file that cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the secret file {} is empty", path.display())]
    Empty { path: PathBuf },
}
