//! A segment as format 2 has it: it must open, and today's code must write the same bytes. Nothing was released with format 1.
//! `JACO_BLESS=1 cargo test` writes the fixture anew; doing so breaks reading what is out there, unless the format version grew.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;

use super::super::record::{LogEntry, Member, Membership, Payload, Vote, VoterSet};
use super::super::segment::segment_path;
use super::super::{FileLog, LogStorage, LogWrite};
use super::{id, options, write};

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/segment-v2.bin")
}

fn writes() -> Vec<LogWrite> {
    let membership = Membership {
        voter_sets: vec![VoterSet { node_ids: vec![7] }, VoterSet { node_ids: vec![7, 9] }],
        members: vec![
            Member { node_id: 7, address: String::new() },
            Member { node_id: 9, address: "10.0.0.9:7001".to_owned() },
        ],
    };
    let entry = |index, payload| LogEntry { id: id(index), payload: Some(payload) };
    vec![
        LogWrite::Vote(Vote { term: 1, node_id: 7, committed: false }),
        LogWrite::Vote(Vote { term: 1, node_id: 7, committed: true }),
        LogWrite::Append(vec![entry(0, Payload::Membership(membership)), entry(1, Payload::Blank(true))]),
        LogWrite::Append(
            (2..6).map(|index| entry(index, Payload::Command(Bytes::from_static(b"\x00command\xff")))).collect(),
        ),
        LogWrite::Truncate(Some(id(4))),
        LogWrite::Append(vec![entry(5, Payload::Command(Bytes::from_static(b"instead")))]),
        LogWrite::Committed(Some(id(5))),
        LogWrite::Purge(id(1)),
    ]
}

#[test]
fn a_segment_of_format_1_is_refused_with_the_way_out_and_stays_as_it_is() {
    let old = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/segment-v1.bin");
    let directory = tempfile::tempdir().unwrap();
    let path = segment_path(directory.path(), 0);
    fs::copy(&old, &path).unwrap();
    let told = FileLog::open(options(directory.path())).err().unwrap().to_string();
    assert!(
        told.contains("has format 1, this version reads 2") && told.contains("make a backup with that jacod"),
        "{told}"
    );
    assert_eq!(fs::read(path).unwrap(), fs::read(old).unwrap());
}

/// The first segment after those writes.
fn written() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let log = FileLog::open(options(directory.path())).unwrap();
    for step in writes() {
        write(&log, step);
    }
    drop(log);
    fs::read(segment_path(directory.path(), 0)).unwrap()
}

#[test]
fn a_segment_of_this_format_opens() {
    if std::env::var_os("JACO_BLESS").is_some() {
        fs::create_dir_all(fixture().parent().unwrap()).unwrap();
        fs::write(fixture(), written()).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    fs::copy(fixture(), segment_path(directory.path(), 0)).unwrap();
    let log = FileLog::open(options(directory.path())).unwrap();
    let state = log.state();
    assert_eq!(state.vote, Some(Vote { term: 1, node_id: 7, committed: true }));
    assert_eq!((state.committed, state.purged, state.last), (Some(id(5)), Some(id(1)), Some(id(5))));
    let entries = log.read(0..10, u64::MAX).unwrap();
    let bodies: Vec<_> = entries.into_iter().map(|entry| entry.payload.unwrap()).collect();
    let command = |bytes: &'static [u8]| Payload::Command(Bytes::from_static(bytes));
    assert_eq!(
        bodies,
        [command(b"\x00command\xff"), command(b"\x00command\xff"), command(b"\x00command\xff"), command(b"instead")]
    );
}

#[test]
fn todays_records_have_the_bytes_of_the_fixture() {
    use super::super::frame::read_frame;
    use super::super::record::{Record, RecordKind};
    use super::super::segment::SEGMENT_HEADER;
    use prost::Message;

    let bodies = |content: &[u8]| {
        let mut bodies = Vec::new();
        let mut at = SEGMENT_HEADER as usize;
        while let Some(frame) = read_frame(content, 0, at, 0) {
            let kind = Record::decode(frame.body).unwrap().kind.unwrap();
            // Marks and notes of the committed index come when the writer has nothing else to do.
            if !matches!(kind, RecordKind::Marker(_) | RecordKind::Committed(_)) {
                bodies.push(frame.body.to_vec());
            }
            at = frame.next;
        }
        (content[..SEGMENT_HEADER as usize].to_vec(), bodies)
    };
    assert_eq!(bodies(&written()), bodies(&fs::read(fixture()).unwrap()));
}
