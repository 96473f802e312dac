//! The client side.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jaco_types::{ErrorCode, UserError};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::credential::{LiveCredential, Resolver};
use super::peer::PeerIdentity;
use super::stream::TlsStream;
use super::verify::{ClientRoot, ExpectedNode, Refusal, Root, ServerJudge};
use super::{ALPN, ConfigError, Time, provider};
use crate::certificate::Certificate;
use crate::clock::WallClock;
use crate::hash::Fingerprint;

/// The name the TLS library wants for a server. It is neither sent nor compared: see the module's text.
const SERVER_NAME: &str = "node.jaco.internal";

/// Which authority a client trusts.
#[derive(Debug, Clone)]
pub enum Trust {
    /// This one.
    Authority(Certificate),
    /// The one with this fingerprint, which the server presents: for a join, and for `--ca-fingerprint`.
    Pinned(Fingerprint),
}

/// What a client needs.
#[derive(Clone)]
pub struct ClientOptions {
    /// Whom to trust.
    pub trust: Trust,
    /// What to show: the node's own credential, an operator's, or nothing (bearer token, join).
    pub credential: Option<Arc<LiveCredential>>,
    /// The time that certificates are judged by.
    pub clock: Arc<dyn WallClock>,
    /// A handshake that takes longer is given up.
    pub handshake_timeout: Duration,
}

/// A connection that was not made. Nothing but the handshake's own messages was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The peer took too long.
    #[error("the TLS handshake did not end within {after:?}")]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection broke during the TLS handshake")]
    Io(#[source] io::Error),
    /// The server's authority is not the pinned one. Nothing secret was sent.
    #[error("the server's certificate authority is not the expected one: its fingerprint is {}, and {expected} is expected; nothing secret was sent",
        presented.map_or_else(|| "missing".to_owned(), |found| found.to_string()))]
    FingerprintMismatch {
        /// The pinned one.
        expected: Fingerprint,
        /// The one the server presented, if any.
        presented: Option<Fingerprint>,
    },
    /// The server's certificate was refused for another reason.
    #[error("the server was refused: {0}")]
    Refused(Refusal),
    /// The server speaks something else, or refused this side.
    #[error("the server does not speak TLS 1.3 as expected: {reason}")]
    Protocol {
        /// What the TLS library says.
        reason: String,
    },
}

impl ConnectError {
    /// The user's code: `ca_fingerprint_mismatch` when the server belongs to another authority, else `unreachable`.
    pub fn code(&self) -> ErrorCode {
        match self {
            ConnectError::FingerprintMismatch { .. } | ConnectError::Refused(Refusal::OtherAuthority) => {
                ErrorCode::CaFingerprintMismatch
            }
            ConnectError::Timeout { .. }
            | ConnectError::Io(_)
            | ConnectError::Refused(_)
            | ConnectError::Protocol { .. } => ErrorCode::Unreachable,
        }
    }

    /// What the user sees.
    pub fn user_error(&self) -> UserError {
        let error = UserError::new(self.code(), self.to_string());
        match self {
            ConnectError::FingerprintMismatch { expected, presented: Some(presented) } => {
                error.with("expected", expected).with("presented", presented)
            }
            ConnectError::FingerprintMismatch { expected, presented: None } => error.with("expected", expected),
            ConnectError::Io(source) => error.with("reason", source),
            ConnectError::Timeout { .. } | ConnectError::Refused(_) | ConnectError::Protocol { .. } => error,
        }
    }
}

/// Makes connections.
#[derive(Clone)]
pub struct Connector {
    config: ClientConfig,
    root: ClientRoot,
    clock: Arc<dyn WallClock>,
    handshake_timeout: Duration,
}

impl Connector {
    /// A connector for one cluster and one identity.
    pub fn new(options: ClientOptions) -> Result<Connector, ConfigError> {
        let library = |error: rustls::Error| ConfigError::Library { reason: error.to_string() };
        let root = match &options.trust {
            Trust::Authority(certificate) => ClientRoot::Known(Root::new(certificate)?),
            Trust::Pinned(fingerprint) => ClientRoot::Pinned(*fingerprint),
        };
        let time = Arc::new(Time(Arc::clone(&options.clock)));
        let builder = ClientConfig::builder_with_details(provider(), time)
            .with_protocol_versions(&[&TLS13])
            .map_err(library)?
            // `dangerous` because the verifier is our own; it wraps the library's path validation and drops none of its checks.
            .dangerous()
            .with_custom_certificate_verifier(judge(root.clone(), ExpectedNode::Any));
        let mut config = match options.credential {
            Some(credential) => builder.with_client_cert_resolver(Arc::new(Resolver(credential))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(Connector { config, root, clock: options.clock, handshake_timeout: options.handshake_timeout })
    }

    /// Does the handshake, over a stream that is already connected. Cancelling it closes the connection.
    ///
    /// When this returns, the server is verified; whether the server accepts *this* side shows at the first read.
    pub async fn connect<S>(&self, stream: S, expected: ExpectedNode) -> Result<TlsStream<S>, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut config = self.config.clone();
        config.dangerous().set_certificate_verifier(judge(self.root.clone(), expected));
        let name = ServerName::try_from(SERVER_NAME).map_err(|error| protocol(&error))?;
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let after = self.handshake_timeout;
        let connected = tokio::time::timeout(after, handshake).await;
        let stream = connected.map_err(|_| ConnectError::Timeout { after })?.map_err(connect_error)?;
        let (_, connection) = stream.get_ref();
        if connection.alpn_protocol() != Some(ALPN) {
            return Err(ConnectError::Protocol { reason: "it did not agree on HTTP/2".to_owned() });
        }
        let chain = connection.peer_certificates().unwrap_or_default();
        let (leaf, rest) = chain.split_first().ok_or(ConnectError::Refused(Refusal::Missing))?;
        let unreadable = || ConnectError::Refused(Refusal::Unreadable { reason: "it names nobody".to_owned() });
        let leaf = Certificate::from_der(leaf).map_err(|_| unreadable())?;
        let peer = PeerIdentity::of(&leaf, self.clock.now_ms()).ok_or_else(unreadable)?;
        let authority = self.root.certificate_in(rest).map_err(ConnectError::Refused)?;
        Ok(TlsStream::new(stream.into(), peer, authority))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("root", &self.root).finish_non_exhaustive()
    }
}

fn judge(root: ClientRoot, expected: ExpectedNode) -> Arc<ServerJudge> {
    Arc::new(ServerJudge { root, expected, algorithms: provider().signature_verification_algorithms })
}

fn protocol(error: &dyn fmt::Display) -> ConnectError {
    ConnectError::Protocol { reason: error.to_string() }
}

fn connect_error(error: io::Error) -> ConnectError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        None => ConnectError::Io(error),
        Some(tls) => match Refusal::of(tls) {
            Some(Refusal::FingerprintMismatch { expected, presented }) => {
                ConnectError::FingerprintMismatch { expected, presented }
            }
            Some(refusal) => ConnectError::Refused(refusal),
            None => protocol(tls),
        },
    }
}
