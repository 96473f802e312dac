//! Making clusters, and nodes that come and go.

use std::os::unix::fs::PermissionsExt;

use jaco_proto::v1::{MigratedReplica, NodeProgressResponse};
use jaco_types::{ErrorCode, UserError};
use serde_json::json;

use crate::fake::{FINGERPRINT, Fake};
use crate::run::{jaco_at, run};

#[test]
fn init_shows_its_secrets_once_and_sends_none_of_them() {
    let fake = Fake::start();
    let end = run(&mut jaco_at(&fake.socket(), &["cluster", "init", "--name", "prod", "--no-systemd-enable"]));
    assert_eq!(end.code, 0, "{end:?}");
    assert!(end.stdout.starts_with("cluster_id: c0ffee\noperator_token: "), "{end:?}");
    let token = end.stdout.lines().nth(1).unwrap().strip_prefix("operator_token: ").unwrap();
    let recovery = end.stdout.lines().nth(2).unwrap().strip_prefix("recovery_key: ").unwrap();
    assert!(token.len() == 64 && recovery.len() > 50, "{end:?}");
    let request = fake.script.init.lock().unwrap().clone().unwrap();
    let sent = format!("{request:?}");
    assert!(!sent.contains(token) && !sent.contains(recovery), "{sent}");
    assert_eq!((request.operator_token_hash.len(), request.recovery_public_key.len()), (64, 64));
    assert!(request.operator_certificate_request.is_empty());
    assert_eq!(*fake.script.beginning.lock().unwrap(), 0, "it waited until the daemon was back");
    let json = run(&mut jaco_at(&fake.socket(), &["cluster", "init", "--no-systemd-enable", "-o", "json"])).json();
    assert_eq!((&json["ca_fingerprint"], &json["systemd_enabled"]), (&FINGERPRINT.into(), &false.into()));
    assert!(json["operator_token"].is_string() && json["recovery_key"].is_string());
}

