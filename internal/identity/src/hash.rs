//! What certificates and keys are known by: hashes of their bytes.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::hexadecimal::{self, InvalidHex};

/// SHA-256 of a certificate's DER form: what join tokens and `--ca-fingerprint` carry. 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate in DER form.
    pub fn of_der(der: &[u8]) -> Fingerprint {
        Fingerprint(Sha256::digest(der).into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidHex;

    /// 64 hexadecimal digits in either case.
    fn from_str(text: &str) -> Result<Self, InvalidHex> {
        hexadecimal::parse(text).map(|bytes| Fingerprint(*bytes))
    }
}

/// SHA-256 of a public key in its `SubjectPublicKeyInfo` form (DER): what membership is judged by, together with the node id. 64
/// hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKeyHash([u8; 32]);

impl PublicKeyHash {
    /// The hash of a key in DER form.
    pub(crate) fn of_der(der: &[u8]) -> PublicKeyHash {
        PublicKeyHash(Sha256::digest(der).into())
    }
}

impl fmt::Display for PublicKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKeyHash({self})")
    }
}

impl FromStr for PublicKeyHash {
    type Err = InvalidHex;

    /// 64 hexadecimal digits in either case.
    fn from_str(text: &str) -> Result<Self, InvalidHex> {
        hexadecimal::parse(text).map(|bytes| PublicKeyHash(*bytes))
    }
}
