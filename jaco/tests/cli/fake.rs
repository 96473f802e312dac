//! A daemon with canned answers on a Unix socket.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use jaco_proto::v1::audit_server::{Audit, AuditServer};
use jaco_proto::v1::cluster_server::{Cluster, ClusterServer};
use jaco_proto::v1::deploy_server::{Deploy, DeployServer};
use jaco_proto::v1::node_server::{Node, NodeServer};
use jaco_proto::v1::tokens_server::{Tokens, TokensServer};
use jaco_proto::v1::watch_server::{Watch, WatchServer};
use jaco_proto::v1::*;
use jaco_types::{ErrorCode, UserError};
use tokio::sync::{broadcast, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{BroadcastStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic::{Request, Response, Status};

use crate::tls;

type Stream<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

/// What the daemon says, and what it was asked.
pub struct Script {
    /// Errors that the next changes get before one succeeds.
    pub refusals: Mutex<VecDeque<UserError>>,
    /// Request ids of the changes that arrived, refused ones included.
    pub request_ids: Mutex<Vec<RequestId>>,
    /// The last `apply` that arrived.
    pub applied: Mutex<Option<ApplyRequest>>,
    /// What `apply` answers.
    pub apply: Mutex<ApplyResponse>,
    /// The state; `None` is `deployment_not_found`.
    pub status: Mutex<Option<StatusResponse>>,
    /// Log events; the stream goes on for ever when the request asks to follow.
    pub logs: Mutex<Vec<LogsResponse>>,
    /// Log streams end after their lines, also when the request asks to follow.
    pub logs_end: Mutex<bool>,
    /// What was asked for by `logs`.
    pub log_requests: Mutex<Vec<LogsRequest>>,
    /// The audit log; following goes on for ever after it.
    pub audit: Mutex<Vec<AuditEvent>>,
    /// What was asked for by `audit`.
    pub audit_requests: Mutex<Vec<AuditQueryRequest>>,
    /// What `backup` answers.
    pub backup: Mutex<Vec<BackupResponse>>,
    /// What `cluster init` was asked for.
    pub init: Mutex<Option<InitRequest>>,
    /// Questions for the status that are answered with "no cluster" before the cluster is there.
    pub beginning: Mutex<usize>,
    /// What `node join` was asked for.
    pub joined: Mutex<Option<NodeJoinRequest>>,
    /// What `node issue-join-token` was asked for.
    pub join_token: Mutex<Option<IssueJoinTokenRequest>>,
    /// What `token issue` was asked for.
    pub issued: Mutex<Option<IssueTokenRequest>>,
    /// What `node remove` was asked for.
    pub removed: Mutex<Option<NodeRemoveRequest>>,
    /// What `node progress` says, one after the other; the last one stays.
    pub progress: Mutex<VecDeque<NodeProgressResponse>>,
    /// The `authorization` of each call that came over TLS.
    pub authorizations: Mutex<Vec<Option<String>>>,
    /// Never answers `cluster status`.
    pub hangs: Mutex<bool>,
    /// Says with reads that it has been without a majority for so long, milliseconds.
    pub stale: Mutex<Option<u64>>,
    /// The members.
    pub members: Mutex<Vec<Member>>,
    /// What the members' daemons say; one that is not here does not answer.
    pub diagnoses: Mutex<BTreeMap<String, Vec<DiagnosticFile>>>,
    events: Mutex<Option<broadcast::Sender<()>>>,
    watchers: Mutex<usize>,
}

impl Script {
    /// Sets the state and tells the watchers.
    pub fn change(&self, status: StatusResponse) {
        *self.status.lock().unwrap() = Some(status);
        self.events.lock().unwrap().as_ref().unwrap().send(()).ok();
    }

    /// Ends every watch and refuses new ones.
    pub fn end_watches(&self) {
        *self.events.lock().unwrap() = None;
    }

    /// How many watches were begun.
    pub fn watchers(&self) -> usize {
        *self.watchers.lock().unwrap()
    }

    fn note_authorization<T>(&self, request: &Request<T>) {
        let value = request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        self.authorizations.lock().unwrap().push(value);
    }

    /// An answer that was read, marked as old when the script says so.
    fn read<T>(&self, answer: T) -> Response<T> {
        let mut response = Response::new(answer);
        if let Some(millis) = *self.stale.lock().unwrap() {
            response.metadata_mut().insert(jaco_proto::STALE_HEADER, millis.into());
        }
        response
    }

    fn arrived(&self, id: Option<RequestId>) -> Result<(), Status> {
        self.request_ids.lock().unwrap().push(id.expect("a change has a request id"));
        match self.refusals.lock().unwrap().pop_front() {
            Some(error) => Err(jaco_proto::to_status(&error)),
            None => Ok(()),
        }
    }
}

/// A running fake daemon; it stops when dropped.
pub struct Fake {
    pub script: Arc<Script>,
    directory: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// Starts one, with an empty state.
    pub fn start() -> Fake {
        let directory = tempfile::tempdir().unwrap();
        let script = Arc::new(Script {
            refusals: Mutex::default(),
            request_ids: Mutex::default(),
            applied: Mutex::default(),
            apply: Mutex::new(apply_answer()),
            status: Mutex::new(Some(StatusResponse::default())),
            logs: Mutex::default(),
            logs_end: Mutex::default(),
            log_requests: Mutex::default(),
            audit: Mutex::default(),
            audit_requests: Mutex::default(),
            backup: Mutex::default(),
            init: Mutex::default(),
            beginning: Mutex::default(),
            joined: Mutex::default(),
            join_token: Mutex::default(),
            issued: Mutex::default(),
            removed: Mutex::default(),
            progress: Mutex::default(),
            authorizations: Mutex::default(),
            hangs: Mutex::default(),
            stale: Mutex::default(),
            members: Mutex::new(vec![member()]),
            diagnoses: Mutex::default(),
            events: Mutex::new(Some(broadcast::channel(16).0)),
            watchers: Mutex::default(),
        });
        let (stop, thread) = serve(script.clone(), directory.path().join("jaco.sock"));
        Fake { script, directory, stop: Some(stop), thread: Some(thread) }
    }

    /// Breaks every connection and refuses new ones, as a daemon that was killed.
    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).ok();
        self.thread.take().unwrap().join().unwrap();
        std::fs::remove_file(self.socket()).unwrap();
    }

    /// Serves again after a stop.
    pub fn start_again(&mut self) {
        let (stop, thread) = serve(self.script.clone(), self.socket());
        (self.stop, self.thread) = (Some(stop), Some(thread));
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        Path::new(self.directory.path()).join("jaco.sock")
    }
}

