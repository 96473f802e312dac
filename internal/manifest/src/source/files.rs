//! The only way to a file.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use thiserror::Error;

use super::paths;

/// Bytes read of one file at most; longer files are refused by their readers anyway.
const READ_LIMIT: u64 = (4 << 20) + 1;

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// It is a directory, a device or a pipe.
    #[error("it is not a regular file")]
    NotAFile,
    /// The system refused; its reason.
    #[error("it cannot be read: {0}")]
    Failed(String),
}

/// Reads files for one project.
pub trait Files {
    /// The content of a file.
    ///
    /// # Errors
    /// [`ReadError`] says why there is none.
    fn read(&self, path: &str) -> Result<Vec<u8>, ReadError>;

    /// Whether a file of that name exists.
    fn exists(&self, path: &str) -> bool;
}

/// Files of the disk, with paths relative to a directory.
#[derive(Debug, Clone)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Relative paths start at `root`: for a command line, the working directory (`.`).
    pub fn new(root: impl Into<PathBuf>) -> Disk {
        Disk { root: root.into() }
    }
}

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, ReadError> {
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => ReadError::NotFound,
            _ => ReadError::Failed(error.to_string()),
        };
        let path = self.root.join(path);
        // Looked at before it is opened: opening a pipe would wait for a writer.
        if !std::fs::metadata(&path).map_err(failed)?.is_file() {
            return Err(ReadError::NotAFile);
        }
        let mut content = Vec::new();
        std::fs::File::open(&path).map_err(failed)?.take(READ_LIMIT).read_to_end(&mut content).map_err(failed)?;
        Ok(content)
    }

    fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }
}

/// Files in memory, for tests.
#[derive(Debug, Clone, Default)]
pub struct MapFiles {
    files: BTreeMap<String, Vec<u8>>,
}

impl MapFiles {
    /// The files with these names and contents.
    pub fn new<N: Into<String>, C: Into<Vec<u8>>>(files: impl IntoIterator<Item = (N, C)>) -> MapFiles {
        let files = files.into_iter().map(|(name, content)| (paths::normal(&name.into()), content.into()));
        MapFiles { files: files.collect() }
    }
}

impl Files for MapFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, ReadError> {
        self.files.get(&paths::normal(path)).cloned().ok_or(ReadError::NotFound)
    }

    fn exists(&self, path: &str) -> bool {
        self.files.contains_key(&paths::normal(path))
    }
}
