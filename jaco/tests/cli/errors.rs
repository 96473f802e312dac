//! Failures: their text, their JSON, their exit codes.

use jaco_types::{ErrorCode, UserError};

use crate::fake::Fake;
use crate::run::{jaco, jaco_at, run, small_project};

#[test]
fn a_missing_socket_names_its_path_and_both_remedies() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none.sock");
    let end = run(&mut jaco_at(&socket, &["status"]));
    assert_eq!((end.code, end.stdout.as_str()), (6, ""));
    assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
    assert!(end.stderr.starts_with("Error: unreachable: "), "{end:?}");
    for part in [socket.to_str().unwrap(), "start jacod", "--socket", "JACO_SOCKET"] {
        assert!(end.stderr.contains(part), "{part:?} in {end:?}");
    }
}

#[test]
fn the_same_as_json_and_with_compatible_exit_codes() {
    let missing = ["--socket", "/nonexistent/jaco.sock", "-o", "json", "get", "replicas"];
    let end = run(&mut jaco(&missing));
    assert_eq!((end.code, end.stdout.as_str()), (6, ""));
    let error = end.error();
    assert_eq!(error["code"], "unreachable");
    assert_eq!(error["retryable"], true);
    assert_eq!(error["details"]["socket"], "/nonexistent/jaco.sock");
    let end = run(jaco(&missing).env("JACO_EXIT_COMPAT", "1"));
    assert_eq!(end.error()["exit_code"], 1);
}

#[test]
fn usage_errors() {
    let end = run(&mut jaco(&["status", "--nonsense"]));
    assert_eq!((end.code, end.stdout.as_str()), (2, ""));
    assert!(end.stderr.starts_with("Error: usage: ") && end.stderr.contains("--nonsense"), "{end:?}");
    assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
    let end = run(&mut jaco(&["status", "--nonsense", "-o", "json"]));
    assert_eq!(end.error()["code"], "usage");
    let end = run(&mut jaco(&["-o", "toml", "status"]));
    assert_eq!(end.code, 2, "{end:?}");
    let end = run(jaco(&["version"]).env("JACO_LOG", "loud"));
    assert!(end.code == 2 && end.stderr.contains("JACO_LOG"), "{end:?}");
    let end = run(&mut jaco(&[]));
    assert!(end.code == 2 && end.stderr.contains("Usage:") && end.stderr.contains("Error: usage: "), "{end:?}");
}

#[test]
fn the_daemons_errors_keep_code_details_and_exit_class() {
    let fake = Fake::start();
    let end = run(&mut jaco_at(&fake.socket(), &["history", "shop"]));
    assert_eq!(end.code, 4);
    assert_eq!(end.stderr, "Error: deployment_not_found: there is no deployment \"shop\"\n");
    let end = run(&mut jaco_at(&fake.socket(), &["get", "deployment", "shop", "-o", "json"]));
    assert_eq!(end.error()["details"]["deployment"], "shop");
}

#[test]
fn a_daemon_that_does_not_answer_meets_the_deadline() {
    let fake = Fake::start();
    *fake.script.hangs.lock().unwrap() = true;
    let end = run(&mut jaco_at(&fake.socket(), &["cluster", "status", "--timeout", "200ms"]));
    assert_eq!(end.code, 6);
    assert!(end.stderr.contains("within 0.2s") && end.stderr.contains("--timeout"), "{end:?}");
}

#[test]
fn a_call_the_daemon_does_not_know_is_a_matter_of_versions() {
    let fake = Fake::start();
    let end = run(&mut jaco_at(&fake.socket(), &["get", "route", "a.example"]));
    assert!(end.code == 7 && end.stderr.starts_with("Error: version_incompatible: "), "{end:?}");
}

#[test]
fn a_refusal_is_reported_at_once() {
    let fake = Fake::start();
    let refusal = UserError::new(ErrorCode::PortConflict, "port 5432 belongs to deployment db").with("port", 5432);
    fake.script.refusals.lock().unwrap().push_back(refusal);
    let (_directory, manifest) = small_project();
    let end = run(&mut jaco_at(&fake.socket(), &["apply", manifest.to_str().unwrap()]));
    assert_eq!((end.code, end.stdout.as_str()), (7, ""));
    assert_eq!(end.stderr, "Error: port_conflict: port 5432 belongs to deployment db\n");
    assert_eq!(fake.script.request_ids.lock().unwrap().len(), 1);
}
