//! The thread that appends to the active segment: everything that is queued becomes one write and one sync.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use super::frame::{encode_frame, framed_len};
use super::index::Location;
use super::record::{Committed, Heading, LogId, Record, RecordKind, Truncate};
use super::segment::{SEGMENT_HEADER, open_for_write};
use super::shared::Shared;
use super::{Completion, LogWrite};

/// A queued write, or the wish to end.
pub(crate) enum Request {
    Write(LogWrite, Completion),
    Close,
}

/// One write takes at most about this many bytes; the rest goes into the next.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Room kept at the end of a segment for the marker and the seal.
const SEGMENT_TRAILER: u64 = 128;

pub(crate) struct Writer {
    pub directory: PathBuf,
    pub file: File,
    pub segment: u64,
    pub size: u64,
    /// Where the next write begins.
    pub tail: u32,
    /// Everything before was synced.
    pub durable: u32,
    /// What the next segment's heading has to say.
    pub heading: Heading,
    /// Highest entry index per segment, the active one included.
    pub highest: std::collections::BTreeMap<u64, u64>,
    pub cache_bytes: u64,
    pub shared: Arc<Shared>,
}

#[derive(Default)]
struct Batch {
    buffer: Vec<u8>,
    locations: Vec<(LogId, Location)>,
    completions: Vec<Completion>,
    needs_sync: bool,
    purged: bool,
}

impl Writer {
    /// The thread's body. Ends when the log is closed, or after the first error.
    pub(crate) fn run(mut self, requests: &Receiver<Request>) {
        let mut batch = Batch::default();
        while let Ok(first) = requests.recv() {
            let mut closing = false;
            let mut next = Some(first);
            let mut result = Ok(());
            while let Some(request) = next.take() {
                match request {
                    Request::Close => closing = true,
                    Request::Write(write, done) => {
                        batch.completions.push(done);
                        result = self.add(&mut batch, write);
                    }
                }
                if closing || result.is_err() || batch.buffer.len() >= BATCH_BYTES {
                    break;
                }
                next = requests.try_recv().ok();
            }
            let result = result.and_then(|()| self.write_batch(&mut batch));
            let failed = self.complete(&mut batch, &result);
            if failed {
                self.refuse_all(requests);
                return;
            }
            if closing {
                if let Err(error) = self.mark(true) {
                    self.shared.fail(&error);
                }
                self.refuse_all(requests);
                return;
            }
            // Off everybody's way: the callers have their answers, and nobody waits.
            if self.durable == self.tail
                && self.shared.queue_is_empty()
                && let Err(error) = self.mark(false)
            {
                self.shared.fail(&error);
                self.refuse_all(requests);
                return;
            }
        }
    }

    fn add(&mut self, batch: &mut Batch, write: LogWrite) -> io::Result<()> {
        if batch.buffer.is_empty()
            && let Some(id) = self.unwritten_committed()
        {
            self.record(batch, RecordKind::Committed(Committed { id }))?;
        }
        batch.needs_sync |= !matches!(write, LogWrite::Committed(_));
        match write {
            LogWrite::Vote(vote) => self.record(batch, RecordKind::Vote(vote)),
            LogWrite::Append(entries) => {
                entries.into_iter().try_for_each(|entry| self.record(batch, RecordKind::Entry(entry)))
            }
            LogWrite::Truncate(after) => self.record(batch, RecordKind::Truncate(Truncate { after })),
            LogWrite::Purge(upto) => {
                batch.purged = true;
                self.record(batch, RecordKind::Purge(upto))
            }
            // Only noted in memory, where it is found above.
            LogWrite::Committed(_) => Ok(()),
        }
    }

    /// The committed index, when the newest one is not in the log yet. The entry it names may be in the batch that it is written before:
    /// whoever reads the log takes no note of a commit beyond its end.
    fn unwritten_committed(&self) -> Option<Option<LogId>> {
        let latest = self.shared.committed();
        (latest != self.heading.committed).then_some(latest)
    }

