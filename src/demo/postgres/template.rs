//! An initialised, empty cluster that processes share: copying it takes a tenth of the time of `initdb`.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::home::{self, make_private};
use super::programs::Programs;
use super::{Error, initdb};

/// Copies the template kept in `folder` to `target`, which must not exist, and makes the template first if need be.
pub async fn copy_to(
    target: &Path,
    folder: PathBuf,
    programs: &Programs,
    account: Option<Account>,
) -> Result<(), Error> {
    fs::create_dir_all(&folder).map_err(Error::files(&folder))?;
    let template = folder.join(name(programs));
    if !template.exists() {
        let lock = lock(folder.join("template.lock")).await?;
        if !template.exists() {
            make(&template, programs, account.as_ref()).await?;
        }
        drop(lock);
    }
    let target = target.to_owned();
    blocking(move || copy(&template, &target, account.as_ref())).await
}

/// Another installation, or a later one in the same place, needs a template of its own.
fn name(programs: &Programs) -> String {
    let folder = programs.folder().to_string_lossy().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    let installed = fs::metadata(programs.postgres()).map_or(0, |metadata| metadata.mtime());
    format!("cluster{folder}-{installed}")
}

/// Waits for the processes that are making a template. The lock goes with the file, so no crash leaves it behind.
async fn lock(path: PathBuf) -> Result<File, Error> {
    blocking(move || {
        let file = File::create(&path).map_err(Error::files(&path))?;
        file.lock().map_err(Error::files(&path))?;
        Ok(file)
    })
    .await
}

/// The server's user may not be able to get to the template, so it is made elsewhere and brought here.
async fn make(template: &Path, programs: &Programs, account: Option<&Account>) -> Result<(), Error> {
    let workshop = home::temporary_folder(account).await?;
    let made = make_in(&workshop, template, programs, account).await;
    home::remove(&workshop).map_err(Error::files(&workshop))?;
    made
}

async fn make_in(
    workshop: &Path,
    template: &Path,
    programs: &Programs,
    account: Option<&Account>,
) -> Result<(), Error> {
    let data = workshop.join("data");
    // The smallest segments: each copy carries one.
    initdb(programs, account, &data, &["--wal-segsize=1"]).await?;
    let unfinished = template.with_extension("new");
    home::remove(&unfinished).map_err(Error::files(&unfinished))?;
    let from = unfinished.clone();
    blocking(move || copy(&data, &from, None)).await?;
    fs::rename(&unfinished, template).map_err(Error::files(template))
}

/// Copies a folder of files and folders; `account` owns the copy.
fn copy(from: &Path, to: &Path, account: Option<&Account>) -> Result<(), Error> {
    make_private(to, account).map_err(Error::files(to))?;
    for entry in fs::read_dir(from).map_err(Error::files(from))? {
        let entry = entry.map_err(Error::files(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(Error::files(&source))?.is_dir() {
            copy(&source, &target, account)?;
        } else {
            fs::copy(&source, &target).map_err(Error::files(&target))?;
            if let Some(account) = account {
                account.own(&target).map_err(Error::files(&target))?;
            }
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
