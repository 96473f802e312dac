//! `JACO_BLESS=1 cargo test` writes the fixtures anew; doing so breaks reading what is out there, unless the schema grew.

use std::fs;
use std::path::PathBuf;

use jaco_state::{Command, EntryMeta, Outcome, StateMachine, Transaction, write_snapshot};
use jaco_testkit::{claim, cluster_meta, ready_node};
use jaco_types::ClaimKind;

use super::*;
use crate::founded::Founded;

const READER: Reader<'static> = Reader { version: "0.0.1", feature_level: 1 };

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn origin() -> BackupOrigin {
    BackupOrigin { version: "0.0.1".to_owned(), leader: "node-a".to_owned(), now_ms: 1_700_000_000_123 }
}

/// The same in every run.
fn machine() -> StateMachine {
    let mut transaction = Transaction::new("test");
    transaction.put(cluster_meta()).put(claim(ClaimKind::Port, "tcp/8080", "shop"));
    ready_node(1, "node-a").put_into(&mut transaction);
    transaction.audit("apply", [("deployment", "shop")]);
    let mut machine = StateMachine::new();
    let meta = EntryMeta { index: 42, term: 3, time_ms: 1_700_000_000_000 };
    let outcome = machine.apply(meta, &Command::new(transaction).unwrap());
    assert!(matches!(outcome, Outcome::Committed { .. }));
    machine
}

fn state_bytes(machine: &StateMachine) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_snapshot(&machine.view(), &mut bytes).unwrap();
    bytes
}

fn archive(machine: &StateMachine) -> (Vec<u8>, BackupSummary) {
    let mut bytes = Vec::new();
    let summary = write_backup(&machine.view(), &origin(), &mut bytes).unwrap();
    (bytes, summary)
}

/// An archive with another `meta.json`.
fn with_meta(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let machine = machine();
    let (_, summary) = archive(&machine);
    let mut meta = serde_json::to_value(&summary.meta).unwrap();
    change(&mut meta);
    pack(&[(META_NAME, meta.to_string().as_bytes()), (SNAPSHOT_NAME, &state_bytes(&machine))])
}

fn pack(files: &[(&str, &[u8])]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

#[test]
fn what_was_written_is_read_back() {
    let machine = machine();
    let (bytes, summary) = archive(&machine);
    assert_eq!(summary.bytes, bytes.len() as u64);
    assert_eq!(summary.sha256.len(), 64);
    let backup = read_backup(bytes.as_slice(), READER).unwrap();
    assert_eq!(backup.meta, summary.meta);
    assert_eq!(state_bytes(&backup.machine), state_bytes(&machine));
}

#[test]
fn other_programs_can_unpack_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backup.tar.gz");
    fs::write(&path, archive(&machine()).0).unwrap();
    let Ok(output) = std::process::Command::new("tar").arg("-tzf").arg(&path).output() else {
        eprintln!("skipped: other_programs_can_unpack_it: there is no tar on this machine");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "meta.json\nsnapshot.bin\n");
}

#[test]
fn todays_meta_has_the_text_of_the_first_version_and_the_first_backup_opens() {
    let (bytes, summary) = archive(&machine());
    let text = serde_json::to_string_pretty(&summary.meta).unwrap() + "\n";
    if std::env::var_os("JACO_BLESS").is_some() {
        fs::write(golden("backup-meta-v1.json"), &text).unwrap();
        fs::write(golden("backup-v1.tar.gz"), &bytes).unwrap();
    }
    assert_eq!(text, fs::read_to_string(golden("backup-meta-v1.json")).unwrap());
    let backup = read_backup(fs::File::open(golden("backup-v1.tar.gz")).unwrap(), READER).unwrap();
    assert_eq!(backup.meta, summary.meta);
    assert_eq!(state_bytes(&backup.machine), state_bytes(&machine()));
}

#[test]
fn a_backup_that_is_cut_off_is_refused() {
    let (bytes, _) = archive(&machine());
    for part in 0..64 {
        let cut = &bytes[..bytes.len() * part / 64];
        let error = read_backup(cut, READER).unwrap_err();
        assert!(matches!(error, ReadBackupError::Damaged { .. }), "{part}/64: {error:?}");
    }
    assert!(read_backup(&bytes[..bytes.len() - 1], READER).is_err());
}

