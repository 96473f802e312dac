//! Golden files: bytes that earlier builds wrote must be read, mean the same, and be written again as they were.
//!
//! A file that is missing is written by `JACO_WRITE_GOLDEN=1 cargo test -p jaco-state golden`; one that exists is never changed, since
//! its bytes are on somebody's disk. A new format gets new files beside the old.

use std::path::PathBuf;

use jaco_types::{ClusterMeta, Kind, NodeSchedulability, RevisionCounter};

use super::*;
use crate::command::{Entry, Stamp};
use crate::fixture::{apply, cluster, command, counter, decoded, request, schedulability};
use crate::machine::{EntryMeta, Outcome, StateMachine};
use crate::snapshot::{read_snapshot, write_snapshot};
use crate::transaction::Check;

/// A kind that no version knows yet, and a body with a field that this one does not know.
const NEWER_KIND: u32 = 4_000_000;
const NEWER_BODY: &[u8] = b"\x00\x01 not even text \xff";
const NEWER_FIELD: &[u8] = br#"{"deployment":"web","highest":3,"lowest":1}"#;

/// The golden file of this name; `fresh` is what this build would write.
fn golden(name: &str, fresh: &[u8]) -> Bytes {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if !path.exists() && std::env::var_os("JACO_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, fresh).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

fn entry() -> Entry {
    let command = command(|transaction| {
        transaction
            .request_id(request(41, 0xab))
            .check_absent::<RevisionCounter>("web")
            .check_version::<NodeSchedulability>("0000000000000001", 40)
            .check_term(3)
            .put(counter("web", 1))
            .delete::<NodeSchedulability>("0000000000000001")
            .audit("apply", [("deployment", "web"), ("revision", "1")])
            .reply("revision 1");
    });
    Entry { stamp: Stamp { incarnation: 77, time_ms: 1_700_000_000_000 }, command }
}

fn newer_entry() -> Entry {
    let put = |kind, key: &str, body: &'static [u8]| StoredWrite {
        variant: Some(WriteVariant::Put(StoredPut { kind, key: key.to_owned(), body: Bytes::from_static(body) })),
    };
    let absent = StoredPlace { kind: NEWER_KIND, key: "x".to_owned() };
    let message = StoredTransaction {
        actor: "newer".to_owned(),
        checks: vec![StoredCheck { variant: Some(CheckVariant::Absent(absent)) }],
        writes: vec![put(NEWER_KIND, "x", NEWER_BODY), put(Kind::RevisionCounter as u32, "web", NEWER_FIELD)],
        ..StoredTransaction::default()
    };
    Entry { stamp: Stamp { incarnation: 77, time_ms: 1_700_000_000_000 }, command: decoded(&message) }
}

fn machine() -> StateMachine {
    let mut machine = StateMachine::new();
    apply(&mut machine, |transaction| {
        transaction.put(cluster(77)).put(schedulability(1, true));
    });
    apply(&mut machine, |transaction| {
        transaction
            .request_id(request(1, 0xab))
            .put(counter("web", 1))
            .audit("apply", [("deployment", "web"), ("revision", "1")])
            .reply("revision 1");
    });
    machine
}

fn newer_machine() -> StateMachine {
    let mut machine = machine();
    machine.apply(EntryMeta { index: 3, term: 2, time_ms: 9_000 }, &newer_entry().command);
    machine
}

fn snapshot(machine: &StateMachine) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_snapshot(&machine.view(), &mut bytes).unwrap();
    bytes
}

#[test]
fn golden_entry() {
    let bytes = golden("entry-v1.bin", &entry().encode());
    let read = Entry::decode(bytes.clone()).unwrap();
    assert_eq!(read.encode(), bytes);
    assert_eq!(read, entry());
    assert_eq!(read.command.check(0), Some(Check::Absent { kind: Kind::RevisionCounter, key: "web".to_owned() }));
}

#[test]
fn golden_entry_of_a_newer_version_keeps_its_bytes() {
    let bytes = golden("entry-v1-newer.bin", &newer_entry().encode());
    let read = Entry::decode(bytes.clone()).unwrap();
    assert_eq!(read.encode(), bytes);
    let mut machine = StateMachine::new();
    let outcome = machine.apply(EntryMeta { index: 1, term: 1, time_ms: read.stamp.time_ms }, &read.command);
    assert!(matches!(outcome, Outcome::Committed { .. }));
    check_newer(&machine);
}

#[test]
fn golden_snapshot() {
    let bytes = golden("snapshot-v1.bin", &snapshot(&machine()));
    let (read, header) = read_snapshot(&bytes[..]).unwrap();
    assert_eq!(snapshot(&read), bytes);
    assert_eq!((header.incarnation, header.index, header.term), (77, 2, 1));
    let view = read.view();
    assert_eq!(view.get::<ClusterMeta>("cluster"), Some(&cluster(77)));
    assert_eq!(view.get::<RevisionCounter>("web"), Some(&counter("web", 1)));
    let event = view.audit().next().unwrap();
    assert_eq!((event.raft_index, event.event.as_str(), event.payload["revision"].as_str()), (2, "apply", "1"));
    assert_eq!(view.0.requests.find(&[0xab; 16]).map(|commit| commit.reply), Some(Bytes::from_static(b"revision 1")));
}

#[test]
fn golden_snapshot_of_a_newer_version_keeps_its_bytes() {
    let bytes = golden("snapshot-v1-newer.bin", &snapshot(&newer_machine()));
    let (read, _) = read_snapshot(&bytes[..]).unwrap();
    assert_eq!(snapshot(&read), bytes);
    check_newer(&read);
}

fn check_newer(machine: &StateMachine) {
    let view = machine.view();
    let unknown = view.record(NEWER_KIND, "x").unwrap();
    assert_eq!((&unknown.body[..], &unknown.entity), (NEWER_BODY, &None));
    let known = view.record(Kind::RevisionCounter as u32, "web").unwrap();
    assert_eq!(&known.body[..], NEWER_FIELD);
    assert_eq!(view.get::<RevisionCounter>("web").map(|counter| counter.highest), Some(3));
}
