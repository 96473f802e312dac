//! Which header fields pass the proxy, and which it sets. Pure.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Request, Version};

#[cfg(test)]
mod tests;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What a request head turned out to hold, seen in one pass.
#[derive(Default)]
struct Seen {
    connection: bool,
    te: bool,
    upgrade: bool,
    remove: Vec<HeaderName>,
}

/// Removes what concerns only one connection and what only a proxy may say. Returns the protocol the client wants to switch to, if that
/// is to be passed on: `upgradable` says whether this request may switch at all.
pub(crate) fn clean_request(headers: &mut HeaderMap, upgradable: bool) -> Option<HeaderValue> {
    let mut seen = Seen::default();
    for name in headers.keys() {
        match *name {
            CONNECTION => seen.connection = true,
            TE => seen.te = true,
            UPGRADE => seen.upgrade = true,
            TRANSFER_ENCODING | EXPECT | FORWARDED => seen.remove.push(name.clone()),
            _ if is_proxy_field(name.as_str()) => seen.remove.push(name.clone()),
            _ => {}
        }
    }
    let mut switches = false;
    if seen.connection {
        switches = remove_connection_fields(headers);
    }
    let upgrade = if seen.upgrade { headers.remove(UPGRADE) } else { None };
    if seen.te {
        let trailers = headers.get_all(TE).iter().any(|value| has_token(value, "trailers"));
        headers.remove(TE);
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
    for name in seen.remove {
        headers.remove(name);
    }
    // A switch to h2c would carry requests past the routing.
    upgrade.filter(|protocol| switches && upgradable && !has_token(protocol, "h2c"))
}

/// Fields that are not among the common names: about the connection, or about what a proxy saw.
fn is_proxy_field(name: &str) -> bool {
    matches!(name, "keep-alive" | "proxy-connection" | "http2-settings") || name.starts_with("x-forwarded-")
}

/// Removes `Connection` and the fields it names. Returns whether it names `upgrade`.
fn remove_connection_fields(headers: &mut HeaderMap) -> bool {
    let mut upgrade = false;
    let mut named = Vec::new();
    for value in headers.get_all(CONNECTION) {
        for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            // Nearly every message has one of these two, and neither asks to remove anything that is not removed anyway.
            if token.eq_ignore_ascii_case(b"keep-alive") || token.eq_ignore_ascii_case(b"close") {
                continue;
            }
            match HeaderName::from_bytes(token) {
                Ok(UPGRADE) => upgrade = true,
                // These are about the message: removing them would change what it is, or where it goes.
                Ok(HOST | CONTENT_LENGTH | TRANSFER_ENCODING | TE | COOKIE) | Err(_) => {}
                Ok(name) => named.push(name),
            }
        }
    }
    headers.remove(CONNECTION);
    for name in named {
        headers.remove(name);
    }
    upgrade
}

fn has_token(value: &HeaderValue, wanted: &str) -> bool {
    value.to_str().is_ok_and(|text| {
        text.split(',').any(|token| {
            let token = token.split(';').next().unwrap_or_default().trim();
            token.eq_ignore_ascii_case(wanted)
        })
    })
}

/// Sets what the upstream is told about the client. Call after [`clean_request`].
pub(crate) fn set_forwarded(headers: &mut HeaderMap, client: &HeaderValue, host: HeaderValue) {
    headers.insert(X_FORWARDED_FOR, client.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    headers.insert(X_FORWARDED_HOST, host);
}

/// Joins the cookie fields that HTTP/2 allows to be split (RFC 9113, 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let mut joined = Vec::new();
    for value in headers.get_all(COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(value.as_bytes());
    }
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, value);
    }
}

/// Removes from an answer what concerns only the upstream's connection.
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    let mut connection = false;
    let mut remove = Vec::new();
    for name in headers.keys() {
        match *name {
            CONNECTION => connection = true,
            // Beside a transfer coding a length means nothing, and must not be passed on (RFC 9112, 6.3).
            TRANSFER_ENCODING => remove.extend([TRANSFER_ENCODING, CONTENT_LENGTH]),
            UPGRADE => remove.push(UPGRADE),
            _ if matches!(name.as_str(), "keep-alive" | "proxy-connection") => remove.push(name.clone()),
            _ => {}
        }
    }
    if connection {
        remove_connection_fields(headers);
    }
    for name in remove {
        headers.remove(name);
    }
}

/// The host a request is for: of an absolute target or `:authority`, else of the one `Host` field, which an HTTP/1.0 request may leave
/// out (then it is empty). `None` when it is missing, doubled or no host.
pub(crate) fn host_of<B>(request: &Request<B>) -> Option<HeaderValue> {
    if let Some(authority) = request.uri().authority() {
        // User information must not reach anybody's log.
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        return HeaderValue::from_str(host).ok();
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host.as_bytes()).then(|| host.clone()),
        (None, _) if request.version() < Version::HTTP_11 => Some(HeaderValue::from_static("")),
        (None, _) | (Some(_), Some(_)) => None,
    }
}

/// Name, IPv4 or bracketed IPv6 address, with or without a port; empty is allowed by the grammar.
fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(byte))
}
