//! Answers of a daemon, for tests.

use std::collections::BTreeMap;

use jaco_proto::v1;

/// 2023-11-14T22:13:20Z.
pub const NOON: u64 = 1_700_000_000_000;

/// A sorted map of text.
pub fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A deployment at revision 4, active.
pub fn deployment() -> v1::Deployment {
    v1::Deployment {
        name: "shop".into(),
        applied_revision: 4,
        previous_revision: Some(3),
        status: v1::DeploymentStatus::Active.into(),
        status_details: BTreeMap::new(),
        services: vec!["db".into(), "web".into()],
        attempt: 7,
    }
}

/// A healthy replica of it.
pub fn replica(id: &str) -> v1::Replica {
    v1::Replica {
        id: id.into(),
        deployment: "shop".into(),
        service: "web".into(),
        index: "0".into(),
        state: v1::ReplicaState::Running.into(),
        host: "n1".into(),
        image: "web:1".into(),
        revision: 4,
        spec_current: true,
        container_id: Some("0123456789abcdef0123".into()),
        restart_count: 0,
        last_health_at_ms: Some(NOON + 250),
        started_at_ms: Some(NOON),
        attempt: 7,
        ..v1::Replica::default()
    }
}

/// A replica whose process ends again and again.
pub fn failing(id: &str) -> v1::Replica {
    v1::Replica {
        state: v1::ReplicaState::Failed.into(),
        code: Some("restart_exhausted".into()),
        message: Some("it ended three times in a row".into()),
        details: map(&[("exit_code", "1")]),
        container_id: None,
        last_health_at_ms: None,
        restart_count: 3,
        ..replica(id)
    }
}

/// A route.
pub fn route() -> v1::Route {
    v1::Route {
        domain: "shop.example".into(),
        path: String::new(),
        deployment: "shop".into(),
        service: "web".into(),
        port: 8080,
        tls: "off".into(),
        strip_path: false,
        ready_replicas: 1,
        total_replicas: 2,
    }
}

/// All of it.
pub fn status() -> v1::StatusResponse {
    v1::StatusResponse {
        deployments: vec![deployment()],
        replicas: vec![replica("shop-web-0"), failing("shop-web-1")],
        routes: vec![route()],
        index: 90,
        remarks: Vec::new(),
    }
}

/// A difference with one of each kind.
pub fn diff() -> v1::Diff {
    v1::Diff {
        adds: vec![v1::DiffItem { kind: "service".into(), name: "cache".into() }],
        updates: vec![v1::DiffUpdate {
            kind: "service".into(),
            name: "web".into(),
            field: "image".into(),
            old: Some("web:1".into()),
            new: Some("web:2".into()),
        }],
        removes: vec![v1::DiffItem { kind: "route".into(), name: "shop.example/api".into() }],
        restarts: vec!["shop-web-0".into()],
    }
}
