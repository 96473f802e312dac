//! What the segments say when the log is opened. Reads only: nothing is changed here, whatever is found.
//!
//! A record that cannot be read is a *torn tail* when nothing after it proves that it was acknowledged: every frame says how far
//! the segment was on disk when it was written, so one readable frame behind the hole that claims the hole's bytes is that proof.
//! A torn tail is cut off; everything else that cannot be read is damage, and the log does not open.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use prost::Message;

use super::frame::{FRAME_ALIGN, FRAME_HEADER, read_frame};
use super::index::{Index, Location};
use super::record::{Heading, Record, RecordKind};
use super::segment::{FORMAT_VERSION, SEGMENT_HEADER, SegmentHeader, segment_number, segment_path};
use crate::data_dir::format_advice;

/// Why a log could not be opened. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum LogOpenError {
    /// A file could not be read or made.
    #[error("cannot open the raft log: {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Data that had been acknowledged cannot be read.
    #[error(
        "the raft log is damaged: {} at byte {offset}: {reason}. Nothing was changed: keep a copy of {}, then restore this node from a \
         backup, or remove it from the cluster and let it join anew", path.display(), path.parent().unwrap_or(path).display()
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Offset of the first byte that is not right.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A segment between others is not there.
    #[error("the raft log is damaged: {} is missing. Nothing was changed: put the file back, or restore this node from a backup", path.display())]
    Missing {
        /// The segment.
        path: PathBuf,
    },
    /// Another version wrote it.
    #[error("{} has format {found}, this version reads {FORMAT_VERSION}. Nothing was changed: {}", path.display(), format_advice(*found, FORMAT_VERSION))]
    OtherFormat {
        /// The segment.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The segment is of another cluster or of a time before a restore.
    #[error("{} belongs to incarnation {found:016x}, this data directory is {expected:016x}", path.display())]
    WrongIncarnation {
        /// The segment.
        path: PathBuf,
        /// Its incarnation.
        found: u64,
        /// The one that was expected.
        expected: u64,
    },
}

/// The tail of a segment that no acknowledged write reaches into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TornTail {
    /// Where it begins.
    pub offset: u32,
    /// Bytes up to the last one that is not zero.
    pub bytes: u64,
}

/// Everything the segments say.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// Entries, without their content.
    pub index: Index,
    /// Vote, committed index, purged and last entry.
    pub heading: Heading,
    /// Every segment with the highest entry index in it.
    pub segments: BTreeMap<u64, u64>,
    /// The segment to append to.
    pub active: u64,
    /// Where to append in it.
    pub tail: u32,
    /// Size of segments, as the active one was made.
    pub size: u64,
    /// The segment after the active one was made already.
    pub spare: bool,
    /// What has to be cleared before anything is appended.
    pub torn: Option<TornTail>,
}

/// Reads every segment of a directory. `None` when there is none.
pub(crate) fn recover(directory: &Path, incarnation: u64) -> Result<Option<Recovered>, LogOpenError> {
    let numbers = list_segments(directory)?;
    let Some(first) = numbers.first().copied() else { return Ok(None) };
    for (number, expected) in numbers.iter().zip(first..) {
        if *number != expected {
            return Err(LogOpenError::Missing { path: segment_path(directory, expected) });
        }
    }
    let mut replay = Replay {
        directory,
        index: Index::default(),
        heading: Heading::default(),
        segments: BTreeMap::new(),
        first_segment: first,
        before_first: None,
    };
    let mut open: Option<OpenSegment> = None;
    let mut spare = false;
    for number in numbers {
        let path = segment_path(directory, number);
        let content = fs::read(&path).map_err(|source| LogOpenError::Io { path: path.clone(), source })?;
        let header = check_header(&path, &content, number, incarnation)?;
        let unused = content.iter().skip(SEGMENT_HEADER as usize).all(|byte| *byte == 0);
        match &open {
            Some(_) if unused && !spare => {
                spare = true;
                continue;
            }
            Some(open) => {
                return Err(damaged(
                    segment_path(directory, open.number),
                    open.tail.into(),
                    "the segment breaks off before its end",
                ));
            }
            None => {}
        }
        let scan = replay.segment(&path, number, &content)?;
        if !scan.sealed {
            open = Some(OpenSegment { number, tail: scan.end, size: header.size, torn: scan.torn });
        } else if let Some(torn) = scan.torn {
            return Err(damaged(path, torn.offset.into(), "there is something behind the segment's end"));
        }
    }
    let Some(open) = open else {
        let next = replay.segments.keys().next_back().map_or(0, |last| last + 1);
        return Err(LogOpenError::Missing { path: segment_path(directory, next) });
    };
    replay.check_beginning()?;
    Ok(Some(Recovered {
        index: replay.index,
        heading: replay.heading,
        segments: replay.segments,
        active: open.number,
        tail: open.tail,
        size: open.size,
        spare,
        torn: open.torn,
    }))
}

struct OpenSegment {
    number: u64,
    tail: u32,
    size: u64,
    torn: Option<TornTail>,
}

