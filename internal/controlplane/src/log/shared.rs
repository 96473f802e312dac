//! What the log's threads and its handle share.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::index::{Index, Location};
use super::record::{LogId, Vote};
use super::segment::SEGMENT_HEADER;
use super::space::Space;

/// What the threads and the handle share.
pub(super) struct Shared {
    pub(super) memory: Mutex<Memory>,
    pub(super) space: Space,
    pub(super) appended_bytes: AtomicU64,
    pub(super) failure: OnceLock<(io::ErrorKind, String)>,
    pub(super) stopped: AtomicBool,
    pub(super) queued: AtomicU64,
    pub(super) tail: AtomicU64,
    pub(super) size: AtomicU64,
    pub(super) segments: AtomicU64,
    pub(super) granted: AtomicU64,
    pub(super) last_sync_nanos: AtomicU64,
    pub(super) syncs: AtomicU64,
}

/// What is known of the log without reading it.
pub(super) struct Memory {
    pub(super) index: Index,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
}

impl Shared {
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest committed index that was noted.
    pub(super) fn committed(&self) -> Option<LogId> {
        self.memory().committed
    }

    /// Remembers the first error; from then on every write fails with it.
    pub(super) fn fail(&self, error: &io::Error) {
        if self.failure.set((error.kind(), error.to_string())).is_ok() {
            tracing::error!(%error, "the raft log cannot be written; it takes nothing more");
        }
        self.stop();
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.space.stop();
    }

    pub(super) fn stopped(&self) -> io::Error {
        match self.failure.get() {
            Some((kind, reason)) => io::Error::new(*kind, format!("the raft log failed before: {reason}")),
            None => io::Error::other("the raft log is closed"),
        }
    }

    pub(super) fn queue_is_empty(&self) -> bool {
        self.queued.load(Ordering::Acquire) == 0
    }

    pub(super) fn taken_from_queue(&self) {
        self.queued.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn synced(&self, took: Duration) {
        self.last_sync_nanos.store(took.as_nanos() as u64, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stored(&self, locations: &[(LogId, Location)], cache_bytes: u64, tail: u32) {
        self.tail.store(tail.into(), Ordering::Release);
        self.memory().index.stored(locations, cache_bytes);
    }

    pub(super) fn segments_removed(&self, count: u64) {
        self.segments.fetch_sub(count, Ordering::Relaxed);
    }

    pub(super) fn segment_begun(&self, size: u64) {
        self.size.store(size, Ordering::Release);
        self.segments.fetch_add(1, Ordering::Relaxed);
        self.tail.store(SEGMENT_HEADER.into(), Ordering::Release);
    }
}
