//! `Internal`: what members ask of each other, on the members' port.
//!
//! The connection proves who the caller is; whether it is a member is judged at every call, by node id and public key, so that a
//! removed node is told so by any member and gets nothing else.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jaco_controlplane::PeerService;
use jaco_identity::{Acceptor, PeerIdentity};
use jaco_proto::v1::internal_server::{Internal, InternalServer};
use jaco_proto::{MAX_MESSAGE_BYTES, to_status, v1};
use jaco_state::{BoxFuture, Store, View};
use jaco_types::{ErrorCode, NodeId, UserError};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::Api;
use crate::access::judge_node;
use crate::answer_stream::AnswerStream;
use crate::bounded::Bounded;
use crate::serve::ServeError;
use crate::tls_listener::{PortLimits, TlsPeer, accept};

/// Messages of a stream that wait for the network.
const STREAM_BUFFER: usize = 16;

/// A member, as judged by the store at the moment of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberCaller {
    /// Which node.
    pub node: NodeId,
    /// SHA-256 of the key it proved to hold, lower-case hex.
    pub public_key: String,
}

/// The leader's side of the nodes' sessions.
pub trait SessionHost: Send + Sync + 'static {
    /// Serves one session until either side ends it. The first message is a hello.
    fn session(
        &self,
        caller: MemberCaller,
        messages: Streaming<v1::SessionRequest>,
    ) -> BoxFuture<'_, Result<AnswerStream<v1::SessionResponse>, Status>>;
}

/// Signs members' certificates.
pub trait CertificateSigner: Send + Sync + 'static {
    /// A new certificate for this member; the key may be a new one.
    fn sign_node(&self, caller: MemberCaller, request: Vec<u8>) -> BoxFuture<'_, Result<String, UserError>>;
}

/// Logs of this node's containers for other members.
pub trait NodeLogs: Send + Sync + 'static {
    /// The lines, until they end or the receiver goes.
    fn logs(&self, request: v1::NodeLogsRequest) -> AnswerStream<v1::LogsResponse>;
}

/// What the service is made of.
pub struct InternalParts {
    /// The replicated store, for judging who is a member.
    pub store: Arc<dyn Store>,
    /// Where consensus takes its messages.
    pub peers: Arc<dyn PeerService>,
    /// Sessions.
    pub sessions: Arc<dyn SessionHost>,
    /// Certificates.
    pub signer: Arc<dyn CertificateSigner>,
    /// Logs.
    pub logs: Arc<dyn NodeLogs>,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct InternalApi {
    parts: Arc<InternalParts>,
    /// Answers what other members ask about this daemon; absent where there is none around the store.
    daemon: Option<Api>,
}

impl InternalApi {
    /// Puts it together.
    pub fn new(parts: InternalParts) -> Self {
        InternalApi { parts: Arc::new(parts), daemon: None }
    }

    /// The same, which also answers what other members' operators ask about this daemon.
    #[must_use]
    pub fn with_daemon(self, api: Api) -> Self {
        InternalApi { daemon: Some(api), ..self }
    }

    fn daemon(&self) -> Result<&Api, Status> {
        self.daemon.as_ref().ok_or_else(|| {
            to_status(&UserError::new(ErrorCode::NotSupportedYet, "this member has a store and nothing else"))
        })
    }

    fn caller<T>(&self, request: &Request<T>) -> Result<MemberCaller, Status> {
        let peer = request.extensions().get::<TlsPeer>();
        let identity = peer.map(|peer| &*peer.identity);
        judge(&self.parts.store.view(), identity).map_err(|error| to_status(&error))
    }
}

/// Whether the holder of a verified certificate is a member now.
///
/// A view that knows no cluster yet is that of a node which has just joined and gets its state from its peers: it takes any node
/// that the authority has signed.
pub(crate) fn judge(view: &View, identity: Option<&PeerIdentity>) -> Result<MemberCaller, UserError> {
    let Some(PeerIdentity::Node { node_id, public_key, incarnation, expired: false, .. }) = identity else {
        return Err(UserError::new(ErrorCode::PermissionDenied, "this port serves members of the cluster only"));
    };
    let caller = MemberCaller { node: *node_id, public_key: public_key.to_string() };
    judge_node(view, caller.node, &caller.public_key, *incarnation)?;
    Ok(caller)
}

#[tonic::async_trait]
impl Internal for InternalApi {
    async fn peer(&self, request: Request<v1::PeerMessage>) -> Result<Response<v1::PeerMessage>, Status> {
        let caller = self.caller(&request)?;
        let message = self.parts.peers.receive_encoded(caller.node, request.into_inner().message).await;
        Ok(Response::new(v1::PeerMessage { message }))
    }

