//! Judging a peer's certificate chain.
//!
//! Signatures, lives and usages are checked by the TLS library's own path validation; what is added here only ever refuses more,
//! with one exception: the API port accepts a node's certificate for a while after its end, so that the node can renew it.

use std::sync::Arc;
use std::time::Duration;

use jaco_types::NodeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError as TlsCertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, RootCertStore, SignatureScheme,
};

use super::ConfigError;
use crate::certificate::Certificate;
use crate::hash::Fingerprint;
use crate::subject::Subject;

/// How long after its end a node's certificate is still accepted on the API port, for the renewal call alone: 90 days.
pub const EXPIRED_NODE_GRACE: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Which node a client wants to speak to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedNode {
    /// Any node of the cluster.
    Any,
    /// This one only.
    Only(NodeId),
}

/// Why a peer's certificate was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The chain does not hold the authority with the pinned fingerprint.
    #[error("the peer's certificate authority is not the expected one: its fingerprint is {}, and {expected} is expected",
        presented.map_or_else(|| "missing".to_owned(), |found| found.to_string()))]
    FingerprintMismatch {
        /// The pinned one.
        expected: Fingerprint,
        /// The one that was presented, if any.
        presented: Option<Fingerprint>,
    },
    /// Signed by another authority, or by nobody.
    #[error("the peer's certificate was not issued by this cluster's authority")]
    OtherAuthority,
    /// Not a certificate of a JACO cluster.
    #[error("the peer's certificate cannot be read: {reason}")]
    Unreadable {
        /// What is wrong.
        reason: String,
    },
    /// A node was expected.
    #[error("a node was expected, and the peer's certificate is one of {subject}")]
    NotANode {
        /// Whose certificate it is.
        subject: String,
    },
    /// Another node was expected.
    #[error("node {expected} was expected, and node {found} answered")]
    OtherNode {
        /// Whom the caller wanted.
        expected: NodeId,
        /// Who answered.
        found: NodeId,
    },
    /// Its life is over.
    #[error("the peer's certificate has expired")]
    Expired,
    /// Its life has not begun, by this machine's clock.
    #[error("the peer's certificate is not valid yet: check the clocks of both machines")]
    NotYetValid,
    /// No certificate where one is needed.
    #[error("the peer showed no certificate")]
    Missing,
    /// Anything else the validation found.
    #[error("the peer's certificate is not acceptable: {reason}")]
    Other {
        /// What.
        reason: String,
    },
}

impl Refusal {
    /// The refusal in an error of the TLS library, if it is about a certificate.
    pub(super) fn of(error: &Error) -> Option<Refusal> {
        match error {
            Error::NoCertificatesPresented => Some(Refusal::Missing),
            Error::InvalidCertificate(TlsCertificateError::Other(OtherError(cause))) => {
                Some(cause.downcast_ref::<Refusal>().cloned().unwrap_or(Refusal::Other { reason: cause.to_string() }))
            }
            Error::InvalidCertificate(other) => Some(Refusal::of_certificate(other)),
            // The library's enum is open, and the rest of it is not about certificates.
            _ => None,
        }
    }

    fn of_certificate(error: &TlsCertificateError) -> Refusal {
        match error {
            TlsCertificateError::UnknownIssuer | TlsCertificateError::BadSignature => Refusal::OtherAuthority,
            TlsCertificateError::Expired | TlsCertificateError::ExpiredContext { .. } => Refusal::Expired,
            TlsCertificateError::NotValidYet | TlsCertificateError::NotValidYetContext { .. } => Refusal::NotYetValid,
            // The library's enum is open.
            other => Refusal::Other { reason: other.to_string() },
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::InvalidCertificate(TlsCertificateError::Other(OtherError(Arc::new(refusal))))
    }
}

fn read(der: &CertificateDer<'_>) -> Result<Certificate, Refusal> {
    Certificate::from_der(der).map_err(|error| Refusal::Unreadable { reason: error.to_string() })
}

/// The one root of a cluster.
#[derive(Debug, Clone)]
pub(super) struct Root {
    certificate: Certificate,
    store: Arc<RootCertStore>,
}

impl Root {
    pub(super) fn new(certificate: &Certificate) -> Result<Root, ConfigError> {
        let subject = &certificate.facts().subject;
        if !matches!(subject, Subject::Authority { .. }) {
            return Err(ConfigError::NotAnAuthority { subject: subject.to_string() });
        }
        let mut store = RootCertStore::empty();
        store.add(certificate.pki_der().clone()).map_err(|error| ConfigError::Library { reason: error.to_string() })?;
        Ok(Root { certificate: certificate.clone(), store: Arc::new(store) })
    }

