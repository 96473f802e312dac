//! Commands that change something.

use std::os::unix::fs::PermissionsExt;

use jaco_proto::v1::{ApplyResponse, DeploymentStatus, ReplicaState, StatusResponse};
use jaco_types::{ErrorCode, UserError};
use serde_json::json;

use crate::fake::{Fake, apply_answer, state};
use crate::run::{End, eventually, jaco_at, run, small_project, start};

fn apply(fake: &Fake, flags: &[&str]) -> End {
    let (_directory, manifest) = small_project();
    let arguments = [&["apply", manifest.to_str().unwrap()], flags].concat();
    run(&mut jaco_at(&fake.socket(), &arguments))
}

#[test]
fn apply_sends_the_texts_and_says_the_revision() {
    let fake = Fake::start();
    let end = apply(&fake, &[]);
    assert_eq!((end.code, end.stdout.as_str(), end.stderr.as_str()), (0, "Applied revision: 5\n", ""));
    let sent = fake.script.applied.lock().unwrap().clone().unwrap();
    assert_eq!(sent.jaco_yaml, "deployment: shop\n");
    assert_eq!(sent.compose_yaml, "services:\n  web:\n    image: web:1\n");
    assert_eq!(apply(&fake, &["-q"]).stdout, "5\n");
    let json = apply(&fake, &["-o", "json"]).json();
    assert_eq!(
        (&json["applied_revision"], &json["result"], &json["waited"]),
        (&json!(5), &json!("pending"), &json!(false))
    );
}

#[test]
fn an_election_is_waited_out_with_the_same_request_id() {
    let fake = Fake::start();
    let election = || UserError::new(ErrorCode::NoLeader, "an election is running");
    let broken = || UserError::new(ErrorCode::Unreachable, "connection reset");
    let unknown = || UserError::new(ErrorCode::OutcomeUnknown, "the deadline passed");
    fake.script.refusals.lock().unwrap().extend([election(), election(), unknown(), broken()]);
    let end = apply(&fake, &[]);
    assert_eq!((end.code, end.stdout.as_str()), (0, "Applied revision: 5\n"), "{end:?}");
    let ids = fake.script.request_ids.lock().unwrap();
    assert_eq!(ids.len(), 5);
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!((ids[0].base_index, ids[0].token.len()), (41, 16));
}

#[test]
fn every_change_has_an_id_of_its_own() {
    let fake = Fake::start();
    run(&mut jaco_at(&fake.socket(), &["rollback", "shop", "--to", "3"]));
    run(&mut jaco_at(&fake.socket(), &["delete", "shop"]));
    let ids = fake.script.request_ids.lock().unwrap();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0].token, ids[1].token);
}

#[test]
fn an_election_that_does_not_end_is_reported_as_such() {
    let fake = Fake::start();
    let election = UserError::new(ErrorCode::NoLeader, "an election is running");
    fake.script.refusals.lock().unwrap().extend(vec![election; 100]);
    let end = apply(&fake, &["--timeout", "700ms"]);
    assert_eq!((end.code, end.stderr.as_str()), (6, "Error: no_leader: an election is running\n"));
    assert!(fake.script.request_ids.lock().unwrap().len() > 1);
}

#[test]
fn dry_run() {
    let fake = Fake::start();
    assert_eq!(apply(&fake, &["--dry-run"]).code, 0);
    let end = apply(&fake, &["--dry-run", "--exit-code"]);
    assert_eq!((end.code, end.stdout.as_str(), end.stderr.as_str()), (10, "+ service/web\n", ""));
    *fake.script.apply.lock().unwrap() = ApplyResponse { changed: false, diff: None, ..apply_answer() };
    let end = apply(&fake, &["--dry-run", "--exit-code"]);
    assert_eq!((end.code, end.stdout.as_str()), (0, "No changes\n"));
    assert!(fake.script.request_ids.lock().unwrap().is_empty());
}

#[test]
fn wait_ends_when_everything_runs() {
    let fake = Fake::start();
    fake.script.change(state(DeploymentStatus::Pending, ReplicaState::Pulling));
    let (_directory, manifest) = small_project();
    let arguments = ["apply", manifest.to_str().unwrap(), "--wait", "-o", "json"];
    let child = start(&mut jaco_at(&fake.socket(), &arguments));
    eventually("the client watches", || fake.script.watchers() == 1);
    fake.script.change(state(DeploymentStatus::Active, ReplicaState::Running));
    let end = End::from(child.wait_with_output().unwrap());
    assert_eq!((end.code, end.stderr.as_str()), (0, ""), "{end:?}");
    let json = end.json();
    assert_eq!((&json["result"], &json["waited"]), (&json!("active"), &json!(true)));
}

