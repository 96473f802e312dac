//! The debug bundle.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jaco_proto::v1::{DeploymentStatus, DiagnosticFile, Member, ReplicaState};
use jaco_types::{ErrorCode, UserError};

use crate::fake::{Fake, Remote, audit_event, member, state};
use crate::run::{End, jaco, jaco_at, run};

fn named(name: &str, text: &str) -> DiagnosticFile {
    DiagnosticFile { name: name.into(), data: text.as_bytes().to_vec() }
}

/// A cluster of two, of which the second does not answer.
fn fake() -> Fake {
    let fake = Fake::start();
    *fake.script.status.lock().unwrap() = Some(state(DeploymentStatus::Active, ReplicaState::Running));
    fake.script.members.lock().unwrap().push(Member { hostname: "n2".into(), ..member() });
    fake.script.audit.lock().unwrap().push(audit_event(7, "apply", &[("deployment", "shop")]));
    let files = vec![named("log.jsonl", "a line\n"), named("../../etc/evil", "x")];
    fake.script.diagnoses.lock().unwrap().insert("n1".into(), files);
    fake
}

/// The files of a bundle by their path below its one folder.
fn files(path: &Path) -> BTreeMap<String, String> {
    let file = std::fs::File::open(path).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut found = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let (folder, inner) = path.split_once('/').unwrap();
        assert!(folder.starts_with("jaco-debug-"), "{path}");
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        found.insert(inner.to_owned(), text);
    }
    found
}

fn debug(fake: &Fake, path: &Path, more: &[&str]) -> End {
    run(jaco_at(&fake.socket(), &["debug", "--file", path.to_str().unwrap()]).args(more))
}

#[test]
fn the_bundle_has_what_each_node_says_and_tells_which_do_not_answer() {
    let fake = fake();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("b.tar.gz");
    let end = debug(&fake, &path, &[]);
    assert_eq!(end.code, 0, "{end:?}");
    let bytes = std::fs::metadata(&path).unwrap();
    assert_eq!(end.stdout, format!("Wrote {} bytes to {} (nodes: n1)\n", bytes.len(), path.display()));
    assert!(end.stderr.contains("Warning: nothing of n2 is in the bundle: n2 does not answer"), "{end:?}");
    assert_eq!(bytes.permissions().mode() & 0o777, 0o600);
    let found = files(&path);
    assert_eq!(found["nodes/n1/log.jsonl"], "a line\n");
    assert_eq!(found["nodes/n1/etc/evil"], "x", "nothing leads out of the folder");
    for part in [
        "about.json",
        "cluster/cluster.json",
        "cluster/status.json",
        "cluster/replicas.json",
        "cluster/audit.json",
        "nodes/n1/status.json",
        "machine/doctor.json",
    ] {
        let value: serde_json::Value = serde_json::from_str(&found[part]).unwrap();
        assert!(!value.is_null(), "{part}");
    }
    assert!(found["about.json"].contains("n2 does not answer") && found["cluster/audit.json"].contains("shop"));
}

#[test]
fn it_goes_to_one_place_and_replaces_nothing() {
    let fake = fake();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("b.tar.gz");
    std::fs::write(&path, "mine").unwrap();
    let end = debug(&fake, &path, &[]);
    assert!(end.code == 2 && end.stderr.contains("exists already"), "{end:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    let end = run(jaco_at(&fake.socket(), &["debug", "-q"]).current_dir(directory.path()));
    let name = end.stdout.trim();
    assert!(end.code == 0 && name.starts_with("jaco-debug-") && name.ends_with(".tar.gz"), "{end:?}");
    assert!(files(&directory.path().join(name)).contains_key("about.json"));
}

#[test]
fn json_says_what_came_of_each_node() {
    let fake = fake();
    let directory = tempfile::tempdir().unwrap();
    let end = debug(&fake, &directory.path().join("b.tar.gz"), &["-o", "json"]);
    let json = end.json();
    assert_eq!((&json["nodes"][0]["hostname"], &json["nodes"][0]["collected"]), (&"n1".into(), &true.into()));
    assert_eq!(
        (&json["nodes"][1]["collected"], &json["nodes"][1]["error"]),
        (&false.into(), &"n2 does not answer".into())
    );
    let one = directory.path().join("one.tar.gz");
    let end = debug(&fake, &one, &["--node", "n1", "-o", "json"]);
    assert_eq!(end.json()["nodes"].as_array().unwrap().len(), 1, "{end:?}");
    assert!(end.stderr.is_empty(), "{end:?}");
    let end = debug(&fake, &directory.path().join("none.tar.gz"), &["--node", "n9"]);
    assert!(end.code == 4 && end.stderr.starts_with("Error: node_not_found: "), "{end:?}");
}

#[test]
fn who_may_not_ask_for_it_is_told_so_and_gets_no_file() {
    let fake = fake();
    let denied = || UserError::new(ErrorCode::PermissionDenied, "this needs the role admin");
    fake.script.refusals.lock().unwrap().extend([denied(), denied()]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("b.tar.gz");
    let end = debug(&fake, &path, &[]);
    assert_eq!((end.code, end.stderr.as_str()), (5, "Error: permission_denied: this needs the role admin\n"));
    assert!(!path.exists());
}

#[test]
fn over_the_network_nothing_of_this_machine_and_no_token_is_in_it() {
    let fake = fake();
    let remote = Remote::start(&fake);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("b.tar.gz");
    let token = "5e".repeat(32);
    let mut command =
        jaco(&["debug", "--server", &remote.address.to_string(), "--ca-fingerprint", &remote.fingerprint]);
    let end = run(command.env("JACO_TOKEN", &token).args(["--file", path.to_str().unwrap()]));
    assert_eq!(end.code, 0, "{end:?}");
    let found = files(&path);
    assert!(!found.keys().any(|name| name.starts_with("machine/")), "{:?}", found.keys());
    assert!(found.values().all(|text| !text.contains(&token)));
    assert!(found["about.json"].contains(&remote.address.to_string()));
}
