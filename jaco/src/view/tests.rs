use jaco_types::ErrorCode;
use serde_json::{Value, json};

use super::fixtures::*;
use super::*;
use crate::printer::View;

fn object<V: View>(view: &V) -> Value {
    serde_json::to_value(view).unwrap()
}

#[test]
fn status_tables() {
    let view = status::Status::try_from(fixtures::status()).unwrap();
    let expected = "\
Deployments:
DEPLOYMENT   REVISION   PREVIOUS   STATUS   DETAILS
shop         4          3          ACTIVE

Replicas:
REPLICA_ID   STATE     HOST   CONTAINER_ID   LAST_HEALTH_AT         REASON
shop-web-0   RUNNING   n1     0123456789ab   2023-11-14T22:13:20Z
shop-web-1   FAILED    n1     -              -                      restart_exhausted: it ended three times in a row (exit 1)

Routes:
DOMAIN         PATH   DEPLOYMENT   SERVICE   PORT   TLS
shop.example   /      shop         web       8080   OFF
";
    assert_eq!(view.table(), expected);
    assert_eq!(view.quiet(), "shop active\n");
}

#[test]
fn status_json() {
    let expected = json!({
        "deployments": [{"name": "shop", "applied_revision": 4, "previous_revision": 3, "status": "active"}],
        "replicas": [
            {"id": "shop-web-0", "state": "running", "host": "n1", "container_id": "0123456789abcdef0123",
             "last_health_at": "2023-11-14T22:13:20.250Z", "deployment": "shop", "service": "web", "revision": 4,
             "spec_current": true},
            {"id": "shop-web-1", "state": "failed", "host": "n1", "container_id": "", "code": "restart_exhausted",
             "message": "it ended three times in a row", "details": {"exit_code": "1"}, "deployment": "shop",
             "service": "web", "revision": 4, "spec_current": true},
        ],
        "routes": [{"domain": "shop.example", "path": "", "deployment": "shop", "service": "web", "port": 8080,
                    "tls": "off", "strip_path": false}],
        "rollouts": [],
    });
    assert_eq!(object(&status::Status::try_from(fixtures::status()).unwrap()), expected);
    let empty = object(&status::Status::try_from(v1::StatusResponse::default()).unwrap());
    assert_eq!(empty, json!({"deployments": [], "replicas": [], "routes": [], "rollouts": []}));
}

#[test]
fn a_state_of_a_newer_daemon_is_an_error_and_never_guessed() {
    for state in [0, 99] {
        let wire = v1::Replica { state, ..replica("a") };
        let error = replica::Summary::try_from(wire).unwrap_err();
        assert_eq!(error.code, ErrorCode::VersionIncompatible, "{state}");
    }
}

#[test]
fn details_of_a_deployment_are_its_reason_or_its_facts() {
    let with = |pairs: &[(&str, &str)]| {
        let wire = v1::Deployment { status_details: map(pairs), ..fixtures::deployment() };
        deployment::Summary::try_from(wire).unwrap().details()
    };
    assert_eq!(with(&[("z", "1"), ("a", "2")]), "a=2 z=1");
    assert_eq!(with(&[("reason", "no node"), ("a", "2")]), "no node");
    assert_eq!(with(&[]), "");
}

#[test]
fn reasons() {
    let none = map(&[]);
    assert_eq!(replica::reason(None, None, &none), "");
    assert_eq!(replica::reason(Some("c"), Some("m"), &none), "c: m");
    assert_eq!(replica::reason(Some("c"), None, &map(&[("reason", "r"), ("exit_code", "137")])), "c: r (exit 137)");
    // A healthy container that was restarted once has an exit code, and nothing to explain.
    assert_eq!(replica::reason(None, None, &map(&[("exit_code", "0")])), "");
}

