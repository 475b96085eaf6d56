//! Values that nobody may see.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

/// Bits of a file's mode that let everybody on the machine in.
const OTHERS: u32 = 0o007;

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

    /// What is wrong with the file's mode, and the mend, when everybody on this machine may open it.
    pub fn exposure(&self) -> Option<Exposure> {
        let path = self.file()?;
        let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
        (mode & OTHERS != 0).then(|| Exposure {
            found: format!("open to everybody on this machine (mode {mode:o})"),
            mend: format!("chmod 600 {0}, or 640 where koresync reads it by its group", path.display()),
        })
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

/// A secret file that others can read, told in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    pub found: String,
    pub mend: String,
}

/// A secret file that cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the secret file {} is empty", path.display())]
    Empty { path: PathBuf },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_everybody_may_open_is_told_with_the_mend() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "hunter2").expect("a file");
        let secret = Secret::File(path.clone());
        for (mode, is_open) in
            [(0o600, false), (0o640, false), (0o644, true), (0o666, true), (0o604, true), (0o602, true)]
        {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
            let exposure = secret.exposure();
            assert_eq!(exposure.is_some(), is_open, "{mode:o}");
            if let Some(Exposure { found, mend }) = exposure {
                assert!(
                    found.contains(&format!("{mode:o}")) && mend.contains(&format!("chmod 600 {}", path.display()))
                );
            }
        }
        assert_eq!(Secret::Given("hunter2".into()).exposure(), None);
        assert_eq!(Secret::File(folder.path().join("missing")).exposure(), None);
    }
}
