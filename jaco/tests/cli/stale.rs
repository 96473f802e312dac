//! Answers of a node without a majority are marked.

use jaco_proto::v1::{DeploymentStatus, ReplicaState};
use serde_json::{Value, json};

use crate::fake::{Fake, state};
use crate::run::{jaco_at, run};

fn fake() -> Fake {
    let fake = Fake::start();
    *fake.script.status.lock().unwrap() = Some(state(DeploymentStatus::Active, ReplicaState::Running));
    *fake.script.stale.lock().unwrap() = Some(74_000);
    fake
}

#[test]
fn a_table_is_what_it_always_is_and_the_warning_is_beside_it() {
    let fake = fake();
    for arguments in
        [&["status"][..], &["cluster", "status"], &["node", "list"], &["get", "deployments"], &["status", "-q"]]
    {
        let old = run(&mut jaco_at(&fake.socket(), arguments));
        assert_eq!(old.code, 0, "reads answer: {old:?}");
        assert!(old.stderr.starts_with("Warning: stale: ") && old.stderr.contains("1m14s"), "{old:?}");
        assert_eq!(old.stderr.lines().count(), 1, "{old:?}");
        *fake.script.stale.lock().unwrap() = None;
        let new = run(&mut jaco_at(&fake.socket(), arguments));
        assert_eq!((new.stdout, new.stderr), (old.stdout, String::new()), "{arguments:?}");
        *fake.script.stale.lock().unwrap() = Some(74_000);
    }
}

#[test]
fn json_objects_have_a_field_and_lists_the_warning_alone() {
    let fake = fake();
    for arguments in [&["status"][..], &["cluster", "status"], &["node", "list"]] {
        let end = run(jaco_at(&fake.socket(), arguments).args(["-o", "json"]));
        assert_eq!(end.json()["stale"], json!(true), "{end:?}");
        let warning: Value = serde_json::from_str(end.stderr.trim()).unwrap();
        assert_eq!(warning["warning"]["code"], "stale", "{end:?}");
        let yaml = run(jaco_at(&fake.socket(), arguments).args(["-o", "yaml"]));
        assert!(yaml.stdout.lines().any(|line| line == "stale: true"), "{yaml:?}");
    }
    let end = run(&mut jaco_at(&fake.socket(), &["get", "deployments", "-o", "json"]));
    assert_eq!(end.json().as_array().unwrap().len(), 1, "{end:?}");
    assert!(end.stderr.contains("stale"), "{end:?}");
    *fake.script.stale.lock().unwrap() = None;
    let end = run(&mut jaco_at(&fake.socket(), &["status", "-o", "json"]));
    assert!(end.json().get("stale").is_none() && end.stderr.is_empty(), "{end:?}");
}

#[test]
fn a_change_that_is_refused_says_so_and_nothing_else() {
    use jaco_types::{ErrorCode, UserError};
    let fake = fake();
    fake.script.refusals.lock().unwrap().push_back(UserError::new(ErrorCode::QuorumLost, "too few nodes"));
    let end = run(&mut jaco_at(&fake.socket(), &["delete", "shop"]));
    assert_eq!((end.code, end.stderr.as_str()), (6, "Error: quorum_lost: too few nodes\n"));
}
