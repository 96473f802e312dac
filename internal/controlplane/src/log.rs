//! The raft log as this crate needs it: our own records, and the trait behind which a simulation may put something else.
//!
//! Nothing here is a type of openraft: what is stored must not change its meaning when that library changes
//! (`docs/adr/0002-openraft-prerelease.md`).
//!
//! Invariants every [`LogStorage`] keeps:
//! - A write is readable as soon as [`LogStorage::submit`] has returned, and durable when its completion reports success.
//! - Writes become durable in the order of their submission; a completion never overtakes an earlier one.
//! - After the first failed write every later one fails as well: a log that lost a write never goes on.

mod file_log;
mod frame;
mod index;
mod memory;
mod record;
mod recovery;
mod segment;
mod shared;
mod space;
mod writer;

#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub use file_log::{FileLog, FileLogOptions};
pub use memory::MemoryLog;
pub(crate) use record::RECORD_OVERHEAD;
pub use record::{LogEntry, LogId, Member, Membership, Payload, Vote, VoterSet};
pub use recovery::LogOpenError;

/// Called once with the fate of a write. Must be quick and must not call the log again.
pub type Completion = Box<dyn FnOnce(io::Result<()>) + Send>;

/// What the log says of itself when it was opened, and later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogState {
    /// The last vote cast.
    pub vote: Option<Vote>,
    /// Some entry known to be committed; it may lag behind, which is always safe.
    pub committed: Option<LogId>,
    /// Everything up to here was dropped, because a snapshot holds it.
    pub purged: Option<LogId>,
    /// The newest entry, or `purged` when there is none.
    pub last: Option<LogId>,
}

/// One change of the log.
#[derive(Debug, Clone)]
pub enum LogWrite {
    /// Remember a vote.
    Vote(Vote),
    /// Add entries whose indexes follow the last one.
    Append(Vec<LogEntry>),
    /// Drop every entry after this one (`None`: all of them).
    Truncate(Option<LogId>),
    /// Drop every entry up to and including this one.
    Purge(LogId),
    /// Remember that this entry is committed. Written together with the next durable write, not by a sync of its own; done at once.
    Committed(Option<LogId>),
}

/// Who asks for room in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// An ordinary transaction.
    Ordinary,
    /// A transaction of deletes only: it may use part of the reserve, so that a full disk can be cleared.
    DeletesOnly,
}

/// The answer to a question for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is room.
    Granted,
    /// Space is being prepared: wait for [`LogStorage::space_changed`] and ask again.
    Wait,
    /// The disk is full.
    Full,
}

/// Numbers for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogUsage {
    /// Bytes of files that hold the log, spare space included.
    pub file_bytes: u64,
    /// Bytes appended since the log was opened.
    pub appended_bytes: u64,
    /// Entries held.
    pub entries: u64,
    /// How long the last sync took.
    pub last_sync: Duration,
    /// Syncs since the log was opened.
    pub syncs: u64,
    /// The disk has no room for more.
    pub disk_full: bool,
}

/// Durable storage of entries, vote and committed index.
pub trait LogStorage: Send + Sync + 'static {
    /// What the log holds, writes that are still under way included.
    fn state(&self) -> LogState;

    /// The entries of a range of indexes that exist, in order, as many as fit into about `max_bytes` but at least one.
    /// An error is fatal for the caller: a short answer would be taken for the end of the log.
    fn read(&self, range: Range<u64>, max_bytes: u64) -> io::Result<Vec<LogEntry>>;

    /// Queues a write. `done` is called when it is durable or has failed.
    fn submit(&self, write: LogWrite, done: Completion);

    /// Asks for room for a record of `bytes`, counting what was granted and not yet given back by [`LogStorage::release`].
    fn reserve(&self, bytes: u64, demand: Demand) -> Room;

    /// Gives back what [`LogStorage::reserve`] granted, when the record was written or will not be.
    fn release(&self, bytes: u64);

    /// Why the log can take nothing more, once that is so.
    fn failure(&self) -> Option<String>;

    /// Wakes when the answer of [`LogStorage::reserve`] or [`LogStorage::failure`] may have changed.
    fn space_changed(&self) -> Arc<tokio::sync::Notify>;

    /// Numbers for metrics.
    fn usage(&self) -> LogUsage;

    /// Writes what is queued, and ends. Later writes fail. Blocks for one sync.
    fn close(&self);

    /// Whether opening and closing block, so that they have to be done apart from the runtime's threads.
    fn blocks(&self) -> bool {
        true
    }
}
