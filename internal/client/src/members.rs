//! Connections between members: one per node, over the cluster's TLS, on the members' port.

use std::collections::HashMap;
use std::error::Error as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use jaco_identity::{Connector, ExpectedNode, TlsStream};
use jaco_proto::{MAX_MESSAGE_BYTES, v1};
use jaco_types::{NodeId, UserError};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint as ChannelEndpoint};
use tonic::{Response, Status, Streaming};

use v1::internal_client::InternalClient;

/// A TCP connection between members comes about at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection over a dead link is given up after these two: what hangs on it has its own, shorter deadline.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a member gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// No connection came about: it has certainly not seen the request.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// Why.
        reason: String,
    },
    /// It may have seen the request; no answer came.
    #[error("no answer from {address}: {reason}")]
    Lost {
        /// Where it is.
        address: String,
        /// Why.
        reason: String,
    },
    /// It answered with an error.
    #[error("{}", .0.message)]
    Answered(UserError),
}

/// Messages of a stream between members.
pub type MessageStream = Pin<Box<dyn Stream<Item = Result<Bytes, MemberError>> + Send>>;

/// The way to the other members. Cheap to clone; all clones share the connections, which open themselves again when they broke.
#[derive(Clone)]
pub struct Members {
    inner: Arc<Inner>,
}

struct Inner {
    connector: Connector,
    channels: Mutex<HashMap<(NodeId, String), Channel>>,
}

impl Members {
    /// With a connector that shows this node's certificate and trusts its cluster's authority.
    pub fn new(connector: Connector) -> Self {
        Members { inner: Arc::new(Inner { connector, channels: Mutex::new(HashMap::new()) }) }
    }

