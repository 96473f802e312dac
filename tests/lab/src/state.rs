//! What a lab keeps on the machine: a folder in the temporary directory, and the lock whose file names that folder.
//!
//! The keeper holds the lock as long as the lab lives. The kernel releases it with the keeper, and the record stays: so the next lab
//! finds what a dead one left.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jaco_e2e::eventually;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::options::{DataDisk, LabOptions};
use crate::process::PidRecord;

/// The lock of the machine's one lab.
const LOCK: &str = "/run/jaco-lab.lock";

/// How long the keeper of an owner that is gone may take to clear away.
const CLEARING: Duration = Duration::from_secs(30);

/// Why the lock was not had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockError {
    /// Another lab is up.
    Taken {
        /// Command line that started it.
        owner: String,
        /// Process id of whoever started it.
        pid: i32,
        /// Its folder.
        folder: PathBuf,
    },
}

impl std::fmt::Display for LockError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let LockError::Taken { owner, pid, folder } = self;
        write!(
            formatter,
            "a lab is already up, and there can be one on a machine: `{owner}` (process {pid}) started it, its folder is {}; \
             wait for its end, or end it with `jaco-lab down`",
            folder.display()
        )
    }
}

impl std::error::Error for LockError {}

/// What the lock's file says about the lab that holds it, or held it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The lab's folder.
    pub(crate) folder: PathBuf,
    /// Who started it.
    pub(crate) owner: PidRecord,
    /// Command line of the owner.
    pub(crate) command: String,
    /// The keeper.
    pub(crate) keeper: PidRecord,
    /// The third byte of the hosts' addresses.
    pub(crate) subnet: u8,
    /// What the lab was started with.
    pub(crate) options: LabOptions,
    /// Whether it outlives its owner, until `jaco-lab down`.
    pub(crate) detached: bool,
}

/// The lock, held.
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, and gives what an earlier lab recorded and did not clear away. When the holder's owner is gone, its keeper is
    /// clearing away: that is waited for, up to half a minute.
    ///
    /// # Errors
    /// [`LockError::Taken`] when another lab is up.
    pub(crate) fn take() -> anyhow::Result<(Lock, Option<Record>)> {
        let mut file = open_lock()?;
        if file.try_lock().is_err() {
            eventually(CLEARING, "the lock is free, or says who has it", || match read_record(&mut file) {
                Some(record) if record.detached || record.owner.is_alive() => Ok(Err(taken(record))),
                Some(_) | None => file.try_lock().map(Ok).map_err(|error| error.to_string()),
            })??;
        }
        let left = read_record(&mut file);
        Ok((Lock { file }, left))
    }

    /// Records the lab that holds the lock.
    pub(crate) fn record(&mut self, record: &Record) -> anyhow::Result<()> {
        let text = serde_json::to_vec(record)?;
        self.clear()?;
        self.file.write_all(&text).context(LOCK)
    }

    /// Forgets it.
    pub(crate) fn clear(&mut self) -> anyhow::Result<()> {
        self.file.set_len(0).context(LOCK)?;
        self.file.seek(SeekFrom::Start(0)).context(LOCK)?;
        Ok(())
    }
}

fn open_lock() -> anyhow::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).open(LOCK).with_context(|| format!("the lock {LOCK}"))
}

fn read_record(file: &mut File) -> Option<Record> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn taken(record: Record) -> LockError {
    LockError::Taken { owner: record.command, pid: record.owner.pid, folder: record.folder }
}

/// The lab that is up, if there is one.
pub(crate) fn current() -> anyhow::Result<Option<Record>> {
    let mut file = open_lock()?;
    if file.try_lock().is_ok() {
        return Ok(None);
    }
    Ok(read_record(&mut file).filter(|record| record.keeper.is_alive()))
}

/// All that a host is made from; written by whoever starts the lab, read by launcher, init and enter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HostSpec {
    /// Number from 1 on.
    pub(crate) number: usize,
    /// Number of hosts in the lab.
    pub(crate) hosts: usize,
    /// The third byte of the addresses.
    pub(crate) subnet: u8,
    /// The lab's folder.
    pub(crate) lab: PathBuf,
    /// The process in the switch's network namespace.
    pub(crate) keeper: PidRecord,
    /// Whether an engine is started at boot.
    pub(crate) docker: bool,
    /// More arguments for it.
    pub(crate) docker_args: Vec<String>,
    /// What `/var/lib/jaco` lies on.
    pub(crate) data_disk: DataDisk,
}

impl HostSpec {
    /// The host's name, and that of its port on the switch.
    pub(crate) fn name(&self) -> String {
        host_name(self.number)
    }

    /// The host's folder.
    pub(crate) fn folder(&self) -> HostFolder {
        HostFolder::new(&self.lab, self.number)
    }
}

/// Name of a host.
pub(crate) fn host_name(number: usize) -> String {
    format!("host{number}")
}

/// Address of a host.
pub(crate) fn host_address(subnet: u8, number: usize) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::new(10, 99, subnet, u8::try_from(number).unwrap_or(0))
}

/// Address of the switch, which is every host's default gateway and name server; nothing listens there.
pub(crate) fn switch_address(subnet: u8) -> std::net::Ipv4Addr {
    host_address(subnet, SWITCH)
}

/// The switch's number among the hosts' addresses.
pub(crate) const SWITCH: usize = 254;

/// Hardware address of a host or the switch: locally administered, and the last four bytes of its address.
pub(crate) fn hardware_address(subnet: u8, number: usize) -> String {
    format!("02:00:0a:63:{subnet:02x}:{number:02x}")
}

/// The files of one host.
#[derive(Debug, Clone)]
pub(crate) struct HostFolder {
    path: PathBuf,
}

impl HostFolder {
    /// Those of a host of the lab in this folder.
    pub(crate) fn new(lab: &Path, number: usize) -> Self {
        HostFolder { path: lab.join("hosts").join(host_name(number)) }
    }

    /// Those in this folder.
    pub(crate) fn at(path: &Path) -> Self {
        HostFolder { path: path.to_owned() }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// [`HostSpec`].
    pub(crate) fn spec(&self) -> PathBuf {
        self.path.join("spec.json")
    }

    /// [`PidRecord`] of process 1 while the host runs.
    pub(crate) fn init(&self) -> PathBuf {
        self.path.join("init.json")
    }

    /// [`PidRecord`] of the launcher while the host runs.
    pub(crate) fn launcher(&self) -> PathBuf {
        self.path.join("launcher.json")
    }

    /// [`PidRecord`] of the last `jacod`.
    pub(crate) fn jacod(&self) -> PathBuf {
        self.path.join("jacod.json")
    }

    /// What survives the host's death.
    pub(crate) fn disk(&self, name: &str) -> PathBuf {
        self.path.join("disk").join(name)
    }

    /// The image of a [`DataDisk::Ext4`].
    pub(crate) fn image(&self) -> PathBuf {
        self.disk("data.img")
    }

    /// A log file by name.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.path.join("log").join(name)
    }

    /// Makes the folders of a new disk.
    pub(crate) fn make(&self) -> anyhow::Result<()> {
        for name in ["etc", "etc.work", "lib", "lib.work", "docker", "jaco", "etc-jaco", "etc-docker"] {
            make_folder(&self.disk(name))?;
        }
        make_folder(&self.path.join("log"))
    }
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(path).with_context(|| path.display().to_string())
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

/// Writes a JSON file whole: a reader sees the old one or the new one.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, serde_json::to_vec(value)?).with_context(|| fresh.display().to_string())?;
    std::fs::rename(&fresh, path).with_context(|| path.display().to_string())
}
