//! Snapshot files: an envelope with what raft needs to know, and the state as `jaco_state` writes it.
//!
//! Layout: magic `JACORSNP`, format version (u32), CRC-32 of the rest of the envelope (u32), incarnation of the data directory
//! (u64), length (u32) and message of [`SnapshotMeta`], then the state's own stream, which has its own checksum. Integers are
//! little-endian. A file gets its name only when it is complete and on disk; the newest two are kept.

mod incoming;
mod memory;
mod storage;

use std::fmt;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jaco_state::{SnapshotError, StateMachine, View, read_snapshot, write_snapshot};
use prost::Message;

pub(crate) use incoming::{TakeError, Taken};
pub use memory::MemorySnapshots;
pub(crate) use storage::FileSnapshots;
pub use storage::SnapshotStorage;

use crate::data_dir::format_advice;
use crate::log::{LogId, Membership};

const MAGIC: &[u8; 8] = b"JACORSNP";
/// Version of the envelope.
const FORMAT_VERSION: u32 = 2;
/// Snapshots kept.
const KEPT: usize = 2;
/// Complete snapshots end so.
const EXTENSION: &str = "snap";
/// What has arrived of a snapshot from another node ends so.
const PART_EXTENSION: &str = "part";
/// An envelope's message is far smaller; a length above this is damage.
const MAX_META: u32 = 1 << 20;

/// What to do about a snapshot that cannot be read. Moving it away is safe: the log says up to where it was dropped, and the store does
/// not open with a snapshot that ends before that.
const ADVICE: &str = "Nothing was changed: keep a copy of the data directory. If an older snapshot lies beside it, move this one out of the \
                      directory and start again: the older one is used if the log still holds everything behind it, and if it does not, \
                      jacod refuses to start as well. Otherwise restore this node from a backup, or remove it from the cluster and let it \
                      join anew";

/// What raft needs to know of a snapshot.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SnapshotMeta {
    /// The last entry in it; none in a snapshot of the empty state.
    #[prost(message, optional, tag = "1")]
    pub last: Option<LogId>,
    /// The entry that set the membership.
    #[prost(message, optional, tag = "2")]
    pub membership_id: Option<LogId>,
    /// The membership.
    #[prost(message, optional, tag = "3")]
    pub membership: Option<Membership>,
}

impl SnapshotMeta {
    /// Index and term of the last entry; zero for the empty state.
    pub(crate) fn place(&self) -> (u64, u64) {
        self.last.map_or((0, 0), |last| (last.index, last.term))
    }
}

/// A complete snapshot on disk.
#[derive(Clone)]
pub(crate) struct StoredSnapshot {
    pub storage: Arc<dyn SnapshotStorage>,
    /// Its name there.
    pub name: String,
    pub meta: SnapshotMeta,
}

impl fmt::Debug for StoredSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSnapshot").field("name", &self.name).field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl PartialEq for StoredSnapshot {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.meta == other.meta
    }
}

impl Eq for StoredSnapshot {}

