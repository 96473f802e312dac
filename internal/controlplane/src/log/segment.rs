//! Segment files: fixed size, filled with zeros and synced before their first use, so that appending changes no metadata of the
//! file system and cannot meet a full disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::data_dir::sync_directory;

/// Bytes before the first frame.
pub(crate) const SEGMENT_HEADER: u32 = 64;
/// Version of the layout of segments and records.
pub(crate) const FORMAT_VERSION: u32 = 2;
const MAGIC: &[u8; 8] = b"JACOLOG\n";
const ZEROS: usize = 256 * 1024;

/// The fixed part at the beginning of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Layout.
    pub format: u32,
    /// Incarnation of the data directory.
    pub incarnation: u64,
    /// Number of the segment; they follow each other without a hole.
    pub segment: u64,
    /// Size of the file.
    pub size: u64,
}

impl SegmentHeader {
    fn encode(self) -> [u8; SEGMENT_HEADER as usize] {
        let mut bytes = [0; SEGMENT_HEADER as usize];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&self.format.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.segment.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.size.to_le_bytes());
        let crc = header_checksum(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` when it is none of ours or damaged.
    pub(crate) fn decode(content: &[u8]) -> Option<SegmentHeader> {
        let mut bytes: [u8; SEGMENT_HEADER as usize] = content.get(..SEGMENT_HEADER as usize)?.try_into().ok()?;
        let crc = u32::from_le_bytes(bytes.get(12..16)?.try_into().ok()?);
        bytes[12..16].fill(0);
        if bytes[0..8] != *MAGIC || crc != header_checksum(&bytes) {
            return None;
        }
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(SegmentHeader {
            format: u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?),
            incarnation: number(16)?,
            segment: number(24)?,
            size: number(32)?,
        })
    }
}

fn header_checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The path of a segment.
pub(crate) fn segment_path(directory: &Path, segment: u64) -> PathBuf {
    directory.join(format!("{segment:016x}.log"))
}

/// The number in a segment's file name.
pub(crate) fn segment_number(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".log")?;
    (stem.len() == 16).then(|| u64::from_str_radix(stem, 16).ok()).flatten()
}

/// Makes a segment under a temporary name, syncs it, and gives it its name. Nothing is left behind when it fails.
pub(crate) fn create_segment(directory: &Path, header: SegmentHeader) -> io::Result<()> {
    let temporary = directory.join(format!("{:016x}.tmp", header.segment));
    let written = write_zeros(&temporary, header)
        .and_then(|()| fs::rename(&temporary, segment_path(directory, header.segment)))
        .and_then(|()| sync_directory(directory));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_zeros(path: &Path, header: SegmentHeader) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    // Fails at once on a full disk, before anything was written.
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, header.size) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error.into()),
    }
    file.write_all(&header.encode())?;
    let zeros = vec![0; ZEROS];
    let mut rest = header.size - u64::from(SEGMENT_HEADER);
    while rest > 0 {
        let part = rest.min(ZEROS as u64);
        file.write_all(&zeros[..part as usize])?;
        rest -= part;
    }
    file.sync_all()
}

/// Opens a segment for appending.
pub(crate) fn open_for_write(directory: &Path, segment: u64) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(segment_path(directory, segment))
}

/// Overwrites everything from `offset` on with zeros and syncs: what is left of a torn write must never look like a record.
pub(crate) fn clear_from(file: &File, offset: u64, size: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS];
    let mut at = offset;
    while at < size {
        let part = (size - at).min(ZEROS as u64);
        file.write_all_at(&zeros[..part as usize], at)?;
        at += part;
    }
    file.sync_data()
}
