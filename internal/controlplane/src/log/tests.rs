mod damage;
mod golden;

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::record::{LogEntry, LogId, Payload, Vote};
use super::{Demand, FileLog, FileLogOptions, LogStorage, LogWrite, Room};

pub(super) const SEGMENT: u64 = 16 << 10;

pub(super) fn options(directory: &Path) -> FileLogOptions {
    FileLogOptions {
        segment_bytes: SEGMENT,
        max_record_bytes: 2 << 10,
        cache_bytes: 1 << 10,
        min_free_bytes: 0,
        check_interval: Duration::from_millis(20),
        ..FileLogOptions::new(directory, 0x1234_5678_9abc_def0)
    }
}

pub(super) fn id(index: u64) -> LogId {
    LogId { term: 1 + index / 100, index }
}

pub(super) fn entry(index: u64) -> LogEntry {
    let body = format!("entry {index} ").repeat(1 + index as usize % 20);
    LogEntry { id: id(index), payload: Some(Payload::Command(Bytes::from(body))) }
}

/// Submits and waits until it is durable.
pub(super) fn write(log: &FileLog, write: LogWrite) {
    let (sender, receiver) = channel();
    log.submit(write, Box::new(move |result| sender.send(result).unwrap()));
    receiver.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
}

pub(super) fn append(log: &FileLog, range: std::ops::Range<u64>) {
    for index in range {
        write(log, LogWrite::Append(vec![entry(index)]));
    }
}

fn assert_entries(log: &FileLog, range: std::ops::Range<u64>) {
    let mut at = range.start;
    while at < range.end {
        let piece = log.read(at..range.end, 4 << 10).unwrap();
        assert!(!piece.is_empty(), "entry {at} is missing");
        for found in piece {
            assert_eq!(found, entry(at));
            at += 1;
        }
    }
    assert_eq!(log.read(range.end..u64::MAX, 1).unwrap(), []);
}

#[test]
fn entries_votes_and_purges_survive_reopening_over_many_segments() {
    let directory = tempfile::tempdir().unwrap();
    let vote = Vote { term: 9, node_id: 7, committed: true };
    {
        let log = FileLog::open(options(directory.path())).unwrap();
        assert_eq!(log.state(), super::LogState::default());
        write(&log, LogWrite::Vote(vote));
        append(&log, 0..400);
        write(&log, LogWrite::Committed(Some(id(390))));
        assert_entries(&log, 0..400);
    }
    {
        let log = FileLog::open(options(directory.path())).unwrap();
        let state = log.state();
        assert_eq!((state.vote, state.committed, state.last), (Some(vote), Some(id(390)), Some(id(399))));
        assert_entries(&log, 0..400);
        write(&log, LogWrite::Truncate(Some(id(349))));
        assert_entries(&log, 0..350);
        append(&log, 350..360);
        write(&log, LogWrite::Purge(id(299)));
    }
    let log = FileLog::open(options(directory.path())).unwrap();
    let state = log.state();
    assert_eq!((state.vote, state.purged, state.last), (Some(vote), Some(id(299)), Some(id(359))));
    assert_entries(&log, 300..360);
}

#[test]
fn purging_removes_segments_and_the_votes_in_them_stay() {
    let directory = tempfile::tempdir().unwrap();
    let log = FileLog::open(options(directory.path())).unwrap();
    let vote = Vote { term: 3, node_id: 7, committed: false };
    write(&log, LogWrite::Vote(vote));
    append(&log, 0..600);
    let segments = || std::fs::read_dir(directory.path()).unwrap().count();
    let before = segments();
    write(&log, LogWrite::Purge(id(599)));
    let deadline = Instant::now() + Duration::from_secs(20);
    while segments() > 2 {
        assert!(Instant::now() < deadline, "{} segments are left of {before}", segments());
        std::thread::yield_now();
    }
    drop(log);
    let log = FileLog::open(options(directory.path())).unwrap();
    let state = log.state();
    assert_eq!((state.vote, state.purged, state.last), (Some(vote), Some(id(599)), Some(id(599))));
    append(&log, 600..610);
    assert_entries(&log, 600..610);
}

#[test]
fn many_writes_share_a_sync_and_complete_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let log = FileLog::open(options(directory.path())).unwrap();
    let (sender, receiver) = channel();
    for index in 0..500 {
        let sender = sender.clone();
        log.submit(
            LogWrite::Append(vec![entry(index)]),
            Box::new(move |result| sender.send((index, result.is_ok())).unwrap()),
        );
    }
    for index in 0..500 {
        assert_eq!(receiver.recv_timeout(Duration::from_secs(20)).unwrap(), (index, true));
    }
    let syncs = log.usage().syncs;
    assert!(syncs < 400, "500 writes took {syncs} syncs");
}

#[test]
fn an_entry_that_leaves_a_hole_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = FileLog::open(options(directory.path())).unwrap();
    append(&log, 0..3);
    let (sender, receiver) = channel();
    log.submit(LogWrite::Append(vec![entry(4)]), Box::new(move |result| sender.send(result).unwrap()));
    assert_eq!(receiver.recv().unwrap().unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn a_closed_log_refuses_writes() {
    let directory = tempfile::tempdir().unwrap();
    let log = FileLog::open(options(directory.path())).unwrap();
    append(&log, 0..3);
    log.close();
    let (sender, receiver) = channel();
    log.submit(LogWrite::Append(vec![entry(3)]), Box::new(move |result| sender.send(result).unwrap()));
    assert!(receiver.recv().unwrap().is_err());
}

#[test]
fn a_disk_below_the_reserve_refuses_ordinary_writes_first() {
    let directory = tempfile::tempdir().unwrap();
    // More than any disk has: full from the beginning, as soon as the first segment exists.
    let full = FileLogOptions { min_free_bytes: u64::MAX / 2, ..options(directory.path()) };
    let log = FileLog::open(full).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !log.usage().disk_full {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert_eq!(log.reserve(100, Demand::Ordinary), Room::Full);
    assert_eq!(log.reserve(100, Demand::DeletesOnly), Room::Granted);
    log.release(100);
    assert_eq!(log.reserve(SEGMENT, Demand::DeletesOnly), Room::Full);
    // Raft's own writes still go through.
    append(&log, 0..5);
    assert_entries(&log, 0..5);
}
