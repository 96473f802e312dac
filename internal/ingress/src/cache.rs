//! The last known table on disk, served between start and the first real view. A cache: losing it loses nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::table::Table;

#[cfg(test)]
mod tests;

/// Written into the file; a file with another number is ignored.
const FORMAT_VERSION: u32 = 1;

/// A table larger than this is not read back: the file is not ours.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct CacheFile<T> {
    version: u32,
    table: T,
}

/// Why a cache was not used or written. Never fatal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    /// The file system refused.
    #[error("the route cache cannot be read or written")]
    Io(#[from] io::Error),
    /// It is not ours, or damaged.
    #[error("the route cache is not readable as such")]
    Format(#[from] serde_json::Error),
    /// Another version wrote it.
    #[error("the route cache has format version {0}, this program reads {FORMAT_VERSION}")]
    Version(u32),
    /// Too large to be ours.
    #[error("the route cache has {0} bytes, more than {MAX_BYTES}")]
    TooLarge(u64),
}

/// The stored table; `None` when there is none yet.
pub(crate) fn load(path: &Path) -> Result<Option<Table>, CacheError> {
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if size > MAX_BYTES {
        return Err(CacheError::TooLarge(size));
    }
    let text = fs::read(path)?;
    // The version decides whether the rest may be looked at.
    let version = serde_json::from_slice::<CacheFile<serde::de::IgnoredAny>>(&text)?.version;
    if version != FORMAT_VERSION {
        return Err(CacheError::Version(version));
    }
    Ok(Some(serde_json::from_slice::<CacheFile<Table>>(&text)?.table))
}

/// Replaces the stored table as a whole, readable by the owner alone.
pub(crate) fn store(path: &Path, table: &Table) -> Result<(), CacheError> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let text = serde_json::to_vec(&CacheFile { version: FORMAT_VERSION, table })?;
    let fresh = path.with_extension("json.new");
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&text)?;
    // Without this a power cut after the rename could leave an empty file; the rename itself may be lost without harm.
    file.sync_data()?;
    fs::rename(&fresh, path)?;
    Ok(())
}
