//! Connections to daemons over the network: TLS to the first of several servers that answers, always verified.

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use jaco_identity::{
    Certificate, ClientOptions, ConnectError, Connector, Credential, ExpectedNode, LiveCredential, PrivateKey,
    SystemWallClock, TlsStream, Trust,
};
use jaco_types::{ErrorCode, UserError};
use tokio::net::TcpStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint as ChannelEndpoint};

use crate::endpoint::{Login, Remote, RemoteTrust};

/// A TCP connection to one server comes about within this time, or the address is wrong or shut off.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// So does a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection over a dead link is given up after these two; a call has its own deadline, and a stream has none.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The header that carries a bearer token.
pub(crate) type Authorization = MetadataValue<Ascii>;

/// Connects to the first server that answers. The channel does the same again when the connection broke.
///
/// Errors: `usage` without a usable CA or client certificate; `ca_fingerprint_mismatch` when a server belongs to another authority:
/// nothing secret was sent, and no other server is tried; `unreachable`.
pub(crate) async fn connect(remote: &Remote) -> Result<(Channel, Option<Authorization>), UserError> {
    let (trust, authority) = trust(&remote.trust).await?;
    let (credential, authorization) = match &remote.login {
        Login::Token(token) => {
            let header = Authorization::try_from(format!("Bearer {}", token.reveal().as_str()));
            let mut header = header.map_err(|error| UserError::internal("the token cannot be sent", error))?;
            header.set_sensitive(true);
            (None, Some(header))
        }
        Login::Certificate { certificate, key } => {
            let credential = credential(certificate, key, authority.as_ref()).await?;
            (Some(LiveCredential::new(credential)), None)
        }
    };
    let options =
        ClientOptions { trust, credential, clock: Arc::new(SystemWallClock), handshake_timeout: HANDSHAKE_TIMEOUT };
    let connector = Connector::new(options).map_err(|error| UserError::new(ErrorCode::Usage, error.to_string()))?;
    let dialer = Arc::new(Dialer { connector, servers: remote.servers.clone() });
    let open = tower::service_fn(move |_| {
        let dialer = dialer.clone();
        async move { dialer.dial().await.map(TokioIo::new).map_err(DialError) }
    });
    // The connector does the TLS; HTTP/2 wants an authority, and nobody reads it.
    let channel = ChannelEndpoint::from_static("http://node.jaco.internal")
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .connect_with_connector(open)
        .await
        .map_err(|error| explain(remote, &error))?;
    Ok((channel, authorization))
}

/// Why a connection was not made, on its way through the transport.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
struct DialError(UserError);

/// The error that the dialer gave, when it is one of its own.
fn explain(remote: &Remote, error: &tonic::transport::Error) -> UserError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(DialError(error)) = inner.downcast_ref::<DialError>() {
            return error.clone();
        }
        cause = inner.source();
    }
    UserError::new(ErrorCode::Unreachable, format!("{} did not answer as jacod does", remote.servers.join(", ")))
        .with("reason", error)
}

/// Opens connections to the first server that answers.
struct Dialer {
    connector: Connector,
    servers: Vec<String>,
}

impl Dialer {
    async fn dial(&self) -> Result<TlsStream<TcpStream>, UserError> {
        let mut failures = Vec::new();
        for server in &self.servers {
            match self.dial_one(server).await {
                Ok(stream) => return Ok(stream),
                // Somebody else answers under this name: to go on quietly would hide it.
                Err(error) if error.code == ErrorCode::CaFingerprintMismatch => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        let all = failures.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; ");
        match failures.pop() {
            Some(only) if failures.is_empty() => Err(only),
            Some(_) | None => Err(UserError::new(ErrorCode::Unreachable, format!("no server answers: {all}"))
                .with("servers", self.servers.join(","))),
        }
    }

    async fn dial_one(&self, server: &str) -> Result<TlsStream<TcpStream>, UserError> {
        let unreachable = |reason: String| {
            UserError::new(ErrorCode::Unreachable, format!("{server} cannot be reached ({reason})"))
                .with("server", server)
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(server)).await;
        let stream = stream
            .map_err(|_| unreachable(format!("no connection within {}s", CONNECT_TIMEOUT.as_secs())))?
            .map_err(|error| unreachable(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;
        let connected = self.connector.connect(stream, ExpectedNode::Any).await;
        connected.map_err(|error| handshake_error(server, &error).with("server", server))
    }
}

/// What the user is told when a connection came about and no TLS on it. A node that belongs to no cluster closes connections at once.
pub(crate) fn handshake_error(server: &str, error: &ConnectError) -> UserError {
    let inner = error.user_error();
    let message = match error {
        ConnectError::Io(_) => format!(
            "{server} closed the connection at once: jacod there belongs to no cluster yet (`jaco cluster status` on that machine shows it), or this is not the port of its API, 7000 by default"
        ),
        ConnectError::Protocol { .. } | ConnectError::Timeout { .. } => {
            format!("{server}: {}: is this the port of jacod's API, 7000 by default?", inner.message)
        }
        ConnectError::FingerprintMismatch { .. } | ConnectError::Refused(_) => format!("{server}: {}", inner.message),
    };
    UserError { message, ..inner }
}

/// Whom to trust, and the authority's certificate when it is at hand.
async fn trust(trust: &RemoteTrust) -> Result<(Trust, Option<Certificate>), UserError> {
    let (path, expected) = match trust {
        RemoteTrust::Fingerprint(fingerprint) => return Ok((Trust::Pinned(*fingerprint), None)),
        RemoteTrust::File(path, expected) => (path, expected),
    };
    let unusable = |reason: String| {
        UserError::new(
            ErrorCode::Usage,
            format!(
                "the cluster's CA certificate cannot be read from {:?} ({reason}): name its file with --ca-cert or JACO_CA_CERT, or its fingerprint with --ca-fingerprint; no connection is made unverified",
                path.display().to_string()
            ),
        )
        .with("path", path.display())
    };
    let text = tokio::fs::read_to_string(path).await.map_err(|error| unusable(error.to_string()))?;
    let certificate = Certificate::from_pem(&text).map_err(|error| unusable(error.to_string()))?;
    let found = certificate.fingerprint();
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        return Err(UserError::new(
            ErrorCode::CaFingerprintMismatch,
            format!(
                "the CA certificate in {} has the fingerprint {found}, and {expected} is expected; nothing was sent",
                path.display()
            ),
        )
        .with("expected", expected)
        .with("presented", found));
    }
    Ok((Trust::Authority(certificate.clone()), Some(certificate)))
}

/// A client certificate with its key.
async fn credential(certificate: &Path, key: &Path, authority: Option<&Certificate>) -> Result<Credential, UserError> {
    let unusable = |path: &Path, reason: String| {
        UserError::new(ErrorCode::Usage, format!("the client certificate cannot be used: {}: {reason}", path.display()))
            .with("path", path.display())
    };
    let text =
        tokio::fs::read_to_string(certificate).await.map_err(|error| unusable(certificate, error.to_string()))?;
    let own = Certificate::from_pem(&text).map_err(|error| unusable(certificate, error.to_string()))?;
    let text = tokio::fs::read_to_string(key).await.map_err(|error| unusable(key, error.to_string()))?;
    let private = PrivateKey::from_pem(&text).map_err(|error| unusable(key, error.to_string()))?;
    // The authority's certificate is shown beside the own one; a server knows its authority and does not need it.
    let authority = authority.unwrap_or(&own);
    Credential::new(&own, &private, authority).map_err(|error| unusable(key, error.to_string()))
}
