//! The data directory: who may use it, how files in it are replaced, and how much room its disk has.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Holding this value means being the only process that uses the data directory. The lock goes with the process, however it ends.
#[derive(Debug)]
pub struct DataDirLock {
    path: PathBuf,
    file: File,
}

/// Why a data directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("the data directory {} is in use by another process{holder}: stop that one, or set another data_dir", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// ` (pid N)` when the holder wrote it down, else nothing.
        holder: String,
    },
    /// The directory or the lock file could not be made.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DataDirLock {
    /// Makes the directory (mode 0750) when it is not there, and locks it by `flock` on the file `lock` in it. Never waits.
    pub fn acquire(data_dir: &Path) -> Result<DataDirLock, LockError> {
        let path = data_dir.join("lock");
        let failed = |source: io::Error| LockError::Io { path: path.clone(), source };
        create_directory(data_dir, 0o750).map_err(failed)?;
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u32>().ok());
                let holder = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
                return Err(LockError::InUse { path: data_dir.to_owned(), holder });
            }
            Err(error) => return Err(failed(error.into())),
        }
        // Only for the message above: a disk without room for a few digits must not keep the daemon from starting.
        let _ = file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
        Ok(DataDirLock { path: data_dir.to_owned(), file })
    }

    /// The locked directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataDirLock {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.file, rustix::fs::FlockOperation::Unlock);
    }
}

/// Makes a directory and its parents when they are missing; only the last one gets the mode.
pub(crate) fn create_directory(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

/// Replaces a file as a whole: temporary file, sync, rename, sync of the directory. `write` fills the file.
pub(crate) fn replace_file(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let replaced = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| write(&mut file).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    match (replaced, path.parent()) {
        (Ok(()), Some(parent)) => sync_directory(parent),
        (Ok(()), None) => Ok(()),
        (Err(error), _) => {
            let _ = fs::remove_file(&temporary);
            Err(error)
        }
    }
}

/// Bytes that an unprivileged process may still use on the disk of this path.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let status = rustix::fs::statvfs(path)?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

/// What to do about a file of another format than the one that this version reads.
pub(crate) fn format_advice(found: u32, read: u32) -> &'static str {
    if found > read {
        return "start the version of jacod that wrote it, or a newer one";
    }
    // Nothing has been released yet, so nothing is converted.
    "it was written by a jacod from before the first release, whose files are not read any more: make a backup with that jacod, and restore \
     it with this one in an empty data directory"
}

/// Whether an error means that there is no room.
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
