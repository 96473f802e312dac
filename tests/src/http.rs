//! A minimal HTTP client: one request per connection, the answer read to its end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Header lines as sent.
    pub head: String,
    /// Body.
    pub body: String,
}

/// Asks for a path of a domain.
pub fn get(address: SocketAddr, domain: &str, path: &str) -> anyhow::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).context("connect")?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {domain}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).context("read")?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("no end of the header")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status")?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body)? } else { body.to_owned() };
    Ok(Reply { status, head: head.to_owned(), body })
}

/// The pieces of a chunked body put together; fails when the last one is missing.
fn unchunk(mut rest: &str) -> anyhow::Result<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").context("a chunk without its size")?;
        let size = usize::from_str_radix(size, 16).context("a chunk's size")?;
        if size == 0 {
            return Ok(body);
        }
        body += after.get(..size).context("the body was cut off")?;
        rest = after.get(size + 2..).context("the body was cut off")?;
    }
}

/// The same, for [`crate::eventually`]: an answer with this status, or what came instead.
pub fn try_get(address: SocketAddr, domain: &str, path: &str, status: u16) -> Result<Reply, String> {
    match get(address, domain, path) {
        Ok(reply) if reply.status == status => Ok(reply),
        Ok(reply) => Err(format!("status {}: {}", reply.status, reply.body)),
        Err(error) => Err(format!("{error:#}")),
    }
}
