//! The thread that keeps space ready ahead of the log: it makes the next segment, removes old ones, and watches the disk.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::segment::{SegmentHeader, create_segment, segment_path};
use crate::data_dir::{free_bytes, is_disk_full, sync_directory};

/// What the space thread and its clients tell each other.
pub(crate) struct Space {
    state: Mutex<SpaceState>,
    changed: Condvar,
    notify: Arc<tokio::sync::Notify>,
}

#[derive(Default)]
struct SpaceState {
    /// The segment that should be made, when it is not there.
    wanted: Option<u64>,
    obsolete: VecDeque<u64>,
    disk_full: bool,
    failed: Option<String>,
    stop: bool,
}

/// How the space thread does its work.
pub(crate) struct SpaceOptions {
    /// Directory of the segments.
    pub directory: PathBuf,
    /// Header of the segments to make; the number is filled in.
    pub header: SegmentHeader,
    /// Below this many free bytes the disk counts as full.
    pub min_free_bytes: u64,
    /// How often the disk is looked at.
    pub check_interval: Duration,
}

impl Space {
    pub(crate) fn new(wanted: Option<u64>) -> Self {
        Space {
            state: Mutex::new(SpaceState { wanted, ..SpaceState::default() }),
            changed: Condvar::new(),
            notify: Arc::new(tokio::sync::Notify::new()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, SpaceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk had no room when it was last looked at.
    pub(crate) fn disk_full(&self) -> bool {
        self.lock().disk_full
    }

    /// The segment after the active one is ready.
    pub(crate) fn spare_ready(&self) -> bool {
        self.lock().wanted.is_none()
    }

    /// Why no space can be prepared any more, for another reason than a full disk.
    pub(crate) fn failure(&self) -> Option<String> {
        self.lock().failed.clone()
    }

    /// Wakes when one of the three above may have changed.
    pub(crate) fn notify(&self) -> Arc<tokio::sync::Notify> {
        self.notify.clone()
    }

    /// Waits until the segment after the active one is ready, then asks for the one after that. Fails on a full disk.
    pub(crate) fn take_spare(&self, next_wanted: u64) -> io::Result<()> {
        let mut state = self.lock();
        loop {
            if let Some(reason) = &state.failed {
                return Err(io::Error::other(reason.clone()));
            }
            if state.wanted.is_none() {
                state.wanted = Some(next_wanted);
                self.changed.notify_all();
                return Ok(());
            }
            if state.disk_full {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "no room for the next segment of the raft log"));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Hands over segments that nobody needs any more, oldest first.
    pub(crate) fn remove(&self, segments: impl IntoIterator<Item = u64>) {
        self.lock().obsolete.extend(segments);
        self.changed.notify_all();
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.changed.notify_all();
        self.notify.notify_waiters();
    }

    /// The thread's body.
    pub(crate) fn run(&self, options: &SpaceOptions) {
        loop {
            let (wanted, obsolete) = {
                let state = self.lock();
                if state.stop {
                    return;
                }
                (state.wanted, state.obsolete.clone())
            };
            let result = self.work(options, wanted, &obsolete);
            let mut state = self.lock();
            state.obsolete.drain(..obsolete.len());
            let full_before = state.disk_full;
            match result {
                Ok(full) => {
                    state.disk_full = full;
                    if !full && wanted.is_some() {
                        state.wanted = None;
                    }
                }
                Err(error) if is_disk_full(&error) => state.disk_full = true,
                Err(error) => {
                    tracing::error!(%error, directory = %options.directory.display(), "no space can be prepared for the raft log");
                    state.failed = Some(error.to_string());
                }
            }
            if state.disk_full != full_before {
                let full = state.disk_full;
                tracing::warn!(full, directory = %options.directory.display(), "the disk of the raft log changed between full and not full");
            }
            self.changed.notify_all();
            self.notify.notify_waiters();
            if state.wanted.is_some() && !state.disk_full && state.failed.is_none() || !state.obsolete.is_empty() {
                continue;
            }
            if !state.stop {
                let waited = self.changed.wait_timeout(state, options.check_interval);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Removes what is obsolete, looks at the disk, makes the wanted segment. Returns whether the disk is full.
    fn work(&self, options: &SpaceOptions, wanted: Option<u64>, obsolete: &VecDeque<u64>) -> io::Result<bool> {
        for segment in obsolete {
            fs::remove_file(segment_path(&options.directory, *segment))?;
            // One by one: a power cut must never leave an older segment when a newer one is gone.
            sync_directory(&options.directory)?;
        }
        let needed = if wanted.is_some() { options.header.size } else { 0 };
        if free_bytes(&options.directory)? < options.min_free_bytes.saturating_add(needed) {
            return Ok(true);
        }
        if let Some(segment) = wanted {
            create_segment(&options.directory, SegmentHeader { segment, ..options.header })?;
        }
        Ok(false)
    }
}
