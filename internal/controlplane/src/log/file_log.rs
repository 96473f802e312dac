//! [`LogStorage`] on segment files: one thread that writes and syncs, one that keeps space ready.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use prost::Message;

use super::frame::read_frame;
use super::index::{Found, Location};
use super::record::{LogEntry, LogId, Record, RecordKind};
use super::recovery::{LogOpenError, Recovered, recover};
use super::segment::{FORMAT_VERSION, SegmentHeader, clear_from, create_segment, open_for_write, segment_path};
use super::shared::{Memory, Shared};
use super::space::{Space, SpaceOptions};
use super::writer::{Request, Writer};
use super::{Completion, Demand, LogState, LogStorage, LogUsage, LogWrite, Room};
use crate::data_dir::create_directory;

/// How a [`FileLog`] is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLogOptions {
    /// Where the segments are; made with mode 0700 when missing.
    pub directory: PathBuf,
    /// Incarnation of the data directory, written into every segment.
    pub incarnation: u64,
    /// Size of a segment made from now on, bytes. At least four times `max_record_bytes`.
    pub segment_bytes: u64,
    /// Largest record that is ever appended, bytes.
    pub max_record_bytes: u64,
    /// Entries kept in memory, bytes; older ones are read from disk.
    pub cache_bytes: u64,
    /// Below this many free bytes the disk counts as full.
    pub min_free_bytes: u64,
    /// How often the disk is looked at. A disk that was full is seen to have room again within this time.
    pub check_interval: Duration,
}

impl FileLogOptions {
    /// The settings of a daemon: segments of 8 MiB, records of 1.25 MiB, 4 MiB in memory, 32 MiB to be left free on the disk.
    pub fn new(directory: impl Into<PathBuf>, incarnation: u64) -> Self {
        FileLogOptions {
            directory: directory.into(),
            incarnation,
            segment_bytes: 8 << 20,
            max_record_bytes: 5 << 18,
            cache_bytes: 4 << 20,
            min_free_bytes: 32 << 20,
            check_interval: Duration::from_millis(500),
        }
    }

    /// Ready space below which ordinary writes are not taken.
    fn reserve(&self, demand: Demand) -> u64 {
        match demand {
            Demand::Ordinary => self.segment_bytes / 4,
            Demand::DeletesOnly => self.segment_bytes / 8,
        }
    }
}

