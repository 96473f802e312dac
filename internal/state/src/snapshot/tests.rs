//! Tests of the snapshot format: whole or nothing.

use jaco_types::RevisionCounter;

use super::*;
use crate::fixture::{apply, cluster, counter, raw_put, request};
use crate::machine::EntryMeta;

fn sample() -> StateMachine {
    let mut machine = StateMachine::new();
    apply(&mut machine, |transaction| {
        transaction.put(cluster(77));
    });
    apply(&mut machine, |transaction| {
        transaction.request_id(request(1, 3)).put(counter("a", 1)).put(counter("b", 2)).reply("yes");
        transaction.audit("apply", [("deployment", "a")]).audit("apply", [("deployment", "b")]);
    });
    machine.apply(EntryMeta { index: 3, term: 2, time_ms: 3_000 }, &raw_put(4_000, "new", b"\x01\x02"));
    machine
}

fn written(machine: &StateMachine) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_snapshot(&machine.view(), &mut bytes).unwrap();
    bytes
}

#[test]
fn a_snapshot_comes_back_as_it_was() {
    let machine = sample();
    let bytes = written(&machine);
    let (mut back, header) = read_snapshot(&bytes[..]).unwrap();
    assert_eq!(header, SnapshotHeader { incarnation: 77, index: 3, term: 2, bytes: bytes.len() as u64 });
    assert_eq!(written(&back), bytes);
    let view = back.view();
    assert_eq!((view.index(), view.term(), view.now_ms(), view.incarnation()), (3, 2, 3_000, 77));
    assert_eq!(view.get::<RevisionCounter>("b").map(|counter| counter.highest), Some(2));
    assert_eq!(view.audit().count(), 2);
    // The request table came along: a repeat is still one.
    let outcome = apply(&mut back, |transaction| {
        transaction.request_id(request(1, 3));
    });
    assert!(matches!(outcome, crate::Outcome::Repeated(commit) if commit.index == 2 && commit.reply == "yes"));
}

#[test]
fn an_empty_state_has_a_snapshot() {
    let bytes = written(&StateMachine::new());
    assert_eq!(written(&read_snapshot(&bytes[..]).unwrap().0), bytes);
}

#[test]
fn a_change_of_any_byte_is_found() {
    let bytes = written(&sample());
    for place in 0..bytes.len() {
        for flip in [0x01, 0x10, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[place] ^= flip;
            assert!(read_snapshot(&damaged[..]).is_err(), "byte {place} xor {flip:#x} went unnoticed");
        }
    }
}

