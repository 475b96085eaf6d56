//! The folder of a private server: its data, its log and its socket.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use super::Error;
use super::account::Account;

/// The whole path of a socket must fit into 104 bytes on macOS and 108 on Linux, with a NUL at its end.
const SOCKET_PATH_BYTES_MAX: usize = 103;
const SOCKET_NAME: &str = "/.s.PGSQL.65535";
const LOG_TAIL_BYTES: u64 = 2_000;

#[derive(Debug)]
pub struct Home {
    root: PathBuf,
    socket: PathBuf,
    keep_data: bool,
}

impl Home {
    /// Opens `directory`, or a temporary folder when none is given or when the server's user cannot get to it;
    /// the note says that this was so.
    pub async fn open(
        directory: Option<&Path>,
        keep_data: bool,
        account: Option<&Account>,
    ) -> Result<(Self, Option<String>), Error> {
        let mut note = None;
        let mut chosen = None;
        if let Some(directory) = directory {
            let directory = std::path::absolute(directory).map_err(Error::files(directory))?;
            if claim(&directory, account).await? {
                chosen = Some((directory, keep_data));
            } else if let Some(account) = account {
                let temporary = temporary_folder(Some(account)).await?;
                note = Some(format!(
                    "user `{}`, as whom root runs PostgreSQL, cannot get to {}; the server lives in {} instead, \
                     and its data goes when it stops",
                    account.name,
                    directory.display(),
                    temporary.display()
                ));
                chosen = Some((temporary, false));
            }
        }
        let (root, keep_data) = match chosen {
            Some(chosen) => chosen,
            None => (temporary_folder(account).await?, false),
        };
        let socket = socket_folder(&root, account).await?;
        Ok((Self { root, socket, keep_data }, note))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Where a cluster is made before it is called `data`, so that an interrupted start leaves no half of one.
    pub fn unfinished(&self) -> PathBuf {
        self.root.join("data.new")
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn keep_data(&self) -> bool {
        self.keep_data
    }

    pub fn holds_a_cluster(&self) -> bool {
        self.data().join("PG_VERSION").is_file()
    }

    /// The socket's folder as `unix_socket_directories` wants it: a list, in which quotes protect commas and spaces.
    pub fn quoted_socket(&self) -> String {
        format!("\"{}\"", self.socket.to_string_lossy().replace('"', "\"\""))
    }

    pub fn open_log(&self) -> Result<File, Error> {
        let log = self.log();
        OpenOptions::new().create(true).append(true).open(&log).map_err(Error::files(&log))
    }

    pub fn log_length(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |metadata| metadata.len())
    }

    pub fn log_from(&self, start: u64) -> String {
        let mut bytes = Vec::new();
        let read = File::open(self.log()).and_then(|mut log| {
            log.seek(SeekFrom::Start(start))?;
            log.read_to_end(&mut bytes)
        });
        match read {
            Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => format!("(its log cannot be read: {error})"),
        }
    }

    pub fn log_tail(&self) -> String {
        self.log_from(self.log_length().saturating_sub(LOG_TAIL_BYTES)).trim_end().to_owned()
    }

    /// Removes what the server leaves, and nothing else. Nobody is left to tell when that fails.
    pub fn clear(&self) {
        drop(remove(&self.socket));
        if !self.keep_data {
            for path in [self.data(), self.unfinished(), self.log()] {
                drop(remove(&path));
            }
            drop(fs::remove_dir(&self.root));
        }
    }

    fn log(&self) -> PathBuf {
        self.root.join("server.log")
    }
}

/// Removes a file or a folder; it is no error when there is none.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a folder that only its owner may enter, owned by the server's user.
pub fn make_private(folder: &Path, account: Option<&Account>) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    account.map_or(Ok(()), |account| account.own(folder))
}

/// Takes a folder for the server; false, with everything as it was, when the server's user cannot get to it.
async fn claim(directory: &Path, account: Option<&Account>) -> Result<bool, Error> {
    let failed = |source| Error::Files { path: directory.to_owned(), source };
    let is_new = !directory.exists();
    fs::create_dir_all(directory).map_err(failed)?;
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !["data", "data.new", "server.log", "socket"].iter().any(|ours| name == **ours) {
            return Err(Error::Occupied(directory.to_owned()));
        }
    }
    let Some(account) = account else { return Ok(true) };
    let before = fs::metadata(directory).map_err(failed)?;
    account.own(directory).map_err(failed)?;
    if account.can_write_in(directory).await {
        return Ok(true);
    }
    if is_new {
        fs::remove_dir(directory).map_err(failed)?;
    } else {
        chown(directory, Some(before.uid()), Some(before.gid())).map_err(failed)?;
    }
    Ok(false)
}

/// A new private folder in the system's temporary folder, or in /tmp where the former cannot be reached.
pub async fn temporary_folder(account: Option<&Account>) -> Result<PathBuf, Error> {
    temporary_folder_in(&[&std::env::temp_dir(), Path::new("/tmp")], account).await
}

async fn temporary_folder_in(parents: &[&Path], account: Option<&Account>) -> Result<PathBuf, Error> {
    let mut refused = io::Error::from(io::ErrorKind::NotFound);
    for parent in parents {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let folder = parent.join(format!("koresync-pg-{}", &name[..12]));
        match make_private(&folder, account) {
            Ok(()) => match account {
                Some(account) if !account.can_write_in(&folder).await => {
                    fs::remove_dir(&folder).map_err(Error::files(&folder))?;
                    refused = io::Error::from(io::ErrorKind::PermissionDenied);
                }
                _ => return Ok(folder),
            },
            Err(error) => refused = error,
        }
    }
    Err(Error::Files { path: parents[0].to_owned(), source: refused })
}

/// A folder beside the data, or a temporary one where that path is too long for a socket.
async fn socket_folder(root: &Path, account: Option<&Account>) -> Result<PathBuf, Error> {
    let beside = root.join("socket");
    // A folder name that is no UTF-8 cannot be given to the server as a setting.
    if beside.as_os_str().as_bytes().len() + SOCKET_NAME.len() > SOCKET_PATH_BYTES_MAX || beside.to_str().is_none() {
        return temporary_folder_in(&[Path::new("/tmp"), &std::env::temp_dir()], account).await;
    }
    remove(&beside).map_err(Error::files(&beside))?;
    make_private(&beside, account).map_err(Error::files(&beside))?;
    Ok(beside)
}
