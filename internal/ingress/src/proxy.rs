//! One request: find its route, choose a replica, forward, answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use crate::client::ClientConnection;
use crate::connect;
use crate::headers;
use crate::reply::Refusal;
use crate::request_body::{RequestBody, Upload};
use crate::response_body::{Exchange, Lease, ResponseBody};
use crate::table::UpstreamProtocol;
use crate::tunnel;
use crate::upstream::InFlight;
use crate::worker::Worker;

/// Answers one request. Never fails: a request that cannot be forwarded gets a typed answer.
pub(crate) async fn serve(
    client: Arc<ClientConnection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let mut exchange = Exchange::begin(&client.activity, &client.worker);
    let version = request.version();
    let mut response = match forward(&client, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.response(),
    };
    exchange.status = response.status().as_u16();
    if client.worker.is_draining() && version < Version::HTTP_2 && response.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| body.ending(exchange)))
}

/// A request that is forwarded, with what is needed to aim it again.
struct Outbound {
    host: HeaderValue,
    /// As the client sent it.
    uri: Uri,
    upload: Option<Arc<Upload>>,
    /// Kept to send it again after it was written; only for requests that may be sent twice.
    again: Option<(Method, HeaderMap)>,
    /// Replicas that failed.
    tried: Vec<SocketAddr>,
    tries: u32,
    /// An idle connection turned out dead: others may be as well.
    fresh_only: bool,
}

async fn forward(
    client: &Arc<ClientConnection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    let limit = client.worker.shared.limits.request_body;
    let too_large = limit.is_some_and(|limit| request.body().size_hint().lower() > limit);
    let upgradable = request.version() == Version::HTTP_11 && request.body().is_end_stream();
    let (parts, body) = request.into_parts();
    // From here on the body knows when it was given up early.
    let (body, upload) = RequestBody::new(body, limit, &client.activity);
    let mut request = Request::from_parts(parts, body);
    let host = headers::host_of(&request).ok_or(Refusal::BadHost)?;
    if too_large {
        return Err(Refusal::BodyTooLarge);
    }
    let switch = headers::clean_request(request.headers_mut(), upgradable);
    let client_side = switch.as_ref().map(|_| hyper::upgrade::on(&mut request));
    if request.version() == Version::HTTP_2 {
        headers::join_cookies(request.headers_mut());
    }
    let mut outbound = Outbound {
        host,
        uri: request.uri().clone(),
        again: None,
        upload,
        tried: Vec::new(),
        tries: 0,
        fresh_only: false,
    };
    if outbound.uri.authority().is_some() {
        request.headers_mut().insert(HOST, outbound.host.clone());
    }
    headers::set_forwarded(request.headers_mut(), &client.address, outbound.host.clone());
    if let Some(protocol) = switch {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(UPGRADE, protocol);
    }
    if outbound.upload.is_none() && request.method().is_idempotent() {
        outbound.again = Some((request.method().clone(), request.headers().clone()));
    }
    let (answer, lease) = outbound.send(&client.worker, request).await?;
    answer_client(client, answer, lease, client_side)
}

fn answer_client(
    client: &Arc<ClientConnection>,
    mut answer: Response<Incoming>,
    lease: Lease,
    client_side: Option<OnUpgrade>,
) -> Result<Response<ResponseBody>, Refusal> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        // An upstream that switches unasked cannot be followed.
        let client_side = client_side.ok_or(Refusal::Upstream)?;
        return Ok(tunnel::switch(client, client_side, answer, lease.target));
    }
    headers::clean_response(answer.headers_mut());
    *answer.version_mut() = Version::HTTP_11;
    Ok(answer.map(|body| ResponseBody::upstream(body, lease)))
}

/// Why a try failed.
enum Failure {
    /// There is no connection; the request was not touched.
    Unconnected(Box<Request<RequestBody>>),
    /// The connection ended before an answer began; the request is here if it was never written.
    Unanswered { request: Option<Box<Request<RequestBody>>>, reused: bool },
    /// What came is no HTTP answer.
    Unreadable,
    /// Nothing came in time.
    Timeout,
}