/// The log on segment files.
pub struct FileLog {
    options: FileLogOptions,
    shared: Arc<Shared>,
    requests: Mutex<Option<Sender<Request>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl FileLog {
    /// Opens the log of a directory, or makes an empty one. Blocks for as long as reading the segments takes.
    ///
    /// A torn tail, left by a crash in the middle of a write that nobody was told of, is cut off with a warning. Anything else that
    /// cannot be read is an error, and nothing on disk is changed.
    pub fn open(options: FileLogOptions) -> Result<FileLog, LogOpenError> {
        let failed = |source| LogOpenError::Io { path: options.directory.clone(), source };
        create_directory(&options.directory, 0o700).map_err(failed)?;
        let recovered = match recover(&options.directory, options.incarnation)? {
            Some(recovered) => recovered,
            None => {
                create_segment(&options.directory, header(&options, 0)).map_err(failed)?;
                recover(&options.directory, options.incarnation)?
                    .ok_or_else(|| LogOpenError::Missing { path: segment_path(&options.directory, 0) })?
            }
        };
        remove_temporary_files(&options.directory).map_err(failed)?;
        let path = segment_path(&options.directory, recovered.active);
        let file = open_active(&options, &path, &recovered).map_err(|source| LogOpenError::Io { path, source })?;
        FileLog::start(options, recovered, file)
            .map_err(|source| LogOpenError::Io { path: "jaco-log thread".into(), source })
    }

    fn start(options: FileLogOptions, recovered: Recovered, file: File) -> io::Result<FileLog> {
        let wanted = (!recovered.spare).then_some(recovered.active + 1);
        let memory =
            Memory { index: recovered.index, vote: recovered.heading.vote, committed: recovered.heading.committed };
        let shared = Arc::new(Shared {
            memory: Mutex::new(memory),
            space: Space::new(wanted),
            appended_bytes: AtomicU64::new(0),
            failure: OnceLock::new(),
            stopped: AtomicBool::new(false),
            queued: AtomicU64::new(0),
            tail: AtomicU64::new(recovered.tail.into()),
            size: AtomicU64::new(recovered.size),
            segments: AtomicU64::new(recovered.segments.len() as u64),
            granted: AtomicU64::new(0),
            last_sync_nanos: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        });
        let (sender, receiver) = channel();
        let writer = Writer {
            directory: options.directory.clone(),
            file,
            segment: recovered.active,
            size: recovered.size,
            tail: recovered.tail,
            durable: recovered.tail,
            heading: recovered.heading,
            highest: recovered.segments,
            cache_bytes: options.cache_bytes,
            shared: shared.clone(),
        };
        let space_options = SpaceOptions {
            directory: options.directory.clone(),
            header: header(&options, 0),
            min_free_bytes: options.min_free_bytes,
            check_interval: options.check_interval,
        };
        let log = FileLog { options, shared, requests: Mutex::new(Some(sender)), threads: Mutex::new(Vec::new()) };
        let space_shared = log.shared.clone();
        log.spawn("jaco-log-space", move || space_shared.space.run(&space_options))?;
        log.spawn("jaco-log-writer", move || writer.run(&receiver))?;
        Ok(log)
    }

    fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body)?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    fn read_stored(&self, id: LogId, location: Location, file: &mut Option<(u64, File)>) -> io::Result<LogEntry> {
        let (segment, file) = match file.take() {
            Some((segment, open)) if segment == location.segment => file.insert((segment, open)),
            Some(_) | None => {
                let opened = File::open(segment_path(&self.options.directory, location.segment))?;
                file.insert((location.segment, opened))
            }
        };
        let mut frame = vec![0; location.length as usize];
        file.read_exact_at(&mut frame, location.offset.into())?;
        let entry = decode_entry(&frame, *segment, location.offset);
        entry.filter(|entry| entry.id == id).ok_or_else(|| {
            let path = segment_path(&self.options.directory, *segment);
            let place = format!("{} at byte {}", path.display(), location.offset);
            io::Error::new(io::ErrorKind::InvalidData, format!("entry {} cannot be read back: {place}", id.index))
        })
    }
}

fn header(options: &FileLogOptions, segment: u64) -> SegmentHeader {
    SegmentHeader { format: FORMAT_VERSION, incarnation: options.incarnation, segment, size: options.segment_bytes }
}

/// Opens the active segment for appending, after everything behind its last record was cleared.
fn open_active(options: &FileLogOptions, path: &Path, recovered: &Recovered) -> io::Result<File> {
    let file = open_for_write(&options.directory, recovered.active)?;
    if let Some(torn) = recovered.torn {
        tracing::warn!(
            file = %path.display(),
            offset = torn.offset,
            bytes = torn.bytes,
            "cut off the end of a write that had not been acknowledged"
        );
        clear_from(&file, torn.offset.into(), recovered.size)?;
    }
    // What a killed process wrote but did not sync is in the page cache only, and is about to be relied on.
    file.sync_data()?;
    Ok(file)
}

