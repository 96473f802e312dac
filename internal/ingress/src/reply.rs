//! The answers the ingress gives itself: one plain line each, with `Server: jaco`.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, SERVER};
use http::{Response, StatusCode};

use crate::response_body::ResponseBody;

/// Why a request got no answer from a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Host missing, doubled or malformed.
    BadHost,
    /// CONNECT: this is no forward proxy.
    Connect,
    /// The request's body broke off or is malformed.
    BadBody,
    /// Body over the limit.
    BodyTooLarge,
    /// No route for this host and path.
    NoRoute,
    /// The route's service has no usable replica.
    NoReplica,
    /// No replica could be reached, or its answer broke off.
    Upstream,
    /// No answer in time.
    UpstreamTimeout,
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Refusal::BadHost | Refusal::BadBody => StatusCode::BAD_REQUEST,
            Refusal::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::NoRoute => StatusCode::NOT_FOUND,
            Refusal::NoReplica => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Upstream => StatusCode::BAD_GATEWAY,
            Refusal::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Refusal::BadHost => "bad_host: the request needs exactly one valid Host header\n",
            Refusal::Connect => "method_not_allowed: CONNECT is not served here\n",
            Refusal::BadBody => "bad_body: the request body ended early or is malformed\n",
            Refusal::BodyTooLarge => "request_too_large: the request body is larger than this node accepts\n",
            Refusal::NoRoute => "route_not_found: no route for this host and path\n",
            Refusal::NoReplica => "no_replica: the service behind this route has no running replica\n",
            Refusal::Upstream => "upstream_failed: the service behind this route did not answer\n",
            Refusal::UpstreamTimeout => "upstream_timeout: the service behind this route did not answer in time\n",
        }
    }

    pub(crate) fn response(self) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::text(Bytes::from_static(self.text().as_bytes())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(SERVER, HeaderValue::from_static("jaco"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}

/// What a client over its connection limit gets before the connection is closed.
pub(crate) const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nServer: jaco\r\nConnection: close\r\n\
Content-Type: text/plain; charset=utf-8\r\nContent-Length: 62\r\n\r\ntoo_many_connections: this address has too many connections.\r\n";