impl Outbound {
    /// Sends the request, to another replica again after failures that allow it.
    async fn send(
        &mut self,
        worker: &Arc<Worker>,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Lease), Refusal> {
        loop {
            let (target, strip) = match self.pick(worker) {
                Ok(picked) => picked,
                // Every replica was tried and failed.
                Err(Refusal::NoReplica) if self.tries > 0 => return Err(Refusal::Upstream),
                Err(refusal) => return Err(refusal),
            };
            let protocol = target.upstream().key.protocol;
            self.aim(&mut request, protocol, strip)?;
            let sent = match protocol {
                UpstreamProtocol::Http1 => send_http1(worker, target, request, self.fresh_only).await,
                UpstreamProtocol::H2c => Box::pin(send_http2(worker, target, request)).await,
            };
            match sent {
                Ok(answered) => return Ok(answered),
                Err((failure, target)) => request = self.after(worker, failure, &target)?,
            }
        }
    }

    fn pick(&self, worker: &Worker) -> Result<(InFlight, usize), Refusal> {
        let table = worker.shared.table.load();
        let host = self.host.to_str().map_err(|_| Refusal::BadHost)?;
        let found = table.router.find(host, self.uri.path()).ok_or(Refusal::NoRoute)?;
        let target =
            found.value.choose(worker.random(), worker.shared.clock.now_ms(), &self.tried).ok_or(Refusal::NoReplica)?;
        Ok((target, found.strip))
    }

    /// Makes the request's target, version and framing what the upstream's protocol needs.
    fn aim(&self, request: &mut Request<RequestBody>, protocol: UpstreamProtocol, strip: usize) -> Result<(), Refusal> {
        let again = self.tries > 0;
        match protocol {
            UpstreamProtocol::Http1 => {
                if strip > 0 || again || self.uri.authority().is_some() {
                    *request.uri_mut() = Uri::from(self.target(strip)?);
                    request.headers_mut().insert(HOST, self.host.clone());
                }
                *request.version_mut() = Version::HTTP_11;
                if self.upload.is_some() && !request.headers().contains_key(CONTENT_LENGTH) {
                    request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
                }
            }
            UpstreamProtocol::H2c => {
                let mut parts = http::uri::Parts::default();
                parts.scheme = Some(Scheme::HTTP);
                parts.authority = Some(Authority::try_from(self.host.as_bytes()).map_err(|_| Refusal::BadHost)?);
                parts.path_and_query = Some(self.target(strip)?);
                *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Refusal::BadHost)?;
                *request.version_mut() = Version::HTTP_2;
                for name in [HOST, TRANSFER_ENCODING, CONNECTION, UPGRADE] {
                    request.headers_mut().remove(name);
                }
            }
        }
        Ok(())
    }

    /// Path and query without the stripped prefix.
    fn target(&self, strip: usize) -> Result<PathAndQuery, Refusal> {
        let whole = self.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        if strip == 0 {
            return Ok(whole);
        }
        let rest = whole.as_str().get(strip..).unwrap_or_default();
        let stripped = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
        PathAndQuery::try_from(stripped).map_err(|_| Refusal::NoRoute)
    }

    /// Books a failed try; returns the request if it may be sent again.
    fn after(&mut self, worker: &Worker, failure: Failure, target: &InFlight) -> Result<Request<RequestBody>, Refusal> {
        if let Some(upload) = &self.upload {
            if upload.is_too_large() {
                return Err(Refusal::BodyTooLarge);
            }
            if upload.is_broken() {
                return Err(Refusal::BadBody);
            }
        }
        let upstream = target.upstream();
        let (request, refusal, stale) = match failure {
            Failure::Unconnected(request) => (Some(request), Refusal::Upstream, false),
            Failure::Unanswered { request, reused } => (request, Refusal::Upstream, reused),
            Failure::Unreadable => return Err(Refusal::Upstream),
            Failure::Timeout => return Err(Refusal::UpstreamTimeout),
        };
        if stale {
            // An idle connection that the upstream closed meanwhile says nothing about its health.
            self.fresh_only = true;
        } else {
            upstream.eject(worker.shared.clock.now_ms(), worker.shared.limits.eject_for);
            self.tried.push(upstream.key.address);
            tracing::debug!(address = %upstream.key.address, "upstream failed; left out for a while");
        }
        let stats = worker.stats();
        if let Some(stats) = stats {
            stats.upstream_failures.fetch_add(1, Relaxed);
        }
        let request = match (request, &self.again) {
            (Some(request), _) => *request,
            (None, Some((method, headers))) => rebuild(method.clone(), headers.clone()),
            (None, None) => return Err(refusal),
        };
        if self.tries >= worker.shared.limits.retries {
            return Err(refusal);
        }
        self.tries += 1;
        if let Some(stats) = stats {
            stats.retries.fetch_add(1, Relaxed);
        }
        Ok(request)
    }
}

