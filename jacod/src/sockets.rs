//! Sockets that outlive the daemon: inherited from the service manager at start, kept there while we are away.
//!
//! systemd binds the control socket (`jaco.socket`) and keeps the sockets of the ingress, HTTP listeners and published ports alike, in
//! its descriptor store, so that an upgrade of `jacod` refuses no connection: they wait in the kernel's queue until the next process
//! accepts them.
//!
//! A descriptor is known by its name alone: `ingress-http`, or `port-tcp-8080` and `port-udp-53` for published ports.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jaco_ingress::{PortKeeper, PortSocket};
use jaco_types::Protocol;
use sd_notify::NotifyState;

/// Name of the control socket among inherited descriptors (`FileDescriptorName=` of the unit, or its default).
const CONTROL: &[&str] = &["jaco.socket", "control"];
/// Name of a kept ingress listener.
const HTTP: &str = "ingress-http";
/// Mode of the control socket: its group may use it, nobody else.
const CONTROL_MODE: u32 = 0o660;
/// Group that may use the control socket.
const GROUP: &str = "jaco";

/// What was handed to this process.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    by_name: BTreeMap<String, Vec<OwnedFd>>,
}

/// A socket could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// The control socket's folder cannot be made.
    #[error("the folder of the control socket {path} cannot be made")]
    Folder {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another daemon answers on it.
    #[error("{path} is in use: another jacod runs on this socket")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The control socket cannot be bound.
    #[error("the control socket {path} cannot be bound")]
    Control {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Inherited {
    /// Takes over the descriptors that the service manager passed; none when it passed none.
    #[allow(unsafe_code)]
    pub(crate) fn take() -> std::io::Result<Inherited> {
        let mut inherited = Inherited::default();
        for (descriptor, name) in sd_notify::listen_fds_with_names()? {
            // Safety: the service manager gave these descriptors to this process, the call above checked that they are meant for
            // this process id, and each is taken once, here.
            let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
            inherited.by_name.entry(name).or_default().push(owned);
        }
        Ok(inherited)
    }

    fn take_named(&mut self, names: &[&str]) -> Vec<OwnedFd> {
        names.iter().filter_map(|name| self.by_name.remove(*name)).flatten().collect()
    }

    /// The control socket: inherited, or bound here with mode 0660 and group `jaco` where that group exists.
    pub(crate) fn control(&mut self, path: &Path) -> Result<std::os::unix::net::UnixListener, SocketError> {
        if let Some(inherited) = self.take_named(CONTROL).pop() {
            return Ok(inherited.into());
        }
        bind_control(path)
    }

    /// Ingress listeners kept by the service manager that are bound to this address.
    pub(crate) fn http(&mut self, address: SocketAddr) -> Vec<TcpListener> {
        let (wanted, other): (Vec<TcpListener>, Vec<TcpListener>) = self
            .take_named(&[HTTP])
            .into_iter()
            .map(TcpListener::from)
            .partition(|listener| listener.local_addr().is_ok_and(|bound| bound == address));
        if !other.is_empty() {
            tracing::info!(
                listeners = other.len(),
                "kept listeners of another address are closed: http_addr was changed"
            );
            for listener in other {
                // Shut down, not just closed: until the manager has let go of its duplicate, that would be in the way of the new one.
                if let Err(error) = TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both) {
                    tracing::debug!(%error, "a kept listener was closed already");
                }
            }
            // By name, so all of them: those in use are handed over again.
            give_up(HTTP);
        }
        wanted
    }

    /// Sockets of published ports kept by the service manager.
    pub(crate) fn ports(&mut self) -> Vec<PortSocket> {
        let mut ports = Vec::new();
        for (name, descriptors) in std::mem::take(&mut self.by_name) {
            match protocol_of(&name) {
                Some(Protocol::Tcp) => ports.extend(descriptors.into_iter().map(|owned| PortSocket::Tcp(owned.into()))),
                Some(Protocol::Udp) => ports.extend(descriptors.into_iter().map(|owned| PortSocket::Udp(owned.into()))),
                None => {
                    self.by_name.insert(name, descriptors);
                }
            }
        }
        ports
    }
}

/// Name of the kept socket of a published port.
fn port_name(protocol: Protocol, port: u16) -> String {
    format!("port-{}-{port}", protocol.as_str())
}

/// Transport of the published port with this name; `None` for any other name.
fn protocol_of(name: &str) -> Option<Protocol> {
    let (_, port) = name.rsplit_once('-')?;
    let port = port.parse().ok()?;
    [Protocol::Tcp, Protocol::Udp].into_iter().find(|protocol| port_name(*protocol, port) == name)
}

fn bind_control(path: &Path) -> Result<std::os::unix::net::UnixListener, SocketError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| SocketError::Folder { path: path.to_owned(), source })?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(SocketError::InUse { path: path.to_owned() });
    }
    let control = |source| SocketError::Control { path: path.to_owned(), source };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(control(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(path).map_err(control)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(CONTROL_MODE)).map_err(control)?;
    match nix::unistd::Group::from_name(GROUP) {
        Ok(Some(group)) => {
            nix::unistd::chown(path, None, Some(group.gid)).map_err(|error| control(error.into()))?;
        }
        Ok(None) | Err(_) => {
            tracing::warn!(socket = %path.display(), "there is no group {GROUP}: only root can use the control socket");
        }
    }
    Ok(listener)
}

/// Hands the ingress's HTTP listeners to the service manager to keep; without one that can, nothing happens.
pub(crate) fn keep_http(listeners: &[impl AsFd]) {
    for listener in listeners {
        hand_over(HTTP, listener.as_fd());
    }
}

/// Has the service manager keep the sockets of published ports; without one that can, nothing happens.
#[derive(Debug)]
pub(crate) struct ManagerKeeper;

impl PortKeeper for ManagerKeeper {
    fn keep(&self, protocol: Protocol, port: u16, socket: BorrowedFd<'_>) {
        hand_over(&port_name(protocol, port), socket);
    }

    fn forget(&self, protocol: Protocol, port: u16) {
        give_up(&port_name(protocol, port));
    }
}

/// The manager drops what it has already, so handing a socket over again is harmless.
fn hand_over(name: &str, socket: BorrowedFd<'_>) {
    let state = [NotifyState::FdStore, NotifyState::FdName(name)];
    if let Err(error) = sd_notify::notify_with_fds(&state, &[socket]) {
        tracing::warn!(%error, name, "a socket could not be handed to the service manager");
    }
}

/// Closes every descriptor that the manager keeps by this name.
fn give_up(name: &str) {
    notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
}

/// Tells the service manager; without one nothing happens.
pub(crate) fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be notified");
    }
}

#[cfg(test)]
mod tests;