    type PeerStreamStream = AnswerStream<v1::PeerMessage>;

    async fn peer_stream(
        &self,
        request: Request<Streaming<v1::PeerMessage>>,
    ) -> Result<Response<Self::PeerStreamStream>, Status> {
        let caller = self.caller(&request)?;
        let service = self.clone();
        let peer = request.extensions().get::<TlsPeer>().cloned();
        // Judged at every message: a stream outlives a removal otherwise. A connection that broke ends the messages.
        let mut incoming = request.into_inner();
        let messages = futures_util::stream::poll_fn(move |context| {
            incoming.poll_next_unpin(context).map(|message| {
                let identity = peer.as_ref().map(|peer| &*peer.identity);
                judge(&service.parts.store.view(), identity).ok()?;
                message?.ok().map(|message| message.message)
            })
        });
        let answers = self.parts.peers.receive_stream_encoded(caller.node, Box::pin(messages));
        Ok(Response::new(Box::pin(answers.map(|message| Ok(v1::PeerMessage { message })))))
    }

    type SessionStream = AnswerStream<v1::SessionResponse>;

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(self.parts.sessions.session(caller, request.into_inner()).await?))
    }

    async fn sign_node_cert(
        &self,
        request: Request<v1::SignNodeCertRequest>,
    ) -> Result<Response<v1::SignNodeCertResponse>, Status> {
        let caller = self.caller(&request)?;
        let signed = self.parts.signer.sign_node(caller, request.into_inner().certificate_request).await;
        let certificate = signed.map_err(|error| to_status(&error))?;
        Ok(Response::new(v1::SignNodeCertResponse { certificate }))
    }

    type LogsStream = AnswerStream<v1::LogsResponse>;

    async fn logs(&self, request: Request<v1::NodeLogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        self.caller(&request)?;
        Ok(Response::new(self.parts.logs.logs(request.into_inner())))
    }

    async fn node_status(
        &self,
        request: Request<v1::NodeStatusRequest>,
    ) -> Result<Response<v1::NodeStatusResponse>, Status> {
        self.caller(&request)?;
        Ok(Response::new(self.daemon()?.own_status()))
    }

    async fn set_log_level(
        &self,
        request: Request<v1::MemberLogLevelRequest>,
    ) -> Result<Response<v1::SetLogLevelResponse>, Status> {
        self.caller(&request)?;
        let v1::MemberLogLevelRequest { level, actor } = request.into_inner();
        let answer = self.daemon()?.set_own_log_level(&level, &actor);
        answer.map(Response::new).map_err(|error| to_status(&error))
    }

    async fn diagnose(&self, request: Request<v1::DiagnoseRequest>) -> Result<Response<v1::DiagnoseResponse>, Status> {
        self.caller(&request)?;
        Ok(Response::new(self.daemon()?.own_diagnosis().await))
    }
}

/// Serves the members' port until `stop`.
///
/// # Errors
/// The listener or the HTTP/2 server failed.
pub async fn serve_members(
    api: InternalApi,
    listener: TcpListener,
    acceptor: Acceptor,
    limits: PortLimits,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let (connections, incoming) = mpsc::channel(STREAM_BUFFER);
    let closed = CancellationToken::new();
    let _closes = closed.clone().drop_guard();
    let bounded = move |session: std::io::Result<_>| session.map(|session| Bounded::new(session, None, &closed));
    let incoming = ReceiverStream::new(incoming).map(bounded);
    let service = InternalServer::new(api)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(2)))
        .http2_keepalive_timeout(Some(Duration::from_secs(3)))
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(4 << 20))
        .add_service(service)
        .serve_with_incoming(incoming);
    let accept = accept(listener, acceptor, limits, connections, stop.clone());
    tokio::select! {
        result = async { tokio::try_join!(
            async { server.await.map_err(ServeError::Transport) },
            async { accept.await.map_err(ServeError::Accept) },
        ) } => result.map(|_| ()),
        // Members' streams never end by themselves, and nothing in them needs a farewell.
        () = stop.cancelled() => Ok(()),
    }
}
