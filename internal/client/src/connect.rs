//! Opening the connection, and what to tell the user when that fails.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use jaco_types::{ErrorCode, UserError};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint as ChannelEndpoint};

use crate::endpoint::Endpoint;
use crate::remote::{self, Authorization};
use crate::staleness::Staleness;

/// A local socket answers at once or not at all; this covers a daemon that is stopped (SIGSTOP) or swapping.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to one daemon. Cheap to clone; it opens a new connection by itself when the old one broke.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) channel: Channel,
    pub(crate) endpoint: Endpoint,
    /// Sent with every call over the network, where a bearer token is used.
    pub(crate) authorization: Option<Authorization>,
    pub(crate) staleness: Staleness,
}

impl Client {
    /// Connects: to a socket within five seconds, over the network within ten for each server.
    ///
    /// Errors: `unreachable` when there is no socket, nobody listens or nobody answers; `permission_denied` when the caller may not
    /// open the socket; over the network also `ca_fingerprint_mismatch`, and `usage` without a usable CA.
    pub async fn connect(endpoint: Endpoint) -> Result<Client, UserError> {
        let (channel, authorization) = match &endpoint {
            Endpoint::Socket(path) => (connect_socket(path).await?, None),
            Endpoint::Remote(remote) => remote::connect(remote).await?,
        };
        Ok(Client { channel, endpoint, authorization, staleness: Staleness::default() })
    }

    /// Notes in this value what the daemon's answers say of their age.
    #[must_use]
    pub fn with_staleness(self, staleness: Staleness) -> Client {
        Client { staleness, ..self }
    }

    /// Where this client is connected to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

async fn connect_socket(path: &Path) -> Result<Channel, UserError> {
    // A Unix socket has no authority; HTTP/2 wants one.
    let channel = ChannelEndpoint::from_static("http://jaco.internal");
    let connector_path = path.to_owned();
    let connector = tower::service_fn(move |_| open(connector_path.clone()));
    match tokio::time::timeout(CONNECT_TIMEOUT, channel.connect_with_connector(connector)).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(explain(path, &error)),
        Err(_) => Err(UserError::new(
            ErrorCode::Unreachable,
            format!(
                "{} does not answer within {}s: is jacod stopped or overloaded?",
                path.display(),
                CONNECT_TIMEOUT.as_secs()
            ),
        )
        .with("socket", path.display())),
    }
}

async fn open(path: PathBuf) -> io::Result<TokioIo<UnixStream>> {
    UnixStream::connect(path).await.map(TokioIo::new)
}

/// The I/O error at the bottom of a transport error says what is wrong with the socket.
fn explain(path: &Path, error: &tonic::transport::Error) -> UserError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return explain_io(path, io);
        }
        cause = inner.source();
    }
    UserError::new(ErrorCode::Unreachable, format!("{} did not answer as jacod does", path.display()))
        .with("socket", path.display())
        .with("reason", error)
}

pub(crate) fn explain_io(path: &Path, error: &io::Error) -> UserError {
    let shown = path.display();
    let start = "start jacod (systemctl start jaco), or name another socket with --socket or JACO_SOCKET, or a remote node with --server or JACO_SERVER";
    let (code, message) = match error.kind() {
        io::ErrorKind::NotFound => (ErrorCode::Unreachable, format!("there is no control socket at {shown}: {start}")),
        io::ErrorKind::ConnectionRefused => {
            (ErrorCode::Unreachable, format!("nothing listens on the control socket {shown}: {start}"))
        }
        io::ErrorKind::PermissionDenied => (
            ErrorCode::PermissionDenied,
            format!(
                "no permission to open the control socket {shown}: be root or a member of group jaco (usermod -aG jaco <user>, then log in again)"
            ),
        ),
        _ => (ErrorCode::Unreachable, format!("the control socket {shown} cannot be opened ({error}): {start}")),
    };
    UserError::new(code, message).with("socket", shown).with("reason", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_socket_is_told_with_its_path_and_both_remedies() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("no.sock");
        let error = Client::connect(Endpoint::Socket(path.clone())).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unreachable);
        for part in [path.to_str().unwrap(), "start jacod", "--socket", "JACO_SOCKET"] {
            assert!(error.message.contains(part), "{part:?} is not in {:?}", error.message);
        }
    }

    #[tokio::test]
    async fn a_socket_nobody_listens_on_is_told_as_such() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dead.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error = Client::connect(Endpoint::Socket(path)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unreachable);
        assert!(error.message.contains("nothing listens"), "{}", error.message);
    }

    #[test]
    fn a_closed_door_names_the_group() {
        let error = explain_io(Path::new("/run/jaco/jaco.sock"), &io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(error.code, ErrorCode::PermissionDenied);
        assert!(error.message.contains("root") && error.message.contains("group jaco"));
    }
}
