//! One serving thread: a current-thread runtime, its listening sockets, its client connections, its upstream connections.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::{Activity, ClientStream, Verdict};
use crate::body::ResponseBody;
use crate::listen;
use crate::proxy::{self, ClientConnection};
use crate::reply::TOO_MANY_CONNECTIONS;
use crate::shared::{ClientGuard, Shared};
use crate::stats::WorkerStats;

/// Time in which idle connections are still served after the stop began, told `Connection: close` with their next answer. Closing
/// them at once would cut requests that are on their way.
const LINGER: Duration = Duration::from_millis(500);

/// Time between two looks for idle upstream connections to close.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Pause after the system had no descriptor or memory for a new connection.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// What a client sends first when it speaks HTTP/2 by prior knowledge (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes held per client connection and direction at most, unless heads may be larger.
const BUFFER_BYTES: usize = 128 * 1024;

pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    /// Client connections, their streams and tunnels.
    pub(crate) clients: TaskTracker,
    /// Upstream connections.
    pub(crate) upstreams: TaskTracker,
    draining: CancellationToken,
    random: AtomicU64,
}

/// Runs what HTTP/2 splits off as tasks of the worker.
#[derive(Clone)]
pub(crate) struct TrackedExecutor(pub(crate) TaskTracker);

impl<F> Executor<F> for TrackedExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Self {
        Worker {
            index,
            // A child has a lock of its own, so that the connections of one worker do not meet those of another on it.
            draining: shared.stop.draining.child_token(),
            shared,
            clients: TaskTracker::new(),
            upstreams: TaskTracker::new(),
            random: AtomicU64::new(rand::random::<u64>() | 1),
        }
    }

    pub(crate) fn stats(&self) -> Option<&WorkerStats> {
        self.shared.stats.get(self.index)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.shared.stop.began.load(Relaxed)
    }

    /// xorshift64*: good enough to spread load, and only this worker uses it.
    pub(crate) fn random(&self) -> u64 {
        let mut state = self.random.load(Relaxed);
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.random.store(state, Relaxed);
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Serves until stopped: then ends when the last client is done, or at once when killed.
    pub(crate) async fn run(self: Arc<Self>, listeners: Vec<TcpListener>) {
        let accepting = TaskTracker::new();
        for listener in listeners {
            let worker = Arc::clone(&self);
            accepting.spawn(async move {
                tokio::select! {
                    () = worker.draining.cancelled() => {}
                    () = worker.accept(&listener) => {}
                }
            });
        }
        tokio::select! {
            () = self.draining.cancelled() => {}
            () = self.sweep() => {}
        }
        accepting.close();
        accepting.wait().await;
        self.clients.close();
        tokio::select! {
            () = self.clients.wait() => {}
            () = self.shared.stop.killed.cancelled() => {}
        }
    }

    async fn sweep(&self) {
        let max_idle = self.shared.limits.upstream_idle_timeout;
        let mut tick = tokio::time::interval(SWEEP_EVERY.min(max_idle));
        loop {
            tick.tick().await;
            let upstreams = self.shared.state().registry.all();
            for upstream in upstreams {
                upstream.sweep(self.index, max_idle);
            }
        }
    }

    async fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, client)) => self.take(stream, client),
                // The client was gone before it was accepted.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
                Err(error) => {
                    tracing::warn!(%error, "the ingress cannot accept a connection");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    fn take(self: &Arc<Self>, stream: TcpStream, client: SocketAddr) {
        let stats = self.stats();
        let Some(guard) = ClientGuard::enter(&self.shared, client.ip()) else {
            if let Some(stats) = stats {
                stats.refused.fetch_add(1, Relaxed);
            }
            // Into an empty socket buffer; a client that cannot take even that gets nothing.
            let _written = stream.try_write(TOO_MANY_CONNECTIONS);
            return;
        };
        if let Some(stats) = stats {
            stats.opened.fetch_add(1, Relaxed);
        }
        let worker = Arc::clone(self);
        self.clients.spawn(async move {
            if let Err(error) = worker.serve(stream, client, guard).await {
                tracing::debug!(%client, %error, "client connection ended");
            }
        });
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream, client: SocketAddr, guard: ClientGuard) -> io::Result<()> {
        if let Err(error) = listen::prepare(&stream) {
            self.closed();
            return Err(error);
        }
        let limits = &self.shared.limits;
        let detected = tokio::select! {
            detected = tokio::time::timeout(limits.header_timeout, detect(&mut stream)) => Some(detected),
            () = self.lingered() => None,
        };
        let address = HeaderValue::try_from(client.ip().to_canonical().to_string()).map_err(io::Error::other)?;
        let (prefix, multiplexed) = match detected {
            Some(Ok(Ok(found))) => found,
            Some(Ok(Err(error))) => {
                self.closed();
                return Err(error);
            }
            Some(Err(_)) | None => {
                self.closed();
                return Ok(());
            }
        };
        let activity = Arc::new(Activity::new(Arc::clone(&self.shared), multiplexed));
        let io = TokioIo::new(ClientStream::new(stream, prefix, Arc::clone(&activity)));
        let connection = Arc::new(ClientConnection {
            worker: Arc::clone(&self),
            activity: Arc::clone(&activity),
            address,
            _guard: guard,
        });
        let service = service_fn(move |request| proxy::serve(Arc::clone(&connection), request));
        let buffer = BUFFER_BYTES.max(limits.header_bytes);
        if multiplexed {
            let served = http2::Builder::new(TrackedExecutor(self.clients.clone()))
                .timer(TokioTimer::new())
                .keep_alive_interval(Some(limits.stall_timeout))
                .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
                .adaptive_window(true)
                .serve_connection(io, service);
            self.drive(served, &activity).await;
        } else {
            let served = http1::Builder::new()
                .header_read_timeout(None)
                .max_header_size(limits.header_bytes)
                .max_buf_size(buffer)
                .serve_connection(io, service)
                .with_upgrades();
            self.drive(served, &activity).await;
        }
        Ok(())
    }

    fn closed(&self) {
        if let Some(stats) = self.stats() {
            stats.closed.fetch_add(1, Relaxed);
        }
    }

    /// Resolves some time after the stop began.
    async fn lingered(&self) {
        self.draining.cancelled().await;
        tokio::time::sleep(LINGER).await;
    }

    /// Runs a connection until it ends, is too slow, or has finished after the stop.
    async fn drive<C: ServedConnection>(&self, connection: C, activity: &Activity) {
        let mut connection = pin!(connection);
        let mut timer = pin!(tokio::time::sleep_until(Instant::now().into()));
        let mut lingered = pin!(self.lingered());
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
            if !closing && (!registered || self.is_draining()) {
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
