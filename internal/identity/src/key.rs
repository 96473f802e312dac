//! Private keys of nodes, operators and the authority.
//!
//! ECDSA on P-256, the default of the certificate library on this crypto provider: every TLS stack verifies it, and signing costs
//! some tens of microseconds.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::hash::PublicKeyHash;

/// Text that is no private key of ours, or a key that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a PKCS #8 private key in PEM form.
    #[error("it is not a private key in PKCS #8 PEM form")]
    Malformed,
    /// A key of a kind that is not used here, or a damaged one.
    #[error("the private key cannot be used: {reason}")]
    Unusable {
        /// Why, from the library; never the key.
        reason: String,
    },
}

/// A private key, wiped when dropped and never shown.
///
/// The copies inside the signing libraries live as long as they sign with them, and are not wiped.
pub struct PrivateKey {
    der: Zeroizing<Vec<u8>>,
    public: PublicKeyHash,
}

impl PrivateKey {
    /// A new random key.
    pub fn generate() -> Result<PrivateKey, KeyError> {
        PrivateKey::from_pair(&KeyPair::generate().map_err(unusable)?)
    }

    /// Reads the PKCS #8 PEM form.
    pub fn from_pem(text: &str) -> Result<PrivateKey, KeyError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| KeyError::Malformed)?;
        PrivateKey::from_pair(&KeyPair::try_from(&key).map_err(unusable)?)
    }

    /// The PKCS #8 PEM form, ending with a newline. It is as secret as the key.
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem("PRIVATE KEY", &self.der)
    }

    /// Hash of the public half.
    pub fn public_key(&self) -> PublicKeyHash {
        self.public
    }

    fn from_pair(pair: &KeyPair) -> Result<PrivateKey, KeyError> {
        let public = PublicKeyHash::of_der(&pair.subject_public_key_info());
        Ok(PrivateKey { der: Zeroizing::new(pair.serialize_der()), public })
    }

    /// The library's form, for signing.
    pub(crate) fn pair(&self) -> Result<KeyPair, KeyError> {
        KeyPair::try_from(&PrivatePkcs8KeyDer::from(self.der.as_slice())).map_err(unusable)
    }

    /// The form TLS takes. The TLS library keeps it for as long as it signs with it.
    pub(crate) fn pki_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.der.to_vec()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("public", &self.public).finish_non_exhaustive()
    }
}

// Takes the error whole, as `map_err` hands it over.
#[allow(clippy::needless_pass_by_value)]
fn unusable(error: rcgen::Error) -> KeyError {
    KeyError::Unusable { reason: error.to_string() }
}

/// PEM (RFC 7468): 64 characters a line.
pub(crate) fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let digits = Zeroizing::new(BASE64.encode(der));
    // Sized ahead, so that no half-written copy of a secret is left behind by a growing string.
    let mut text = Zeroizing::new(String::with_capacity(digits.len() * 66 / 64 + 2 * label.len() + 64));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            text.push('\n');
        }
        text.push(digit);
    }
    text.push_str("\n-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests;
