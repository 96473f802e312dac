//! What a side shows of itself, replaceable while connections are open.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate::Certificate;
use crate::key::PrivateKey;

/// A certificate and a key that do not make a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The key is another one's.
    #[error("the private key does not belong to the certificate of {subject}")]
    Mismatch {
        /// Whose certificate it is.
        subject: String,
    },
    /// The TLS library cannot use the key.
    #[error("the private key cannot be used: {reason}")]
    Unusable {
        /// Why.
        reason: String,
    },
}

/// A certificate with its key and its authority's certificate, ready to be shown.
pub struct Credential {
    certificate: Certificate,
    certified: Arc<CertifiedKey>,
}

impl Credential {
    /// Puts the three together. The authority's certificate is shown with the own one, so that a joiner who knows only its
    /// fingerprint can verify the chain.
    pub fn new(
        certificate: &Certificate,
        key: &PrivateKey,
        authority: &Certificate,
    ) -> Result<Credential, CredentialError> {
        if certificate.facts().public_key != key.public_key() {
            return Err(CredentialError::Mismatch { subject: certificate.facts().subject.to_string() });
        }
        let chain = vec![certificate.pki_der().clone(), authority.pki_der().clone()];
        let certified = CertifiedKey::from_der(chain, key.pki_der(), &super::provider())
            .map_err(|error| CredentialError::Unusable { reason: error.to_string() })?;
        Ok(Credential { certificate: certificate.clone(), certified: Arc::new(certified) })
    }

    /// The own certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The credential in force: shared by every acceptor and connector of a process, replaced by a renewal. Handshakes after
/// [`LiveCredential::replace`] show the new one; open connections go on as they are.
pub struct LiveCredential(ArcSwap<Credential>);

impl LiveCredential {
    /// With this credential in force.
    pub fn new(credential: Credential) -> Arc<LiveCredential> {
        Arc::new(LiveCredential(ArcSwap::from_pointee(credential)))
    }

    /// The credential in force.
    pub fn current(&self) -> Arc<Credential> {
        self.0.load_full()
    }

    /// Puts another one in force.
    pub fn replace(&self, credential: Credential) {
        self.0.store(Arc::new(credential));
    }
}

impl fmt::Debug for LiveCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveCredential").field(&self.current()).finish()
    }
}

/// Hands the credential in force to the TLS library at each handshake.
#[derive(Debug)]
pub(super) struct Resolver(pub(super) Arc<LiveCredential>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.0.load().certified))
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.0.load().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
