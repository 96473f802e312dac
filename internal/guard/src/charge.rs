//! What the guard is charged with, and the directory it is handed over in.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// First word of the file, with the version of its format.
const MAGIC: &str = "jaco-guard 1";
const CHARGE: &str = "charge";
const LOCK: &str = "guard.lock";

/// Containers that may run as long as the node's lease holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Charge {
    /// End of the lease on the boot-time clock; zero when there is none.
    pub lease_until: Duration,
    /// Within this time after it they have to be gone, each within its own where that is shorter.
    pub stop_within: Duration,
    /// Which.
    pub containers: Vec<Held>,
}

/// A container that depends on the lease.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Held {
    /// Engine id, 64 hex digits.
    pub id: String,
    /// Time it has after the end of the lease, to end by itself after its stop signal.
    pub grace: Duration,
}

/// Why a charge was not handed over, or no guard was started.
#[derive(Debug, thiserror::Error)]
pub enum ChargeError {
    /// A file of the directory.
    #[error("{} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The guard's program could not be started.
    #[error("the guard could not be started")]
    Start(#[source] io::Error),
}

/// Time since the boot of this machine, also while it slept.
pub fn boot_time() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let part = |value: i64| u64::try_from(value).unwrap_or_default();
    Duration::from_secs(part(now.tv_sec)) + Duration::from_nanos(part(now.tv_nsec))
}

/// Random, and another one after each boot: deadlines of an earlier one mean nothing.
fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The directory between a daemon and its guard.
#[derive(Debug)]
pub struct ChargeDir {
    path: PathBuf,
    /// The guard that this process started, to be collected when it ends.
    child: Mutex<Option<Child>>,
}

impl ChargeDir {
    /// This directory; it should be in memory (`/run/jaco`), so that writing never waits for a disk.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        ChargeDir { path: path.into(), child: Mutex::new(None) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file<T>(&self, name: &str, work: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, ChargeError> {
        let path = self.path.join(name);
        work(&path).map_err(|source| ChargeError::File { path, source })
    }

    /// What was last handed over since the machine booted; `None` for nothing, or what another format wrote.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(&self) -> Result<Option<Charge>, ChargeError> {
        self.file(CHARGE, |path| {
            let text = match fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let Some((first, body)) = text.split_once('\n') else { return Ok(None) };
            if first != format!("{MAGIC} {}", boot_id()?) {
                return Ok(None);
            }
            Ok(serde_json::from_str(body).ok())
        })
    }

    /// Hands a charge over: the guard sees it whole, at once, and also when this process dies right after. Not synced to a disk, since
    /// it need not survive the machine.
    ///
    /// # Errors
    /// The directory cannot be written to: nothing exclusive may be started then.
    pub fn write(&self, charge: &Charge) -> Result<(), ChargeError> {
        fs::create_dir_all(&self.path).map_err(|source| ChargeError::File { path: self.path.clone(), source })?;
        let next = format!("{CHARGE}.{}", std::process::id());
        self.file(&next, |path| {
            let body = serde_json::to_string(charge).map_err(io::Error::other)?;
            fs::write(path, format!("{MAGIC} {}\n{body}", boot_id()?))?;
            fs::rename(path, self.path.join(CHARGE))
        })
    }

    /// Whether a guard is at work.
    ///
    /// # Errors
    /// The lock cannot be looked at.
    pub fn is_guarded(&self) -> Result<bool, ChargeError> {
        let lock = self.lock_file()?;
        match rustix::fs::flock(lock.as_fd(), FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(ChargeError::File { path: self.path.join(LOCK), source: error.into() }),
        }
    }

    /// Sees to it that a guard is at work, and says whether one is. When none is, `command` (the guard's program, see [`crate::run`]) was
    /// started, unless one that was started before is about to begin: ask again soon. It makes itself a session of its own and
    /// outlives this process.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(&self, command: &mut Command) -> Result<bool, ChargeError> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = child.as_mut()
            && ended.try_wait().is_ok_and(|status| status.is_some())
        {
            *child = None;
        }
        if self.is_guarded()? {
            return Ok(true);
        }
        if child.is_none() {
            let started = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
            *child = Some(started.map_err(ChargeError::Start)?);
        }
        Ok(false)
    }

    /// Takes the guard's place, when whoever has it is gone. The daemon's own looks hold it for a moment.
    pub(crate) fn lock(&self) -> Result<File, ChargeError> {
        let lock = self.lock_file()?;
        rustix::fs::flock(lock.as_fd(), FlockOperation::LockExclusive)
            .map_err(|error| ChargeError::File { path: self.path.join(LOCK), source: error.into() })?;
        Ok(lock)
    }

    fn lock_file(&self) -> Result<File, ChargeError> {
        fs::create_dir_all(&self.path).map_err(|source| ChargeError::File { path: self.path.clone(), source })?;
        self.file(LOCK, |path| OpenOptions::new().create(true).truncate(false).write(true).open(path))
    }
}

#[cfg(test)]
mod tests;
