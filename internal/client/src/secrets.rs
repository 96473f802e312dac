//! Secrets that clients make, so that they never travel: of a token only its hash, of a certificate only the request.

use jaco_identity::{CertificateRequest, Fingerprint, PrivateKey, RequestNames};
use jaco_types::{ErrorCode, UserError};

pub use jaco_identity::{OperatorToken, RecoveryKey};

/// A new operator token: 64 hexadecimal digits by `reveal`, what is stored of it by `hash`. Also the secret half of a join token.
///
/// # Errors
/// `internal`: the system gave no random bytes.
pub fn new_token() -> Result<OperatorToken, UserError> {
    OperatorToken::generate().map_err(|error| UserError::internal("no token can be made", error))
}

/// A new recovery key.
///
/// # Errors
/// `internal`: the system gave no random bytes.
pub fn new_recovery_key() -> Result<RecoveryKey, UserError> {
    RecoveryKey::generate().map_err(|error| UserError::internal("no recovery key can be made", error))
}

/// The text of a join token: `<secret>.<fingerprint of the cluster's authority>`.
///
/// # Errors
/// `version_incompatible`: what the daemon said is no fingerprint.
pub fn join_token(secret: &OperatorToken, fingerprint: &str) -> Result<String, UserError> {
    let fingerprint: Fingerprint = fingerprint.parse().map_err(|error| {
        UserError::new(ErrorCode::VersionIncompatible, format!("the daemon's CA fingerprint is not one: {error}"))
    })?;
    Ok(format!("{}.{fingerprint}", secret.reveal().as_str()))
}

/// A new key, and the request for a client certificate for it. The certificate says who the holder is; the request names nobody.
#[derive(Debug)]
pub struct CertificateOrder {
    key: PrivateKey,
    request: CertificateRequest,
}

impl CertificateOrder {
    /// With a new key.
    ///
    /// # Errors
    /// `internal`: the key or the request could not be made.
    pub fn new() -> Result<CertificateOrder, UserError> {
        let failed =
            |error: jaco_identity::KeyError| UserError::internal("no client certificate can be asked for", error);
        let key = PrivateKey::generate().map_err(failed)?;
        let request = CertificateRequest::new(&key, &RequestNames::default()).map_err(failed)?;
        Ok(CertificateOrder { key, request })
    }

    /// What the daemon signs, DER.
    pub fn request(&self) -> Vec<u8> {
        self.request.der().to_vec()
    }

    /// The private key, PEM: for a file of mode 0600, and nothing else.
    pub fn key_pem(&self) -> String {
        self.key.to_pem().to_string()
    }
}
