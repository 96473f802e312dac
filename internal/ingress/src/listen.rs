//! Sockets: listening ones, made here or inherited from a service manager or the process before, and what every connection is set to.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

/// Connections the kernel queues per socket before it drops new ones; `net.core.somaxconn` caps it.
const BACKLOG: i32 = 4096;

/// Silence after which the kernel asks whether a peer is still there; without it, tunnels, long polls and connections of peers that have
/// vanished stay for ever.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Sets a connection up for being proxied: small messages leave at once, vanished peers are noticed.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}

/// Where HTTP is served.
#[derive(Debug)]
pub enum HttpListener {
    /// Bind this address: one socket per worker, by `SO_REUSEPORT`.
    Bind(SocketAddr),
    /// Serve this socket. Several for one address are spread over the workers; one alone is shared by all of them.
    Inherited(TcpListener),
}

/// A socket of a published port. A port in use by another program is an error, so no `SO_REUSEPORT`.
pub(crate) fn bind_tcp(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

pub(crate) fn bind_udp(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// The sockets of each worker; the outer vector has `workers` entries.
pub(crate) fn spread(http: Vec<HttpListener>, workers: usize) -> io::Result<Vec<Vec<TcpListener>>> {
    let mut inherited: Vec<(SocketAddr, Vec<TcpListener>)> = Vec::new();
    for listener in http {
        let (address, sockets) = match listener {
            HttpListener::Bind(address) => bind_shared(address, workers)?,
            HttpListener::Inherited(socket) => {
                socket.set_nonblocking(true)?;
                (socket.local_addr()?, vec![socket])
            }
        };
        match inherited.iter_mut().find(|(known, _)| *known == address) {
            Some((_, known)) => known.extend(sockets),
            None => inherited.push((address, sockets)),
        }
    }
    let mut spread: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    for (_, sockets) in inherited {
        let given = sockets.len();
        // Every socket must be accepted from, and every worker must have one.
        for position in 0..given.max(workers) {
            if let (Some(socket), Some(worker)) = (sockets.get(position % given), spread.get_mut(position % workers)) {
                worker.push(socket.try_clone()?);
            }
        }
    }
    Ok(spread)
}

/// One socket per worker. Port 0 is chosen once, then shared.
fn bind_shared(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // With `SO_REUSEPORT` two daemons would share the port in silence, each with a part of the requests: without it the kernel says
    // that somebody listens already.
    let probe = socket(address, Type::STREAM, Protocol::TCP)?;
    probe.set_reuse_address(true)?;
    probe.bind(&address.into())?;
    drop(probe);
    let first = bind_tcp(address, true)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(bind_tcp(address, true)?);
    }
    Ok((address, sockets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_proxied_connection_notices_a_vanished_peer_and_delays_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        prepare(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE);
    }
}
