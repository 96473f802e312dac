//! Taking TLS connections from the network: bounded in number, per address and in time, so that garbage, slow peers and floods
//! cost a closed connection and nothing else.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use jaco_identity::{Acceptor, PeerIdentity, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// Pause after the process ran out of descriptors, which passes.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);
/// Linux error numbers: too many open files, in this process and in the system.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// Bounds of one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortLimits {
    /// Connections at once; further ones are closed at once.
    pub connections: usize,
    /// Of those, from one address.
    pub per_address: usize,
    /// Handshakes at once. One address gets at most half of them, so that no peer that connects and says nothing keeps others out;
    /// a connection beyond that is closed at once.
    pub handshakes: usize,
}

impl Default for PortLimits {
    fn default() -> Self {
        PortLimits { connections: 2048, per_address: 512, handshakes: 512 }
    }
}

/// Who is at the other end of a connection, for the handlers.
#[derive(Debug, Clone)]
pub(crate) struct TlsPeer {
    /// Whom the certificate names, if one was shown.
    pub(crate) identity: Arc<PeerIdentity>,
    /// The address it came from.
    pub(crate) address: IpAddr,
}

/// Takes connections until `stop`, and hands over those whose handshake succeeded. Handshakes under way are given up at the end.
///
/// # Errors
/// The listener takes no connections any more.
pub(crate) async fn accept(
    listener: TcpListener,
    acceptor: Acceptor,
    limits: PortLimits,
    connections: mpsc::Sender<Result<Session, io::Error>>,
    stop: CancellationToken,
) -> io::Result<()> {
    let places = Places::new(limits.connections, limits.per_address);
    let handshakes = Places::new(limits.handshakes, limits.handshakes.div_ceil(2));
    let mut under_way = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Some(_ended) = under_way.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => match (places.take(from.ip()), handshakes.take(from.ip())) {
                (Some(place), Some(turn)) => {
                    under_way.spawn(shake_hands(stream, from.ip(), acceptor.clone(), place, connections.clone(), turn));
                }
                (None, _) | (_, None) => tracing::debug!(%from, "a connection over the limit was closed"),
            },
            Err(error) if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => {
                tracing::warn!(%error, "no descriptors left for a connection");
                tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
            }
            // The peer was gone before it was looked at.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

async fn shake_hands(
    stream: TcpStream,
    address: IpAddr,
    acceptor: Acceptor,
    place: Place,
    connections: mpsc::Sender<Result<Session, io::Error>>,
    turn: Place,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "a connection was gone before its handshake");
        return;
    }
    let accepted = acceptor.accept(stream).await;
    drop(turn);
    match accepted {
        Ok(stream) => {
            let peer = TlsPeer { identity: Arc::new(stream.peer().clone()), address };
            // Nobody is there to take it when the server has stopped.
            let _ = connections.send(Ok(Session { stream, peer, _place: place })).await;
        }
        Err(error) => tracing::debug!(%address, %error, "a connection was not accepted"),
    }
}

/// Counts connections or handshakes, in all and by address.
#[derive(Clone)]
struct Places {
    most: usize,
    most_per_address: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Places {
    fn new(most: usize, most_per_address: usize) -> Self {
        Places { most, most_per_address, taken: Arc::default() }
    }

    fn take(&self, address: IpAddr) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = taken.by_address.get(&address).copied().unwrap_or(0);
        if taken.all >= self.most || of_address >= self.most_per_address {
            return None;
        }
        taken.all += 1;
        taken.by_address.insert(address, of_address + 1);
        Some(Place { places: self.clone(), address })
    }
}

/// A connection's place among the limits; free again when dropped.
struct Place {
    places: Places,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// A verified connection that counts against the limits until it is closed.
pub(crate) struct Session {
    stream: TlsStream<TcpStream>,
    peer: TlsPeer,
    _place: Place,
}

impl Connected for Session {
    type ConnectInfo = TlsPeer;

    fn connect_info(&self) -> TlsPeer {
        self.peer.clone()
    }
}

impl AsyncRead for Session {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Session {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_by_address_and_come_back() {
        let places = Places::new(3, 2);
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert!(places.take(one).is_none(), "two from one address");
        let _third = places.take(other).unwrap();
        assert!(places.take(other).is_none(), "three in all");
        drop(first);
        assert!(places.take(other).is_some());
        assert_eq!(places.taken.lock().unwrap().by_address.len(), 2);
    }
}