#[test]
fn a_pull_shows_where_it_is() {
    let pull = v1::PullProgress { bytes_done: 10_000_000, bytes_total: 45_000_000, layers_done: 2, layers_total: 5 };
    let wire = v1::Replica { state: v1::ReplicaState::Pulling.into(), pull: Some(pull), ..replica("a") };
    assert_eq!(replica::Summary::try_from(wire).unwrap().reason(), "layers 2/5, 10.0MB of 45.0MB");
}

#[test]
fn get_deployments() {
    let view =
        deployment::List::try_from(v1::GetDeploymentsResponse { deployments: vec![fixtures::deployment()] }).unwrap();
    assert_eq!(
        view.table(),
        "DEPLOYMENT   REVISION   PREVIOUS   STATUS   SERVICES\nshop         4          3          ACTIVE   db,web\n"
    );
    assert_eq!(
        object(&view),
        json!([{"name": "shop", "applied_revision": 4, "previous_revision": 3, "status": "active", "services": ["db", "web"]}])
    );
    assert_eq!(object(&deployment::List(Vec::new())), json!([]));
}

#[test]
fn get_deployment() {
    let service = v1::Service {
        name: "web".into(),
        replicas: 2,
        placement: "spread".into(),
        networks: vec!["default".into()],
        image: "web:1".into(),
        ..v1::Service::default()
    };
    let wire = v1::GetDeploymentResponse {
        deployment: Some(fixtures::deployment()),
        revision: 3,
        acme_email: None,
        services: vec![service],
        jaco_yaml: "deployment: shop\n".into(),
        compose_yaml: "services: {}\n".into(),
    };
    let view = deployment::Detail::try_from(wire).unwrap();
    let expected = "\
Deployment:  shop
Revision:    3 (active: 4)
Previous:    3
Status:      ACTIVE

Services:
SERVICE   REPLICAS   PLACEMENT   HOSTS   NETWORKS   IMAGE
web       2          spread      -       default    web:1

jaco.yaml:
deployment: shop

compose.yaml:
services: {}
";
    assert_eq!(view.table(), expected);
    assert_eq!(
        object(&view),
        json!({"name": "shop", "revision": 3, "applied_revision": 4, "previous_revision": 3, "status": "active",
               "services": [{"name": "web", "image": "web:1", "replicas": 2, "placement": "spread", "networks": ["default"]}],
               "jaco_yaml": "deployment: shop\n", "compose_yaml": "services: {}\n"})
    );
    assert!(deployment::Detail::try_from(v1::GetDeploymentResponse::default()).is_err());
}

