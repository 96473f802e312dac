//! Reading a backup: all of it is checked before anything of it comes back.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use jaco_state::{SnapshotError, StateMachine, read_snapshot};
use jaco_types::{ErrorCode, UserError};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{BACKUP_SCHEMA, BackupMeta, Hex, META_NAME, SNAPSHOT_NAME};

/// `meta.json` is far smaller; more is damage.
const MAX_META: u64 = 64 * 1024;
/// What may follow a tar's last file: its end mark, and the padding that some programs add.
const MAX_TAIL: u64 = 64 * 1024;

/// Who reads a backup: what is newer than this is refused.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// Version of this daemon.
    pub version: &'a str,
    /// The highest feature level it reaches.
    pub feature_level: u32,
}

/// A backup that was read whole.
#[derive(Debug)]
pub struct Backup {
    /// What it says of itself.
    pub meta: BackupMeta,
    /// The state in it.
    pub machine: StateMachine,
}

/// Why a backup cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackupError {
    /// The file could not be read.
    #[error("the backup cannot be read")]
    Io(#[source] io::Error),
    /// It is no backup, or not as it was written.
    #[error("this is no backup of JACO, or it is damaged: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// A newer version made it.
    #[error(
        "the backup has {what} {found}, and this jacod reads up to {supported}: restore it with the version that made it, or a newer one"
    )]
    Newer {
        /// What is newer.
        what: &'static str,
        /// The backup's.
        found: String,
        /// The newest that is read here.
        supported: String,
    },
}

impl ReadBackupError {
    /// What the user is told: `backup_incompatible`, or `internal` when the disk failed.
    pub fn user_error(&self) -> UserError {
        match self {
            ReadBackupError::Io(source) => UserError::internal(self.to_string(), source),
            ReadBackupError::Damaged { .. } => {
                UserError::new(ErrorCode::BackupIncompatible, format!("{self}; nothing was changed on disk"))
            }
            ReadBackupError::Newer { found, supported, .. } => {
                UserError::new(ErrorCode::BackupIncompatible, self.to_string())
                    .with("found", found)
                    .with("supported", supported)
            }
        }
    }
}

fn damaged(reason: impl Into<String>) -> ReadBackupError {
    ReadBackupError::Damaged { reason: reason.into() }
}

/// The decoders report what they cannot make sense of as errors of these kinds; others are the disk's.
fn not_read(error: io::Error) -> ReadBackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged("it is cut off"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => damaged(error.to_string()),
        _ => ReadBackupError::Io(error),
    }
}

fn not_a_state(error: SnapshotError) -> ReadBackupError {
    match error {
        SnapshotError::NewerFormat { found, supported } => {
            ReadBackupError::Newer { what: "format", found: found.to_string(), supported: supported.to_string() }
        }
        SnapshotError::Unknown { what } => ReadBackupError::Newer {
            what: "a part that is not known here, in its",
            found: what.to_owned(),
            supported: "what this version knows".to_owned(),
        },
        SnapshotError::Io(error) => not_read(error),
        SnapshotError::NotASnapshot | SnapshotError::Truncated | SnapshotError::Damaged { .. } => {
            damaged(error.to_string())
        }
    }
}

