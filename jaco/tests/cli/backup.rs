//! Backups, and what only starts the daemon's program.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use jaco_proto::v1::backup_response::Part;
use jaco_proto::v1::{BackupDone, BackupResponse};

use crate::fake::Fake;
use crate::run::{jaco, jaco_at, run};

/// SHA-256 of `archive`.
const DIGEST: &str = "0eb3e36bfb24dcd9bb1d1bece1531216b59539a8fde17ee80224af0653c92aa3";

fn data(bytes: &[u8]) -> BackupResponse {
    BackupResponse { part: Some(Part::Data(bytes.to_vec())) }
}

fn done(bytes: u64, sha256: &str) -> BackupResponse {
    let done = BackupDone { bytes, snapshot_index: 9, cluster_id: "c0ffee".into(), sha256: sha256.into() };
    BackupResponse { part: Some(Part::Done(done)) }
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_backup_is_written_whole_in_either_spelling() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.tar.gz");
    let text = path.to_str().unwrap();
    *fake.script.backup.lock().unwrap() = vec![data(b"arch"), data(b"ive"), done(7, DIGEST)];
    let end = run(&mut jaco_at(&fake.socket(), &["backup", "--output", text]));
    assert_eq!(
        (end.code, end.stdout.as_str(), end.stderr.as_str()),
        (0, format!("Wrote 7 bytes to {text}\n").as_str(), "")
    );
    assert_eq!(fs::read(&path).unwrap(), b"archive");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let json = run(&mut jaco_at(&fake.socket(), &["backup", "--file", text, "-o", "json"])).json();
    let expected = serde_json::json!({
        "path": text, "bytes": 7, "snapshot_index": 9, "cluster_id": "c0ffee", "sha256": DIGEST
    });
    assert_eq!(json, expected);
    assert_eq!(names(folder.path()), ["b.tar.gz"]);
}

#[test]
fn half_a_backup_is_none() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.tar.gz");
    let cases = [
        vec![],
        vec![data(b"archive")],
        vec![data(b"archive"), done(8, DIGEST)],
        vec![data(b"archivE"), done(7, DIGEST)],
        vec![BackupResponse { part: None }],
    ];
    for pieces in cases {
        *fake.script.backup.lock().unwrap() = pieces.clone();
        let end = run(&mut jaco_at(&fake.socket(), &["backup", "--file", path.to_str().unwrap()]));
        assert_eq!(end.code, 6, "{pieces:?}: {end:?}");
        assert!(names(folder.path()).is_empty(), "{pieces:?}: {:?}", names(folder.path()));
    }
    let end = run(&mut jaco_at(&fake.socket(), &["backup"]));
    assert!(end.code == 2 && end.stderr.contains("--file"), "{end:?}");
}

#[test]
fn a_new_key_has_a_request_id_and_is_told() {
    let fake = Fake::start();
    let end = run(&mut jaco_at(&fake.socket(), &["cluster", "rotate-key"]));
    assert_eq!((end.code, end.stdout.as_str()), (0, "Everything is sealed with data key 4\n"), "{end:?}");
    assert_eq!(fake.script.request_ids.lock().unwrap().len(), 1);
    let json = run(&mut jaco_at(&fake.socket(), &["cluster", "rotate-key", "-o", "json"])).json();
    assert_eq!(json, serde_json::json!({ "epoch": 4 }));
}

/// Runs a copy of the client beside a program that is called like the daemon and says this.
fn beside(program: &str, arguments: &[&str]) -> crate::run::End {
    let folder = tempfile::tempdir().unwrap();
    let client = folder.path().join("jaco");
    fs::copy(env!("CARGO_BIN_EXE_jaco"), &client).unwrap();
    let daemon = folder.path().join("jacod");
    fs::write(&daemon, format!("#!/bin/sh\n{program}\n")).unwrap();
    fs::set_permissions(&daemon, fs::Permissions::from_mode(0o755)).unwrap();
    // Another test's child that is just being started holds on to the files that were written here, and until it has begun they cannot be
    // run.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut command = std::process::Command::new(&client);
        match command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").output() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < deadline => {}
            output => {
                let end = crate::run::End::from(output.unwrap());
                if !end.stderr.contains("Text file busy") || Instant::now() >= deadline {
                    return end;
                }
            }
        }
    }
}

const RESTORE: [&str; 7] = ["restore", "--input", "/b", "--name", "a", "--recovery-key-file", "/k"];

#[test]
fn a_restore_is_the_daemon_programs_and_shown_in_every_format() {
    let said = r#"echo '{"result":{"data_dir":"/d","cluster_id":"'"$*"'","snapshot_index":7,"hostname":"a"}}'"#;
    let json = beside(said, &[&RESTORE[..], &["-o", "json"]].concat()).json();
    assert_eq!(json["cluster_id"], "restore --input /b --name=a --recovery-key-file /k --json");
    let end = beside(said, &[&RESTORE[..], &["--old-nodes-are-off"]].concat());
    assert!(end.code == 0 && end.stdout.contains("--old-nodes-are-off") && end.stdout.contains("Next:"), "{end:?}");
    let said = r#"echo '{"error":{"code":"restore_not_empty","message":"m","details":{"data_dir":"/d"}}}'; exit 7"#;
    let end = beside(said, &[&RESTORE[..], &["-o", "json"]].concat());
    assert_eq!((end.code, end.error()["code"].as_str()), (7, Some("restore_not_empty")));
    let end = beside("exit 1", &RESTORE);
    assert!(end.code == 1 && end.stderr.contains("without a result"), "{end:?}");
    let end = run(&mut jaco(&["restore", "--input", "/b"]));
    assert!(end.code == 2 && end.stderr.contains("--name"), "{end:?}");
}

#[test]
fn a_recovery_warns_and_is_refused_without_yes() {
    let said =
        r#"echo '{"result":{"data_dir":"/d","cluster_id":"c","state_index":7,"hostname":"a","old_nodes":["b"]}}'"#;
    let end = beside(said, &["cluster", "recover", "--yes"]);
    assert!(end.stderr.starts_with("Warning: this node becomes the only member"), "{end:?}");
    assert!(end.code == 0 && end.stdout.contains("joined anew: b"), "{end:?}");
    let said = r#"echo '{"error":{"code":"usage","message":"'"$*"'","details":{}}}'; exit 2"#;
    let end = beside(said, &["cluster", "recover"]);
    assert_eq!((end.code, end.stderr.as_str()), (2, "Error: usage: recover --json\n"));
}
