//! Backups: everything the store holds at one log index, as one file.
//!
//! Layout: gzip of a tar of two files in this order, `meta.json` ([`BackupMeta`]) and `snapshot.bin` (the state as [`jaco_state`] writes
//! a snapshot). What the store keeps sealed stays sealed in it: without the recovery key a backup opens nothing.
//!
//! Invariants:
//! - The bytes are produced while they are sent; neither the archive nor the state's stream is held in memory or in a file.
//! - [`read_backup`] gives a whole, checked state or an error: lengths, both checksums, the archive's own, and the end of the file.

mod read;
mod write;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use read::{Backup, ReadBackupError, Reader, read_backup};
pub use write::{BackupOrigin, BackupSummary, write_backup};

/// The version of the archive's layout that this code writes, and the newest it reads.
pub const BACKUP_SCHEMA: u32 = 1;

const META_NAME: &str = "meta.json";
const SNAPSHOT_NAME: &str = "snapshot.bin";

/// What a backup says of itself: the file `meta.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMeta {
    /// See [`BACKUP_SCHEMA`].
    pub schema_version: u32,
    /// UUID of the cluster.
    pub cluster_id: String,
    /// Log index of the last entry in it.
    pub snapshot_index: u64,
    /// Term of that entry.
    pub snapshot_term: u64,
    /// Version of the daemon that made it.
    pub jaco_version: String,
    /// When it was made, RFC 3339, UTC.
    pub taken_at: String,
    /// Host name of the leader then; empty when none was known.
    pub leader_at_snapshot: String,
    /// Size of `snapshot.bin`, bytes.
    pub snapshot_bytes: u64,
    /// SHA-256 of `snapshot.bin`, lower-case hex.
    pub snapshot_sha256: String,
}

/// Bytes in lower-case hexadecimal.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests;