#[test]
fn get_replicas_and_replica() {
    let wire = v1::Replica {
        depends_on: vec![v1::DependsOn {
            service: "db".into(),
            condition: "service_healthy".into(),
            state: Some(v1::ReplicaState::Pending.into()),
            satisfied: false,
        }],
        state_history: vec![v1::StateChange { state: v1::ReplicaState::Pending.into(), code: None, at_ms: NOON }],
        ..failing("shop-web-1")
    };
    let list = replica::List::try_from(v1::GetReplicasResponse { replicas: vec![wire] }).unwrap();
    assert_eq!(
        list.table(),
        "REPLICA_ID   DEPLOYMENT   SERVICE   STATE    HOST   RESTARTS   IMAGE\n\
         shop-web-1   shop         web       FAILED   n1     3          web:1\n"
    );
    let expected = json!({
        "id": "shop-web-1", "deployment": "shop", "service": "web", "index": 0, "state": "failed", "host": "n1",
        "image": "web:1", "revision": 4, "spec_current": true, "restart_count": 3, "code": "restart_exhausted",
        "message": "it ended three times in a row", "details": {"exit_code": "1"}, "started_at": "2023-11-14T22:13:20Z",
        "depends_on": [{"service": "db", "condition": "service_healthy", "state": "pending", "satisfied": false}],
        "state_history": [{"state": "pending", "at": "2023-11-14T22:13:20Z"}],
    });
    assert_eq!(object(&list), json!([expected]));
    let text = list.0[0].table();
    for line in [
        "Replica:         shop-web-1\n",
        "State:           FAILED\n",
        "Reason:          restart_exhausted: it ended three times in a row (exit 1)\n",
        "Depends on:\nSERVICE   CONDITION         STATE     SATISFIED\ndb        service_healthy   PENDING   no\n",
        "History:\nAT                     STATE     CODE\n2023-11-14T22:13:20Z   PENDING   -\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let global = replica::Detail::try_from(v1::Replica { index: "n1".into(), ..replica("shop-agent-n1") }).unwrap();
    assert_eq!(object(&global)["index"], "n1");
}

#[test]
fn get_routes_and_route() {
    let list = route::List::from(v1::GetRoutesResponse { routes: vec![fixtures::route()] });
    assert_eq!(
        list.table(),
        "DOMAIN         PATH   DEPLOYMENT   SERVICE   PORT   TLS   STRIP_PATH\n\
         shop.example   /      shop         web       8080   OFF   false\n"
    );
    let api = v1::Route { path: "/api".into(), strip_path: true, ..fixtures::route() };
    let domain = route::Domain::from(v1::GetRouteResponse {
        domain: "shop.example".into(),
        routes: vec![api, fixtures::route()],
    });
    assert_eq!(
        domain.table(),
        "PATH   SERVICE   PORT   TLS   STRIP   FALLBACK   READY\n\
         /api   web       8080   OFF   true    false      1/2\n\
         /      web       8080   OFF   false   true       1/2\n"
    );
    assert_eq!(
        object(&domain)["routes"][1],
        json!({"path": "", "catch_all": true, "deployment": "shop", "service": "web", "port": 8080, "tls": "off",
               "strip_path": false, "ready_replicas": 1, "total_replicas": 2})
    );
}

#[test]
fn apply_and_dry_run() {
    let wire = || v1::ApplyResponse {
        deployment: "shop".into(),
        applied_revision: 5,
        previous_revision: Some(4),
        changed: true,
        diff: Some(fixtures::diff()),
        remarks: vec![v1::Remark {
            severity: 2,
            code: "validation_failed".into(),
            message: "m".into(),
            details: map(&[]),
        }],
        index: 91,
        attempt: 8,
    };
    let applied = change::Applied::new(wire(), None, Vec::new()).unwrap();
    assert_eq!((applied.table(), applied.quiet()), ("Applied revision: 5\n".into(), "5\n".into()));
    let diff = json!({
        "adds": [{"kind": "service", "name": "cache"}],
        "updates": [{"kind": "service", "name": "web", "field": "image", "old": "web:1", "new": "web:2"}],
        "removes": [{"kind": "route", "name": "shop.example/api"}],
        "restarts": ["shop-web-0"],
    });
    let remarks = json!([{"severity": "warning", "code": "validation_failed", "message": "m"}]);
    assert_eq!(
        object(&applied),
        json!({"deployment": "shop", "applied_revision": 5, "previous_revision": 4, "changed": true, "diff": diff,
               "waited": false, "result": "pending", "remarks": remarks})
    );
    let waited = object(&change::Applied::new(wire(), Some(change::Outcome::Active), Vec::new()).unwrap());
    assert_eq!((&waited["waited"], &waited["result"]), (&json!(true), &json!("active")));
    let dry = change::DryRun::of_apply(wire(), Vec::new()).unwrap();
    assert_eq!(
        dry.table(),
        "+ service/cache\n~ service/web image: web:1 -> web:2\n- route/shop.example/api\nrestarts replica/shop-web-0\n"
    );
    assert_eq!(
        object(&dry),
        json!({"deployment": "shop", "current_revision": 4, "changed": true, "diff": diff, "remarks": remarks})
    );
    let same = v1::ApplyResponse { changed: false, diff: None, ..wire() };
    assert_eq!(change::DryRun::of_apply(same, Vec::new()).unwrap().table(), "No changes\n");
}

#[test]
fn remarks_of_both_sides_are_said_once() {
    let wire = v1::Remark {
        severity: 1,
        code: "c".into(),
        message: "compose.yaml:1:1: m".into(),
        details: map(&[("field", "f")]),
    };
    let local = remark::Remark {
        severity: "note",
        code: "c".into(),
        message: "mine.yml:9:1: m".into(),
        details: map(&[("field", "f")]),
    };
    let answer = v1::ApplyResponse { remarks: vec![wire], ..v1::ApplyResponse::default() };
    assert_eq!(change::Applied::new(answer, None, vec![local.clone()]).unwrap().remarks, [local]);
}

#[test]
fn rollback_and_delete() {
    let wire = v1::RollbackResponse {
        deployment: "shop".into(),
        revision: 3,
        previous_revision: Some(4),
        ..Default::default()
    };
    let view = change::RolledBack::new(wire, None).unwrap();
    assert_eq!(view.table(), "Rolled back to revision: 3\n");
    assert_eq!(
        object(&view),
        json!({"deployment": "shop", "revision": 3, "previous_revision": 4, "waited": false, "result": "pending",
               "diff": {"adds": [], "updates": [], "removes": [], "restarts": []}})
    );
    let deleted = change::Deleted { deployment: "shop".into(), deleted: true };
    assert_eq!(deleted.table(), "Deleted deployment: shop\n");
    assert_eq!(object(&deleted), json!({"deployment": "shop", "deleted": true}));
}

#[test]
fn history() {
    let revision = |revision, active, result: &str| v1::Revision {
        revision,
        applied_at_ms: NOON,
        identity: "local".into(),
        kind: "apply".into(),
        active,
        result: result.into(),
    };
    let wire = v1::HistoryResponse {
        deployment: "shop".into(),
        revisions: vec![revision(4, true, "active"), revision(3, false, "superseded")],
    };
    let view = history::History::from(wire);
    assert_eq!(
        view.table(),
        "REVISION   APPLIED_AT             IDENTITY   KIND    RESULT\n\
         4*         2023-11-14T22:13:20Z   local      APPLY   ACTIVE\n\
         3          2023-11-14T22:13:20Z   local      APPLY   SUPERSEDED\n"
    );
    assert_eq!(
        object(&view)["revisions"][0],
        json!({"revision": 4, "applied_at": "2023-11-14T22:13:20Z", "identity": "local", "kind": "apply",
               "active": true, "result": "active"})
    );
}

#[test]
fn cluster_init_and_status() {
    let init = init::Initialized {
        cluster_id: "id".into(),
        cluster_name: "prod".into(),
        operator_token: "t0".into(),
        recovery_key: "r0".into(),
        ca_fingerprint: "f0".into(),
        systemd_enabled: false,
        context_file: None,
        unit: "no systemctl".into(),
    };
    let text = init.table();
    assert!(text.starts_with("cluster_id: id\noperator_token: t0\nrecovery_key: r0\n"), "{text}");
    assert!(text.contains("\nSave the operator token and the recovery key now") && text.ends_with("\nno systemctl\n"));
    assert_eq!(init.quiet(), "id\nt0\nr0\n");
    assert_eq!(
        object(&init),
        json!({"cluster_id": "id", "cluster_name": "prod", "operator_token": "t0", "recovery_key": "r0",
            "ca_fingerprint": "f0", "systemd_enabled": false})
    );
    let fresh = cluster::Cluster::try_from(v1::ClusterStatusResponse::default()).unwrap();
    assert!(fresh.table().starts_with("Status:    uninitialized\n") && fresh.table().contains("jaco cluster init"));
    assert_eq!(object(&fresh), json!({"initialized": false, "raft_index": 0, "quorum": false, "nodes": []}));
    let member = v1::Member {
        hostname: "n1".into(),
        address: "10.0.0.1:7001".into(),
        grpc_address: "10.0.0.1:7000".into(),
        status: v1::NodeState::Ready.into(),
        suffrage: v1::Suffrage::Voter.into(),
        version: "0.0.1".into(),
        last_seen_at_ms: None,
        status_details: map(&[]),
    };
    let wire = v1::ClusterStatusResponse {
        initialized: true,
        cluster_id: "id".into(),
        cluster_name: "prod".into(),
        leader: Some("n1".into()),
        leader_addr: Some("10.0.0.1:7000".into()),
        raft_index: 12,
        quorum: true,
        nodes: vec![member],
        feature_level: 1,
    };
    let view = cluster::Cluster::try_from(wire).unwrap();
    assert_eq!(
        view.table(),
        "Status:    initialized\nCluster:   prod (id)\nLeader:    n1 (10.0.0.1:7000)\nRaft index: 12\nFeature level: 1\nNodes (1):\n  - n1 @ 10.0.0.1:7001 [READY, VOTER]\n"
    );
    assert_eq!(
        object(&view)["nodes"][0],
        json!({"hostname": "n1", "address": "10.0.0.1:7001", "grpc_address": "10.0.0.1:7000", "status": "ready",
               "suffrage": "voter", "version": "0.0.1"})
    );
}

#[test]
fn node_status() {
    let wire = v1::NodeStatusResponse {
        hostname: "n1".into(),
        version: "0.0.1".into(),
        status: v1::NodeState::Joining.into(),
        status_details: map(&[("engine", "absent")]),
        loops: vec![v1::Loop {
            name: "replica_loop".into(),
            state: "backoff".into(),
            runs: 12,
            errors_in_a_row: 2,
            last_error: Some("engine\nis away".into()),
            last_run_at_ms: Some(NOON),
            lag_ms: 1500,
        }],
        log_level: "info".into(),
    };
    let view = node::Node::try_from(wire).unwrap();
    assert_eq!(
        view.table(),
        "Node:      n1\nVersion:   0.0.1\nStatus:    JOINING\nLog level: info\nDetails:   engine=absent\n\nLoops:\n\
         LOOP           STATE     RUNS   ERRORS   LAST_RUN_AT            LAG   LAST_ERROR\n\
         replica_loop   BACKOFF   12     2        2023-11-14T22:13:20Z   1s    engine is away\n"
    );
    assert_eq!(
        object(&view)["loops"][0],
        json!({"name": "replica_loop", "state": "backoff", "runs": 12, "errors_in_a_row": 2, "last_error": "engine\nis away",
               "last_run_at": "2023-11-14T22:13:20Z", "lag_ms": 1500})
    );
}

#[test]
fn log_lines() {
    let line = log::Line::from(v1::LogLine {
        replica_id: "shop-web-0".into(),
        host: "n1".into(),
        stream: "stderr".into(),
        ts_ms: NOON + 1,
        line: "GET /".into(),
    });
    assert_eq!(line.table(), "[shop-web-0@n1] GET /\n");
    assert_eq!(
        object(&line),
        json!({"replica_id": "shop-web-0", "host": "n1", "stream": "stderr", "ts": "2023-11-14T22:13:20.001Z", "line": "GET /"})
    );
}

#[test]
fn a_field_that_was_not_set_is_told_apart_from_an_empty_one() {
    let mut wire = fixtures::diff();
    wire.updates[0].old = None;
    wire.updates[0].new = Some(String::new());
    let answer = v1::ApplyResponse { changed: true, diff: Some(wire), ..v1::ApplyResponse::default() };
    let view = change::DryRun::of_apply(answer, Vec::new()).unwrap();
    assert!(view.table().contains("~ service/web image: (none) ->"), "{}", view.table());
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(
        json["diff"]["updates"][0],
        serde_json::json!({"kind": "service", "name": "web", "field": "image", "new": ""})
    );
}
