//! Snapshots: the whole state at one log index as a stream of bytes.
//!
//! Layout: magic `JACOSNAP`, format version (u32), incarnation (u64); then frames, each a length (u32) and a protobuf message: the
//! header, the records by kind and key, the remembered requests by index, the audit events by place; then the CRC-32 (u32) of all
//! before it; then the end of the stream. Integers are little-endian. A state has exactly one form as bytes.
//!
//! Reading yields the whole state or an error; nothing is allocated on the word of a length that has not been checked.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use prost::Message;

use crate::audit::{AUDIT_LIMIT, AuditLog, AuditRecord};
use crate::machine::StateMachine;
use crate::record::Record;
use crate::request::{CommittedRequest, RequestTable, horizon};
use crate::stored::{StoredAudit, StoredHeader, StoredRecord, StoredRequest, token};
use crate::transaction::MAX_TRANSACTION_BYTES;
use crate::view::{Contents, Records, View};

const MAGIC: &[u8; 8] = b"JACOSNAP";
/// Version of the snapshot format that this code writes, and the newest it reads.
pub const SNAPSHOT_FORMAT: u32 = 1;
/// Everything in a frame came in one transaction; the rest is room for what apply adds to it.
const MAX_FRAME: usize = MAX_TRANSACTION_BYTES + 64 * 1024;
/// Bytes gathered before a write, and read ahead.
const BUFFER: usize = 64 * 1024;

/// What a snapshot says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// Incarnation of the cluster, 0 before it is initialised.
    pub incarnation: u64,
    /// Log index of the last entry in it.
    pub index: u64,
    /// Term of that entry.
    pub term: u64,
    /// Size of the whole snapshot, bytes.
    pub bytes: u64,
}

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes do not begin as a snapshot does.
    #[error("this is not a snapshot of JACO")]
    NotASnapshot,
    /// A newer version wrote it.
    #[error("the snapshot has format {found}, and this version reads up to {supported}: run a newer jacod")]
    NewerFormat {
        /// Its format.
        found: u32,
        /// The newest format read here.
        supported: u32,
    },
    /// It has a field that this version does not know.
    #[error("the snapshot has a field in its {what} that this version does not know: run a newer jacod")]
    Unknown {
        /// Which part.
        what: &'static str,
    },
    /// It ends too early.
    #[error("the snapshot is cut off")]
    Truncated,
    /// Its bytes are not those that were written.
    #[error("the snapshot is damaged: {reason}")]
    Damaged {
        /// What is wrong with them.
        reason: String,
    },
    /// The stream failed.
    #[error("the snapshot cannot be read")]
    Io(#[source] io::Error),
}

fn damaged(reason: impl Into<String>) -> SnapshotError {
    SnapshotError::Damaged { reason: reason.into() }
}

/// Writes a view as a snapshot, in pieces of some 64 KiB, and flushes the writer. Syncing it to disk is the caller's.
///
/// # Errors
/// Those of the writer; what was written until then is worthless.
pub fn write_snapshot(view: &View, writer: impl Write) -> io::Result<SnapshotHeader> {
    let contents = &*view.0;
    let incarnation = view.incarnation();
    let mut sink = Sink { writer, buffer: Vec::with_capacity(2 * BUFFER), crc: crc32fast::Hasher::new(), written: 0 };
    sink.buffer.extend_from_slice(MAGIC);
    sink.buffer.extend_from_slice(&SNAPSHOT_FORMAT.to_le_bytes());
    sink.buffer.extend_from_slice(&incarnation.to_le_bytes());
    sink.frame(&StoredHeader {
        index: contents.index,
        term: contents.term,
        now_ms: contents.now_ms,
        records: contents.kinds.values().map(|records| records.len() as u64).sum(),
        requests: contents.requests.len() as u64,
        audit: contents.audit.len() as u64,
    })?;
    for record in view.records() {
        sink.frame(&stored_record(record))?;
    }
    for request in contents.requests.iter() {
        sink.frame(&stored_request(request))?;
    }
    for event in contents.audit.iter() {
        sink.frame(&stored_audit(event))?;
    }
    let bytes = sink.finish()?;
    Ok(SnapshotHeader { incarnation, index: contents.index, term: contents.term, bytes })
}

