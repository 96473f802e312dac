//! A node without a majority: reads say that they may be old, what needs a majority is refused at once and by the right name.

use jaco_proto::STALE_HEADER;
use jaco_proto::v1::audit_client::AuditClient;
use jaco_proto::v1::tokens_client::TokensClient;
use jaco_state::{Leadership, ProposeError};

use super::*;

const LONG: u64 = 9_000;

fn stale<T>(answer: &tonic::Response<T>) -> Option<&str> {
    answer.metadata().get(STALE_HEADER).map(|value| value.to_str().unwrap())
}

async fn delete(server: &Server) -> UserError {
    let request = v1::DeleteRequest { deployment: "shop".into(), ..Default::default() };
    from_status(&server.deploy().delete(request).await.unwrap_err())
}

#[tokio::test]
async fn a_read_without_a_majority_says_that_it_may_be_old() {
    let server = Server::cluster().await;
    server.apply(JACO, COMPOSE).await.unwrap();
    for (silence, marked) in [(0, None), (4_000, None), (LONG, Some("9000")), (0, None)] {
        server.fixed.silence_ms.store(silence, Ordering::Relaxed);
        assert_eq!(stale(&server.deploy().status(v1::StatusRequest::default()).await.unwrap()), marked);
        assert_eq!(stale(&server.deploy().get_replicas(v1::GetReplicasRequest::default()).await.unwrap()), marked);
        let mut cluster = ClusterClient::new(server.channel.clone());
        assert_eq!(stale(&cluster.status(v1::ClusterStatusRequest {}).await.unwrap()), marked);
        let mut tokens = TokensClient::new(server.channel.clone());
        assert_eq!(stale(&tokens.list(v1::ListTokensRequest {}).await.unwrap()), marked);
        let mut audit = AuditClient::new(server.channel.clone());
        assert_eq!(stale(&audit.query(v1::AuditQueryRequest::default()).await.unwrap()), marked);
        // What is about the daemon alone is never old.
        let mut node = jaco_proto::v1::node_client::NodeClient::new(server.channel.clone());
        assert_eq!(stale(&node.status(v1::NodeStatusRequest::default()).await.unwrap()), None);
    }
    server.end().await;
}

#[tokio::test]
async fn a_read_before_there_is_a_cluster_is_not_old() {
    let server = Server::start(empty_store(), Limits::default()).await;
    server.fixed.silence_ms.store(LONG, Ordering::Relaxed);
    let mut cluster = ClusterClient::new(server.channel.clone());
    assert_eq!(stale(&cluster.status(v1::ClusterStatusRequest {}).await.unwrap()), None);
    assert_eq!(server.apply(JACO, COMPOSE).await.unwrap_err().code, ErrorCode::ClusterUninitialized);
    server.end().await;
}

#[tokio::test]
async fn a_write_on_a_node_that_is_cut_off_is_not_even_begun() {
    let server = Server::cluster().await;
    server.apply(JACO, COMPOSE).await.unwrap();
    server.fixed.silence_ms.store(LONG, Ordering::Relaxed);
    let index = server.store.view().index();
    assert_eq!(server.apply(JACO, COMPOSE).await.unwrap_err().code, ErrorCode::QuorumLost);
    assert_eq!(delete(&server).await.code, ErrorCode::QuorumLost);
    let mut cluster = ClusterClient::new(server.channel.clone());
    assert_eq!(code(cluster.node_drain(v1::NodeDrainRequest::default()).await), ErrorCode::QuorumLost);
    assert_eq!(code(cluster.backup(v1::BackupRequest {}).await), ErrorCode::QuorumLost);
    let mut node = jaco_proto::v1::node_client::NodeClient::new(server.channel.clone());
    node.set_log_level(v1::SetLogLevelRequest { level: "info".into(), ..Default::default() }).await.unwrap();
    assert_eq!(server.store.view().index(), index, "nothing was written");
    server.fixed.silence_ms.store(0, Ordering::Relaxed);
    server.apply(JACO, COMPOSE).await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn a_majority_missed_for_a_moment_is_called_an_election() {
    let server = Server::cluster().await;
    server.apply(JACO, COMPOSE).await.unwrap();
    for missed in [ProposeError::QuorumLost, ProposeError::NoLeader] {
        server.store.fail_next(missed);
        let error = delete(&server).await;
        assert_eq!(error.code, ErrorCode::NoLeader, "{error}");
    }
    // Any other refusal is passed on as it is.
    server.store.fail_next(ProposeError::DiskFull);
    assert_eq!(delete(&server).await.code, ErrorCode::DiskFull);
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_knows_no_leader_for_long_is_cut_off_whatever_it_last_heard() {
    let store = cluster_store(&["node-a"]);
    let guard = crate::guard::Guard::new(store.store.clone(), Arc::new(Fixed::default()));
    let apply = || {
        let mut request = http::Request::builder().uri("http://jaco.internal/jaco.v1.Deploy/Apply").body(()).unwrap();
        request.extensions_mut().insert(crate::caller::Peer { has_credentials: true, over_limit: None });
        guard.admit(&request).err().map(|status| from_status(&status).code)
    };
    store.set_leadership(Leadership::Follower { leader: None });
    assert_eq!(apply(), None, "it may be an election");
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(apply(), Some(ErrorCode::QuorumLost));
    store.set_leadership(Leadership::Follower { leader: Some(NodeId(9)) });
    assert_eq!(apply(), None);
}
