//! Making a backup.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use jaco_state::{View, write_snapshot};
use sha2::{Digest, Sha256};

use super::{BACKUP_SCHEMA, BackupMeta, Hex, META_NAME, SNAPSHOT_NAME};

/// A tar's files begin at multiples of this.
const BLOCK: u64 = 512;

/// Who makes a backup, and when.
#[derive(Debug, Clone)]
pub struct BackupOrigin {
    /// Version of the daemon.
    pub version: String,
    /// Host name of the leader; empty when none is known.
    pub leader: String,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// A backup that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSummary {
    /// What it says of itself.
    pub meta: BackupMeta,
    /// Size of the archive, bytes.
    pub bytes: u64,
    /// SHA-256 of the archive, lower-case hex.
    pub sha256: String,
}

/// Passes bytes on, counts and hashes them.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Hashing<W> {
    fn new(inner: W) -> Self {
        Hashing { inner, hash: Sha256::new(), bytes: 0 }
    }

    fn sha256(self) -> String {
        Hex(&self.hash.finalize()).to_string()
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(buffer.get(..written).unwrap_or(buffer));
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes a view as a backup. Takes time with the size of the state: call it where blocking is allowed.
///
/// # Errors
/// Those of the writer, and [`io::ErrorKind::InvalidInput`] for a view without a cluster. What was written until then is worthless.
pub fn write_backup(view: &View, origin: &BackupOrigin, writer: impl Write) -> io::Result<BackupSummary> {
    let missing = || io::Error::new(io::ErrorKind::InvalidInput, "there is no cluster to back up");
    let cluster = view.cluster().ok_or_else(missing)?;
    // A tar says the size before the content. A state has one form as bytes, so the first pass only counts.
    let mut counted = Hashing::new(io::sink());
    let header = write_snapshot(view, &mut counted)?;
    let meta = BackupMeta {
        schema_version: BACKUP_SCHEMA,
        cluster_id: cluster.cluster_id.clone(),
        snapshot_index: header.index,
        snapshot_term: header.term,
        jaco_version: origin.version.clone(),
        taken_at: humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(origin.now_ms)).to_string(),
        leader_at_snapshot: origin.leader.clone(),
        snapshot_bytes: counted.bytes,
        snapshot_sha256: counted.sha256(),
    };
    let mut text = serde_json::to_vec_pretty(&meta)?;
    text.push(b'\n');
    let mtime = origin.now_ms / 1000;
    let mut archive = tar::Builder::new(GzEncoder::new(Hashing::new(writer), Compression::fast()));
    archive.append(&file_header(META_NAME, text.len() as u64, mtime)?, text.as_slice())?;
    let file = archive.get_mut();
    file.write_all(file_header(SNAPSHOT_NAME, meta.snapshot_bytes, mtime)?.as_bytes())?;
    let written = write_snapshot(view, &mut *file)?;
    if written.bytes != meta.snapshot_bytes {
        return Err(io::Error::other("the state has two forms as bytes"));
    }
    let padding = (BLOCK - meta.snapshot_bytes % BLOCK) % BLOCK;
    file.write_all(&vec![0; usize::try_from(padding).unwrap_or(0)])?;
    let mut hashing = archive.into_inner()?.finish()?;
    hashing.flush()?;
    Ok(BackupSummary { meta, bytes: hashing.bytes, sha256: hashing.sha256() })
}

fn file_header(name: &str, size: u64, mtime: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(mtime);
    header.set_uid(0);
    header.set_gid(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(header)
}