fn list_segments(directory: &Path) -> Result<Vec<u64>, LogOpenError> {
    let failed = |source| LogOpenError::Io { path: directory.to_owned(), source };
    let mut numbers = Vec::new();
    for file in fs::read_dir(directory).map_err(failed)? {
        numbers.extend(segment_number(&file.map_err(failed)?.path()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn damaged(path: PathBuf, offset: u64, reason: impl Into<String>) -> LogOpenError {
    LogOpenError::Damaged { path, offset, reason: reason.into() }
}

fn check_header(path: &Path, content: &[u8], number: u64, incarnation: u64) -> Result<SegmentHeader, LogOpenError> {
    // Headers are on disk before a segment gets its name, so a crash never leaves half of one.
    let Some(header) = SegmentHeader::decode(content) else {
        return Err(damaged(path.to_owned(), 0, "this is no header of a segment"));
    };
    if header.format != FORMAT_VERSION {
        return Err(LogOpenError::OtherFormat { path: path.to_owned(), found: header.format });
    }
    if header.incarnation != incarnation {
        return Err(LogOpenError::WrongIncarnation {
            path: path.to_owned(),
            found: header.incarnation,
            expected: incarnation,
        });
    }
    if header.segment != number {
        return Err(damaged(path.to_owned(), 0, format!("the file was made as segment {:016x}", header.segment)));
    }
    if content.len() as u64 != header.size {
        let reason = format!("the file ends here, but was made with {} bytes", header.size);
        return Err(damaged(path.to_owned(), content.len() as u64, reason));
    }
    Ok(header)
}

/// Where the readable part of a segment ends, and how.
struct Scan {
    end: u32,
    sealed: bool,
    torn: Option<TornTail>,
}

struct Replay<'a> {
    directory: &'a Path,
    index: Index,
    heading: Heading,
    segments: BTreeMap<u64, u64>,
    first_segment: u64,
    /// The newest entry before the first segment that is still there.
    before_first: Option<super::record::LogId>,
}

impl Replay<'_> {
    fn segment(&mut self, path: &Path, number: u64, content: &[u8]) -> Result<Scan, LogOpenError> {
        let mut offset = SEGMENT_HEADER as usize;
        let mut highest = 0;
        let mut sealed = false;
        while !sealed && let Some(frame) = read_frame(content, number, offset, 0) {
            let record = Record::decode(frame.body).ok().and_then(|record| record.kind).ok_or_else(|| {
                damaged(path.to_owned(), offset as u64, "a record of a kind that this version does not know")
            })?;
            sealed = matches!(record, RecordKind::Seal(_));
            if let RecordKind::Entry(entry) = &record {
                highest = highest.max(entry.id.index);
            }
            let location =
                Location { segment: number, offset: offset as u32, length: (FRAME_HEADER + frame.body.len()) as u32 };
            self.record(record, location).map_err(|reason| damaged(path.to_owned(), offset as u64, reason))?;
            offset = frame.next;
        }
        self.segments.insert(number, highest);
        Ok(Scan { end: offset as u32, sealed, torn: torn_tail(path, number, content, offset)? })
    }

    fn record(&mut self, record: RecordKind, location: Location) -> Result<(), String> {
        match record {
            RecordKind::Entry(entry) => {
                if !self.index.append_stored(entry.id, location) {
                    return Err(format!("entry {} does not follow the one before it", entry.id.index));
                }
                self.heading.last = Some(entry.id);
            }
            RecordKind::Vote(vote) => self.heading.vote = Some(vote),
            RecordKind::Committed(committed) => self.heading.committed = committed.id,
            RecordKind::Truncate(truncate) => {
                self.index.truncate(truncate.after);
                self.heading.last = truncate.after;
            }
            RecordKind::Purge(upto) => {
                self.index.purge(upto);
                self.heading.purged = Some(upto);
                self.heading.last = self.index.last();
            }
            RecordKind::Heading(heading) => self.heading_record(heading, location.segment)?,
            RecordKind::Seal(_) | RecordKind::Marker(_) => {}
        }
        Ok(())
    }

    fn heading_record(&mut self, heading: Heading, segment: u64) -> Result<(), String> {
        if segment == self.first_segment {
            if let Some(purged) = heading.purged {
                self.index.purge(purged);
            }
            self.before_first = heading.last;
        } else if heading != self.heading {
            return Err("the segment does not go on where the one before it ends".to_owned());
        }
        self.heading = heading;
        Ok(())
    }

    /// The entries before the first segment must all have been purged.
    fn check_beginning(&self) -> Result<(), LogOpenError> {
        let Some(before) = self.before_first else { return Ok(()) };
        if self.heading.purged.is_some_and(|purged| purged.index >= before.index) {
            return Ok(());
        }
        let missing = self.first_segment.saturating_sub(1);
        Err(LogOpenError::Missing { path: segment_path(self.directory, missing) })
    }
}

/// What lies behind the last readable record: nothing, a torn tail, or proof of damage.
fn torn_tail(path: &Path, number: u64, content: &[u8], end: usize) -> Result<Option<TornTail>, LogOpenError> {
    let rest = content.get(end..).unwrap_or_default();
    let Some(last) = rest.iter().rposition(|byte| *byte != 0) else { return Ok(None) };
    let acknowledged = (end..content.len())
        .step_by(FRAME_ALIGN)
        .filter_map(|offset| read_frame(content, number, offset, 0))
        .any(|frame| frame.durable as usize > end);
    if acknowledged {
        return Err(damaged(path.to_owned(), end as u64, "a record that had been acknowledged cannot be read"));
    }
    Ok(Some(TornTail { offset: end as u32, bytes: last as u64 + 1 }))
}