    /// One message of the control plane, one answer. Given up after `deadline`; it may have been carried out then.
    pub async fn call(
        &self,
        node: NodeId,
        address: &str,
        message: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, MemberError> {
        let mut client = self.client(node, address)?;
        Ok(within(address, deadline, client.peer(v1::PeerMessage { message })).await?.message)
    }

    /// A stream of messages, answered in their order. Ends with the messages, with the first failure, or when the answers are
    /// dropped.
    pub fn stream(
        &self,
        node: NodeId,
        address: String,
        messages: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    ) -> Pin<Box<dyn Future<Output = Result<MessageStream, MemberError>> + Send>> {
        let client = self.client(node, &address);
        let messages = Framed(messages);
        Box::pin(async move {
            let answers = match client?.peer_stream(messages).await {
                Ok(answers) => answers.into_inner(),
                Err(status) => return Err(failure(&address, &status)),
            };
            let answers: MessageStream =
                Box::pin(answers.map(move |answer| {
                    answer.map(|message| message.message).map_err(|status| failure(&address, &status))
                }));
            Ok(answers)
        })
    }

    /// Opens a session with the node that leads.
    pub fn session(
        &self,
        node: NodeId,
        address: String,
        messages: Pin<Box<dyn Stream<Item = v1::SessionRequest> + Send>>,
    ) -> Pin<Box<dyn Future<Output = Result<Streaming<v1::SessionResponse>, MemberError>> + Send>> {
        let client = self.client(node, &address);
        let messages = Session(messages);
        Box::pin(async move {
            match client?.session(messages).await {
                Ok(answers) => Ok(answers.into_inner()),
                Err(status) => Err(failure(&address, &status)),
            }
        })
    }

    /// Logs of a container on another node.
    pub async fn logs(
        &self,
        node: NodeId,
        address: &str,
        request: v1::NodeLogsRequest,
    ) -> Result<Streaming<v1::LogsResponse>, MemberError> {
        let mut client = self.client(node, address)?;
        let lines = client.logs(request).await.map_err(|status| failure(address, &status))?;
        Ok(lines.into_inner())
    }

    /// What another node's daemon says of itself.
    pub async fn node_status(
        &self,
        node: NodeId,
        address: &str,
        deadline: Duration,
    ) -> Result<v1::NodeStatusResponse, MemberError> {
        let mut client = self.client(node, address)?;
        within(address, deadline, client.node_status(v1::NodeStatusRequest::default())).await
    }

    /// Changes the log level of another node's daemon.
    pub async fn set_log_level(
        &self,
        node: NodeId,
        address: &str,
        request: v1::MemberLogLevelRequest,
        deadline: Duration,
    ) -> Result<v1::SetLogLevelResponse, MemberError> {
        let mut client = self.client(node, address)?;
        within(address, deadline, client.set_log_level(request)).await
    }

    /// What is needed to find out what is wrong with another node.
    pub async fn diagnose(
        &self,
        node: NodeId,
        address: &str,
        deadline: Duration,
    ) -> Result<v1::DiagnoseResponse, MemberError> {
        let mut client = self.client(node, address)?;
        within(address, deadline, client.diagnose(v1::DiagnoseRequest::default())).await
    }

    /// Asks a member for a new certificate of this node.
    pub async fn sign(
        &self,
        node: NodeId,
        address: &str,
        request: v1::SignNodeCertRequest,
        deadline: Duration,
    ) -> Result<v1::SignNodeCertResponse, MemberError> {
        let mut client = self.client(node, address)?;
        within(address, deadline, client.sign_node_cert(request)).await
    }

    /// Lets go of the connections to a node: it was removed, or is to show a new certificate.
    pub fn forget(&self, node: NodeId) {
        self.channels().retain(|(known, _), _| *known != node);
    }

    fn client(&self, node: NodeId, address: &str) -> Result<InternalClient<Channel>, MemberError> {
        let key = (node, address.to_owned());
        let known = self.channels().get(&key).cloned();
        let channel = match known {
            Some(channel) => channel,
            None => {
                let channel = self.channel(node, address)?;
                // One address per node: an old one must not keep a connection alive.
                let mut channels = self.channels();
                channels.retain(|(known, _), _| *known != node);
                channels.insert(key, channel.clone());
                channel
            }
        };
        let client = InternalClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(client.max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    fn channels(&self) -> std::sync::MutexGuard<'_, HashMap<(NodeId, String), Channel>> {
        self.inner.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn channel(&self, node: NodeId, address: &str) -> Result<Channel, MemberError> {
        let wrong = |error: tonic::transport::Error| MemberError::Unreachable {
            address: address.to_owned(),
            reason: error.to_string(),
        };
        let connector = self.inner.connector.clone();
        let to = address.to_owned();
        let open = tower::service_fn(move |_| open(connector.clone(), node, to.clone()));
        // The connector does the TLS; HTTP/2 wants an authority, and nobody reads it.
        let endpoint = ChannelEndpoint::from_shared(format!("http://{address}")).map_err(wrong)?;
        Ok(endpoint
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .connect_with_connector_lazy(open))
    }
}

/// Messages on their way out. A type of its own, since the compiler cannot see that a mapped stream may move between threads.
struct Framed(Pin<Box<dyn Stream<Item = Bytes> + Send>>);

impl Stream for Framed {
    type Item = v1::PeerMessage;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<v1::PeerMessage>> {
        self.0.as_mut().poll_next(context).map(|message| message.map(|message| v1::PeerMessage { message }))
    }
}

/// A session's messages; see [`Framed`].
struct Session(Pin<Box<dyn Stream<Item = v1::SessionRequest> + Send>>);

impl Stream for Session {
    type Item = v1::SessionRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<v1::SessionRequest>> {
        self.0.as_mut().poll_next(context)
    }
}

/// A connection to a member that was not made.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    Late,
    #[error("{0}")]
    Tcp(#[source] std::io::Error),
    #[error("{0}")]
    Tls(#[from] jaco_identity::ConnectError),
}

async fn open(connector: Connector, node: NodeId, address: String) -> Result<TokioIo<TlsStream<TcpStream>>, OpenError> {
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(&address)).await;
    let stream = connected.map_err(|_| OpenError::Late)?.map_err(OpenError::Tcp)?;
    stream.set_nodelay(true).map_err(OpenError::Tcp)?;
    Ok(TokioIo::new(connector.connect(stream, ExpectedNode::Only(node)).await?))
}

/// The answer to one question, or that it took too long.
async fn within<T>(
    address: &str,
    deadline: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, MemberError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(failure(address, &status)),
        Err(_elapsed) => {
            Err(MemberError::Lost { address: address.to_owned(), reason: format!("none within {deadline:?}") })
        }
    }
}

/// A status without our details is one that the transport made up.
fn failure(address: &str, status: &Status) -> MemberError {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<OpenError>() {
            return MemberError::Unreachable { address: address.to_owned(), reason: error.to_string() };
        }
        cause = error.source();
    }
    if status.details().is_empty() {
        return MemberError::Lost { address: address.to_owned(), reason: status.message().to_owned() };
    }
    MemberError::Answered(jaco_proto::from_status(status))
}