fn stored_record(record: &Record) -> StoredRecord {
    StoredRecord { kind: record.kind, key: record.key.to_string(), version: record.version, body: record.body.clone() }
}

fn stored_request(request: &CommittedRequest) -> StoredRequest {
    StoredRequest {
        index: request.index,
        time_ms: request.time_ms,
        token: Bytes::copy_from_slice(&request.token),
        reply: request.reply.clone(),
    }
}

fn stored_audit(event: &AuditRecord) -> StoredAudit {
    StoredAudit {
        time_ms: event.time_ms,
        raft_index: event.raft_index,
        sequence: event.sequence,
        identity: event.identity.clone(),
        event: event.event.clone(),
        payload: event.payload.clone(),
    }
}

struct Sink<W> {
    writer: W,
    buffer: Vec<u8>,
    crc: crc32fast::Hasher,
    written: u64,
}

impl<W: Write> Sink<W> {
    fn frame(&mut self, message: &impl Message) -> io::Result<()> {
        let length = message.encoded_len();
        let short = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME);
        let short = short.ok_or_else(|| io::Error::other(format!("a frame of {length} bytes is over {MAX_FRAME}")))?;
        self.buffer.extend_from_slice(&short.to_le_bytes());
        message.encode_raw(&mut self.buffer);
        if self.buffer.len() >= BUFFER { self.drain() } else { Ok(()) }
    }

    fn drain(&mut self) -> io::Result<()> {
        self.crc.update(&self.buffer);
        self.writer.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        self.drain()?;
        self.writer.write_all(&self.crc.finalize().to_le_bytes())?;
        self.writer.flush()?;
        Ok(self.written + 4)
    }
}

/// Reads a snapshot to the end of the stream.
///
/// # Errors
/// See [`SnapshotError`]. Nothing of a snapshot that is not whole comes back.
pub fn read_snapshot(reader: impl Read) -> Result<(StateMachine, SnapshotHeader), SnapshotError> {
    let mut source =
        Source { reader: io::BufReader::with_capacity(BUFFER, reader), crc: crc32fast::Hasher::new(), read: 0 };
    let incarnation = source.prefix()?;
    let header: StoredHeader = source.frame("header")?;
    let mut contents =
        Contents { index: header.index, term: header.term, now_ms: header.now_ms, ..Contents::default() };
    contents.kinds = read_records(&mut source, &header)?;
    contents.requests = read_requests(&mut source, &header)?;
    contents.audit = read_audit(&mut source, &header)?;
    let bytes = source.finish()?;
    let machine = StateMachine::from_contents(contents);
    if machine.view().incarnation() != incarnation {
        return Err(damaged("its incarnation is not that of its cluster record"));
    }
    Ok((machine, SnapshotHeader { incarnation, index: header.index, term: header.term, bytes }))
}

fn read_records<R: Read>(source: &mut Source<R>, header: &StoredHeader) -> Result<OrdMap<u32, Records>, SnapshotError> {
    let mut kinds: OrdMap<u32, Records> = OrdMap::new();
    let mut last: Option<(u32, Arc<str>)> = None;
    for _ in 0..header.records {
        let stored: StoredRecord = source.frame("record")?;
        let place = (stored.kind, Arc::<str>::from(stored.key.as_str()));
        if last.as_ref().is_some_and(|last| *last >= place) {
            return Err(damaged("its records are not in order"));
        }
        if stored.version > header.index {
            return Err(damaged("a record is newer than the snapshot"));
        }
        let record = Record::new(stored.kind, place.1.clone(), stored.version, stored.body);
        kinds.entry(stored.kind).or_default().insert(place.1.clone(), Arc::new(record));
        last = Some(place);
    }
    Ok(kinds)
}

