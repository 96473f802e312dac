//! The data key, and values sealed with it.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use jaco_types::SealedValue;
use zeroize::Zeroizing;

use crate::random::{self, RandomError};

/// Begins every sealed value, followed by the format version.
const MAGIC: &[u8; 3] = b"JSV";
const FORMAT: u8 = 1;
const NONCE: usize = 24;
const HEADER: usize = 3 + 1 + 8 + NONCE;
const TAG: usize = 16;

/// Where a sealed value belongs: the kind and the key of its record, and whatever else tells two values of one record apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The kind of the record, for example `certificate_authority`.
    pub kind: &'a str,
    /// Its key.
    pub key: &'a str,
}

/// A value could not be sealed or opened. None of these says anything about the content.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The bytes have not the form of a sealed value.
    #[error("it is not a sealed value, or a damaged one")]
    Malformed,
    /// A newer version wrote it.
    #[error("the sealed value has format {found}, and this version reads {FORMAT}: upgrade this node")]
    Format {
        /// Its format.
        found: u8,
    },
    /// The key it was sealed with is not here.
    #[error("the sealed value needs data key {epoch}, which this node does not have")]
    UnknownEpoch {
        /// Its epoch.
        epoch: u64,
    },
    /// No data key at all.
    #[error("this node has no data key yet")]
    NoKey,
    /// Wrong key, wrong place, or changed bytes: they cannot be told apart.
    #[error("the sealed value does not open: it was changed, or it belongs to another record")]
    Refused,
    /// The value is too large for the cipher.
    #[error("the value is too large to be sealed")]
    TooLarge,
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A sealed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    key_epoch: u64,
    nonce: [u8; NONCE],
    ciphertext: Vec<u8>,
}

impl Sealed {
    /// The epoch of the data key it was sealed with.
    pub fn key_epoch(&self) -> u64 {
        self.key_epoch
    }

    /// The stored form: `JSV`, format (1 byte), epoch (8 bytes, little-endian), nonce (24 bytes), ciphertext with its tag.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.ciphertext.len());
        bytes.extend_from_slice(MAGIC);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.key_epoch.to_le_bytes());
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&self.ciphertext);
        bytes
    }

    /// The value as a record of the store holds it.
    pub fn to_record(&self) -> SealedValue {
        SealedValue { epoch: self.key_epoch, bytes: BASE64.encode(self.to_bytes()) }
    }

    /// Reads what a record of the store holds.
    pub fn from_record(record: &SealedValue) -> Result<Sealed, SealError> {
        let sealed = Sealed::from_bytes(&BASE64.decode(&record.bytes).map_err(|_| SealError::Malformed)?)?;
        if sealed.key_epoch == record.epoch { Ok(sealed) } else { Err(SealError::Malformed) }
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Sealed, SealError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(SealError::Malformed)?;
        let (&format, rest) = rest.split_first().ok_or(SealError::Malformed)?;
        if format != FORMAT {
            return Err(SealError::Format { found: format });
        }
        let (epoch, rest) = rest.split_first_chunk::<8>().ok_or(SealError::Malformed)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Malformed)?;
        if ciphertext.len() < TAG {
            return Err(SealError::Malformed);
        }
        Ok(Sealed { key_epoch: u64::from_le_bytes(*epoch), nonce: *nonce, ciphertext: ciphertext.to_vec() })
    }
}

/// The cluster's data key of one epoch. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct DataKey {
    epoch: u64,
    key: Zeroizing<[u8; 32]>,
}

impl DataKey {
    /// A new random key. The epoch of the first one is 1; a rotation takes the next number.
    pub fn generate(epoch: u64) -> Result<DataKey, RandomError> {
        Ok(DataKey { epoch, key: random::bytes()? })
    }

    pub(super) fn from_parts(epoch: u64, key: Zeroizing<[u8; 32]>) -> DataKey {
        DataKey { epoch, key }
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.key
    }

    /// Its number.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Seals a value for one place.
    pub fn seal(&self, place: Place<'_>, value: &[u8]) -> Result<Sealed, SealError> {
        let nonce = *random::bytes::<NONCE>()?;
        self.seal_with(nonce, place, value)
    }

    pub(super) fn seal_with(&self, nonce: [u8; NONCE], place: Place<'_>, value: &[u8]) -> Result<Sealed, SealError> {
        let aad = associated_data(self.epoch, place);
        let ciphertext = self
            .cipher()
            .encrypt(&XNonce::from(nonce), Payload { msg: value, aad: &aad })
            .map_err(|_| SealError::TooLarge)?;
        Ok(Sealed { key_epoch: self.epoch, nonce, ciphertext })
    }

    /// Opens a value that was sealed with this key for this place.
    pub fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if sealed.key_epoch != self.epoch {
            return Err(SealError::UnknownEpoch { epoch: sealed.key_epoch });
        }
        let aad = associated_data(self.epoch, place);
        self.cipher()
            .decrypt(&XNonce::from(sealed.nonce), Payload { msg: &sealed.ciphertext, aad: &aad })
            .map(Zeroizing::new)
            .map_err(|_| SealError::Refused)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&(*self.key).into())
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Format, epoch, and the place with lengths, so that (`a`, `bc`) and (`ab`, `c`) differ.
fn associated_data(epoch: u64, place: Place<'_>) -> Vec<u8> {
    let mut data = MAGIC.to_vec();
    data.push(FORMAT);
    data.extend_from_slice(&epoch.to_le_bytes());
    for part in [place.kind, place.key] {
        data.extend_from_slice(&(part.len() as u64).to_le_bytes());
        data.extend_from_slice(part.as_bytes());
    }
    data
}
