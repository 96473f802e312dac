//! Replicas, clients and tables for the tests.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use jaco_ingress::{
    Backend, Endpoint, HttpListener, Ingress, Limits, Options, PortRule, RouteRule, Table, UpstreamProtocol,
};
use jaco_types::{DeploymentName, Protocol, ServiceName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type TestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Longest time any condition of a test may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn text(text: impl Into<Bytes>) -> TestBody {
    Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// An HTTP server (1.1 and h2c) on a loopback port of its own. Dropping it closes everything.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicUsize>,
    /// Connections that are open.
    pub(crate) connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Replica {
    pub(crate) async fn start<F, R>(handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
        R: Future<Output = Response<TestBody>> + Send + 'static,
    {
        Self::start_at(([127, 0, 0, 1], 0).into(), handler).await
    }

    pub(crate) async fn start_at<F, R>(address: SocketAddr, handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
        R: Future<Output = Response<TestBody>> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let connections = Arc::new(AtomicUsize::new(0));
        let open = Arc::clone(&connections);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (handler, counter, open) = (handler.clone(), Arc::clone(&counter), Arc::clone(&open));
                open.fetch_add(1, Ordering::SeqCst);
                served.spawn(async move {
                    let service = service_fn(move |request| {
                        counter.fetch_add(1, Ordering::SeqCst);
                        let answer = handler(request);
                        async move { Ok::<_, Infallible>(answer.await) }
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _end = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Replica { address, requests, connections, _tasks: tasks }
    }

    /// Answers with what it got: request line, then one line per header, then the body.
    pub(crate) async fn describing() -> Self {
        Self::start(|request: Request<Incoming>| async move {
            let (parts, body) = request.into_parts();
            let mut answer = format!("{} {} {:?}\n", parts.method, parts.uri, parts.version);
            for (name, value) in &parts.headers {
                answer.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
            }
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            answer.push_str(&format!("\n{}", String::from_utf8_lossy(&body)));
            Response::new(text(answer))
        })
        .await
    }

    /// Answers with its own address.
    pub(crate) async fn named() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        Self::start_at(address, move |_| async move { Response::new(text(address.to_string())) }).await
    }

    pub(crate) fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A loopback address that nobody listens on.
pub(crate) async fn dead_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

pub(crate) fn backend(endpoints: &[SocketAddr]) -> Backend {
    Backend {
        deployment: DeploymentName::new("d").unwrap(),
        service: ServiceName::new("s").unwrap(),
        port: 80,
        protocol: UpstreamProtocol::Http1,
        endpoints: endpoints
            .iter()
            .map(|address| Endpoint { address: *address, container: container(*address) })
            .collect(),
    }
}

pub(crate) fn container(address: SocketAddr) -> String {
    format!("c-{address}")
}

pub(crate) fn route(path: &str, strip_path: bool, backend: usize) -> RouteRule {
    RouteRule { domain: "a.example".to_owned(), path: path.to_owned(), strip_path, backend }
}

/// Catch-all of `a.example` on these replicas.
pub(crate) fn table(endpoints: &[SocketAddr]) -> Table {
    Table { routes: vec![route("", false, 0)], ports: Vec::new(), backends: vec![backend(endpoints)] }
}

/// One published port on these replicas.
pub(crate) fn port_table(protocol: Protocol, host_port: u16, endpoints: &[SocketAddr]) -> Table {
    Table {
        routes: Vec::new(),
        ports: vec![PortRule { protocol, host_port, backend: 0 }],
        backends: vec![backend(endpoints)],
    }
}

pub(crate) fn options() -> Options {
    Options {
        port_address: [127, 0, 0, 1].into(),
        ..Options::new(vec![HttpListener::Bind(([127, 0, 0, 1], 0).into())])
    }
}

pub(crate) fn start(table: &Table) -> (Ingress, SocketAddr) {
    start_with(table, Limits::default())
}

pub(crate) fn start_with(table: &Table, limits: Limits) -> (Ingress, SocketAddr) {
    let ingress = Ingress::start(Options { limits, ..options() }).unwrap();
    ingress.apply(table);
    let address = ingress.addresses()[0];
    (ingress, address)
}

/// A keep-alive HTTP/1.1 client connection.
pub(crate) struct Client {
    sender: http1::SendRequest<TestBody>,
    _tasks: JoinSet<()>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _end = connection.with_upgrades().await;
        });
        Client { sender, _tasks: tasks }
    }

    pub(crate) async fn send(&mut self, request: Request<TestBody>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        Reply::read(self.send(get(path)).await.unwrap()).await
    }
}

pub(crate) fn get(path: &str) -> Request<TestBody> {
    request("GET", path, empty())
}

pub(crate) fn request(method: &str, path: &str, body: TestBody) -> Request<TestBody> {
    Request::builder().method(method).uri(path).header("host", "a.example").body(body).unwrap()
}

pub(crate) fn empty() -> TestBody {
    Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A whole answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) trailers: Option<http::HeaderMap>,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            trailers: body.trailers().cloned(),
            body: body.to_bytes(),
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One request on a connection of its own.
pub(crate) async fn fetch(address: SocketAddr, request: Request<TestBody>) -> Reply {
    Reply::read(Client::connect(address).await.send(request).await.unwrap()).await
}

/// Sends bytes as they are, and reads until the other side closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _end =
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection was not closed");
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) async fn http2(address: SocketAddr, tasks: &mut JoinSet<()>) -> http2::SendRequest<TestBody> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tasks.spawn(async move {
        let _end = connection.await;
    });
    sender
}

/// Polls a condition until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A body fed by the test, frame by frame.
pub(crate) fn fed_body() -> (mpsc::Sender<Frame<Bytes>>, TestBody) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Fed(receiver).boxed_unsync())
}

struct Fed(mpsc::Receiver<Frame<Bytes>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}
