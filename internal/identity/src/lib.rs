//! Who is who: the cluster's certificate authority, node and operator certificates, tokens, sealing of secrets, and every TLS
//! configuration of the workspace.
//!
//! Invariants:
//! - No other crate makes a TLS configuration (`clippy.toml` and a policy test hold that), and there is no way here to make one
//!   that does not verify its peer against the cluster's authority.
//! - Private keys, tokens and data keys are wiped when dropped, and no `Debug` or `Display` shows them. The copies that the TLS and
//!   certificate libraries keep while they sign are theirs, and are not wiped.
//! - Nothing here judges membership or permission: a [`PeerIdentity`] says who a verified certificate was made for, and the
//!   caller compares node id, public key, incarnation and expiry with the store, at every call.
//! - The clock is a parameter ([`WallClock`]); pure functions take `now_ms`, milliseconds since the Unix epoch.
//!
//! The crate has no tasks and no channels. What blocks on a socket has a deadline; what touches the disk ([`NodeDirectory`])
//! blocks the thread for a few syncs and belongs at start-up or on a blocking thread.

mod authority;
mod certificate;
mod clock;
mod files;
mod hash;
mod hexadecimal;
mod key;
mod random;
mod renewal;
mod replace;
mod request;
mod seal;
mod subject;
mod tls;
mod token;

#[cfg(test)]
mod fixture;

pub use authority::{
    AUTHORITY_VALIDITY, Authority, AuthorityError, BACK_DATING, MAX_VALIDITY, NodeGrant, OperatorGrant, SignError,
};
pub use certificate::{Certificate, CertificateError, Facts};
pub use clock::{SystemWallClock, WallClock};
pub use files::{FileError, Installed, JoinRecord, NodeDirectory};
pub use hash::{Fingerprint, PublicKeyHash};
pub use hexadecimal::InvalidHex;
pub use key::{KeyError, PrivateKey};
pub use random::RandomError;
pub use renewal::renew_at;
pub use request::{CertificateRequest, RequestError, RequestNames};
pub use seal::{
    CopyError, DataKey, DataKeyCopy, Keyring, Place, RecoveryKey, RecoveryKeyError, SealError, SealPublicKey,
    SealSecretKey, Sealed,
};
pub use subject::{InvalidSubject, Subject};
pub use tls::{
    AcceptError, Acceptor, ClientOptions, ConfigError, ConnectError, Connector, Credential, CredentialError,
    EXPIRED_NODE_GRACE, ExpectedNode, LiveCredential, PeerIdentity, Refusal, ServerOptions, TlsStream, Trust,
};
pub use token::{InvalidJoinToken, InvalidToken, JoinSecret, JoinToken, OperatorToken, TokenHash};
