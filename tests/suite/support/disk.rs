//! A disk of a few megabytes, for tests that fill one.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory. Dropped, it is gone.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// One that belongs to whoever owns `like`. Errors with the reason where nobody may mount.
    pub fn mount(mebibytes: u32, like: &Path) -> Result<Self, String> {
        if !cfg!(target_os = "linux") {
            return Err("tmpfs is Linux's".to_owned());
        }
        let owner = std::fs::metadata(like).map_err(|error| error.to_string())?;
        let path = std::env::temp_dir().join(format!("koresync-disk-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).map_err(|error| error.to_string())?;
        let disk = Self { path };
        let options = format!("size={mebibytes}m,uid={},gid={},mode=700", owner.uid(), owner.gid());
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "koresync-test"]).arg(&disk.path))?;
        Ok(disk)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes room, or takes it.
    pub fn resize(&self, mebibytes: u32) {
        let options = format!("remount,size={mebibytes}m");
        run(Command::new("mount").args(["-o", &options]).arg(&self.path)).expect("another size");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server may have files open still.
        let _ = run(Command::new("umount").arg("-l").arg(&self.path));
        let _ = std::fs::remove_dir(&self.path);
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let told = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| told.trim().to_owned())
}
