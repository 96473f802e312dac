//! New connections to upstreams.

use std::io;
use std::sync::Arc;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::listen;
use crate::request_body::RequestBody;
use crate::upstream::Upstream;
use crate::worker::{TrackedExecutor, Worker};

/// Bytes of an answer held per connection at most; an answer's head must fit.
const BUFFER_BYTES: usize = 256 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Refused, unreachable, …
    #[error("cannot connect")]
    Io(#[from] io::Error),
    /// Nobody answered.
    #[error("no connection in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
    /// Connected, but it does not speak HTTP.
    #[error("the connection could not be set up")]
    Handshake(#[from] hyper::Error),
}

pub(crate) async fn tcp(worker: &Worker, upstream: &Upstream) -> Result<TcpStream, ConnectError> {
    let stream = timeout(worker.shared.limits.connect_timeout, TcpStream::connect(upstream.key.address)).await??;
    listen::prepare(&stream)?;
    Ok(stream)
}

pub(crate) async fn http1(
    worker: &Arc<Worker>,
    upstream: &Upstream,
) -> Result<http1::SendRequest<RequestBody>, ConnectError> {
    let stream = TokioIo::new(tcp(worker, upstream).await?);
    // A list of buffers would save the copy of a body that is uploaded, and cost every request without one.
    let (sender, connection) = http1::Builder::new().max_buf_size(BUFFER_BYTES).writev(false).handshake(stream).await?;
    let address = upstream.key.address;
    worker.upstreams.spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%address, %error, "connection to an upstream ended");
        }
    });
    Ok(sender)
}

pub(crate) async fn http2(
    worker: &Arc<Worker>,
    upstream: &Upstream,
) -> Result<http2::SendRequest<RequestBody>, ConnectError> {
    let stream = tcp(worker, upstream).await?;
    let executor = TrackedExecutor(worker.upstreams.clone());
    let (sender, connection) = http2::Builder::new(executor)
        .timer(TokioTimer::new())
        .adaptive_window(true)
        .handshake(TokioIo::new(stream))
        .await?;
    let address = upstream.key.address;
    worker.upstreams.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%address, %error, "connection to an upstream ended");
        }
    });
    upstream.share_http2(worker.index, sender.clone());
    Ok(sender)
}