#[test]
fn init_writes_a_context_for_its_owner_alone() {
    let fake = Fake::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("prod.yaml");
    let arguments = |path| ["cluster", "init", "--name", "prod", "--no-systemd-enable", "--context-file", path];
    let end = run(&mut jaco_at(&fake.socket(), &arguments(path.to_str().unwrap())));
    assert!(end.code == 0 && end.stdout.contains(path.to_str().unwrap()), "{end:?}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    for part in ["name: prod", "10.0.0.1:7000", "THE CA", "THE CERTIFICATE", "PRIVATE KEY"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!fake.script.init.lock().unwrap().take().unwrap().operator_certificate_request.is_empty());
    for wrong in [path.to_str().unwrap(), "/nonexistent/prod.yaml"] {
        let end = run(&mut jaco_at(&fake.socket(), &arguments(wrong)));
        assert!(end.code == 2 && end.stderr.contains(wrong), "{end:?}");
    }
    assert!(fake.script.init.lock().unwrap().is_none(), "nothing was asked for in vain");
}

#[test]
fn join_takes_its_token_from_flag_or_environment_and_the_socket_only() {
    let fake = Fake::start();
    let join = ["node", "join", "--peer", "10.0.0.1:7000", "--no-systemd-enable"];
    let end = run(&mut jaco_at(&fake.socket(), &join));
    assert!(end.code == 2 && end.stderr.contains("JACO_JOIN_TOKEN"), "{end:?}");
    let end = run(jaco_at(&fake.socket(), &join).env("JACO_JOIN_TOKEN", "from-env"));
    assert!(end.code == 0 && end.stdout.starts_with("Joined cluster.\n"), "{end:?}");
    let asked = fake.script.joined.lock().unwrap().take().unwrap();
    assert_eq!((asked.peer.as_str(), asked.token.as_str()), ("10.0.0.1:7000", "from-env"));
    let mut by_flag = jaco_at(&fake.socket(), &join);
    let end = run(by_flag.args(["--token", "from-flag", "-o", "json"]).env("JACO_JOIN_TOKEN", "from-env"));
    assert_eq!(fake.script.joined.lock().unwrap().take().unwrap().token, "from-flag");
    assert_eq!(
        end.json(),
        json!({"cluster_id": "c0ffee", "hostname": "n1", "status": "joining", "systemd_enabled": false})
    );
    for wrong in ["10.0.0.1", ":7000", "10.0.0.1:", "10.0.0.1:0", "fd00::1", "fd00::1:7000x", "10.0.0.1:99999"] {
        let end = run(&mut jaco_at(&fake.socket(), &["node", "join", "--token", "t", "--peer", wrong]));
        assert!(end.code == 2 && end.stderr.contains("host:port") && end.stderr.contains("7000"), "{end:?}");
    }
    for right in ["n1:7000", "[fd00::1]:7000"] {
        let end = run(&mut jaco_at(
            &fake.socket(),
            &["node", "join", "--token", "t", "--peer", right, "--no-systemd-enable"],
        ));
        assert_eq!((end.code, fake.script.joined.lock().unwrap().take().unwrap().peer.as_str()), (0, right));
    }
    let end = run(jaco_at(&fake.socket(), &join).args(["--token", "t", "--server", "a:1"]));
    assert!(end.code == 2 && end.stderr.contains("--server"), "{end:?}");
}

#[test]
fn a_join_token_is_made_here_and_ends_with_the_fingerprint() {
    let fake = Fake::start();
    let end = run(&mut jaco_at(&fake.socket(), &["node", "issue-join-token", "--ttl", "1h"]));
    let line = end.stdout.lines().find(|line| line.starts_with("  sudo jaco node join ")).unwrap();
    let token = line.strip_prefix("  sudo jaco node join --peer=10.0.0.1:7000 --token=").unwrap();
    let (secret, fingerprint) = token.split_once('.').unwrap();
    assert_eq!((secret.len(), fingerprint), (64, FINGERPRINT));
    let request = fake.script.join_token.lock().unwrap().clone().unwrap();
    assert_eq!((request.ttl_ms, request.token_hash.len()), (3_600_000, 64));
    assert!(!format!("{request:?}").contains(secret) && !end.stdout.contains("THE CA"));
    let end = run(&mut jaco_at(&fake.socket(), &["node", "issue-join-token", "--show-ca", "-o", "json"]));
    let json = end.json();
    assert_eq!(json["ca_cert"], "THE CA\n");
    assert_eq!(json["peer_addrs"], json!(["10.0.0.1:7000", "10.0.0.2:7000"]));
    assert_eq!(fake.script.join_token.lock().unwrap().as_ref().unwrap().ttl_ms, 86_400_000);
    let end = run(&mut jaco_at(&fake.socket(), &["node", "issue-join-token", "--ttl", "8d"]));
    assert!(end.code == 2 && end.stderr.contains("7d"), "{end:?}");
}

#[test]
fn the_node_list_is_separated_by_tabs() {
    let fake = Fake::start();
    let end = run(&mut jaco_at(&fake.socket(), &["node", "list"]));
    assert_eq!(end.stdout, "n1\t10.0.0.1\tNODE_STATUS_JOINING\tVOTER\t0.0.1\n");
    let json = run(&mut jaco_at(&fake.socket(), &["node", "list", "-o", "json"])).json();
    assert_eq!((&json["nodes"][0]["hostname"], &json["nodes"][0]["status"]), (&"n1".into(), &"joining".into()));
}

#[test]
fn another_node_is_asked_by_name() {
    let fake = Fake::start();
    let end = run(&mut jaco_at(&fake.socket(), &["node", "status", "n2"]));
    assert!(end.stdout.starts_with("Node:      n2\n"), "{end:?}");
    let end = run(&mut jaco_at(&fake.socket(), &["node", "log-level", "debug", "n2", "-o", "json"]));
    assert_eq!(end.json(), json!({"hostname": "n2", "level": "debug"}));
    let end = run(&mut jaco_at(&fake.socket(), &["node", "log-level", "debug"]));
    assert_eq!(end.stdout, "Log level of n1: debug\n");
}

fn progress(member: bool, under_way: bool, remaining: &[&str]) -> NodeProgressResponse {
    NodeProgressResponse {
        hostname: "n2".into(),
        member,
        under_way,
        remaining: remaining.iter().map(|id| (*id).to_owned()).collect(),
        ..NodeProgressResponse::default()
    }
}

#[test]
fn remove_waits_until_the_node_is_gone_and_says_what_moved() {
    let fake = Fake::start();
    let migrated = MigratedReplica { replica_id: "shop-web-0".into(), from: "n2".into(), to: "n1".into() };
    let last = NodeProgressResponse {
        migrated: vec![migrated],
        dropped: vec!["shop-agent-n2".into()],
        ..progress(true, true, &[])
    };
    let steps = [progress(true, true, &["shop-web-0"]), last, progress(false, false, &[])];
    *fake.script.progress.lock().unwrap() = steps.clone().into();
    let end = run(&mut jaco_at(&fake.socket(), &["node", "remove", "n2", "-o", "json"]));
    assert_eq!(
        end.json(),
        json!({"hostname": "n2", "removed": true, "forced": false, "dropped": ["shop-agent-n2"],
            "migrated": [{"replica_id": "shop-web-0", "from": "n2", "to": "n1"}]})
    );
    *fake.script.progress.lock().unwrap() = steps.into();
    let end = run(&mut jaco_at(&fake.socket(), &["node", "remove", "n2", "--force"]));
    assert!(end.stdout.starts_with("Removed node n2\n"), "{end:?}");
    assert!(fake.script.removed.lock().unwrap().as_ref().unwrap().force);
    let end = run(&mut jaco_at(&fake.socket(), &["node", "remove", "n2", "--no-wait", "-o", "json"]));
    assert_eq!(end.json(), json!({"hostname": "n2", "removed": false, "forced": false, "dropped": [], "migrated": []}));
}

#[test]
fn drain_ends_with_the_last_replica_or_says_what_is_left() {
    let fake = Fake::start();
    *fake.script.progress.lock().unwrap() = [progress(true, true, &["a"]), progress(true, true, &[])].into();
    let end = run(&mut jaco_at(&fake.socket(), &["node", "drain", "n2"]));
    assert_eq!((end.code, end.stdout.as_str()), (0, "Drained node n2\n"), "{end:?}");
    let late = NodeProgressResponse { timed_out: true, ..progress(true, false, &["shop-db-0"]) };
    *fake.script.progress.lock().unwrap() = [late].into();
    let end = run(&mut jaco_at(&fake.socket(), &["node", "drain", "n2"]));
    assert!(end.code == 8 && end.stderr.starts_with("Error: drain_timeout: "), "{end:?}");
    assert!(end.stderr.contains("shop-db-0"), "{end:?}");
    *fake.script.progress.lock().unwrap() = [progress(true, true, &["shop-db-0"])].into();
    let end = run(&mut jaco_at(&fake.socket(), &["node", "drain", "n2", "--timeout", "500ms"]));
    assert!(end.code == 8 && end.stderr.starts_with("Error: wait_timeout: "), "{end:?}");
    let refusal = UserError::new(ErrorCode::DrainNoPlacement, "shop-db-0 has nowhere to go");
    fake.script.refusals.lock().unwrap().push_back(refusal);
    let end = run(&mut jaco_at(&fake.socket(), &["node", "drain", "n2"]));
    assert_eq!((end.code, end.stderr.as_str()), (7, "Error: drain_no_placement: shop-db-0 has nowhere to go\n"));
    let end = run(&mut jaco_at(&fake.socket(), &["node", "uncordon", "n2"]));
    assert_eq!(end.stdout, "Node n2 takes replicas again\n");
}
