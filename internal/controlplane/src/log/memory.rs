//! [`LogStorage`] in memory, for simulations and tests: everything is "durable" at once, and space never ends.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::record::{LogEntry, LogId};
use super::{Completion, Demand, LogState, LogStorage, LogUsage, LogWrite, Room};

/// A log that lives as long as the value.
#[derive(Default)]
pub struct MemoryLog {
    inner: Mutex<Inner>,
    space: Arc<tokio::sync::Notify>,
}

#[derive(Default)]
struct Inner {
    entries: BTreeMap<u64, LogEntry>,
    state: LogState,
    failing: bool,
}

impl MemoryLog {
    /// Makes every later write fail, as a broken disk does.
    pub fn fail(&self) {
        self.lock().failing = true;
        self.space.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, write: LogWrite) -> io::Result<()> {
        if self.failing {
            return Err(io::Error::other("this log was told to fail"));
        }
        match write {
            LogWrite::Vote(vote) => self.state.vote = Some(vote),
            LogWrite::Append(entries) => self.entries.extend(entries.into_iter().map(|entry| (entry.id.index, entry))),
            LogWrite::Truncate(after) => {
                self.entries.split_off(&after.map_or(0, |after: LogId| after.index + 1));
            }
            LogWrite::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.state.purged = Some(upto);
            }
            LogWrite::Committed(id) => self.state.committed = id,
        }
        self.state.last = self.entries.last_key_value().map(|(_, entry)| entry.id).or(self.state.purged);
        Ok(())
    }
}

impl LogStorage for MemoryLog {
    fn state(&self) -> LogState {
        self.lock().state.clone()
    }

    fn read(&self, range: Range<u64>, max_bytes: u64) -> io::Result<Vec<LogEntry>> {
        let mut bytes = 0;
        let inner = self.lock();
        let fits = |entry: &&LogEntry| {
            let first = bytes == 0;
            bytes += entry.weight();
            first || bytes <= max_bytes
        };
        Ok(inner.entries.range(range).map(|(_, entry)| entry).take_while(fits).cloned().collect())
    }

    fn submit(&self, write: LogWrite, done: Completion) {
        let result = self.lock().write(write);
        done(result);
    }

    fn reserve(&self, _bytes: u64, _demand: Demand) -> Room {
        Room::Granted
    }

    fn release(&self, _bytes: u64) {}

    fn failure(&self) -> Option<String> {
        self.lock().failing.then(|| "this log was told to fail".to_owned())
    }

    fn space_changed(&self) -> Arc<tokio::sync::Notify> {
        self.space.clone()
    }

    fn usage(&self) -> LogUsage {
        LogUsage { entries: self.lock().entries.len() as u64, ..LogUsage::default() }
    }

    fn close(&self) {}

    fn blocks(&self) -> bool {
        false
    }
}
