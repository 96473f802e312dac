//! Where snapshots lie: a few verbs over named files, so that a simulation can put something else there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::data_dir::{create_directory, replace_file, sync_directory};

/// Storage of snapshots: files with names, complete ones and those that are still being received.
///
/// All calls come from one process. An error of kind [`io::ErrorKind::NotFound`] means that there is no file of the name.
pub trait SnapshotStorage: Send + Sync + 'static {
    /// The names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Reads a file from its beginning.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>>;

    /// Size of a file, bytes; `None` when there is none.
    fn size(&self, name: &str) -> io::Result<Option<u64>>;

    /// Up to `length` bytes of a file from `offset` on; fewer only at its end.
    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Replaces a file by what `fill` writes: on return it is durable and complete, after an error as it was before.
    fn write(&self, name: &str, fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<()>;

    /// Adds to the end of a file, making it when there is none. Durable only after [`SnapshotStorage::sync`].
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was appended durable.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, displacing what had it. Durable on return.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The file in the words of a message to an operator.
    fn location(&self, name: &str) -> PathBuf;

    /// Whether the calls block, so that they have to be made apart from the runtime's threads.
    fn blocks(&self) -> bool {
        true
    }
}

/// Files of a directory.
#[derive(Debug)]
pub(crate) struct FileSnapshots {
    directory: PathBuf,
}

impl FileSnapshots {
    /// Opens the directory, making it (mode 0700) when missing.
    pub(crate) fn open(directory: PathBuf) -> io::Result<Self> {
        create_directory(&directory, 0o700)?;
        Ok(FileSnapshots { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(Path::new(name))
    }
}

impl SnapshotStorage for FileSnapshots {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for file in fs::read_dir(&self.directory)? {
            // A name that is no text is none of ours.
            names.extend(file?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(self.path(name))?))
    }

    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.path(name)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.path(name))?;
        let mut bytes = vec![0; length];
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    fn write(&self, name: &str, fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        replace_file(&self.path(name), |file| fill(file))
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(self.path(name))?;
        file.write_all(bytes)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        File::open(self.path(name))?.sync_all()?;
        sync_directory(&self.directory)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))?;
        sync_directory(&self.directory)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn location(&self, name: &str) -> PathBuf {
        self.path(name)
    }
}