fn rebuild(method: Method, headers: HeaderMap) -> Request<RequestBody> {
    let mut request = Request::new(RequestBody::Empty);
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    request
}

type Sent = Result<(Response<Incoming>, Lease), (Failure, InFlight)>;

async fn send_http1(worker: &Arc<Worker>, target: InFlight, request: Request<RequestBody>, fresh_only: bool) -> Sent {
    let limits = &worker.shared.limits;
    let kept = if fresh_only { None } else { target.upstream().take_http1(worker.index, limits.upstream_idle_timeout) };
    let reused = kept.is_some();
    let mut sender = match kept {
        Some(sender) => sender,
        None => match Box::pin(connect::http1(worker, target.upstream())).await {
            Ok(sender) => sender,
            Err(error) => {
                tracing::debug!(address = %target.upstream().key.address, %error, "upstream not reached");
                return Err((Failure::Unconnected(Box::new(request)), target));
            }
        },
    };
    let answer = sender.try_send_request(request);
    let answer = match limits.response_timeout {
        None => answer.await,
        Some(bound) => match Box::pin(tokio::time::timeout(bound, answer)).await {
            Ok(answer) => answer,
            Err(_elapsed) => return Err((Failure::Timeout, target)),
        },
    };
    match answer {
        Ok(answer) => Ok((answer, Lease { worker: Arc::clone(worker), target, sender: Some(sender) })),
        Err(mut error) => {
            let request = error.take_message().map(Box::new);
            Err((failure_of(error.error(), request, reused), target))
        }
    }
}

async fn send_http2(worker: &Arc<Worker>, target: InFlight, request: Request<RequestBody>) -> Sent {
    let shared = target.upstream().shared_http2(worker.index);
    let reused = shared.is_some();
    let mut sender = match shared {
        Some(sender) => sender,
        None => match connect::http2(worker, target.upstream()).await {
            Ok(sender) => sender,
            Err(_error) => return Err((Failure::Unconnected(Box::new(request)), target)),
        },
    };
    let answer = sender.try_send_request(request);
    let answer = match worker.shared.limits.response_timeout {
        None => answer.await,
        Some(bound) => match tokio::time::timeout(bound, answer).await {
            Ok(answer) => answer,
            Err(_elapsed) => return Err((Failure::Timeout, target)),
        },
    };
    match answer {
        Ok(answer) => Ok((answer, Lease { worker: Arc::clone(worker), target, sender: None })),
        Err(mut error) => {
            let request = error.take_message().map(Box::new);
            Err((failure_of(error.error(), request, reused), target))
        }
    }
}

fn failure_of(error: &hyper::Error, request: Option<Box<Request<RequestBody>>>, reused: bool) -> Failure {
    if error.is_parse() { Failure::Unreadable } else { Failure::Unanswered { request, reused } }
}
