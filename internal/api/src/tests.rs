//! The handlers behind a real Unix socket, over a store without consensus and with facilities made up here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jaco_proto::v1::cluster_client::ClusterClient;
use jaco_proto::v1::deploy_client::DeployClient;
use jaco_proto::v1::watch_client::WatchClient;
use jaco_proto::{from_status, v1};
use jaco_state::{BoxFuture, LocalStore, Transaction};
use jaco_testkit::{ManualClock, TestStore, cluster_store, empty_store};
use jaco_types::{DeploymentRevision, Node, ReplicaDesired, ReplicaId, ReplicaObserved, ReplicaState};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::*;

mod access;
mod audit;
mod backup;
mod cut_off;
mod deploy;
mod nodes;
mod read;
mod secured;
mod stream;
mod tls;
mod tokens;

/// Facilities that answer the same each time.
#[derive(Default)]
struct Fixed {
    /// Says how far consensus is; without one it is at 7.
    store: Option<Arc<LocalStore>>,
    level: Mutex<String>,
    applies: AtomicU64,
    readings: Arc<AtomicU64>,
    /// How long ago the node knew a majority.
    silence_ms: AtomicU64,
    /// What other nodes were asked, by name.
    asked: Mutex<Vec<String>>,
}

impl Fixed {
    /// Any other node but `away` answers.
    fn ask<T>(&self, what: &str, node: &Node, answer: T) -> Result<T, UserError> {
        if node.hostname.as_str() == "away" {
            return Err(UserError::new(ErrorCode::Unreachable, "away does not answer"));
        }
        self.asked.lock().unwrap().push(format!("{what} {}", node.hostname));
        Ok(answer)
    }
}

impl OtherNodes for Fixed {
    fn status(&self, node: Node) -> BoxFuture<'_, Result<v1::NodeStatusResponse, UserError>> {
        let answer = v1::NodeStatusResponse { hostname: node.hostname.to_string(), ..Default::default() };
        Box::pin(async move { self.ask("status", &node, answer) })
    }

    fn set_log_level(
        &self,
        node: Node,
        request: v1::MemberLogLevelRequest,
    ) -> BoxFuture<'_, Result<v1::SetLogLevelResponse, UserError>> {
        let what = format!("{} by {}", request.level, request.actor);
        let answer = v1::SetLogLevelResponse { level: request.level, hostname: node.hostname.to_string() };
        Box::pin(async move { self.ask(&what, &node, answer) })
    }

    fn diagnose(&self, node: Node) -> BoxFuture<'_, Result<v1::DiagnoseResponse, UserError>> {
        let answer = v1::DiagnoseResponse { hostname: node.hostname.to_string(), files: Vec::new() };
        Box::pin(async move { self.ask("diagnose", &node, answer) })
    }
}

impl Diagnostics for Fixed {
    fn collect(&self) -> BoxFuture<'_, Vec<v1::DiagnosticFile>> {
        Box::pin(async { vec![v1::DiagnosticFile { name: "raft.json".to_owned(), data: b"{}".to_vec() }] })
    }
}

impl Consensus for Fixed {
    fn initialise<'a>(
        &'a self,
        request: v1::InitRequest,
        _: &'a str,
    ) -> BoxFuture<'a, Result<v1::InitResponse, UserError>> {
        let cluster_name = if request.name.is_empty() { "id".to_owned() } else { request.name };
        Box::pin(
            async move { Ok(v1::InitResponse { cluster_id: "id".to_owned(), cluster_name, ..Default::default() }) },
        )
    }

    fn join(&self, _: v1::NodeJoinRequest) -> BoxFuture<'_, Result<v1::NodeJoinResponse, UserError>> {
        Box::pin(async { Err(UserError::new(ErrorCode::Unreachable, "nobody is there")) })
    }

    fn since_majority(&self) -> Duration {
        Duration::from_millis(self.silence_ms.load(Ordering::Relaxed))
    }

    fn status(&self) -> ConsensusStatus {
        let index = self.store.as_ref().map_or(7, |store| store.view().index());
        ConsensusStatus { leader: Some(NodeId(1)), index, quorum: true, voters: vec![NodeId(1)], learners: vec![] }
    }
}

impl Loops for Fixed {
    fn status(&self) -> Vec<LoopStatus> {
        ["runtime", "api"]
            .map(|name| LoopStatus {
                name: name.to_owned(),
                state: "idle",
                runs: 3,
                errors_in_a_row: 0,
                last_error: None,
                last_run_at_ms: Some(5),
                lag_ms: 0,
            })
            .to_vec()
    }
}

