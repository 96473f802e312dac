//! Commands that look.

use jaco_proto::v1::{DeploymentStatus, ReplicaState};
use serde_json::{Value, json};

use crate::fake::{Fake, audit_event, state};
use crate::run::{jaco, jaco_at, run};

#[test]
fn status_in_all_three_formats() {
    let fake = Fake::start();
    fake.script.change(state(DeploymentStatus::Active, ReplicaState::Running));
    let end = run(&mut jaco_at(&fake.socket(), &["status"]));
    assert!(end.code == 0 && end.stderr.is_empty(), "{end:?}");
    for part in [
        "Deployments:\n",
        "\nReplicas:\n",
        "\nRoutes:\n",
        "shop         5          4          ACTIVE",
        "shop-web-0   RUNNING",
    ] {
        assert!(end.stdout.contains(part), "{part:?} in {}", end.stdout);
    }
    let json = run(&mut jaco_at(&fake.socket(), &["status", "-o", "json"])).json();
    assert_eq!(json["deployments"][0]["status"], "active");
    let yaml = run(&mut jaco_at(&fake.socket(), &["status", "--format", "yaml"]));
    let value: Value = serde_saphyr::from_str(&yaml.stdout).unwrap();
    assert_eq!(value, json);
}

#[test]
fn lists_are_never_null() {
    let fake = Fake::start();
    for what in ["deployments", "replicas", "routes"] {
        assert_eq!(run(&mut jaco_at(&fake.socket(), &["get", what, "-o", "json"])).json(), json!([]), "{what}");
    }
}

#[test]
fn the_socket_comes_from_the_flag_or_the_environment() {
    let fake = Fake::start();
    let socket = fake.socket();
    let path = socket.to_str().unwrap();
    assert_eq!(run(&mut jaco(&["cluster", "status", "--socket", path])).code, 0);
    assert_eq!(run(&mut jaco(&["--socket", path, "cluster", "status"])).code, 0);
    assert_eq!(run(jaco(&["cluster", "status", "--socket", path]).env("JACO_SOCKET", "/nonexistent")).code, 0);
}

#[test]
fn node_commands() {
    let fake = Fake::start();
    let end = run(&mut jaco_at(&fake.socket(), &["node", "status"]));
    assert!(end.stdout.contains("Node:      n1\n") && end.stdout.contains("Status:    READY\n"), "{end:?}");
    let json = run(&mut jaco_at(&fake.socket(), &["node", "log-level", "debug", "-o", "json"])).json();
    assert_eq!(json, json!({"hostname": "n1", "level": "debug"}));
}

#[test]
fn quiet_prints_the_essential() {
    let fake = Fake::start();
    fake.script.change(state(DeploymentStatus::Active, ReplicaState::Running));
    assert_eq!(run(&mut jaco_at(&fake.socket(), &["get", "replicas", "-q"])).stdout, "shop-web-0\n");
}

#[test]
fn the_audit_log_is_an_array_a_table_and_never_null() {
    let fake = Fake::start();
    for (format, nothing) in [("json", "[]\n"), ("yaml", "[]\n")] {
        let end = run(&mut jaco_at(&fake.socket(), &["audit", "-o", format]));
        assert_eq!((end.code, end.stdout.as_str(), end.stderr.as_str()), (0, nothing, ""));
    }
    let end = run(&mut jaco_at(&fake.socket(), &["audit"]));
    assert_eq!((end.code, end.stdout.as_str()), (0, "TS   TYPE   IDENTITY   RAFT_INDEX   PAYLOAD\n"));
    let event = audit_event(7, "apply", &[("revision", "3"), ("deployment", "shop")]);
    fake.script.audit.lock().unwrap().push(event);
    let end = run(&mut jaco_at(&fake.socket(), &["audit", "--type", "Apply,node_down"]));
    assert_eq!(
        end.stdout.lines().last().unwrap(),
        "2023-11-14T22:13:20Z   APPLY   local      7            deployment=shop revision=3"
    );
    assert_eq!(fake.script.audit_requests.lock().unwrap().last().unwrap().types, ["apply", "node_down"]);
    let json = run(&mut jaco_at(&fake.socket(), &["audit", "-o", "json"])).json();
    let expected = serde_json::json!([{
        "type": "apply",
        "identity": "local",
        "ts": "2023-11-14T22:13:20Z",
        "raft_index": 7,
        "payload": {"deployment": "shop", "revision": "3"},
    }]);
    assert_eq!(json, expected);
}

#[test]
fn an_unknown_audit_type_is_a_usage_error_that_names_it() {
    let end = run(&mut jaco(&["audit", "--type", "apply,aplly", "-o", "json"]));
    let error = end.error();
    assert_eq!((end.code, &error["code"]), (2, &"usage".into()));
    assert!(error["message"].as_str().unwrap().contains("aplly"), "{error}");
}
