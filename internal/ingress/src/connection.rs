//! One client's connection: which protocol it speaks, its timer, and its end.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::activity::{Activity, ClientStream, Verdict};
use crate::admission::ClientGuard;
use crate::client::ClientConnection;
use crate::listen;
use crate::proxy;
use crate::response_body::ResponseBody;
use crate::worker::{TrackedExecutor, Worker};

/// Time in which idle connections are still served after the stop began, told `Connection: close` with their next answer. Closing
/// them at once would cut requests that are on their way.
const LINGER: Duration = Duration::from_millis(500);

/// What a client sends first when it speaks HTTP/2 by prior knowledge (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes held per client connection and direction at most, unless heads may be larger.
const BUFFER_BYTES: usize = 128 * 1024;

/// Serves a client until it leaves, is too slow, or the ingress stops.
pub(crate) async fn serve(
    worker: Arc<Worker>,
    mut stream: TcpStream,
    client: SocketAddr,
    guard: ClientGuard,
) -> io::Result<()> {
    if let Err(error) = listen::prepare(&stream) {
        worker.closed();
        return Err(error);
    }
    let limits = &worker.shared.limits;
    let detected = tokio::select! {
        detected = tokio::time::timeout(limits.header_timeout, detect(&mut stream)) => Some(detected),
        () = lingered(&worker) => None,
    };
    let address = HeaderValue::try_from(client.ip().to_canonical().to_string()).map_err(io::Error::other)?;
    let (prefix, multiplexed) = match detected {
        Some(Ok(Ok(found))) => found,
        Some(Ok(Err(error))) => {
            worker.closed();
            return Err(error);
        }
        Some(Err(_)) | None => {
            worker.closed();
            return Ok(());
        }
    };
    let activity = Arc::new(Activity::new(Arc::clone(limits), worker.shared.clock, multiplexed));
    let io = TokioIo::new(ClientStream::new(stream, prefix, Arc::clone(&activity)));
    let connection = Arc::new(ClientConnection {
        worker: Arc::clone(&worker),
        activity: Arc::clone(&activity),
        address,
        _guard: guard,
    });
    let service = service_fn(move |request| proxy::serve(Arc::clone(&connection), request));
    let buffer = BUFFER_BYTES.max(limits.header_bytes);
    if multiplexed {
        let served = http2::Builder::new(TrackedExecutor(worker.clients.clone()))
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(limits.stall_timeout))
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .adaptive_window(true)
            .serve_connection(io, service);
        drive(&worker, served, &activity).await;
    } else {
        let served = http1::Builder::new()
            .header_read_timeout(None)
            .max_header_size(limits.header_bytes)
            .max_buf_size(buffer)
            .serve_connection(io, service)
            .with_upgrades();
        drive(&worker, served, &activity).await;
    }
    Ok(())
}

/// Resolves some time after the stop began.
async fn lingered(worker: &Worker) {
    worker.draining.cancelled().await;
    tokio::time::sleep(LINGER).await;
}

/// Runs a connection until it ends, is too slow, or has finished after the stop.
async fn drive<C: ServedConnection>(worker: &Worker, connection: C, activity: &Activity) {
    let mut connection = pin!(connection);
    let mut timer = pin!(tokio::time::sleep_until(Instant::now().into()));
    let mut lingered = pin!(lingered(worker));
    let mut registered = false;
    let mut closing = false;
    poll_fn(|cx| {
        if connection.as_mut().poll_served(cx).is_ready() {
            return Poll::Ready(());
        }
        while timer.as_mut().poll(cx).is_ready() {
            match activity.verdict(Instant::now()) {
                Verdict::Until(next) => timer.as_mut().reset(next.into()),
                Verdict::Close => return Poll::Ready(()),
            }
        }
        // Once registered it wakes this task, so it need not be asked again with every request.
        if !closing && (!registered || worker.is_draining()) {
            registered = true;
            if lingered.as_mut().poll(cx).is_ready() {
                closing = true;
                connection.as_mut().close_gracefully();
                return connection.as_mut().poll_served(cx);
            }
        }
        Poll::Pending
    })
    .await;
}

/// Reads until it is clear which protocol the client speaks. Returns what was read.
async fn detect(stream: &mut TcpStream) -> io::Result<(Bytes, bool)> {
    let mut read = Vec::with_capacity(HTTP2_PREFACE.len());
    while HTTP2_PREFACE.starts_with(&read) && read.len() < HTTP2_PREFACE.len() {
        let missing = (HTTP2_PREFACE.len() - read.len()) as u64;
        if (&mut *stream).take(missing).read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let multiplexed = read == HTTP2_PREFACE;
    Ok((read.into(), multiplexed))
}

/// What both kinds of hyper's server connections can do.
trait ServedConnection {
    fn poll_served(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()>;
    fn close_gracefully(self: Pin<&mut Self>);
}

type ClientIo = TokioIo<ClientStream>;

impl<S> ServedConnection for http1::UpgradeableConnection<ClientIo, S>
where
    S: HttpService<Incoming, ResBody = ResponseBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn poll_served(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        self.poll(cx).map(log_end)
    }

    fn close_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> ServedConnection for http2::Connection<ClientIo, S, TrackedExecutor>
where
    S: HttpService<Incoming, ResBody = ResponseBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    fn poll_served(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        self.poll(cx).map(log_end)
    }

    fn close_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

fn log_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "client connection ended");
    }
}