    /// Adds a record to the batch, going over to the next segment when it does not fit.
    fn record(&mut self, batch: &mut Batch, kind: RecordKind) -> io::Result<()> {
        let record = Record::from(kind);
        let needed = framed_len(&record) + SEGMENT_TRAILER;
        if u64::from(self.tail) + batch.buffer.len() as u64 + needed > self.size {
            if u64::from(SEGMENT_HEADER) + needed + SEGMENT_TRAILER > self.size {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a record is larger than a segment of the raft log",
                ));
            }
            self.next_segment(batch)?;
        }
        let start = batch.buffer.len();
        encode_frame(&mut batch.buffer, self.segment, self.tail, self.durable, &record);
        if let Some(RecordKind::Entry(entry)) = &record.kind {
            let location = Location {
                segment: self.segment,
                offset: self.tail + start as u32,
                length: (batch.buffer.len() - start) as u32,
            };
            batch.locations.push((entry.id, location));
            let highest = self.highest.entry(self.segment).or_default();
            *highest = entry.id.index.max(*highest);
        }
        self.note(record.kind);
        Ok(())
    }

    /// Keeps the heading of the next segment equal to what was written.
    fn note(&mut self, kind: Option<RecordKind>) {
        match kind {
            Some(RecordKind::Entry(entry)) => self.heading.last = Some(entry.id),
            Some(RecordKind::Vote(vote)) => self.heading.vote = Some(vote),
            Some(RecordKind::Committed(committed)) => self.heading.committed = committed.id,
            Some(RecordKind::Truncate(truncate)) => self.heading.last = truncate.after,
            Some(RecordKind::Purge(upto)) => {
                self.heading.purged = Some(upto);
                if self.heading.last.is_none_or(|last| last.index <= upto.index) {
                    self.heading.last = Some(upto);
                }
            }
            Some(RecordKind::Heading(_) | RecordKind::Seal(_) | RecordKind::Marker(_)) | None => {}
        }
    }

    /// Seals the active segment, which is on disk to the last byte before the next one gets its first.
    fn next_segment(&mut self, batch: &mut Batch) -> io::Result<()> {
        self.shared.space.take_spare(self.segment + 2)?;
        encode_frame(&mut batch.buffer, self.segment, self.tail, self.durable, &RecordKind::Seal(true).into());
        self.write_buffer(&mut batch.buffer)?;
        self.sync()?;
        self.segment += 1;
        self.file = open_for_write(&self.directory, self.segment)?;
        self.size = self.file.metadata()?.len();
        self.tail = SEGMENT_HEADER;
        self.durable = SEGMENT_HEADER;
        self.highest.insert(self.segment, 0);
        self.shared.segment_begun(self.size);
        let heading = Record::from(RecordKind::Heading(self.heading));
        encode_frame(&mut batch.buffer, self.segment, self.tail, self.durable, &heading);
        Ok(())
    }

    fn write_buffer(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        self.file.write_all_at(buffer, self.tail.into())?;
        self.tail += buffer.len() as u32;
        self.shared.appended_bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        buffer.clear();
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        self.file.sync_data()?;
        self.durable = self.tail;
        self.shared.synced(begun.elapsed());
        Ok(())
    }

    fn write_batch(&mut self, batch: &mut Batch) -> io::Result<()> {
        if !batch.needs_sync {
            return Ok(());
        }
        self.write_buffer(&mut batch.buffer)?;
        self.sync()?;
        self.shared.stored(&batch.locations, self.cache_bytes, self.tail);
        if batch.purged {
            self.remove_purged();
        }
        Ok(())
    }

    /// Answers everybody whose write was in the batch. True when it failed.
    fn complete(&mut self, batch: &mut Batch, result: &io::Result<()>) -> bool {
        if let Err(error) = result {
            self.shared.fail(error);
        }
        for done in batch.completions.drain(..) {
            self.shared.taken_from_queue();
            done(match result {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            });
        }
        batch.buffer.clear();
        batch.locations.clear();
        batch.needs_sync = false;
        batch.purged = false;
        result.is_err()
    }

    /// Says in the log how far it is on disk (and committed), so that damage there is told from a torn write later on.
    fn mark(&mut self, sync: bool) -> io::Result<()> {
        let committed = self.unwritten_committed();
        if self.durable == SEGMENT_HEADER && committed.is_none() {
            return Ok(());
        }
        let kind = match committed {
            Some(id) => RecordKind::Committed(Committed { id }),
            None => RecordKind::Marker(true),
        };
        let mut buffer = Vec::with_capacity(SEGMENT_TRAILER as usize);
        let record = Record::from(kind);
        if u64::from(self.tail) + framed_len(&record) + SEGMENT_TRAILER / 2 <= self.size {
            encode_frame(&mut buffer, self.segment, self.tail, self.durable, &record);
            self.note(record.kind);
            self.write_buffer(&mut buffer)?;
        }
        if sync { self.sync() } else { Ok(()) }
    }

    /// Hands segments over for removal whose entries were all purged, from the oldest on without a gap.
    fn remove_purged(&mut self) {
        let Some(purged) = self.heading.purged else { return };
        let obsolete: Vec<u64> = self
            .highest
            .range(..self.segment)
            .take_while(|(_, highest)| **highest <= purged.index)
            .map(|(segment, _)| *segment)
            .collect();
        for segment in &obsolete {
            self.highest.remove(segment);
        }
        self.shared.segments_removed(obsolete.len() as u64);
        self.shared.space.remove(obsolete);
    }

    /// Fails what is still queued: this log takes nothing more.
    fn refuse_all(&self, requests: &Receiver<Request>) {
        self.shared.stop();
        loop {
            match requests.try_recv() {
                Ok(Request::Write(_, done)) => done(Err(self.shared.stopped())),
                Ok(Request::Close) => {}
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }
}