/// Removes half-made segments of an earlier run.
fn remove_temporary_files(directory: &Path) -> io::Result<()> {
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn decode_entry(frame: &[u8], segment: u64, offset: u32) -> Option<LogEntry> {
    let frame = read_frame(frame, segment, 0, offset)?;
    match Record::decode(frame.body).ok()?.kind? {
        RecordKind::Entry(entry) => Some(entry),
        RecordKind::Vote(_)
        | RecordKind::Committed(_)
        | RecordKind::Truncate(_)
        | RecordKind::Purge(_)
        | RecordKind::Heading(_)
        | RecordKind::Seal(_)
        | RecordKind::Marker(_) => None,
    }
}

impl LogStorage for FileLog {
    fn state(&self) -> LogState {
        let memory = self.shared.memory();
        LogState {
            vote: memory.vote,
            committed: memory.committed,
            purged: memory.index.purged(),
            last: memory.index.last(),
        }
    }

    fn read(&self, range: Range<u64>, max_bytes: u64) -> io::Result<Vec<LogEntry>> {
        let found = self.shared.memory().index.find(range, max_bytes);
        let mut file = None;
        found
            .into_iter()
            .map(|found| match found {
                Found::Cached(entry) => Ok(entry),
                Found::Stored(id, location) => self.read_stored(id, location, &mut file),
            })
            .collect()
    }

    fn submit(&self, write: LogWrite, done: Completion) {
        if self.shared.stopped.load(Ordering::Acquire) {
            return done(Err(self.shared.stopped()));
        }
        // Held while sending as well, so that the order of the queue is the order in memory.
        let mut memory = self.shared.memory();
        if let Err(error) = note(&mut memory, &write) {
            drop(memory);
            return done(Err(error));
        }
        // The writer finds it when it next has something to sync; it need not be woken for that.
        if matches!(write, LogWrite::Committed(_)) {
            drop(memory);
            return done(Ok(()));
        }
        self.shared.queued.fetch_add(1, Ordering::AcqRel);
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = match requests.as_ref() {
            Some(sender) => sender.send(Request::Write(write, done)).err().map(|error| error.0),
            None => Some(Request::Write(write, done)),
        };
        drop((requests, memory));
        if let Some(Request::Write(_, done)) = refused {
            done(Err(self.shared.stopped()));
        }
    }

    fn reserve(&self, bytes: u64, demand: Demand) -> Room {
        let shared = &self.shared;
        let full = shared.space.disk_full();
        if full && demand == Demand::Ordinary {
            return Room::Full;
        }
        // The end of a segment that the largest record may not fit into counts as used.
        let unusable = self.options.max_record_bytes;
        let size = shared.size.load(Ordering::Acquire);
        let mut ready = size.saturating_sub(shared.tail.load(Ordering::Acquire)).saturating_sub(unusable);
        if shared.space.spare_ready() {
            ready += self.options.segment_bytes.saturating_sub(unusable);
        }
        let needed = bytes + self.options.reserve(demand);
        let granted = shared.granted.fetch_add(bytes, Ordering::AcqRel);
        if ready.saturating_sub(granted) >= needed {
            return Room::Granted;
        }
        shared.granted.fetch_sub(bytes, Ordering::AcqRel);
        if full { Room::Full } else { Room::Wait }
    }

    fn release(&self, bytes: u64) {
        self.shared.granted.fetch_sub(bytes, Ordering::AcqRel);
    }

    fn failure(&self) -> Option<String> {
        let written = self.shared.failure.get().map(|(_, reason)| reason.clone());
        let reason = written.or_else(|| self.shared.space.failure())?;
        Some(format!("the raft log in {} cannot be written: {reason}", self.options.directory.display()))
    }

    fn space_changed(&self) -> Arc<tokio::sync::Notify> {
        self.shared.space.notify()
    }

    fn usage(&self) -> LogUsage {
        let shared = &self.shared;
        let segments = shared.segments.load(Ordering::Relaxed) + u64::from(shared.space.spare_ready());
        LogUsage {
            file_bytes: segments * self.options.segment_bytes,
            appended_bytes: shared.appended_bytes.load(Ordering::Relaxed),
            entries: shared.memory().index.len(),
            last_sync: Duration::from_nanos(shared.last_sync_nanos.load(Ordering::Relaxed)),
            syncs: shared.syncs.load(Ordering::Relaxed),
            disk_full: shared.space.disk_full(),
        }
    }

    fn close(&self) {
        if let Some(sender) = self.requests.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = sender.send(Request::Close);
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                self.shared.fail(&io::Error::other("a thread of the raft log panicked"));
            }
        }
    }
}

impl Drop for FileLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// Makes a write readable.
fn note(memory: &mut Memory, write: &LogWrite) -> io::Result<()> {
    match write {
        LogWrite::Vote(vote) => memory.vote = Some(*vote),
        LogWrite::Append(entries) => {
            for entry in entries {
                if !memory.index.append(entry.clone()) {
                    let reason = format!("entry {} does not follow the last one of the log", entry.id.index);
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
                }
            }
        }
        LogWrite::Truncate(after) => memory.index.truncate(*after),
        LogWrite::Purge(upto) => memory.index.purge(*upto),
        LogWrite::Committed(id) => memory.committed = *id,
    }
    Ok(())
}
