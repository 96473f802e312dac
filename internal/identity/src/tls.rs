//! The only place that makes TLS configurations.
//!
//! - TLS 1.3 only, HTTP/2 only (ALPN `h2`), both sides verified against the cluster's authority. A client without a certificate
//!   (bearer token, join) is possible on the API port; a server that is not verified is not.
//! - Names in certificates are not compared with the address that was dialled: the authority signs members only, and the caller
//!   says which node it expects ([`ExpectedNode`]). A node stays reachable by an address its certificate does not know.
//! - No session is ever resumed: a resumed one would carry the identity of the certificate it began with, past that one's renewal
//!   and expiry. Connections live long, so a full handshake for each costs nothing that matters.
//! - Certificates are taken from a [`LiveCredential`] at each handshake: a renewal is seen by the next one, and no open connection
//!   notices.
//! - A server refuses a client's certificate after the client believes that the handshake is over (TLS 1.3 has it so): the client
//!   sees it at its first read.

#![allow(clippy::disallowed_methods)] // Here, and nowhere else, TLS configurations are made.

mod accept;
mod connect;
mod credential;
mod peer;
mod stream;
mod verify;

pub use accept::{AcceptError, Acceptor, ServerOptions};
pub use connect::{ClientOptions, ConnectError, Connector, Trust};
pub use credential::{Credential, CredentialError, LiveCredential};
pub use peer::PeerIdentity;
pub use stream::TlsStream;
pub use verify::{EXPIRED_NODE_GRACE, ExpectedNode, Refusal};

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::clock::WallClock;

/// The application protocol of every connection: HTTP/2.
const ALPN: &[u8] = b"h2";

/// A TLS configuration could not be made: the authority's certificate is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The certificate given as the authority's is that of somebody else.
    #[error("the certificate of {subject} cannot be trusted as that of a cluster's authority")]
    NotAnAuthority {
        /// Whose it is.
        subject: String,
    },
    /// The TLS library refused.
    #[error("the TLS configuration cannot be made: {reason}")]
    Library {
        /// Why.
        reason: String,
    },
}

/// The cryptography of every connection. It is handed over, never installed for the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Our clock, as the TLS library wants it.
struct Time(Arc<dyn WallClock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now_ms()))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

fn unix_time(ms: u64) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_millis(ms))
}

#[cfg(test)]
mod tests;