/// Some bits of a gzip file mean nothing (time and system in its head), and some bytes of it come to the same content: a run of zeros
/// may be a copy of any other. Whatever passes has the content that was written, and the checksum at the end is always looked at.
#[test]
fn a_changed_byte_is_refused_or_changes_nothing() {
    let machine = machine();
    let (bytes, summary) = archive(&machine);
    let state = state_bytes(&machine);
    let mut passed = 0;
    for at in 0..bytes.len() {
        for bit in [0x01, 0x10, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            match read_backup(changed.as_slice(), READER) {
                Err(ReadBackupError::Damaged { .. } | ReadBackupError::Newer { .. }) => {}
                Err(error) => panic!("byte {at}: {error:?}"),
                Ok(backup) => {
                    assert_eq!(state_bytes(&backup.machine), state, "byte {at}");
                    assert_eq!(backup.meta, summary.meta, "byte {at}");
                    assert!(at + 8 < bytes.len(), "byte {at} is part of the checksum");
                    passed += 1;
                }
            }
        }
    }
    assert!(passed * 10 < bytes.len() * 3, "{passed} of {} changes passed", 3 * bytes.len());
}

#[test]
fn what_is_newer_is_refused_by_name() {
    for (field, value, what) in
        [("schema_version", serde_json::json!(2), "schema 2"), ("jaco_version", "0.0.2".into(), "version 0.0.2")]
    {
        let newer = with_meta(|meta| meta[field] = value);
        let error = read_backup(newer.as_slice(), READER).unwrap_err();
        assert!(matches!(error, ReadBackupError::Newer { .. }), "{error:?}");
        let shown = error.user_error();
        assert_eq!(shown.code, jaco_types::ErrorCode::BackupIncompatible);
        assert!(shown.message.contains(what), "{}", shown.message);
    }
    let (bytes, _) = archive(&machine());
    let error = read_backup(bytes.as_slice(), Reader { feature_level: 0, ..READER }).unwrap_err();
    assert!(error.to_string().contains("feature level 1"), "{error}");
    // A newer field is no reason, nor is an older version.
    let more = with_meta(|meta| meta["note"] = "x".into());
    read_backup(more.as_slice(), Reader { version: "0.1.0", ..READER }).unwrap();
}

#[test]
fn archives_of_others_are_refused() {
    let machine = machine();
    let (bytes, summary) = archive(&machine);
    let meta = serde_json::to_vec(&summary.meta).unwrap();
    let state = state_bytes(&machine);
    let trailing = [bytes.as_slice(), b"x"].concat();
    let twice = [bytes.as_slice(), &bytes].concat();
    let cases: [(&str, Vec<u8>); 8] = [
        ("nothing", Vec::new()),
        ("text", b"not an archive at all".to_vec()),
        ("empty", pack(&[])),
        ("wrong order", pack(&[(SNAPSHOT_NAME, &state), (META_NAME, &meta)])),
        ("too many", pack(&[(META_NAME, &meta), (SNAPSHOT_NAME, &state), ("more", b"x")])),
        ("other state", with_meta(|meta| meta["snapshot_index"] = 41.into())),
        ("bytes behind", trailing),
        ("twice", twice),
    ];
    for (what, bytes) in cases {
        let error = read_backup(bytes.as_slice(), READER).unwrap_err();
        assert!(matches!(error, ReadBackupError::Damaged { .. }), "{what}: {error:?}");
    }
    let large = pack(&[(META_NAME, &vec![b' '; 100_000]), (SNAPSHOT_NAME, &state)]);
    assert!(read_backup(large.as_slice(), READER).is_err());
}

#[test]
fn what_is_sealed_stays_sealed() {
    let founded = Founded::new(1, "a");
    let (bytes, _) = archive(&founded.machine);
    let backup = read_backup(bytes.as_slice(), READER).unwrap();
    let text = String::from_utf8_lossy(&state_bytes(&backup.machine)).into_owned();
    for secret in [founded.authority_key.as_str(), "PRIVATE KEY", founded.token.as_str()] {
        assert!(!text.contains(secret));
    }
}

#[test]
fn a_view_without_a_cluster_is_no_backup() {
    let error = write_backup(&StateMachine::new().view(), &origin(), Vec::new()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}