impl Timings for Fixed {
    fn apply_took(&self, _: Duration) {
        self.applies.fetch_add(1, Ordering::Relaxed);
    }
}

impl LogLevels for Fixed {
    fn level(&self) -> String {
        self.level.lock().unwrap().clone()
    }

    fn set_level(&self, level: &str) -> Result<(), UserError> {
        if level == "loud" {
            return Err(UserError::new(ErrorCode::ValidationFailed, "no such level").with("field", "level"));
        }
        *self.level.lock().unwrap() = level.to_owned();
        Ok(())
    }
}

impl SoftStates for Fixed {
    fn replica(&self, _: &ReplicaId) -> SoftReplica {
        SoftReplica { last_health_at_ms: Some(11), last_attempt_at_ms: None, pull: Some((1, 2, 3, 4)) }
    }
}

impl LogSource for Fixed {
    fn read(
        &self,
        _node: NodeId,
        container_id: String,
        options: LogOptions,
        lines: mpsc::Sender<ReplicaLogLine>,
    ) -> BoxFuture<'static, Result<(), UserError>> {
        let readings = self.readings.clone();
        Box::pin(async move {
            if container_id.starts_with("broken") {
                return Err(UserError::new(ErrorCode::DockerError, "no such container"));
            }
            if container_id == "endless" {
                let line = ReplicaLogLine { stream: "stdout", ts_ms: 9, line: "again".to_owned() };
                while lines.send(line.clone()).await.is_ok() {}
                return Ok(());
            }
            if container_id == "twice" {
                // Ends like a container that is started again: each reading has one more line than the one before.
                let lives = readings.fetch_add(1, Ordering::Relaxed) + 1;
                for life in 1..=lives {
                    let line = ReplicaLogLine { stream: "stdout", ts_ms: life, line: format!("life {life}") };
                    let _ = lines.send(line).await;
                }
                return Ok(());
            }
            let line = ReplicaLogLine { stream: "stdout", ts_ms: 9, line: format!("from {container_id}") };
            // A receiver that is gone ends the reading, as in the real source.
            let _ = lines.send(line).await;
            if options.follow {
                lines.closed().await;
            }
            Ok(())
        })
    }
}

/// A server on a socket of its own.
struct Server {
    store: Arc<LocalStore>,
    channel: Channel,
    stop: CancellationToken,
    fixed: Arc<Fixed>,
    path: std::path::PathBuf,
    _folder: tempfile::TempDir,
    serving: tokio::task::JoinHandle<Result<(), ServeError>>,
}

/// Everything an API is made of, over this store.
fn parts(store: &Arc<LocalStore>, fixed: &Arc<Fixed>, limits: Limits) -> Parts {
    let clock = Arc::new(ManualClock::new(1_000_000));
    Parts {
        deployments: Deployments::new(store.clone(), clock),
        store: store.clone(),
        consensus: fixed.clone(),
        enrolment: None,
        loops: fixed.clone(),
        timings: fixed.clone(),
        log_levels: fixed.clone(),
        diagnostics: fixed.clone(),
        other_nodes: fixed.clone(),
        soft: fixed.clone(),
        logs: fixed.clone(),
        limits,
        reserved_ports: vec![7000],
        node: NodeId(1),
        hostname: Hostname::new("node-a").unwrap(),
        version: "1.2.3",
    }
}

impl Server {
    async fn start(test: TestStore, limits: Limits) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jaco.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let store: Arc<LocalStore> = test.store.clone();
        let fixed = Arc::new(Fixed::default());
        let api = Api::new(parts(&store, &fixed, limits));
        let stop = CancellationToken::new();
        #[allow(clippy::disallowed_methods)] // The test owns it, and awaits it in `end`.
        let serving = tokio::spawn(serve_unix(api, listener, stop.clone()));
        let channel = tonic::transport::Endpoint::try_from(format!("unix://{}", path.display()))
            .unwrap()
            .connect()
            .await
            .unwrap();
        Server { store, channel, stop, fixed, path, _folder: folder, serving }
    }

    async fn cluster() -> Server {
        Server::start(cluster_store(&["node-a"]), Limits::default()).await
    }

    fn deploy(&self) -> DeployClient<Channel> {
        DeployClient::new(self.channel.clone())
    }

    fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone())
    }

    fn write(&self, fill: impl FnOnce(&mut Transaction)) {
        let mut transaction = Transaction::new("test");
        fill(&mut transaction);
        self.store.commit(transaction).unwrap();
    }

    async fn apply(&self, jaco: &str, compose: &str) -> Result<v1::ApplyResponse, UserError> {
        let request =
            v1::ApplyRequest { jaco_yaml: jaco.to_owned(), compose_yaml: compose.to_owned(), ..Default::default() };
        self.deploy().apply(request).await.map(tonic::Response::into_inner).map_err(|status| from_status(&status))
    }

    async fn end(self) {
        self.stop.cancel();
        drop(self.channel);
        tokio::time::timeout(Duration::from_secs(5), self.serving).await.unwrap().unwrap().unwrap();
    }
}