/// Why a snapshot could not be opened. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotOpenError {
    /// The file or the directory could not be read.
    #[error("cannot read the snapshot {}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The envelope is damaged.
    #[error("the snapshot {} is damaged: {reason}. {}", path.display(), ADVICE)]
    Damaged {
        /// File.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// The state in it cannot be read.
    #[error("the snapshot {} cannot be used. {}", path.display(), ADVICE)]
    State {
        /// File.
        path: PathBuf,
        /// Why.
        source: SnapshotError,
    },
    /// Another version wrote it.
    #[error("the snapshot {} has format {found}, this version reads {FORMAT_VERSION}. Nothing was changed: {}", path.display(), format_advice(*found, FORMAT_VERSION))]
    OtherFormat {
        /// File.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It is of another incarnation.
    #[error("the snapshot {} belongs to incarnation {found:016x}, this data directory is {expected:016x}", path.display())]
    WrongIncarnation {
        /// File.
        path: PathBuf,
        /// Its incarnation.
        found: u64,
        /// The one that was expected.
        expected: u64,
    },
}

/// The snapshots of this node.
pub(crate) struct SnapshotStore {
    storage: Arc<dyn SnapshotStorage>,
    incarnation: u64,
    /// Held while a piece from another node is taken in.
    receiving: Mutex<()>,
}

impl SnapshotStore {
    /// Snapshots in a directory, which is made (mode 0700) when missing.
    pub(crate) fn directory(directory: PathBuf) -> Result<Arc<dyn SnapshotStorage>, SnapshotOpenError> {
        match FileSnapshots::open(directory.clone()) {
            Ok(storage) => Ok(Arc::new(storage)),
            Err(source) => Err(SnapshotOpenError::Io { path: directory, source }),
        }
    }

    /// The snapshots in a storage.
    pub(crate) fn new(storage: Arc<dyn SnapshotStorage>, incarnation: u64) -> Self {
        SnapshotStore { storage, incarnation, receiving: Mutex::new(()) }
    }

    /// Whether the calls block.
    pub(crate) fn blocks(&self) -> bool {
        self.storage.blocks()
    }

    /// The newest snapshot and the state in it.
    pub(crate) fn load_newest(&self) -> Result<Option<(StateMachine, StoredSnapshot)>, SnapshotOpenError> {
        let names = self.list(EXTENSION);
        let names = names.map_err(|source| SnapshotOpenError::Io { path: self.storage.location(""), source })?;
        names.last().map(|name| self.load(name)).transpose()
    }

    fn load(&self, name: &str) -> Result<(StateMachine, StoredSnapshot), SnapshotOpenError> {
        let path = self.storage.location(name);
        let opened = self.storage.open(name);
        let mut reader = BufReader::new(opened.map_err(|source| SnapshotOpenError::Io { path: path.clone(), source })?);
        let (incarnation, meta) = read_envelope(&path, &mut reader)?;
        if incarnation != self.incarnation {
            let expected = self.incarnation;
            return Err(SnapshotOpenError::WrongIncarnation { path, found: incarnation, expected });
        }
        let (machine, header) =
            read_snapshot(reader).map_err(|source| SnapshotOpenError::State { path: path.clone(), source })?;
        if (header.index, header.term) != meta.place() {
            return Err(SnapshotOpenError::Damaged { path, reason: "envelope and state are of different entries" });
        }
        Ok((machine, self.stored(name.to_owned(), meta)))
    }

    fn stored(&self, name: String, meta: SnapshotMeta) -> StoredSnapshot {
        StoredSnapshot { storage: self.storage.clone(), name, meta }
    }

    /// Writes a snapshot, and removes all but the newest two. Nothing is left behind when it fails.
    pub(crate) fn write(&self, view: &View, meta: &SnapshotMeta) -> io::Result<StoredSnapshot> {
        let name = name_of(meta);
        self.storage.write(&name, &mut |file| {
            let mut writer = BufWriter::with_capacity(1 << 17, file);
            writer.write_all(&envelope(self.incarnation, meta))?;
            write_snapshot(view, &mut writer)?;
            writer.flush()
        })?;
        self.remove_old()?;
        Ok(self.stored(name, meta.clone()))
    }

    /// Takes over a snapshot that was received or lies elsewhere, and reads it.
    pub(crate) fn install(&self, snapshot: &StoredSnapshot) -> io::Result<(StateMachine, StoredSnapshot)> {
        let name = name_of(&snapshot.meta);
        if !Arc::ptr_eq(&self.storage, &snapshot.storage) {
            let copy = |file: &mut dyn Write| io::copy(&mut snapshot.storage.open(&snapshot.name)?, file).map(|_| ());
            self.storage.write(&name, &mut { copy })?;
        } else if name != snapshot.name && self.storage.size(&snapshot.name)?.is_some() {
            // Not there any more when the same snapshot was handed over twice: then the first time has taken it.
            self.storage.rename(&snapshot.name, &name)?;
        }
        let loaded = self.load(&name).map_err(io::Error::other)?;
        self.remove_old()?;
        Ok(loaded)
    }

    /// Names with this extension, oldest first.
    fn list(&self, extension: &str) -> io::Result<Vec<String>> {
        let mut names = self.storage.list()?;
        names.retain(|name| Path::new(name).extension().is_some_and(|found| found == extension));
        names.sort_unstable();
        Ok(names)
    }

    fn remove_old(&self) -> io::Result<()> {
        let names = self.list(EXTENSION)?;
        for name in names.iter().rev().skip(KEPT) {
            self.storage.remove(name)?;
        }
        let Some(newest) = names.last() else { return Ok(()) };
        self.remove_parts(|part| part < newest.as_str())
    }

    /// Removes what has arrived of these snapshots.
    fn remove_parts(&self, which: impl Fn(&str) -> bool) -> io::Result<()> {
        for name in self.list(PART_EXTENSION)?.iter().filter(|name| which(name)) {
            self.storage.remove(name)?;
        }
        Ok(())
    }
}

/// Names sort by index, then term.
fn name_of(meta: &SnapshotMeta) -> String {
    let (index, term) = meta.place();
    format!("{index:016x}-{term:016x}.{EXTENSION}")
}

fn envelope(incarnation: u64, meta: &SnapshotMeta) -> Vec<u8> {
    let mut guarded = incarnation.to_le_bytes().to_vec();
    guarded.extend_from_slice(&(meta.encoded_len() as u32).to_le_bytes());
    guarded.extend_from_slice(&meta.encode_to_vec());
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&guarded).to_le_bytes());
    bytes.extend_from_slice(&guarded);
    bytes
}

fn read_envelope(path: &Path, reader: &mut impl Read) -> Result<(u64, SnapshotMeta), SnapshotOpenError> {
    let damaged = |reason| SnapshotOpenError::Damaged { path: path.to_owned(), reason };
    let mut read = |length: usize| {
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).map(|()| bytes).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it ends within its envelope"),
            _ => SnapshotOpenError::Io { path: path.to_owned(), source },
        })
    };
    let number = |bytes: Vec<u8>| bytes.try_into().map(u32::from_le_bytes).unwrap_or_default();
    if read(8)? != MAGIC {
        return Err(damaged("it does not begin as a snapshot does"));
    }
    let format = number(read(4)?);
    if format != FORMAT_VERSION {
        return Err(SnapshotOpenError::OtherFormat { path: path.to_owned(), found: format });
    }
    let crc = number(read(4)?);
    let mut guarded = read(8)?;
    let incarnation = guarded.as_slice().try_into().map(u64::from_le_bytes).unwrap_or_default();
    let length = read(4)?;
    guarded.extend_from_slice(&length);
    let length = number(length);
    if length > MAX_META {
        return Err(damaged("its envelope has an impossible length"));
    }
    let message = read(length as usize)?;
    guarded.extend_from_slice(&message);
    if crc != crc32fast::hash(&guarded) {
        return Err(damaged("its envelope's checksum does not match"));
    }
    let meta = SnapshotMeta::decode(message.as_slice()).map_err(|_error| damaged("its envelope cannot be read"))?;
    Ok((incarnation, meta))
}

#[cfg(test)]
mod tests;
