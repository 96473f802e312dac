//! The server side.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::credential::{LiveCredential, Resolver};
use super::peer::PeerIdentity;
use super::stream::TlsStream;
use super::verify::{Admission, ClientJudge, Refusal, Root};
use super::{ALPN, ConfigError, Time, provider};
use crate::certificate::Certificate;
use crate::clock::WallClock;

/// What a server needs.
#[derive(Clone)]
pub struct ServerOptions {
    /// The cluster's authority.
    pub authority: Certificate,
    /// What this node shows.
    pub credential: Arc<LiveCredential>,
    /// The time that certificates are judged by.
    pub clock: Arc<dyn WallClock>,
    /// A handshake that takes longer is given up; the peer may be one that sends a byte a minute.
    pub handshake_timeout: Duration,
}

/// A connection that was not accepted. It is closed, and costs nothing any more.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The peer took too long.
    #[error("the TLS handshake did not end within {after:?}")]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection broke during the TLS handshake")]
    Io(#[source] io::Error),
    /// The peer's certificate was refused.
    #[error("the peer was refused: {0}")]
    Refused(Refusal),
    /// The peer speaks something else: another protocol, another version of TLS, garbage.
    #[error("the peer does not speak TLS 1.3 as expected: {reason}")]
    Protocol {
        /// What the TLS library says.
        reason: String,
    },
}

/// Accepts connections of one port.
#[derive(Clone)]
pub struct Acceptor {
    tls: TlsAcceptor,
    options: ServerOptions,
}

impl Acceptor {
    /// For the API port. A client certificate is optional; if there is one, it is a node's or an operator's of this cluster. A
    /// node's may have ended up to [`super::EXPIRED_NODE_GRACE`] ago, and then says so.
    pub fn api(options: ServerOptions) -> Result<Acceptor, ConfigError> {
        Acceptor::new(options, Admission::Api)
    }

    /// For the members' port: a node's certificate, valid now, or no connection.
    pub fn members(options: ServerOptions) -> Result<Acceptor, ConfigError> {
        Acceptor::new(options, Admission::Members)
    }

    fn new(options: ServerOptions, admission: Admission) -> Result<Acceptor, ConfigError> {
        let judge = ClientJudge::new(Root::new(&options.authority)?, admission)?;
        let time = Arc::new(Time(Arc::clone(&options.clock)));
        let mut config = ServerConfig::builder_with_details(provider(), time)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| ConfigError::Library { reason: error.to_string() })?
            .with_client_cert_verifier(Arc::new(judge))
            .with_cert_resolver(Arc::new(Resolver(Arc::clone(&options.credential))));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Acceptor { tls: TlsAcceptor::from(Arc::new(config)), options })
    }

    /// Does the handshake. Cancelling it closes the connection.
    pub async fn accept<S>(&self, stream: S) -> Result<TlsStream<S>, AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let after = self.options.handshake_timeout;
        let accepted = tokio::time::timeout(after, self.tls.accept(stream)).await;
        let stream = accepted.map_err(|_| AcceptError::Timeout { after })?.map_err(accept_error)?;
        let (_, connection) = stream.get_ref();
        // A client that offers no protocol at all may go on: it is the one who asked. One that offers others only was refused.
        let peer = match connection.peer_certificates().and_then(<[_]>::first) {
            None => PeerIdentity::None,
            Some(der) => Certificate::from_der(der)
                .ok()
                .and_then(|certificate| PeerIdentity::of(&certificate, self.options.clock.now_ms()))
                .ok_or_else(|| AcceptError::Refused(Refusal::Unreadable { reason: "it names nobody".to_owned() }))?,
        };
        Ok(TlsStream::new(stream.into(), peer, self.options.authority.clone()))
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("credential", &self.options.credential).finish_non_exhaustive()
    }
}

fn accept_error(error: io::Error) -> AcceptError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        None => AcceptError::Io(error),
        Some(tls) => match Refusal::of(tls) {
            Some(refusal) => AcceptError::Refused(refusal),
            None => AcceptError::Protocol { reason: tls.to_string() },
        },
    }
}
