//! Where the installed PostgreSQL keeps its server programs.

use std::path::{Path, PathBuf};

use super::Error;

/// A folder that holds `initdb` and `postgres`.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Looks in `$KORESYNC_PG_BINDIR` (alone, when it is set), then where `pg_config` points, in the places of
    /// Debian, Red Hat and Homebrew, the newest version first, and last along `$PATH`.
    pub async fn find() -> Result<Self, Error> {
        if let Some(folder) = std::env::var_os("KORESYNC_PG_BINDIR").filter(|value| !value.is_empty()) {
            let folder = PathBuf::from(folder);
            return match missing_in(&folder) {
                None => Ok(Self { folder }),
                Some(program) => Err(Error::WrongBindir { folder, program }),
            };
        }
        let folders = candidates(pg_config().await);
        match folders.iter().find(|folder| missing_in(folder).is_none()) {
            Some(folder) => Ok(Self { folder: folder.clone() }),
            None => Err(Error::ProgramsMissing { looked_in: list(&folders) }),
        }
    }

    pub fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn missing_in(folder: &Path) -> Option<&'static str> {
    ["initdb", "postgres"].into_iter().find(|program| !folder.join(program).is_file())
}

async fn pg_config() -> Option<PathBuf> {
    let output = tokio::process::Command::new("pg_config").arg("--bindir").kill_on_drop(true).output().await.ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !folder.trim().is_empty()).then(|| PathBuf::from(folder.trim()))
}

fn candidates(pg_config: Option<PathBuf>) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = pg_config.into_iter().collect();
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql"),
        ("/usr/local/opt", "postgresql"),
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql"),
    ] {
        folders.extend(versions(Path::new(parent), prefix));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path).filter(|folder| folder.is_absolute()));
    folders
}

/// The `bin` folders of the versions in `parent`, newest first.
fn versions(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.trim_start_matches('@');
            // Homebrew's plain `postgresql` has no version in its name, and is then the preferred one.
            let version = if version.is_empty() { u32::MAX } else { version.parse().ok()? };
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_by(|one, other| other.cmp(one));
    found.into_iter().map(|(_, folder)| folder).collect()
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        for name in ["postgresql@9", "postgresql@17", "postgresql@16", "postgresql@odd", "postgis"] {
            std::fs::create_dir(parent.path().join(name)).expect("a folder");
        }
        let expected: Vec<_> =
            ["17", "16", "9"].iter().map(|v| parent.path().join(format!("postgresql@{v}/bin"))).collect();
        assert_eq!(versions(parent.path(), "postgresql"), expected);
    }

    #[test]
    fn a_folder_without_the_server_is_passed_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(missing_in(folder.path()), Some("initdb"));
        std::fs::write(folder.path().join("initdb"), "").expect("a file");
        assert_eq!(missing_in(folder.path()), Some("postgres"));
        std::fs::write(folder.path().join("postgres"), "").expect("a file");
        assert_eq!(missing_in(folder.path()), None);
    }
}
