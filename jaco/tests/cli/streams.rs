//! Output that goes on: watches and logs, and what ends them.

use std::io::Read;

use jaco_proto::v1::{DeploymentStatus, LogWarning, LogsResponse, ReplicaState, logs_response};
use serde_json::Value;

use crate::fake::{Fake, line, state};
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
fn a_reader_that_goes_away_ends_logs_quietly() {
    let fake = Fake::start();
    *fake.script.logs.lock().unwrap() = vec![line("again")];
    let mut child = start(&mut jaco_at(&fake.socket(), &["logs", "shop/web", "-f"]));
    let mut byte = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    drop(child.stdout.take());
    eventually("the client ends", || child.try_wait().unwrap().is_some());
    let end = End::from(child.wait_with_output().unwrap());
    assert_eq!((end.code, end.stderr.as_str()), (0, ""));
}
