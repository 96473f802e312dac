//! What a damaged log does: a torn tail is cut off, anything acknowledged that cannot be read stops the opening, and then no file
//! has changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;

use super::super::frame::{FRAME_HEADER, encode_frame, read_frame};
use super::super::record::{Record, RecordKind};
use super::super::segment::{SEGMENT_HEADER, segment_path};
use super::super::{FileLog, LogOpenError, LogStorage, LogWrite};
use super::{append, entry, id, options, write};

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn read_all(directory: &Path) -> Files {
    fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn restore(directory: &Path, files: &Files) {
    for path in read_all(directory).keys() {
        fs::remove_file(path).unwrap();
    }
    for (path, content) in files {
        fs::write(path, content).unwrap();
    }
}

/// Three segments and a spare, closed properly: everything in it is acknowledged and known to be.
fn sample(directory: &Path) -> Files {
    let log = FileLog::open(options(directory)).unwrap();
    append(&log, 0..300);
    drop(log);
    let files = read_all(directory);
    assert!(files.len() >= 3, "{} segments are too few for this test", files.len());
    files
}

/// Offsets of the frames of a segment, and where the last one ends.
fn frames(content: &[u8], segment: u64) -> (Vec<usize>, usize) {
    let mut offsets = Vec::new();
    let mut at = SEGMENT_HEADER as usize;
    while let Some(frame) = read_frame(content, segment, at, 0) {
        offsets.push(at);
        at = frame.next;
    }
    (offsets, at)
}

fn used(files: &Files) -> Vec<(u64, PathBuf)> {
    let with_frames = |(number, (path, content)): (u64, (&PathBuf, &Vec<u8>))| {
        (!frames(content, number).0.is_empty()).then(|| (number, path.clone()))
    };
    (0..).zip(files.iter()).filter_map(with_frames).collect()
}

fn assert_refused(directory: &Path, what: &str) -> LogOpenError {
    let before = read_all(directory);
    let error = FileLog::open(options(directory)).err().unwrap_or_else(|| panic!("{what}: the log opened"));
    assert_eq!(read_all(directory), before, "{what}: files were changed");
    error
}

#[test]
fn a_flipped_bit_in_an_acknowledged_record_stops_the_opening_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let files = sample(directory.path());
    for (number, path) in used(&files) {
        let content = &files[&path];
        let (offsets, _) = frames(content, number);
        let is_entry = |at: &&usize| {
            let record = Record::decode(read_frame(content, number, **at, 0).unwrap().body).unwrap();
            matches!(record.kind, Some(RecordKind::Entry(_)))
        };
        let last_entry = *offsets.iter().rev().find(is_entry).unwrap();
        let open = number == used(&files).last().unwrap().0;
        // Every part of a header, and the body, of frames all over the segment.
        for frame in offsets.iter().copied().step_by(5).chain(offsets.iter().rev().copied().skip(1).take(3)) {
            for at in [frame, frame + 5, frame + 9, frame + 13, frame + FRAME_HEADER, frame + FRAME_HEADER + 3] {
                // Behind the last entry of the open segment are only marks; padding has no meaning.
                let body = read_frame(content, number, frame, 0).unwrap().body.len();
                if open && frame > last_entry || at >= frame + FRAME_HEADER + body {
                    continue;
                }
                let mut damaged = content.clone();
                damaged[at] ^= 0x10;
                fs::write(&path, damaged).unwrap();
                match assert_refused(directory.path(), &format!("{} byte {at}", path.display())) {
                    LogOpenError::Damaged { path: named, offset, .. } => {
                        assert_eq!((named, offset), (path.clone(), frame as u64));
                    }
                    other => panic!("{} byte {at}: {other}", path.display()),
                }
                restore(directory.path(), &files);
            }
        }
    }
    FileLog::open(options(directory.path())).unwrap();
}

#[test]
fn a_segment_that_was_cut_short_stops_the_opening_wherever_it_was_cut() {
    let directory = tempfile::tempdir().unwrap();
    let files = sample(directory.path());
    for path in files.keys() {
        let length = files[path].len();
        for keep in [0, 10, 63, 64, 100, 1000, length / 2, length - 1] {
            fs::write(path, &files[path][..keep]).unwrap();
            assert_refused(directory.path(), &format!("{} cut to {keep}", path.display()));
            restore(directory.path(), &files);
        }
    }
}

