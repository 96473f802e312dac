//! Output that goes on: watches and logs, and what ends them.

use std::io::Read;

use jaco_proto::v1::{DeploymentStatus, LogWarning, LogsResponse, ReplicaState, logs_response};
use serde_json::Value;

use crate::fake::{Fake, audit_event, line, state};
use crate::run::{End, eventually, interrupt, jaco_at, read_until, run, start};

#[test]
fn a_watch_prints_every_change_apart_and_ends_by_sigint() {
    let fake = Fake::start();
    fake.script.change(state(DeploymentStatus::Pending, ReplicaState::Pulling));
    let mut child = start(&mut jaco_at(&fake.socket(), &["status", "shop", "-w"]));
    let first = read_until(&mut child, "\nRoutes:\n");
    assert!(first.contains("PULLING") && !first.contains("---") && !first.contains('\x1b'), "{first}");
    fake.script.change(state(DeploymentStatus::Active, ReplicaState::Running));
    let second = read_until(&mut child, "\nRoutes:\n");
    assert!(second.contains("---\nDeployments:\n") && second.contains("RUNNING"), "{second}");
    interrupt(&child);
    let end = End::from(child.wait_with_output().unwrap());
    assert_eq!((end.code, end.stderr.as_str()), (130, ""));
}

#[test]
fn a_watch_in_json_is_a_sequence_of_values() {
    let fake = Fake::start();
    fake.script.change(state(DeploymentStatus::Pending, ReplicaState::Pulling));
    let mut child = start(&mut jaco_at(&fake.socket(), &["status", "-w", "-o", "json"]));
    let mut text = read_until(&mut child, "\n");
    fake.script.change(state(DeploymentStatus::Active, ReplicaState::Running));
    text += &read_until(&mut child, "\n");
    interrupt(&child);
    child.wait().unwrap();
    let states: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(states.len(), 2);
    assert_eq!(
        (&states[0]["deployments"][0]["status"], &states[1]["deployments"][0]["status"]),
        (&"pending".into(), &"active".into())
    );
}

#[test]
fn a_watch_survives_a_lost_connection_and_gives_up_at_its_deadline() {
    let fake = Fake::start();
    fake.script.change(state(DeploymentStatus::Active, ReplicaState::Running));
    let mut child = start(&mut jaco_at(&fake.socket(), &["status", "-w", "--timeout", "2s"]));
    read_until(&mut child, "\nRoutes:\n");
    fake.script.end_watches();
    let end = End::from(child.wait_with_output().unwrap());
    assert_eq!(end.code, 6, "{end:?}");
    assert!(end.stderr.contains("lost the daemon"), "{end:?}");
    assert!(end.stderr.lines().last().unwrap().starts_with("Error: unreachable: "), "{end:?}");
}

#[test]
fn an_unchanged_state_is_not_printed_again() {
    let fake = Fake::start();
    fake.script.change(state(DeploymentStatus::Active, ReplicaState::Running));
    let mut child = start(&mut jaco_at(&fake.socket(), &["status", "-w", "-q"]));
    read_until(&mut child, "shop active\n");
    fake.script.change(state(DeploymentStatus::Active, ReplicaState::Running));
    fake.script.change(state(DeploymentStatus::Pending, ReplicaState::Failed));
    assert_eq!(read_until(&mut child, "shop pending\n"), "---\nshop pending\n");
    interrupt(&child);
    child.wait().unwrap();
}

#[test]
fn a_watch_of_nothing_known_is_an_error() {
    let fake = Fake::start();
    *fake.script.status.lock().unwrap() = None;
    let end = run(&mut jaco_at(&fake.socket(), &["status", "shop", "-w"]));
    assert!(end.code == 4 && end.stderr.starts_with("Error: deployment_not_found: "), "{end:?}");
}

#[test]
fn logs_are_lines_and_warnings_go_aside() {
    let fake = Fake::start();
    let warning = LogWarning { host: "n2".into(), message: "cannot be reached".into() };
    let warning = LogsResponse { event: Some(logs_response::Event::Warning(warning)) };
    *fake.script.logs.lock().unwrap() = vec![line("one"), warning, line("two")];
    let end = run(&mut jaco_at(&fake.socket(), &["logs", "shop/web"]));
    assert_eq!((end.code, end.stdout.as_str()), (0, "[shop-web-0@n1] one\n[shop-web-0@n1] two\n"));
    assert_eq!(end.stderr, "Warning: n2: cannot be reached\n");
    let end = run(&mut jaco_at(&fake.socket(), &["logs", "shop/web", "-o", "json"]));
    let lines: Vec<Value> = end.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[1]["line"], &lines[1]["ts"]), (2, &"two".into(), &"2023-11-14T22:13:20Z".into()));
}