const JACO: &str = "deployment: shop\nroutes: [{domain: shop.test, service: web, port: 80}]\n";
const COMPOSE: &str = "services:\n  web:\n    image: nginx:1\n    deploy: {replicas: 2}\n";

fn code<T: std::fmt::Debug>(result: Result<tonic::Response<T>, Status>) -> ErrorCode {
    from_status(&result.unwrap_err()).code
}

#[tokio::test]
async fn before_init_only_init_and_status_answer() {
    let server = Server::start(empty_store(), Limits::default()).await;
    let mut cluster = ClusterClient::new(server.channel.clone());
    let status = cluster.status(v1::ClusterStatusRequest {}).await.unwrap().into_inner();
    assert!(!status.initialized);
    let mut deploy = server.deploy();
    let uninitialized = ErrorCode::ClusterUninitialized;
    assert_eq!(server.apply(JACO, COMPOSE).await.unwrap_err().code, uninitialized);
    assert_eq!(code(deploy.rollback(v1::RollbackRequest::default()).await), uninitialized);
    assert_eq!(code(deploy.delete(v1::DeleteRequest::default()).await), uninitialized);
    assert_eq!(code(deploy.status(v1::StatusRequest::default()).await), uninitialized);
    assert_eq!(code(deploy.get_deployments(v1::GetDeploymentsRequest::default()).await), uninitialized);
    assert_eq!(code(deploy.get_deployment(v1::GetDeploymentRequest::default()).await), uninitialized);
    assert_eq!(code(deploy.get_replicas(v1::GetReplicasRequest::default()).await), uninitialized);
    assert_eq!(code(deploy.get_routes(v1::GetRoutesRequest::default()).await), uninitialized);
    assert_eq!(code(deploy.get_route(v1::GetRouteRequest::default()).await), uninitialized);
    assert_eq!(code(deploy.history(v1::HistoryRequest::default()).await), uninitialized);
    assert!(deploy.logs(v1::LogsRequest::default()).await.is_err());
    assert!(server.watch().subscribe(v1::SubscribeRequest::default()).await.is_err());
    let answer =
        cluster.init(v1::InitRequest { name: "prod".into(), ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(answer.cluster_name, "prod");
    server.end().await;
}

#[tokio::test]
async fn the_cluster_names_its_leader_and_members() {
    let server = Server::cluster().await;
    let mut cluster = ClusterClient::new(server.channel.clone());
    let status = cluster.status(v1::ClusterStatusRequest {}).await.unwrap().into_inner();
    assert!(status.initialized && status.quorum);
    assert_eq!(status.leader.as_deref(), Some("node-a"));
    assert_eq!(status.nodes.len(), 1);
    assert_eq!(status.nodes[0].suffrage(), v1::Suffrage::Voter);
    assert_eq!(status.nodes[0].status(), v1::NodeState::Ready);
    server.end().await;
}

#[tokio::test]
async fn a_session_too_many_is_told_so_and_works_once_there_is_room() {
    let server = Server::start(cluster_store(&["node-a"]), Limits { sessions: 1, ..Limits::default() }).await;
    let open = || {
        let endpoint = tonic::transport::Endpoint::try_from(format!("unix://{}", server.path.display())).unwrap();
        async move { ClusterClient::new(endpoint.connect().await.unwrap()) }
    };
    let mut first = ClusterClient::new(server.channel.clone());
    first.status(v1::ClusterStatusRequest {}).await.unwrap();
    let mut second = open().await;
    let error = from_status(&second.status(v1::ClusterStatusRequest {}).await.unwrap_err());
    assert_eq!((error.code, error.details["unit"].as_str()), (ErrorCode::RequestTooLarge, "sessions"));
    first.status(v1::ClusterStatusRequest {}).await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn applies_are_timed_whatever_their_end() {
    let server = Server::cluster().await;
    server.apply(JACO, COMPOSE).await.unwrap();
    server.apply("nonsense: [", COMPOSE).await.unwrap_err();
    assert_eq!(server.fixed.applies.load(Ordering::Relaxed), 2);
    server.end().await;
}

#[tokio::test]
async fn a_stop_ends_streams_that_would_go_on_for_ever() {
    let server = Server::cluster().await;
    let mut stream = server.watch().subscribe(v1::SubscribeRequest::default()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    server.end().await;
}
