//! [`SnapshotStorage`] in memory, for simulations and tests.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::SnapshotStorage;

/// Snapshots that live as long as the value. What was appended and not synced is lost in [`MemorySnapshots::crash`].
#[derive(Default)]
pub struct MemorySnapshots {
    files: Mutex<BTreeMap<String, Contents>>,
}

#[derive(Default, Clone)]
struct Contents {
    bytes: Arc<Vec<u8>>,
    /// So many of them outlive a crash.
    synced: usize,
}

impl MemorySnapshots {
    /// What a power cut does: bytes that were not synced are gone.
    pub fn crash(&self) {
        for contents in self.files().values_mut() {
            let synced = contents.synced;
            Arc::make_mut(&mut contents.bytes).truncate(synced);
        }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Contents>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn contents(&self, name: &str) -> io::Result<Arc<Vec<u8>>> {
        self.files().get(name).map(|contents| contents.bytes.clone()).ok_or_else(|| missing(name))
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no snapshot {name}"))
}

/// Reads shared bytes.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl SnapshotStorage for MemorySnapshots {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(Shared(self.contents(name)?))))
    }

    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        Ok(self.files().get(name).map(|contents| contents.bytes.len() as u64))
    }

    fn read_at(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let contents = self.contents(name)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(contents.len());
        let to = from.saturating_add(length).min(contents.len());
        Ok(contents.get(from..to).unwrap_or_default().to_vec())
    }

    fn write(&self, name: &str, fill: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut bytes = Vec::new();
        fill(&mut bytes)?;
        let synced = bytes.len();
        self.files().insert(name.to_owned(), Contents { bytes: Arc::new(bytes), synced });
        Ok(())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.files();
        Arc::make_mut(&mut files.entry(name.to_owned()).or_default().bytes).extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut files = self.files();
        let contents = files.get_mut(name).ok_or_else(|| missing(name))?;
        contents.synced = contents.bytes.len();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files();
        let contents = files.remove(from).ok_or_else(|| missing(from))?;
        files.insert(to.to_owned(), contents);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files().remove(name).map(|_contents| ()).ok_or_else(|| missing(name))
    }

    fn location(&self, name: &str) -> PathBuf {
        PathBuf::from(name)
    }

    fn blocks(&self) -> bool {
        false
    }
}