fn read_requests<R: Read>(source: &mut Source<R>, header: &StoredHeader) -> Result<RequestTable, SnapshotError> {
    let mut requests = RequestTable::default();
    for _ in 0..header.requests {
        let stored: StoredRequest = source.frame("request")?;
        let token = token(&stored.token).ok_or_else(|| damaged("a request token has not 16 bytes"))?;
        let in_order = requests.newest().is_none_or(|newest| newest < stored.index);
        let in_window = stored.index > horizon(header.index) && stored.index <= header.index;
        if !in_order || !in_window || requests.contains(&token) {
            return Err(damaged("its remembered requests are not in order"));
        }
        requests.insert(CommittedRequest { index: stored.index, time_ms: stored.time_ms, token, reply: stored.reply });
    }
    Ok(requests)
}

fn read_audit<R: Read>(source: &mut Source<R>, header: &StoredHeader) -> Result<AuditLog, SnapshotError> {
    if header.audit > AUDIT_LIMIT as u64 {
        return Err(damaged("it has more audit events than are kept"));
    }
    let mut audit = AuditLog::default();
    for _ in 0..header.audit {
        let stored: StoredAudit = source.frame("audit event")?;
        let place = (stored.raft_index, stored.sequence);
        if audit.newest().is_some_and(|newest| newest >= place) || stored.raft_index > header.index {
            return Err(damaged("its audit events are not in order"));
        }
        audit.push(Arc::new(AuditRecord {
            time_ms: stored.time_ms,
            raft_index: stored.raft_index,
            sequence: stored.sequence,
            identity: stored.identity,
            event: stored.event,
            payload: stored.payload,
        }));
    }
    Ok(audit)
}

struct Source<R> {
    reader: R,
    crc: crc32fast::Hasher,
    read: u64,
}

impl<R: Read> Source<R> {
    fn exact(&mut self, buffer: &mut [u8]) -> Result<(), SnapshotError> {
        self.reader.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => SnapshotError::Truncated,
            _ => SnapshotError::Io(error),
        })?;
        self.crc.update(buffer);
        self.read += buffer.len() as u64;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Magic and format; returns the incarnation.
    fn prefix(&mut self) -> Result<u64, SnapshotError> {
        match self.array::<8>() {
            Ok(magic) if magic == *MAGIC => {}
            Ok(_) | Err(SnapshotError::Truncated) => return Err(SnapshotError::NotASnapshot),
            Err(error) => return Err(error),
        }
        match u32::from_le_bytes(self.array()?) {
            SNAPSHOT_FORMAT => Ok(u64::from_le_bytes(self.array()?)),
            0 => Err(damaged("format 0 does not exist")),
            found => Err(SnapshotError::NewerFormat { found, supported: SNAPSHOT_FORMAT }),
        }
    }

    fn frame<M: Message + Default>(&mut self, what: &'static str) -> Result<M, SnapshotError> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        if length > MAX_FRAME {
            return Err(damaged(format!("a {what} of {length} bytes is over the limit of {MAX_FRAME}")));
        }
        let mut bytes = vec![0; length];
        self.exact(&mut bytes)?;
        let message =
            M::decode(Bytes::from(bytes)).map_err(|error| damaged(format!("a {what} is unreadable: {error}")))?;
        // The decoder skips fields it does not know; their absence shows in the length.
        if message.encoded_len() == length { Ok(message) } else { Err(SnapshotError::Unknown { what }) }
    }

    /// Checksum and end of the stream; returns the size of the snapshot.
    fn finish(mut self) -> Result<u64, SnapshotError> {
        let expected = self.crc.clone().finalize();
        if u32::from_le_bytes(self.array()?) != expected {
            return Err(damaged("its checksum does not match"));
        }
        let mut byte = [0];
        match self.exact(&mut byte) {
            Err(SnapshotError::Truncated) => Ok(self.read),
            Ok(()) => Err(damaged("there are bytes after its end")),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
