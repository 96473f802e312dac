//! Daemons: the one that answers, and others by way of it.

use jaco_proto::v1::node_client::NodeClient;
use jaco_testkit::ready_node;

use super::*;

#[tokio::test]
async fn a_node_shows_its_loops_and_changes_its_log_level() {
    let server = Server::cluster().await;
    let mut node = NodeClient::new(server.channel.clone());
    for name in ["", "node-a", "NODE-A"] {
        let status = node.status(v1::NodeStatusRequest { hostname: name.into() }).await.unwrap().into_inner();
        let names: Vec<&str> = status.loops.iter().map(|status| status.name.as_str()).collect();
        assert_eq!(names, ["api", "runtime"], "by name");
        assert_eq!((status.hostname.as_str(), status.version.as_str()), ("node-a", "1.2.3"));
    }
    let missing = node.status(v1::NodeStatusRequest { hostname: "node-z".into() }).await;
    assert_eq!(code(missing), ErrorCode::NodeNotFound);
    let set = |level: &str| v1::SetLogLevelRequest { level: level.into(), ..Default::default() };
    let answer = node.set_log_level(set("debug")).await.unwrap().into_inner();
    assert_eq!((answer.level.as_str(), answer.hostname.as_str()), ("debug", "node-a"));
    assert_eq!(code(node.set_log_level(set("loud")).await), ErrorCode::ValidationFailed);
    let diagnosis = node.diagnose(v1::DiagnoseRequest::default()).await.unwrap().into_inner();
    assert_eq!((diagnosis.hostname.as_str(), diagnosis.files[0].name.as_str()), ("node-a", "raft.json"));
    server.end().await;
}

#[tokio::test]
async fn another_node_is_asked_by_way_of_this_one() {
    let server = Server::cluster().await;
    server.write(|transaction| {
        for (id, name) in [(2, "node-b"), (3, "away")] {
            transaction.put(ready_node(id, name).node);
        }
    });
    let mut node = NodeClient::new(server.channel.clone());
    let named = |name: &str| v1::NodeStatusRequest { hostname: name.into() };
    let status = node.status(named("Node-B")).await.unwrap().into_inner();
    assert_eq!(status.hostname, "node-b");
    let set = v1::SetLogLevelRequest { level: "debug".into(), hostname: "node-b".into() };
    assert_eq!(node.set_log_level(set).await.unwrap().into_inner().hostname, "node-b");
    node.diagnose(v1::DiagnoseRequest { hostname: "node-b".into() }).await.unwrap();
    assert_eq!(*server.fixed.asked.lock().unwrap(), ["status node-b", "debug by local node-b", "diagnose node-b"]);
    assert_eq!(server.fixed.level.lock().unwrap().as_str(), "", "the level here is as it was");
    assert_eq!(code(node.status(named("away")).await), ErrorCode::Unreachable);
    assert_eq!(code(node.diagnose(v1::DiagnoseRequest { hostname: "none".into() }).await), ErrorCode::NodeNotFound);
    server.end().await;
}

#[tokio::test]
async fn a_node_is_empty_when_its_last_container_is_gone() {
    use jaco_types::{NodeState, NodeStatus};
    let server = Server::cluster().await;
    let mut cluster = jaco_proto::v1::cluster_client::ClusterClient::new(server.channel.clone());
    let mut remaining = async || {
        let request = v1::NodeProgressRequest { hostname: "node-a".into() };
        cluster.node_progress(request).await.unwrap().into_inner().remaining
    };
    assert_eq!(remaining().await, [] as [&str; 0]);
    let node = server.store.view().list::<Node>().next().unwrap().clone();
    let spec = jaco_testkit::deployment_spec("shop", [("web", jaco_testkit::service("web:1", 1))]);
    let desired = jaco_testkit::replica_desired(&jaco_testkit::revision_of(spec, 1), "web", 0, &node);
    let seen = jaco_testkit::replica_observed(&desired, ReplicaState::Running);
    server.write(|transaction| {
        transaction.put(seen);
    });
    assert_eq!(remaining().await, ["shop-web-0"], "nobody wants it any more, and it is still there");
    let down = NodeStatus { id: node.id, state: NodeState::Down, details: Default::default() };
    server.write(|transaction| {
        transaction.put(down);
    });
    assert_eq!(remaining().await, [] as [&str; 0], "what a dead node ran is not waited for");
    server.end().await;
}