#[test]
fn a_cut_anywhere_is_found_and_so_is_a_tail() {
    let bytes = written(&sample());
    for length in 0..bytes.len() {
        let error = read_snapshot(&bytes[..length]).map(|_| ()).unwrap_err();
        let named = if length < 8 {
            matches!(error, SnapshotError::NotASnapshot)
        } else {
            matches!(error, SnapshotError::Truncated)
        };
        assert!(named, "cut at {length}: {error}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(read_snapshot(&longer[..]), Err(SnapshotError::Damaged { .. })));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let mut bytes = written(&sample());
    bytes[8] = 2;
    let error = read_snapshot(&bytes[..]).map(|_| ()).unwrap_err();
    assert!(matches!(error, SnapshotError::NewerFormat { found: 2, supported: 1 }));
    assert!(error.to_string().contains("format 2"), "{error}");
}

/// Rewrites the checksum, so that the rules behind it are tested on their own.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// A snapshot made of these frames.
fn of_frames(incarnation: u64, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"JACOSNAP".to_vec();
    bytes.extend_from_slice(&1u32.to_le_bytes());
    bytes.extend_from_slice(&incarnation.to_le_bytes());
    for frame in frames {
        bytes.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(frame);
    }
    bytes.extend_from_slice(&[0; 4]);
    sealed(bytes)
}

#[test]
fn a_right_checksum_over_wrong_content_is_no_way_in() {
    let header = |records, requests, audit| {
        StoredHeader { index: 10, term: 1, now_ms: 0, records, requests, audit }.encode_to_vec()
    };
    let record = |key: &str, version| {
        StoredRecord { kind: 9_999, key: key.to_owned(), version, body: Bytes::new() }.encode_to_vec()
    };
    let request = |index, token: &'static [u8]| {
        StoredRequest { index, time_ms: 0, token: Bytes::from_static(token), reply: Bytes::new() }.encode_to_vec()
    };
    let event = |raft_index, sequence| StoredAudit { raft_index, sequence, ..StoredAudit::default() }.encode_to_vec();
    const ONE: &[u8] = &[1; 16];
    const TWO: &[u8] = &[2; 16];
    let good =
        [header(2, 2, 2), record("a", 1), record("b", 10), request(4, ONE), request(5, TWO), event(1, 0), event(1, 1)];
    assert!(read_snapshot(&of_frames(0, &good)[..]).is_ok());

    let wrong: [(&str, Vec<Vec<u8>>); 10] = [
        ("records out of order", vec![header(2, 0, 0), record("b", 1), record("a", 1)]),
        ("a record twice", vec![header(2, 0, 0), record("a", 1), record("a", 1)]),
        ("a record of the future", vec![header(1, 0, 0), record("a", 11)]),
        ("requests out of order", vec![header(0, 2, 0), request(5, ONE), request(4, TWO)]),
        ("a request twice", vec![header(0, 2, 0), request(4, ONE), request(5, ONE)]),
        ("a short token", vec![header(0, 1, 0), request(4, b"short")]),
        ("a request that should be forgotten", vec![header(0, 1, 0), request(0, ONE)]),
        ("a request of the future", vec![header(0, 1, 0), request(11, ONE)]),
        ("audit events out of order", vec![header(0, 0, 2), event(1, 1), event(1, 0)]),
        ("too many audit events", vec![header(0, 0, 10_001)]),
    ];
    for (what, frames) in wrong {
        let error = read_snapshot(&of_frames(0, &frames)[..]).map(|_| ());
        assert!(matches!(error, Err(SnapshotError::Damaged { .. })), "{what}: {error:?}");
    }
    let error = read_snapshot(&of_frames(5, &good)[..]).map(|_| ());
    assert!(matches!(error, Err(SnapshotError::Damaged { .. })), "another incarnation: {error:?}");

    let mut unknown = record("a", 1);
    unknown.extend_from_slice(&[0xa0, 0x06, 0x01]); // Field 100, a varint.
    let error = read_snapshot(&of_frames(0, &[header(1, 0, 0), unknown])[..]).map(|_| ());
    assert!(matches!(error, Err(SnapshotError::Unknown { what: "record" })), "{error:?}");
}

#[test]
fn an_absurd_length_is_refused_before_memory_is_taken() {
    let mut bytes = of_frames(0, &[]);
    bytes.truncate(20);
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(read_snapshot(&bytes[..]), Err(SnapshotError::Damaged { .. })));
}

/// Counts what it is given, and fails from a certain byte on.
struct Measure {
    taken: usize,
    largest: usize,
    room: usize,
}

impl Write for Measure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.taken + bytes.len() > self.room {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.taken += bytes.len();
        self.largest = self.largest.max(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_large_state_is_written_in_small_pieces_and_a_full_disk_is_an_error() {
    let mut machine = StateMachine::new();
    for round in 0..20 {
        apply(&mut machine, |transaction| {
            for number in 0..500 {
                transaction.put(counter(&format!("deployment-with-a-long-name-{round}-{number}"), number));
            }
        });
    }
    let mut sink = Measure { taken: 0, largest: 0, room: usize::MAX };
    let header = write_snapshot(&machine.view(), &mut sink).unwrap();
    assert_eq!(header.bytes, sink.taken as u64);
    assert!(sink.taken > 10 * BUFFER && sink.largest < 2 * BUFFER, "{} in pieces of {}", sink.taken, sink.largest);

    let mut full = Measure { taken: 0, largest: 0, room: sink.taken - 1 };
    let error = write_snapshot(&machine.view(), &mut full).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_failing_reader_is_an_error_with_its_cause() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::PermissionDenied))
        }
    }
    assert!(
        matches!(read_snapshot(Failing), Err(SnapshotError::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied)
    );
}