fn serve(script: Arc<Script>, path: PathBuf) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let service = Service(script);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::UnixListener::bind(path).unwrap();
            ready.send(()).unwrap();
            let serving = router(&service).serve_with_incoming(UnixListenerStream::new(listener));
            tokio::select! {
                result = serving => result.unwrap(),
                _ = stopped => {}
            }
        });
    });
    is_ready.recv().unwrap();
    (stop, thread)
}

fn router(service: &Service) -> Router {
    Server::builder()
        .add_service(AuditServer::new(service.clone()))
        .add_service(ClusterServer::new(service.clone()))
        .add_service(DeployServer::new(service.clone()))
        .add_service(NodeServer::new(service.clone()))
        .add_service(TokensServer::new(service.clone()))
        .add_service(WatchServer::new(service.clone()))
}

/// The same daemon's port for remote clients, as long as this lives.
pub struct Remote {
    pub address: std::net::SocketAddr,
    /// PEM of the authority's certificate.
    pub authority: String,
    /// Its fingerprint.
    pub fingerprint: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Remote {
    /// Serves a fake's answers over TLS.
    pub fn start(fake: &Fake) -> Remote {
        let (authority, acceptor) = tls::acceptor();
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let service = Service(fake.script.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener)
                    .then(move |stream| tls::accept(acceptor.clone(), stream));
                tokio::select! {
                    result = router(&service).serve_with_incoming(incoming) => result.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        let address = is_ready.recv().unwrap();
        let fingerprint = authority.fingerprint().to_string();
        let authority = authority.to_pem();
        Remote { address, authority, fingerprint, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            stop.send(()).ok();
            thread.join().ok();
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            stop.send(()).ok();
            thread.join().ok();
        }
    }
}

/// Revision 5 of `shop`, attempt 8, at index 90.
pub fn apply_answer() -> ApplyResponse {
    ApplyResponse {
        deployment: "shop".into(),
        applied_revision: 5,
        previous_revision: Some(4),
        changed: true,
        diff: Some(Diff { adds: vec![DiffItem { kind: "service".into(), name: "web".into() }], ..Diff::default() }),
        remarks: Vec::new(),
        index: 90,
        attempt: 8,
    }
}

/// The state of `shop` with one replica.
pub fn state(status: DeploymentStatus, replica: ReplicaState) -> StatusResponse {
    StatusResponse {
        deployments: vec![Deployment {
            name: "shop".into(),
            applied_revision: 5,
            previous_revision: Some(4),
            status: status.into(),
            attempt: 8,
            ..Deployment::default()
        }],
        replicas: vec![Replica {
            id: "shop-web-0".into(),
            deployment: "shop".into(),
            service: "web".into(),
            index: "0".into(),
            state: replica.into(),
            host: "n1".into(),
            image: "web:1".into(),
            revision: 5,
            spec_current: true,
            attempt: 8,
            ..Replica::default()
        }],
        index: 90,
        ..StatusResponse::default()
    }
}

/// The fingerprint of the authority.
pub const FINGERPRINT: &str = "abababababababababababababababababababababababababababababababab";

/// The only node.
pub fn member() -> Member {
    Member {
        hostname: "n1".into(),
        address: "10.0.0.1".into(),
        grpc_address: "10.0.0.1:7000".into(),
        status: NodeState::Joining.into(),
        suffrage: Suffrage::Voter.into(),
        version: "0.0.1".into(),
        ..Member::default()
    }
}

/// A log line.
pub fn line(text: &str) -> LogsResponse {
    let line = LogLine {
        replica_id: "shop-web-0".into(),
        host: "n1".into(),
        stream: "stdout".into(),
        ts_ms: 1_700_000_000_000,
        line: text.into(),
    };
    LogsResponse { event: Some(logs_response::Event::Line(line)) }
}

#[derive(Clone)]
struct Service(Arc<Script>);

fn not_found() -> Status {
    let error = UserError::new(ErrorCode::DeploymentNotFound, "there is no deployment \"shop\"");
    jaco_proto::to_status(&error.with("deployment", "shop"))
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not part of the fake"))
}

#[tonic::async_trait]
impl Cluster for Service {
    async fn init(&self, request: Request<InitRequest>) -> Result<Response<InitResponse>, Status> {
        let request = request.into_inner();
        let signed = !request.operator_certificate_request.is_empty();
        let answer = InitResponse {
            cluster_id: "c0ffee".into(),
            cluster_name: request.name.clone(),
            ca_fingerprint: FINGERPRINT.into(),
            ca_certificate: "THE CA\n".into(),
            operator_certificate: if signed { "THE CERTIFICATE\n".into() } else { String::new() },
            grpc_address: "10.0.0.1:7000".into(),
        };
        *self.0.init.lock().unwrap() = Some(request);
        *self.0.beginning.lock().unwrap() = 2;
        Ok(Response::new(answer))
    }

    async fn join(&self, _: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        not_here()
    }

    type BackupStream = Stream<BackupResponse>;

    async fn backup(&self, _: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let pieces = self.0.backup.lock().unwrap().clone();
        Ok(Response::new(Box::pin(tokio_stream::iter(pieces.into_iter().map(Ok)))))
    }

    async fn rotate_key(&self, request: Request<RotateKeyRequest>) -> Result<Response<RotateKeyResponse>, Status> {
        self.0.arrived(request.into_inner().request_id)?;
        Ok(Response::new(RotateKeyResponse { epoch: 4 }))
    }

    async fn node_join(&self, request: Request<NodeJoinRequest>) -> Result<Response<NodeJoinResponse>, Status> {
        *self.0.joined.lock().unwrap() = Some(request.into_inner());
        *self.0.beginning.lock().unwrap() = 2;
        Ok(Response::new(NodeJoinResponse { cluster_id: "c0ffee".into(), hostname: "n1".into() }))
    }

    async fn issue_join_token(
        &self,
        request: Request<IssueJoinTokenRequest>,
    ) -> Result<Response<IssueJoinTokenResponse>, Status> {
        let request = request.into_inner();
        self.0.arrived(request.request_id.clone())?;
        *self.0.join_token.lock().unwrap() = Some(request);
        let answer = IssueJoinTokenResponse {
            expires_at_ms: 1_700_000_000_000,
            peer_addrs: vec!["10.0.0.1:7000".into(), "10.0.0.2:7000".into()],
            ca_fingerprint: FINGERPRINT.into(),
            ca_certificate: "THE CA\n".into(),
        };
        Ok(Response::new(answer))
    }

    async fn node_list(&self, _: Request<NodeListRequest>) -> Result<Response<NodeListResponse>, Status> {
        Ok(self.0.read(NodeListResponse { nodes: self.0.members.lock().unwrap().clone() }))
    }

    async fn node_drain(&self, request: Request<NodeDrainRequest>) -> Result<Response<NodeOperationResponse>, Status> {
        let request = request.into_inner();
        self.0.arrived(request.request_id)?;
        Ok(Response::new(NodeOperationResponse { hostname: request.hostname }))
    }

    async fn node_uncordon(
        &self,
        request: Request<NodeUncordonRequest>,
    ) -> Result<Response<NodeOperationResponse>, Status> {
        let request = request.into_inner();
        self.0.arrived(request.request_id)?;
        Ok(Response::new(NodeOperationResponse { hostname: request.hostname }))
    }

    async fn node_remove(
        &self,
        request: Request<NodeRemoveRequest>,
    ) -> Result<Response<NodeOperationResponse>, Status> {
        let request = request.into_inner();
        self.0.arrived(request.request_id.clone())?;
        *self.0.removed.lock().unwrap() = Some(request.clone());
        Ok(Response::new(NodeOperationResponse { hostname: request.hostname }))
    }

    async fn node_progress(&self, _: Request<NodeProgressRequest>) -> Result<Response<NodeProgressResponse>, Status> {
        let mut progress = self.0.progress.lock().unwrap();
        let answer = if progress.len() > 1 { progress.pop_front() } else { progress.front().cloned() };
        if !progress.is_empty() {
            // Something changes while somebody looks.
            self.0.events.lock().unwrap().as_ref().unwrap().send(()).ok();
        }
        Ok(Response::new(answer.unwrap()))
    }

    async fn status(&self, request: Request<ClusterStatusRequest>) -> Result<Response<ClusterStatusResponse>, Status> {
        self.0.note_authorization(&request);
        if *self.0.hangs.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        {
            let mut beginning = self.0.beginning.lock().unwrap();
            if *beginning > 0 {
                *beginning -= 1;
                return Ok(Response::new(ClusterStatusResponse::default()));
            }
        }
        let answer = ClusterStatusResponse {
            initialized: true,
            raft_index: 41,
            quorum: true,
            nodes: self.0.members.lock().unwrap().clone(),
            ..Default::default()
        };
        Ok(self.0.read(answer))
    }
}

#[tonic::async_trait]
impl Tokens for Service {
    async fn issue(&self, request: Request<IssueTokenRequest>) -> Result<Response<IssueTokenResponse>, Status> {
        let request = request.into_inner();
        self.0.arrived(request.request_id.clone())?;
        let signed = !request.certificate_request.is_empty();
        let answer = IssueTokenResponse {
            identity: request.identity.clone(),
            issued_at_ms: 1_700_000_000_000,
            role: request.role,
            certificate: if signed { "THE CERTIFICATE\n".into() } else { String::new() },
            ca_certificate: "THE CA\n".into(),
        };
        *self.0.issued.lock().unwrap() = Some(request);
        Ok(Response::new(answer))
    }

    async fn revoke(&self, request: Request<RevokeTokenRequest>) -> Result<Response<RevokeTokenResponse>, Status> {
        let request = request.into_inner();
        self.0.arrived(request.request_id)?;
        let answer = RevokeTokenResponse { identity: request.identity, revoked_at_ms: 1_700_000_000_000 };
        Ok(Response::new(answer))
    }

    async fn list(&self, _: Request<ListTokensRequest>) -> Result<Response<ListTokensResponse>, Status> {
        let token = |identity: &str, role: Role, revoked_at_ms| OperatorToken {
            identity: identity.into(),
            role: role.into(),
            issued_at_ms: 1_700_000_000_000,
            revoked_at_ms,
            allows_privileged: identity == "ops",
        };
        let tokens = vec![token("ci", Role::Deployer, Some(1_700_000_001_000)), token("ops", Role::Admin, None)];
        Ok(Response::new(ListTokensResponse { tokens }))
    }
}

#[tonic::async_trait]
impl Deploy for Service {
    type LogsStream = Stream<LogsResponse>;

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        let request = request.into_inner();
        *self.0.applied.lock().unwrap() = Some(request.clone());
        if !request.dry_run {
            self.0.arrived(request.request_id)?;
        }
        Ok(Response::new(self.0.apply.lock().unwrap().clone()))
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Result<Response<RollbackResponse>, Status> {
        let request = request.into_inner();
        self.0.arrived(request.request_id)?;
        let answer = RollbackResponse {
            deployment: request.deployment,
            revision: request.to.unwrap_or(4),
            ..Default::default()
        };
        Ok(Response::new(answer))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let request = request.into_inner();
        self.0.arrived(request.request_id)?;
        Ok(Response::new(DeleteResponse { deployment: request.deployment, index: 91 }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let status = self.0.status.lock().unwrap().clone();
        status.map(|status| self.0.read(status)).ok_or_else(not_found)
    }

    async fn get_deployments(
        &self,
        _: Request<GetDeploymentsRequest>,
    ) -> Result<Response<GetDeploymentsResponse>, Status> {
        let status = self.0.status.lock().unwrap().clone().unwrap_or_default();
        Ok(self.0.read(GetDeploymentsResponse { deployments: status.deployments }))
    }

    async fn get_deployment(
        &self,
        _: Request<GetDeploymentRequest>,
    ) -> Result<Response<GetDeploymentResponse>, Status> {
        Err(not_found())
    }

    async fn get_replicas(&self, _: Request<GetReplicasRequest>) -> Result<Response<GetReplicasResponse>, Status> {
        let status = self.0.status.lock().unwrap().clone().unwrap_or_default();
        Ok(Response::new(GetReplicasResponse { replicas: status.replicas }))
    }

    async fn get_routes(&self, _: Request<GetRoutesRequest>) -> Result<Response<GetRoutesResponse>, Status> {
        Ok(Response::new(GetRoutesResponse::default()))
    }

    async fn get_route(&self, _: Request<GetRouteRequest>) -> Result<Response<GetRouteResponse>, Status> {
        not_here()
    }

    async fn history(&self, _: Request<HistoryRequest>) -> Result<Response<HistoryResponse>, Status> {
        Err(not_found())
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let request = request.into_inner();
        let follow = request.follow;
        self.0.log_requests.lock().unwrap().push(request);
        if self.0.status.lock().unwrap().is_none() {
            return Err(not_found());
        }
        let events = tokio_stream::iter(self.0.logs.lock().unwrap().clone().into_iter().map(Ok));
        if follow && !*self.0.logs_end.lock().unwrap() {
            return Ok(Response::new(Box::pin(events.chain(tokio_stream::pending()))));
        }
        Ok(Response::new(Box::pin(events)))
    }
}

/// An event at this index.
pub fn audit_event(raft_index: u64, kind: &str, payload: &[(&str, &str)]) -> AuditEvent {
    AuditEvent {
        r#type: kind.into(),
        identity: "local".into(),
        ts_ms: 1_700_000_000_000,
        raft_index,
        sequence: 0,
        payload: payload.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

#[tonic::async_trait]
impl Audit for Service {
    type QueryStream = Stream<AuditQueryResponse>;

    async fn query(&self, request: Request<AuditQueryRequest>) -> Result<Response<Self::QueryStream>, Status> {
        let request = request.into_inner();
        self.0.audit_requests.lock().unwrap().push(request.clone());
        let after = request.after.map_or(0, |place| place.raft_index);
        let mut events = self.0.audit.lock().unwrap().clone();
        events.retain(|event| event.raft_index > after);
        let reached = events.last().map(|event| AuditPlace { raft_index: event.raft_index, sequence: 0 });
        let first = tokio_stream::once(Ok(AuditQueryResponse { events, reached }));
        if request.follow {
            return Ok(Response::new(Box::pin(first.chain(tokio_stream::pending()))));
        }
        Ok(Response::new(Box::pin(first)))
    }
}

#[tonic::async_trait]
impl Node for Service {
    async fn status(&self, request: Request<NodeStatusRequest>) -> Result<Response<NodeStatusResponse>, Status> {
        let hostname = request.into_inner().hostname;
        let answer = NodeStatusResponse {
            hostname: if hostname.is_empty() { "n1".into() } else { hostname },
            version: "0.0.1".into(),
            status: NodeState::Ready.into(),
            log_level: "info".into(),
            ..Default::default()
        };
        Ok(Response::new(answer))
    }

    async fn set_log_level(
        &self,
        request: Request<SetLogLevelRequest>,
    ) -> Result<Response<SetLogLevelResponse>, Status> {
        let SetLogLevelRequest { level, hostname } = request.into_inner();
        let hostname = if hostname.is_empty() { "n1".to_owned() } else { hostname };
        Ok(Response::new(SetLogLevelResponse { level, hostname }))
    }

    async fn diagnose(&self, request: Request<DiagnoseRequest>) -> Result<Response<DiagnoseResponse>, Status> {
        let hostname = request.into_inner().hostname;
        let hostname = if hostname.is_empty() { "n1".to_owned() } else { hostname };
        if let Some(error) = self.0.refusals.lock().unwrap().pop_front() {
            return Err(jaco_proto::to_status(&error));
        }
        match self.0.diagnoses.lock().unwrap().get(&hostname) {
            Some(files) => Ok(Response::new(DiagnoseResponse { hostname, files: files.clone() })),
            None => {
                let error = UserError::new(ErrorCode::Unreachable, format!("{hostname} does not answer"));
                Err(jaco_proto::to_status(&error))
            }
        }
    }
}

#[tonic::async_trait]
impl Watch for Service {
    type SubscribeStream = Stream<SubscribeResponse>;

    async fn subscribe(&self, _: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        let Some(events) = self.0.events.lock().unwrap().as_ref().map(broadcast::Sender::subscribe) else {
            return Err(Status::unavailable("going away"));
        };
        *self.0.watchers.lock().unwrap() += 1;
        let event = |event| SubscribeResponse { cursor: None, event: Some(event) };
        let first = tokio_stream::once(Ok(event(subscribe_response::Event::Resync(Resync::default()))));
        let later = BroadcastStream::new(events)
            .map(move |_| Ok(event(subscribe_response::Event::Changes(Changes::default()))));
        Ok(Response::new(Box::pin(first.chain(later))))
    }
}
