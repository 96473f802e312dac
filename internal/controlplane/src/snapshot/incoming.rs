//! Taking in a snapshot piece by piece.
//!
//! What has arrived is kept in a file whose name says exactly which snapshot it is, so that a transfer goes on where it broke, also
//! after a restart and from another leader: the same state has the same bytes everywhere.

use std::io::{self, Read};
use std::sync::PoisonError;

use super::{PART_EXTENSION, SnapshotMeta, SnapshotStore, StoredSnapshot};
use crate::transport::{SnapshotChunk, SnapshotId};

/// So many bytes are written between two syncs. A crash may take those since the last one, and the transfer goes on from before them.
const SYNC_BYTES: u64 = 8 << 20;

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// So many bytes have arrived; the piece may have been another than the one that was due.
    Partly(u64),
    /// All of it is on disk, and its checksum is right.
    Whole(StoredSnapshot),
}

/// Why a piece was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    #[error("the bytes do not have the checksum that was announced")]
    Damaged,
    #[error("the snapshot cannot be received")]
    Io(#[from] io::Error),
}

impl SnapshotId {
    /// The file of what has arrived.
    fn part_name(&self) -> String {
        let SnapshotId { index, term, total, crc } = self;
        format!("{index:016x}-{term:016x}-{total:016x}-{crc:08x}.{PART_EXTENSION}")
    }
}

impl SnapshotStore {
    /// Takes a piece. Blocks, now and then for a sync.
    pub(crate) fn take(&self, chunk: &SnapshotChunk) -> Result<Taken, TakeError> {
        // A piece that arrives a second time must not meet the first one half-way.
        let _one_at_a_time = self.receiving.lock().unwrap_or_else(PoisonError::into_inner);
        let name = chunk.id.part_name();
        let mut have = self.storage.size(&name)?.unwrap_or(0);
        if have == 0 {
            self.remove_parts(|_other| true)?;
        }
        let end = chunk.offset.saturating_add(chunk.bytes.len() as u64);
        if chunk.offset == have && !chunk.bytes.is_empty() && end <= chunk.id.total {
            if chunk.crc != crc32fast::hash(&chunk.bytes) {
                return Err(TakeError::Damaged);
            }
            self.storage.append(&name, &chunk.bytes)?;
            if have / SYNC_BYTES != end / SYNC_BYTES || end == chunk.id.total {
                self.storage.sync(&name)?;
            }
            have = end;
        }
        if have < chunk.id.total {
            return Ok(Taken::Partly(have));
        }
        if have > chunk.id.total || self.checksum(&name)? != chunk.id.crc {
            self.storage.remove(&name)?;
            return Err(TakeError::Damaged);
        }
        let meta =
            SnapshotMeta { last: chunk.last, membership_id: chunk.membership_id, membership: chunk.membership.clone() };
        Ok(Taken::Whole(StoredSnapshot { storage: self.storage.clone(), name, meta }))
    }

    /// Removes what is left of a snapshot that was handed to raft.
    pub(crate) fn forget(&self, snapshot: &StoredSnapshot) -> io::Result<()> {
        let part = snapshot.name.ends_with(PART_EXTENSION);
        if part && self.storage.size(&snapshot.name)?.is_some() { self.storage.remove(&snapshot.name) } else { Ok(()) }
    }

    fn checksum(&self, name: &str) -> io::Result<u32> {
        checksum(self.storage.open(name)?)
    }
}

impl StoredSnapshot {
    /// What tells this snapshot from every other one. Reads all of it.
    pub(crate) fn identify(&self) -> io::Result<SnapshotId> {
        let (index, term) = self.meta.place();
        let total = self.storage.size(&self.name)?.unwrap_or(0);
        Ok(SnapshotId { index, term, total, crc: checksum(self.storage.open(&self.name)?)? })
    }

    /// Bytes of it.
    pub(crate) fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.storage.read_at(&self.name, offset, length)
    }

    /// Whether reading blocks.
    pub(crate) fn blocks(&self) -> bool {
        self.storage.blocks()
    }
}

fn checksum(mut reader: Box<dyn Read + Send>) -> io::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize()),
            Ok(read) => hasher.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
