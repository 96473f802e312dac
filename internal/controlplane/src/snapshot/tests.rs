//! A snapshot file as the first version wrote it. It must open for ever, and today's code must write the same envelope. (What follows
//! the envelope has fixtures of its own in `jaco_state`.) `JACO_BLESS=1 cargo test` writes the fixture anew; doing so breaks reading
//! what is out there, unless the format version grew.

use jaco_state::{Command, EntryMeta, Transaction};
use jaco_types::{Claim, ClaimKind, DeploymentName};

use std::fs;

use super::*;
use crate::log::{Member, VoterSet};

const INCARNATION: u64 = 0x0123_4567_89ab_cdef;

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/snapshot-v2.bin")
}

fn meta() -> SnapshotMeta {
    SnapshotMeta {
        last: Some(LogId { term: 3, index: 42 }),
        membership_id: Some(LogId { term: 2, index: 11 }),
        membership: Some(Membership {
            voter_sets: vec![VoterSet { node_ids: vec![7] }, VoterSet { node_ids: vec![7, 9] }],
            members: vec![
                Member { node_id: 7, address: String::new() },
                Member { node_id: 9, address: "10.0.0.9:7001".to_owned() },
            ],
        }),
    }
}

fn claim() -> Claim {
    Claim {
        kind: ClaimKind::Port,
        key: "443/tcp".to_owned(),
        owner: DeploymentName::new("web").unwrap(),
        detail: String::new(),
    }
}

fn machine() -> StateMachine {
    let mut transaction = Transaction::new("alice");
    transaction.put(claim());
    let mut machine = StateMachine::new();
    machine.apply(EntryMeta { index: 42, term: 3, time_ms: 1_000 }, &Command::new(transaction).unwrap());
    machine
}

fn store(directory: &Path) -> SnapshotStore {
    SnapshotStore::new(SnapshotStore::directory(directory.to_owned()).unwrap(), INCARNATION)
}

/// A directory with the fixture as its only snapshot.
fn with_fixture() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name_of(&meta()));
    fs::copy(fixture(), &path).unwrap();
    (directory, path)
}

#[test]
fn a_snapshot_of_this_format_opens() {
    if std::env::var_os("JACO_BLESS").is_some() {
        let directory = tempfile::tempdir().unwrap();
        let written = store(directory.path()).write(&machine().view(), &meta()).unwrap();
        fs::copy(directory.path().join(written.name), fixture()).unwrap();
    }
    let (directory, _path) = with_fixture();
    let (found, stored) = store(directory.path()).load_newest().unwrap().unwrap();
    assert_eq!((stored.name, stored.meta), (name_of(&meta()), meta()));
    assert_eq!(found.view().list::<Claim>().collect::<Vec<_>>(), [&claim()]);
    assert_eq!((found.view().index(), found.view().term(), found.view().now_ms()), (42, 3, 1_000));
}

#[test]
fn a_snapshot_of_format_1_is_refused_with_the_way_out() {
    let old = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/snapshot-v1.bin");
    let directory = tempfile::tempdir().unwrap();
    fs::copy(old, directory.path().join(name_of(&meta()))).unwrap();
    let told = store(directory.path()).load_newest().unwrap_err().to_string();
    assert!(
        told.contains("has format 1, this version reads 2") && told.contains("make a backup with that jacod"),
        "{told}"
    );
}

#[test]
fn todays_envelope_has_the_bytes_of_the_fixture() {
    let content = fs::read(fixture()).unwrap();
    let envelope = envelope(INCARNATION, &meta());
    assert_eq!(content[..envelope.len()], envelope);
}

#[test]
fn a_damaged_newest_snapshot_is_refused_with_the_way_out_also_when_an_older_one_is_good() {
    let (directory, older) = with_fixture();
    let newer = directory.path().join(format!("{:016x}-{:016x}.snap", 43, 3));
    let content = fs::read(&older).unwrap();
    let flipped = |at: usize| {
        let mut damaged = content.clone();
        damaged[at] ^= 1;
        damaged
    };
    let cut = |length: usize| content[..length].to_vec();
    let last = content.len() - 1;
    for damaged in [flipped(0), flipped(20), flipped(60), flipped(last), cut(0), cut(20), cut(60), cut(last)] {
        fs::write(&newer, &damaged).unwrap();
        let error = store(directory.path()).load_newest().unwrap_err().to_string();
        for needed in [newer.to_str().unwrap(), "Nothing was changed", "move this one out", "backup"] {
            assert!(error.contains(needed), "{} bytes: {needed:?} is missing in: {error}", damaged.len());
        }
    }
    // The way out that it names.
    fs::rename(&newer, directory.path().join("aside")).unwrap();
    let (_, used) = store(directory.path()).load_newest().unwrap().unwrap();
    assert_eq!(directory.path().join(used.name), older);
}
