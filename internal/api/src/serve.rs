//! Answering: on the control socket, and over TLS on the API's port. Both have the same services behind the same guard.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jaco_identity::Acceptor;
use jaco_proto::MAX_MESSAGE_BYTES;
use jaco_proto::v1::audit_server::AuditServer;
use jaco_proto::v1::cluster_server::ClusterServer;
use jaco_proto::v1::deploy_server::DeployServer;
use jaco_proto::v1::internal_server::InternalServer;
use jaco_proto::v1::node_server::NodeServer;
use jaco_proto::v1::tokens_server::TokensServer;
use jaco_proto::v1::watch_server::WatchServer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::Api;
use crate::bounded::Bounded;
use crate::caller::Peer;
use crate::guard::Guard;
use crate::renewal::Renewal;
use crate::tls_listener::{self, PortLimits};

/// Connections that wait to be served.
const WAITING: usize = 16;
/// Calls at once on one connection; further ones wait for their turn.
const CALLS_PER_CONNECTION: u32 = 256;
/// Bytes of the headers of one call: a bearer token and little else.
const HEADER_BYTES: u32 = 16 * 1024;
/// A connection that says nothing for this long after its handshake is closed.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// A peer that answers no ping within the second of these is gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The HTTP/2 server failed.
    #[error("serving the API failed")]
    Transport(#[from] tonic::transport::Error),
    /// The listener takes no connections.
    #[error("the listener takes no connections")]
    Accept(#[source] std::io::Error),
}

/// Serves the API on a Unix socket until `stop`; then no call is taken, and those under way have the limits' `drain` to end, after which
/// every connection is closed. Cancelling the future closes them at once.
///
/// # Errors
/// The listener or the HTTP/2 server failed.
pub async fn serve_unix(api: Api, listener: UnixListener, stop: CancellationToken) -> Result<(), ServeError> {
    let (connections, incoming) = mpsc::channel(WAITING);
    let accept = accept(listener, api.parts().limits.sessions, connections, stop.clone());
    Box::pin(serve(api, incoming, None, accept, stop)).await
}

/// Serves the API over TLS on a port until `stop`, as [`serve_unix`] does on the socket. A client certificate is optional; who may call
/// what is judged at every call.
///
/// A connection over the limits, one whose handshake fails or takes too long, and one that then says nothing for ten seconds is
/// closed.
///
/// # Errors
/// The listener or the HTTP/2 server failed.
pub async fn serve_tls(
    api: Api,
    listener: TcpListener,
    acceptor: Acceptor,
    limits: PortLimits,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let (connections, incoming) = mpsc::channel(WAITING);
    let accept = tls_listener::accept(listener, acceptor, limits, connections, stop.clone());
    let accept = async { accept.await.map_err(ServeError::Accept) };
    Box::pin(serve(api, incoming, Some(FIRST_WORD), accept, stop)).await
}

async fn serve<I>(
    api: Api,
    incoming: mpsc::Receiver<io::Result<I>>,
    first_word: Option<Duration>,
    accept: impl Future<Output = Result<(), ServeError>>,
    stop: CancellationToken,
) -> Result<(), ServeError>
where
    I: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let limits = api.parts().limits.clone();
    let closed = CancellationToken::new();
    let _closes = closed.clone().drop_guard();
    let bounded = move |session: io::Result<I>| session.map(|session| Bounded::new(session, first_word, &closed));
    let incoming = ReceiverStream::new(incoming).map(bounded);
    let guard = Guard::new(api.parts().store.clone(), api.parts().consensus.clone());
    let deploy = DeployServer::new(api.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(usize::MAX);
    let watch = WatchServer::new(api.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(usize::MAX);
    let server = Server::builder()
        .timeout(limits.call_deadline)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(CALLS_PER_CONNECTION)
        .http2_max_header_list_size(HEADER_BYTES)
        .layer(guard.clone())
        .add_service(AuditServer::new(api.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(ClusterServer::new(api.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(deploy)
        .add_service(InternalServer::new(Renewal(api.clone())).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(NodeServer::new(api.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(TokensServer::new(api).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(watch)
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    let drained = async {
        stop.cancelled().await;
        tokio::time::sleep(limits.drain).await;
    };
    // It ends with the store, and then nothing changes any more.
    let guarding = async {
        guard.run().await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = async { tokio::try_join!(async { server.await.map_err(ServeError::Transport) }, accept) } => result.map(|_| ()),
        // Streams that watch for ever do not keep the daemon from ending.
        () = drained => Ok(()),
        () = guarding => Ok(()),
    }
}
/// Connections beyond the limit of sessions that are told so at a time; more wait in the kernel's queue.
const REFUSALS: usize = 64;

/// Takes connections. One beyond the limit of sessions is taken too, to be told so.
async fn accept(
    listener: UnixListener,
    limit: usize,
    connections: mpsc::Sender<Result<Session, std::io::Error>>,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let sessions = Arc::new(Semaphore::new(limit));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    loop {
        let next = async {
            let refusal = refusals.clone().acquire_owned().await.map_err(std::io::Error::other)?;
            let (stream, _) = listener.accept().await?;
            let (permit, over_limit) = match sessions.clone().try_acquire_owned() {
                Ok(permit) => (permit, None),
                Err(_) => (refusal, Some(limit)),
            };
            Ok::<_, std::io::Error>(Session { stream, over_limit, _permit: permit })
        };
        let session = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            session = next => session,
        };
        match session {
            Ok(session) => {
                if connections.send(Ok(session)).await.is_err() {
                    return Ok(());
                }
            }
            // Out of descriptors passes; the client sees a refused connection and tries again.
            Err(error) if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => {
                tracing::warn!(%error, "no descriptors left for a connection to the control socket");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Err(error) => return Err(ServeError::Accept(error)),
        }
    }
}

/// Linux error numbers: too many open files, in this process and in the system.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// A connection that counts against the limit until it is closed.
#[derive(Debug)]
struct Session {
    stream: UnixStream,
    over_limit: Option<usize>,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Session {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer { has_credentials: self.stream.peer_cred().is_ok(), over_limit: self.over_limit }
    }
}

mod stream {
    //! A session reads and writes as its stream does.

    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Session;

    impl AsyncRead for Session {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Session {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.stream).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }
}