#[test]
fn in_json_a_warning_is_an_object_too() {
    let fake = Fake::start();
    let warning = LogWarning { host: "n2".into(), message: "cannot be reached".into() };
    *fake.script.logs.lock().unwrap() = vec![LogsResponse { event: Some(logs_response::Event::Warning(warning)) }];
    let end = run(&mut jaco_at(&fake.socket(), &["logs", "shop/web", "-o", "json"]));
    let warning: Value = serde_json::from_str(&end.stderr).unwrap();
    assert_eq!(warning["warning"]["message"], "n2: cannot be reached");
}

#[test]
fn followed_logs_survive_a_restart_of_the_daemon_and_repeat_nothing() {
    let mut fake = Fake::start();
    *fake.script.logs.lock().unwrap() = vec![line("one"), line("two")];
    let mut child = start(&mut jaco_at(&fake.socket(), &["logs", "shop/web", "-f", "--tail", "2"]));
    read_until(&mut child, "two\n");
    fake.stop();
    fake.script.logs.lock().unwrap().push(line("three"));
    fake.start_again();
    assert_eq!(read_until(&mut child, "three\n"), "[shop-web-0@n1] three\n");
    interrupt(&child);
    let end = End::from(child.wait_with_output().unwrap());
    assert_eq!(end.code, 130, "{end:?}");
    assert!(end.stderr.contains("lost the daemon") && end.stderr.contains("reached the daemon again"), "{end:?}");
    let requests = fake.script.log_requests.lock().unwrap();
    let resumed = requests.last().unwrap();
    assert!(resumed.tail.is_none() && resumed.since_ms.is_some(), "{requests:?}");
}

#[test]
fn followed_logs_end_with_the_deployment_and_without_complaint() {
    let fake = Fake::start();
    *fake.script.logs.lock().unwrap() = vec![line("last")];
    *fake.script.logs_end.lock().unwrap() = true;
    let mut child = start(&mut jaco_at(&fake.socket(), &["logs", "shop/web", "-f"]));
    read_until(&mut child, "last\n");
    *fake.script.status.lock().unwrap() = None;
    let end = End::from(child.wait_with_output().unwrap());
    assert_eq!(end.code, 0, "{end:?}");
}

#[test]
fn a_followed_audit_log_goes_on_after_the_last_event() {
    let mut fake = Fake::start();
    fake.script.audit.lock().unwrap().push(audit_event(7, "apply", &[("deployment", "shop")]));
    let mut child = start(&mut jaco_at(&fake.socket(), &["audit", "-f", "-o", "json", "--since", "1h"]));
    let first: Value = serde_json::from_str(&read_until(&mut child, "\n")).unwrap();
    assert_eq!((&first["type"], &first["payload"]["deployment"]), (&"apply".into(), &"shop".into()));
    fake.stop();
    fake.script.audit.lock().unwrap().push(audit_event(9, "delete", &[]));
    fake.start_again();
    let second: Value = serde_json::from_str(&read_until(&mut child, "\n")).unwrap();
    assert_eq!((&second["type"], &second["raft_index"]), (&"delete".into(), &9.into()));
    assert!(second.get("payload").is_none(), "{second}");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let requests = fake.script.audit_requests.lock().unwrap();
    assert_eq!((requests[0].since_ms, requests[0].after), (Some(3_600_000), None));
    let last = requests.last().unwrap();
    assert_eq!((last.since_ms, last.after.map(|place| place.raft_index)), (None, Some(7)));
}

#[test]
fn a_reader_that_goes_away_ends_logs_quietly() {
    let fake = Fake::start();
    *fake.script.logs.lock().unwrap() = vec![line("again"); 100_000];
    let mut child = start(&mut jaco_at(&fake.socket(), &["logs", "shop/web", "-f"]));
    let mut byte = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    drop(child.stdout.take());
    eventually("the client ends", || child.try_wait().unwrap().is_some());
    let end = End::from(child.wait_with_output().unwrap());
    assert_eq!((end.code, end.stderr.as_str()), (0, ""));
}