    /// Path validation does not look at the life of a root, nor at our names.
    fn check(&self, leaf: &Certificate, now: UnixTime) -> Result<(), Refusal> {
        let (root, now_ms) = (self.certificate.facts(), now.as_secs().saturating_mul(1000));
        if now_ms > root.not_after_ms {
            return Err(Refusal::Expired);
        }
        if now_ms < root.not_before_ms {
            return Err(Refusal::NotYetValid);
        }
        if leaf.facts().subject.cluster_id() != root.subject.cluster_id() {
            return Err(Refusal::OtherAuthority);
        }
        Ok(())
    }
}

/// Which root a client trusts.
#[derive(Debug, Clone)]
pub(super) enum ClientRoot {
    Known(Root),
    Pinned(Fingerprint),
}

impl ClientRoot {
    /// The root to verify this chain against.
    pub(super) fn resolve(&self, chain: &[CertificateDer<'_>]) -> Result<Root, Refusal> {
        match self {
            ClientRoot::Known(root) => Ok(root.clone()),
            ClientRoot::Pinned(expected) => {
                let found = chain.iter().find(|der| Fingerprint::of_der(der) == *expected);
                let Some(found) = found else {
                    let presented = chain.last().map(|der| Fingerprint::of_der(der));
                    return Err(Refusal::FingerprintMismatch { expected: *expected, presented });
                };
                Root::new(&read(found)?).map_err(|error| Refusal::Other { reason: error.to_string() })
            }
        }
    }

    pub(super) fn certificate_in(&self, chain: &[CertificateDer<'_>]) -> Result<Certificate, Refusal> {
        self.resolve(chain).map(|root| root.certificate)
    }
}

/// Judges servers: always a node, of one authority, and the expected one.
#[derive(Debug)]
pub(super) struct ServerJudge {
    pub(super) root: ClientRoot,
    pub(super) expected: ExpectedNode,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ServerJudge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The authority comes first: with the wrong one, nothing else the peer says is worth a message.
        let root = self.root.resolve(intermediates)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        // There is no level between the authority and a node, so nothing else of the chain may help.
        verify_server_cert_signed_by_trust_anchor(&parsed, &root.store, &[], now, self.algorithms.all)
            .map_err(|error| Refusal::of(&error).map_or(error, Error::from))?;
        let leaf = read(end_entity)?;
        root.check(&leaf, now)?;
        match (&leaf.facts().subject, self.expected) {
            (Subject::Node { .. }, ExpectedNode::Any) => Ok(ServerCertVerified::assertion()),
            (Subject::Node { node_id, .. }, ExpectedNode::Only(expected)) if *node_id == expected => {
                Ok(ServerCertVerified::assertion())
            }
            (Subject::Node { node_id, .. }, ExpectedNode::Only(expected)) => {
                Err(Refusal::OtherNode { expected, found: *node_id }.into())
            }
            (subject @ (Subject::Authority { .. } | Subject::Operator { .. }), _) => {
                Err(Refusal::NotANode { subject: subject.to_string() }.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whom a port admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Nodes, operators, and clients without a certificate.
    Api,
    /// Nodes only.
    Members,
}

/// Judges clients.
#[derive(Debug)]
pub(super) struct ClientJudge {
    root: Root,
    admission: Admission,
    chain: Arc<dyn ClientCertVerifier>,
}

impl ClientJudge {
    pub(super) fn new(root: Root, admission: Admission) -> Result<ClientJudge, ConfigError> {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&root.store), super::provider());
        let chain = builder.build().map_err(|error| ConfigError::Library { reason: error.to_string() })?;
        Ok(ClientJudge { root, admission, chain })
    }

    /// Path validation now; or, for a node on the API port that ended a while ago, at the last moment of its life.
    fn verify_chain(&self, end_entity: &CertificateDer<'_>, leaf: &Certificate, now: UnixTime) -> Result<(), Error> {
        let verified = self.chain.verify_client_cert(end_entity, &[], now).map(|_| ());
        let expired = verified.as_ref().is_err_and(|error| Refusal::of(error) == Some(Refusal::Expired));
        let end = leaf.facts().not_after_ms / 1000;
        let node = matches!(leaf.facts().subject, Subject::Node { .. });
        let in_grace = now.as_secs() <= end.saturating_add(EXPIRED_NODE_GRACE.as_secs());
        if expired && node && in_grace && self.admission == Admission::Api {
            return self.chain.verify_client_cert(end_entity, &[], super::unix_time(end * 1000)).map(|_| ());
        }
        verified
    }
}

impl ClientCertVerifier for ClientJudge {
    fn client_auth_mandatory(&self) -> bool {
        match self.admission {
            Admission::Api => false,
            Admission::Members => true,
        }
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let leaf = read(end_entity)?;
        self.verify_chain(end_entity, &leaf, now).map_err(|error| Refusal::of(&error).map_or(error, Error::from))?;
        self.root.check(&leaf, now)?;
        match (&leaf.facts().subject, self.admission) {
            (Subject::Node { .. }, Admission::Api | Admission::Members)
            | (Subject::Operator { .. }, Admission::Api) => Ok(ClientCertVerified::assertion()),
            (subject @ Subject::Operator { .. }, Admission::Members)
            | (subject @ Subject::Authority { .. }, Admission::Api | Admission::Members) => {
                Err(Refusal::NotANode { subject: subject.to_string() }.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
