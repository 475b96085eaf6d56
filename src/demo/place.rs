//! The demonstration's folder, `.demo` in the current one: one demonstration at a time, and clean afterwards.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FOLDER: &str = ".demo";
const CONFIGURATION: &str = "koresync.toml";
/// The watchdog of a killed demonstration clears its server away within this.
const CLEARED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("another demonstration runs in {}; end it first, or start this one in another folder", .0.display())]
    Taken(PathBuf),
    #[error("cannot use {}: {source}", path.display())]
    Files { path: PathBuf, source: io::Error },
}

/// The folder, held. Dropped, it gives it back without what was written there.
#[derive(Debug)]
pub struct Place {
    folder: PathBuf,
    /// The lock is on the folder itself and goes with the process, so no crash leaves it behind.
    _lock: File,
}

impl Place {
    /// Takes `.demo` in `parent`, without what a killed demonstration left in it.
    pub async fn take(parent: &Path) -> Result<Self, Error> {
        let folder = parent.join(FOLDER);
        let failed = |source| Error::Files { path: folder.clone(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        let lock = File::open(&folder).map_err(failed)?;
        // A file system without locks serves one demonstration as well as another.
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(Error::Taken(folder));
        }
        let place = Self { folder, _lock: lock };
        let server = place.server();
        let begun = Instant::now();
        // Its watchdog would take what we make in the same place for what it is to clear away.
        while holds_anything(&server) && begun.elapsed() < CLEARED_WITHIN {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if server.exists() {
            // Empty, it is about to go, or not the watchdog's to remove.
            tokio::time::sleep(LOOK_EVERY).await;
        }
        match fs::remove_dir_all(&server) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(Error::Files { path: server, source }),
            _ => Ok(place),
        }
    }

    /// For the private PostgreSQL.
    pub fn server(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    /// Writes the configuration down, for other commands to use meanwhile; only its owner may read it.
    pub fn write_configuration(&self, text: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join(CONFIGURATION);
        let failed = |source| Error::Files { path: path.clone(), source };
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(path)
    }
}

fn holds_anything(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nobody is left to tell; the folder goes only when nothing else is in it.
        drop(fs::remove_file(self.folder.join(CONFIGURATION)));
        drop(fs::remove_dir(&self.folder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_demonstration_at_a_time_and_nothing_left_of_it() {
        let parent = tempfile::tempdir().expect("a folder");
        let place = Place::take(parent.path()).await.expect("a place");
        let file = place.write_configuration("[api]\n").expect("a configuration");
        assert!(file.exists());
        assert!(matches!(Place::take(parent.path()).await, Err(Error::Taken(_))));
        drop(place);
        assert!(!parent.path().join(FOLDER).exists());
    }

    #[tokio::test]
    async fn what_others_keep_there_stays() {
        let parent = tempfile::tempdir().expect("a folder");
        let place = Place::take(parent.path()).await.expect("a place");
        fs::write(parent.path().join(FOLDER).join("notes.txt"), "mine").expect("a file");
        drop(place);
        assert!(parent.path().join(FOLDER).join("notes.txt").exists());
        drop(Place::take(parent.path()).await.expect("the place again"));
    }
}
