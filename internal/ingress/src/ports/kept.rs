//! Sockets of published ports that outlive the process: shown to a keeper when they are opened, taken back at the next start.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use jaco_types::Protocol;
use socket2::{SockRef, Type};

use super::port::PortKey;
use crate::listen;

/// Keeps duplicates of the sockets of published ports for the next process, as a service manager can. While one is kept, connections
/// and datagrams that arrive after [`Ingress::stop`](crate::Ingress::stop) wait in the socket's queue.
///
/// Called on the thread that forwards all ports, in the order in which ports open and close; it must return soon.
pub trait PortKeeper: std::fmt::Debug + Send + Sync {
    /// A port was opened. Called for inherited sockets as well, which the keeper may have already.
    fn keep(&self, protocol: Protocol, port: u16, socket: BorrowedFd<'_>);

    /// A port was closed for good; not called when the ingress stops. Until the duplicate is gone, the port stays taken.
    fn forget(&self, protocol: Protocol, port: u16);
}

/// Keeps nothing: ports are closed between two processes.
#[derive(Debug)]
pub(crate) struct NoKeeper;

impl PortKeeper for NoKeeper {
    fn keep(&self, _protocol: Protocol, _port: u16, _socket: BorrowedFd<'_>) {}

    fn forget(&self, _protocol: Protocol, _port: u16) {}
}

/// An open socket of a published port.
#[derive(Debug)]
pub enum PortSocket {
    /// A listening TCP socket.
    Tcp(TcpListener),
    /// A bound UDP socket.
    Udp(UdpSocket),
}

impl PortSocket {
    pub(super) fn bind(key: PortKey, address: IpAddr) -> io::Result<PortSocket> {
        let address = SocketAddr::new(address, key.1);
        match key.0 {
            Protocol::Tcp => listen::bind_tcp(address, false).map(PortSocket::Tcp),
            Protocol::Udp => listen::bind_udp(address).map(PortSocket::Udp),
        }
    }

    /// Its transport.
    pub fn protocol(&self) -> Protocol {
        match self {
            PortSocket::Tcp(_) => Protocol::Tcp,
            PortSocket::Udp(_) => Protocol::Udp,
        }
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            PortSocket::Tcp(listener) => listener.local_addr(),
            PortSocket::Udp(socket) => socket.local_addr(),
        }
    }

    /// Makes an inherited socket ready for use; false when it is none that takes connections or datagrams.
    fn prepare(&self) -> io::Result<bool> {
        let (socket, kind) = match self {
            PortSocket::Tcp(listener) => (SockRef::from(listener), Type::STREAM),
            PortSocket::Udp(socket) => (SockRef::from(socket), Type::DGRAM),
        };
        socket.set_nonblocking(true)?;
        Ok(socket.r#type()? == kind && (kind == Type::DGRAM || socket.is_listener()?))
    }

    /// Closes the socket and, for TCP, takes every duplicate of it out of service.
    fn close(self) {
        match self {
            PortSocket::Tcp(listener) => refuse(&listener),
            PortSocket::Udp(_) => {}
        }
    }
}

/// Ends the listening of a socket, whoever else holds it: a duplicate that a keeper still has would take connections that nobody
/// accepts, and would be in the way of the next listener.
pub(super) fn refuse(listener: &impl AsFd) {
    if let Err(error) = SockRef::from(listener).shutdown(Shutdown::Both) {
        tracing::debug!(%error, "a listener was closed already");
    }
}

/// Inherited sockets that no table has named yet.
#[derive(Debug, Default)]
pub(super) struct Unclaimed(BTreeMap<PortKey, PortSocket>);

impl Unclaimed {
    /// Sorts out what was inherited. What is of no use here is closed and forgotten at once, so that its port can be bound anew.
    pub(super) fn new(inherited: Vec<PortSocket>, address: IpAddr, keeper: &dyn PortKeeper) -> Unclaimed {
        let mut unclaimed = Unclaimed::default();
        for socket in inherited {
            let bound = match socket.local_addr() {
                Ok(bound) => bound,
                Err(error) => {
                    tracing::warn!(%error, "an inherited descriptor is no socket of a published port");
                    continue;
                }
            };
            let key = (socket.protocol(), bound.port());
            if bound.ip() == address && matches!(socket.prepare(), Ok(true)) {
                unclaimed.0.insert(key, socket);
            } else {
                tracing::info!(protocol = key.0.as_str(), address = %bound, "an inherited socket is not used: it is closed");
                socket.close();
                keeper.forget(key.0, key.1);
            }
        }
        unclaimed
    }

    /// The socket of a port that a table names.
    pub(super) fn take(&mut self, key: PortKey) -> Option<PortSocket> {
        self.0.remove(&key)
    }

    /// Closes what is left for good.
    pub(super) fn close(&mut self, keeper: &dyn PortKeeper) {
        for (key, socket) in std::mem::take(&mut self.0) {
            tracing::info!(protocol = key.0.as_str(), port = key.1, "an inherited port is published no longer");
            socket.close();
            keeper.forget(key.0, key.1);
        }
    }
}