#[test]
fn wait_ends_with_9_when_a_replica_gave_up() {
    let fake = Fake::start();
    let mut failed = state(DeploymentStatus::Pending, ReplicaState::Failed);
    failed.replicas[0].code = Some("restart_exhausted".into());
    fake.script.change(failed);
    let end = apply(&fake, &["--wait"]);
    assert_eq!((end.code, end.stdout.as_str()), (9, "Applied revision: 5\n"));
    assert!(end.stderr.starts_with("Error: rollout_aborted: ") && end.stderr.contains("shop-web-0"), "{end:?}");
}

#[test]
fn wait_ends_with_8_at_its_deadline_and_says_what_is_missing() {
    let fake = Fake::start();
    fake.script.change(state(DeploymentStatus::Pending, ReplicaState::Pulling));
    let end = apply(&fake, &["--wait", "--timeout", "500ms"]);
    assert_eq!((end.code, end.stdout.as_str()), (8, "Applied revision: 5\n"));
    assert!(end.stderr.starts_with("Error: wait_timeout: "), "{end:?}");
    assert!(end.stderr.contains("shop-web-0 pulling web:1"), "{end:?}");
}

#[test]
fn rollback_and_delete_say_what_they_did() {
    let fake = Fake::start();
    let end = run(&mut jaco_at(&fake.socket(), &["rollback", "shop", "--to", "3"]));
    assert_eq!((end.code, end.stdout.as_str()), (0, "Rolled back to revision: 3\n"));
    let end = run(&mut jaco_at(&fake.socket(), &["delete", "shop"]));
    assert_eq!((end.code, end.stdout.as_str()), (0, "Deleted deployment: shop\n"));
}

#[test]
fn delete_waits_until_nothing_is_left() {
    let fake = Fake::start();
    fake.script.change(StatusResponse {
        deployments: Vec::new(),
        index: 91,
        ..state(DeploymentStatus::Active, ReplicaState::Running)
    });
    let child = start(&mut jaco_at(&fake.socket(), &["delete", "shop", "--wait"]));
    eventually("the client watches", || fake.script.watchers() == 1);
    fake.script.change(StatusResponse { index: 92, ..StatusResponse::default() });
    let end = End::from(child.wait_with_output().unwrap());
    assert_eq!((end.code, end.stdout.as_str()), (0, "Deleted deployment: shop\n"), "{end:?}");
    fake.script.change(state(DeploymentStatus::Active, ReplicaState::Stopped));
    let end = run(&mut jaco_at(&fake.socket(), &["delete", "shop", "--wait", "--timeout", "400ms"]));
    assert!(end.code == 8 && end.stderr.contains("replica/shop-web-0"), "{end:?}");
}

#[test]
fn cluster_init_enables_the_unit_where_there_is_systemd() {
    let fake = Fake::start();
    let tools = tempfile::tempdir().unwrap();
    let called = tools.path().join("called");
    let systemctl = tools.path().join("systemctl");
    std::fs::write(&systemctl, format!("#!/bin/sh\necho \"$@\" > {}\n", called.display())).unwrap();
    std::fs::set_permissions(&systemctl, std::fs::Permissions::from_mode(0o755)).unwrap();
    let init = |flags: &[&str], path: &std::path::Path| {
        let arguments = [&["cluster", "init", "--name", "prod", "-o", "json"], flags].concat();
        // Local by nature: a remote daemon in the environment is meant for other commands.
        run(jaco_at(&fake.socket(), &arguments).env("PATH", path).env("JACO_SERVER", "h:7000"))
    };
    let json = init(&[], tools.path()).json();
    assert_eq!(
        (&json["cluster_id"], &json["cluster_name"], &json["systemd_enabled"]),
        (&"c0ffee".into(), &"prod".into(), &true.into())
    );
    assert_eq!(std::fs::read_to_string(&called).unwrap(), "enable jaco.service\n");
    std::fs::remove_file(&called).unwrap();
    assert_eq!(init(&["--no-systemd-enable"], tools.path()).json()["systemd_enabled"], false);
    assert!(!called.exists());
    std::fs::write(&systemctl, "#!/bin/sh\necho 'Unit jaco.service does not exist' >&2\nexit 1\n").unwrap();
    assert_eq!(init(&[], tools.path()).json()["systemd_enabled"], false);
    let nothing = tempfile::tempdir().unwrap();
    let end = run(jaco_at(&fake.socket(), &["cluster", "init"]).env("PATH", nothing.path()));
    assert!(
        end.code == 0 && end.stdout.starts_with("cluster_id: c0ffee\n") && end.stdout.contains("no systemctl"),
        "{end:?}"
    );
}
