//! Sockets that outlive the daemon: inherited from the service manager at start, kept there while we are away.
//!
//! systemd binds the control socket (`jaco.socket`) and keeps the ingress's listeners in its descriptor store, so that an upgrade
//! of `jacod` refuses no connection: they wait in the kernel's queue until the next process accepts them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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
        }
        wanted
    }
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

/// Hands the ingress's listeners to the service manager to keep; without one that can, nothing happens.
pub(crate) fn keep_http(listeners: &[impl AsFd]) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    for listener in listeners {
        let state = [NotifyState::FdStore, NotifyState::FdName(HTTP)];
        if let Err(error) = sd_notify::notify_with_fds(&state, &[listener.as_fd()]) {
            let descriptor: RawFd = listener.as_fd().as_raw_fd();
            tracing::warn!(%error, descriptor, "an ingress listener could not be handed to the service manager");
        }
    }
}

/// Tells the service manager; without one nothing happens.
pub(crate) fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager could not be notified");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_socket_has_its_mode_and_a_stale_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/jaco.sock");
        drop(bind_control(&path).unwrap());
        assert!(path.exists(), "a socket file stays behind a process that was killed");
        let listener = bind_control(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, CONTROL_MODE);
        assert!(matches!(bind_control(&path), Err(SocketError::InUse { .. })));
        drop(listener);
    }

    #[test]
    fn a_folder_that_cannot_be_made_names_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let error = bind_control(&file.join("below/jaco.sock")).unwrap_err();
        assert!(error.to_string().contains("jaco.sock"), "{error}");
    }
}