/// Passes bytes on and hashes them.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// Reads a backup to the end of the file. Blocks for as long as that takes.
///
/// # Errors
/// See [`ReadBackupError`].
pub fn read_backup(reader: impl Read, by: Reader<'_>) -> Result<Backup, ReadBackupError> {
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::with_capacity(1 << 17, reader)));
    let mut files = archive.entries().map_err(not_read)?;
    let mut next = |name: &'static str| {
        let file = files.next().ok_or_else(|| damaged(format!("it ends before {name}")))?.map_err(not_read)?;
        let found = file.path().map_err(not_read)?.into_owned();
        let is_file = file.header().entry_type() == tar::EntryType::Regular;
        let right = is_file && found == std::path::Path::new(name);
        if right { Ok(file) } else { Err(damaged(format!("{} is where {name} belongs", found.display()))) }
    };
    let meta = read_meta(next(META_NAME)?, by)?;
    let file = next(SNAPSHOT_NAME)?;
    if file.size() != meta.snapshot_bytes {
        return Err(damaged("its snapshot has another size than it says"));
    }
    let mut hashing = Hashing { inner: file, hash: Sha256::new() };
    let (machine, header) = read_snapshot(&mut hashing).map_err(not_a_state)?;
    if Hex(&hashing.hash.finalize()).to_string() != meta.snapshot_sha256 {
        return Err(damaged("its snapshot has another checksum than it says"));
    }
    if files.next().is_some() {
        return Err(damaged("there is more in it than belongs there"));
    }
    read_tail(archive.into_inner())?;
    if (header.index, header.term) != (meta.snapshot_index, meta.snapshot_term) {
        return Err(damaged("its snapshot is of another index than it says"));
    }
    check_cluster(&machine, &meta, by)?;
    Ok(Backup { meta, machine })
}

fn check_cluster(machine: &StateMachine, meta: &BackupMeta, by: Reader<'_>) -> Result<(), ReadBackupError> {
    let view = machine.view();
    let cluster = view.cluster().ok_or_else(|| damaged("there is no cluster in it"))?;
    if cluster.cluster_id != meta.cluster_id {
        return Err(damaged("its snapshot is of another cluster than it says"));
    }
    if cluster.feature_level > by.feature_level {
        return Err(ReadBackupError::Newer {
            what: "feature level",
            found: cluster.feature_level.to_string(),
            supported: by.feature_level.to_string(),
        });
    }
    Ok(())
}

/// Only the part that every schema has.
#[derive(Deserialize)]
struct Schema {
    schema_version: u32,
}

fn read_meta(file: impl Read, by: Reader<'_>) -> Result<BackupMeta, ReadBackupError> {
    let mut text = Vec::new();
    file.take(MAX_META + 1).read_to_end(&mut text).map_err(not_read)?;
    if text.len() as u64 > MAX_META {
        return Err(damaged(format!("{META_NAME} is too large")));
    }
    let unreadable = |error: serde_json::Error| damaged(format!("{META_NAME}: {error}"));
    let Schema { schema_version } = serde_json::from_slice(&text).map_err(unreadable)?;
    if schema_version > BACKUP_SCHEMA {
        let (found, supported) = (schema_version.to_string(), BACKUP_SCHEMA.to_string());
        return Err(ReadBackupError::Newer { what: "schema", found, supported });
    }
    if schema_version == 0 {
        return Err(damaged("schema 0 does not exist"));
    }
    let meta: BackupMeta = serde_json::from_slice(&text).map_err(unreadable)?;
    let no_version = || damaged(format!("{META_NAME}: {:?} is no version", meta.jaco_version));
    let found = version(&meta.jaco_version).ok_or_else(no_version)?;
    if version(by.version).is_some_and(|own| found > own) {
        let (found, supported) = (meta.jaco_version, by.version.to_owned());
        return Err(ReadBackupError::Newer { what: "version", found, supported });
    }
    Ok(meta)
}

/// `major.minor.patch`; what follows does not count.
fn version(text: &str) -> Option<(u64, u64, u64)> {
    let numbers = text.split(['-', '+']).next()?;
    let mut parts = numbers.split('.').map(|part| part.parse::<u64>().ok());
    let version = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(version)
}

/// The end of the tar, of the gzip stream with its checksum, and of the file.
fn read_tail(decoder: GzDecoder<BufReader<impl Read>>) -> Result<(), ReadBackupError> {
    let mut tail = Vec::new();
    let mut limited = decoder.take(MAX_TAIL + 1);
    limited.read_to_end(&mut tail).map_err(not_read)?;
    if tail.len() as u64 > MAX_TAIL || tail.iter().any(|byte| *byte != 0) {
        return Err(damaged("there are bytes after its end"));
    }
    let mut rest = limited.into_inner().into_inner();
    if !rest.fill_buf().map_err(not_read)?.is_empty() {
        return Err(damaged("there are bytes after its end"));
    }
    Ok(())
}
