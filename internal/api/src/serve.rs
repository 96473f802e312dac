//! Answering on the control socket.

use std::sync::Arc;

use jaco_proto::MAX_MESSAGE_BYTES;
use jaco_proto::v1::audit_server::AuditServer;
use jaco_proto::v1::cluster_server::ClusterServer;
use jaco_proto::v1::deploy_server::DeployServer;
use jaco_proto::v1::node_server::NodeServer;
use jaco_proto::v1::watch_server::WatchServer;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::Api;
use crate::caller::Peer;

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The HTTP/2 server failed.
    #[error("serving the API failed")]
    Transport(#[from] tonic::transport::Error),
    /// The socket takes no connections.
    #[error("the control socket takes no connections")]
    Accept(#[source] std::io::Error),
}

/// Serves the API on a Unix socket until `stop`; then no call is taken, and those under way have the limits' `drain` to end.
pub async fn serve_unix(api: Api, listener: UnixListener, stop: CancellationToken) -> Result<(), ServeError> {
    let limits = api.parts().limits.clone();
    let (connections, incoming) = mpsc::channel(16);
    let server = Server::builder()
        .timeout(limits.call_deadline)
        .http2_keepalive_interval(Some(std::time::Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(std::time::Duration::from_secs(10)))
        .add_service(AuditServer::new(api.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(ClusterServer::new(api.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(
            DeployServer::new(api.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(usize::MAX),
        )
        .add_service(NodeServer::new(api.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(
            WatchServer::new(api).max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(usize::MAX),
        )
        .serve_with_incoming_shutdown(ReceiverStream::new(incoming), stop.clone().cancelled_owned());
    let accept = accept(listener, limits.sessions, connections, stop.clone());
    let drained = async {
        stop.cancelled().await;
        tokio::time::sleep(limits.drain).await;
    };
    tokio::select! {
        result = async { tokio::try_join!(async { server.await.map_err(ServeError::Transport) }, accept) } => result.map(|_| ()),
        // Streams that watch for ever do not keep the daemon from ending.
        () = drained => Ok(()),
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