#[test]
fn a_missing_segment_stops_the_opening() {
    let directory = tempfile::tempdir().unwrap();
    let files = sample(directory.path());
    let numbers: Vec<u64> = used(&files).into_iter().map(|(number, _)| number).collect();
    for number in &numbers {
        fs::remove_file(segment_path(directory.path(), *number)).unwrap();
        let error = assert_refused(directory.path(), &format!("without segment {number}"));
        assert!(!matches!(error, LogOpenError::Io { .. }), "{error}");
        restore(directory.path(), &files);
    }
    // The spare one may be missing: it is made again.
    let _ = fs::remove_file(segment_path(directory.path(), numbers.last().unwrap() + 1));
    FileLog::open(options(directory.path())).unwrap();
}

/// The state that a crash leaves behind in the middle of a write: acknowledged records, their mark, and `torn` behind it.
fn crashed(directory: &Path, torn: impl FnOnce(&mut Vec<u8>, u64, u32, u32)) -> usize {
    let log = FileLog::open(options(directory)).unwrap();
    append(&log, 0..20);
    drop(log);
    let path = segment_path(directory, 0);
    let mut content = fs::read(&path).unwrap();
    let (_, end) = frames(&content, 0);
    let mut written = Vec::new();
    torn(&mut written, 0, end as u32, end as u32);
    content[end..end + written.len()].copy_from_slice(&written);
    fs::write(&path, content).unwrap();
    end
}

fn record(index: u64) -> Record {
    RecordKind::Entry(entry(index)).into()
}

#[test]
fn a_torn_tail_is_cut_off_at_every_length() {
    let mut whole = Vec::new();
    encode_frame(&mut whole, 0, 0, 0, &record(20));
    let length = whole.len();
    for keep in (1..length).step_by(7).chain([length - 1]) {
        let directory = tempfile::tempdir().unwrap();
        crashed(directory.path(), |buffer, segment, base, durable| {
            encode_frame(buffer, segment, base, durable, &record(20));
            buffer[keep..].fill(0);
        });
        let log = FileLog::open(options(directory.path())).unwrap();
        let complete = log.state().last == Some(id(20));
        // Zeros at the end of a record's padding are no loss.
        assert!(complete || log.state().last == Some(id(19)), "kept {keep} of {length}: {:?}", log.state().last);
        append(&log, if complete { 21..25 } else { 20..25 });
        drop(log);
        let log = FileLog::open(options(directory.path())).unwrap();
        assert_eq!(log.state().last, Some(id(24)));
    }
}

#[test]
fn a_batch_whose_first_record_is_torn_is_cut_off_with_those_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    crashed(directory.path(), |buffer, segment, base, durable| {
        encode_frame(buffer, segment, base, durable, &record(20));
        let second = buffer.len();
        encode_frame(buffer, segment, base, durable, &record(21));
        buffer[..second].fill(0);
    });
    let log = FileLog::open(options(directory.path())).unwrap();
    assert_eq!(log.state().last, Some(id(19)));
    // What was written instead of it is shorter: nothing of the old record may come back.
    write(&log, LogWrite::Append(vec![entry(20)]));
    drop(log);
    let log = FileLog::open(options(directory.path())).unwrap();
    assert_eq!(log.state().last, Some(id(20)));
}

#[test]
fn garbage_behind_the_last_record_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    crashed(directory.path(), |buffer, _, _, _| {
        buffer.extend((0..3000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()))
    });
    let log = FileLog::open(options(directory.path())).unwrap();
    assert_eq!(log.state().last, Some(id(19)));
    append(&log, 20..400);
    drop(log);
    assert_eq!(FileLog::open(options(directory.path())).unwrap().state().last, Some(id(399)));
}

#[test]
fn another_incarnation_and_another_format_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let files = sample(directory.path());
    let other = super::FileLogOptions { incarnation: 5, ..options(directory.path()) };
    assert!(matches!(FileLog::open(other), Err(LogOpenError::WrongIncarnation { expected: 5, .. })));
    let path = segment_path(directory.path(), 0);
    for (format, way_out) in [(1, "make a backup with that jacod"), (3, "start the version of jacod that wrote it")] {
        let mut other = files[&path].clone();
        other[8] = format;
        other[12..16].fill(0);
        let crc = crc32fast::hash(&other[..SEGMENT_HEADER as usize]);
        other[12..16].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, other).unwrap();
        let error = assert_refused(directory.path(), "another format");
        assert!(matches!(error, LogOpenError::OtherFormat { found, .. } if found == u32::from(format)));
        let told = error.to_string();
        assert!(told.contains(way_out) && told.contains("Nothing was changed"), "{told}");
    }
}
