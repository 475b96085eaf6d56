//! Whom the server runs as. PostgreSQL refuses to run as root, so root lends it another user's identity.

use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Error;

/// Users that a PostgreSQL package makes, then the one that every system has.
const NAMES: [&str; 3] = ["postgres", "_postgres", "nobody"];

/// The user that stands in for root.
#[derive(Debug, Clone)]
pub struct Account {
    pub name: &'static str,
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// `None` when this process is not root's, and the server may run as whoever we are.
    pub async fn for_server() -> Result<Option<Self>, Error> {
        if id(&["-u"]).await != Some(0) {
            return Ok(None);
        }
        for name in NAMES {
            if let (Some(uid), Some(gid)) = (id(&["-u", name]).await, id(&["-g", name]).await) {
                return Ok(Some(Self { name, uid, gid }));
            }
        }
        Err(Error::NoAccount)
    }

    /// Makes a command run as this user, in none of root's groups.
    pub fn apply(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    pub fn own(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }

    /// Whether this user can get to a folder, through all its parents, and write in it.
    pub async fn can_write_in(&self, folder: &Path) -> bool {
        let mut command = super::command(Path::new("/bin/sh"), Some(self));
        command.args(["-c", r#"cd -- "$1" && [ -w . ]"#, "sh"]).arg(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        tokio::process::Command::from(command).status().await.is_ok_and(|status| status.success())
    }
}

async fn id(arguments: &[&str]) -> Option<u32> {
    let output = tokio::process::Command::new("id").args(arguments).output().await.ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok().filter(|_| output.status.success())
}
