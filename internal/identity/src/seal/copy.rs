//! Copies of the data key, each sealed to one X25519 key.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::data_key::DataKey;
use crate::hexadecimal::{self, InvalidHex};
use crate::random::{self, RandomError};

/// Begins every copy, followed by the format version.
const MAGIC: &[u8; 3] = b"JDK";
const FORMAT: u8 = 1;
/// Key and tag.
const CIPHERTEXT: usize = 32 + 16;

/// The first word of the file of a node's sealing key; its number is the format version.
const FILE_HEADER: &str = "jaco-seal-key 1";

/// A copy of the data key could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The bytes have not the form of a copy.
    #[error("it is not a sealed data key, or a damaged one")]
    Malformed,
    /// A newer version wrote it.
    #[error("the sealed data key has format {found}, and this version reads {FORMAT}: upgrade this node")]
    Format {
        /// Its format.
        found: u8,
    },
    /// Wrong key, wrong cluster, or changed bytes: they cannot be told apart.
    #[error(
        "the sealed data key does not open with this key: it was made for another key or cluster, or it was changed"
    )]
    Refused,
    /// The recipient's public key is one that anybody can compute the shared secret of.
    #[error("the recipient's public key is not usable")]
    WeakKey,
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Whom a copy is sealed to: 32 bytes, 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealPublicKey([u8; 32]);

impl SealPublicKey {
    /// The key with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> SealPublicKey {
        SealPublicKey(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SealPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SealPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealPublicKey({self})")
    }
}

impl FromStr for SealPublicKey {
    type Err = InvalidHex;
    fn from_str(text: &str) -> Result<Self, InvalidHex> {
        hexadecimal::parse(text).map(|bytes| SealPublicKey(*bytes))
    }
}

/// The key that opens a copy: a member's own, or the recovery key. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct SealSecretKey(Zeroizing<[u8; 32]>);

impl SealSecretKey {
    /// A new random key.
    pub fn generate() -> Result<SealSecretKey, RandomError> {
        random::bytes().map(SealSecretKey)
    }

    pub(super) fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> SealSecretKey {
        SealSecretKey(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its public half.
    pub fn public(&self) -> SealPublicKey {
        SealPublicKey(PublicKey::from(&self.secret()).to_bytes())
    }

    fn secret(&self) -> StaticSecret {
        StaticSecret::from(*self.0)
    }

    /// The content of the file `seal.key`.
    pub(crate) fn to_file_text(&self) -> Zeroizing<String> {
        let digits = Zeroizing::new(hex::encode(self.0.as_slice()));
        Zeroizing::new(format!("{FILE_HEADER}\n{}\n", digits.as_str()))
    }

    /// Reads the content of the file `seal.key`.
    pub(crate) fn from_file_text(text: &str) -> Result<SealSecretKey, CopyError> {
        let digits =
            text.strip_prefix(FILE_HEADER).and_then(|rest| rest.strip_prefix('\n')).ok_or(CopyError::Malformed)?;
        hexadecimal::parse(digits.trim_end()).map(SealSecretKey).map_err(|_| CopyError::Malformed)
    }
}

impl fmt::Debug for SealSecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealSecretKey(public {})", self.public())
    }
}

/// The data key, sealed to one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKeyCopy {
    key_epoch: u64,
    /// Public half of the key pair that was made for this copy alone.
    ephemeral: [u8; 32],
    ciphertext: [u8; CIPHERTEXT],
}

impl DataKeyCopy {
    /// Seals a data key to a recipient. The cluster is authenticated with it.
    pub fn seal(key: &DataKey, recipient: &SealPublicKey, cluster_id: &str) -> Result<DataKeyCopy, CopyError> {
        DataKeyCopy::seal_with(&SealSecretKey::generate()?, key, recipient, cluster_id)
    }

    pub(super) fn seal_with(
        ephemeral: &SealSecretKey,
        key: &DataKey,
        recipient: &SealPublicKey,
        cluster_id: &str,
    ) -> Result<DataKeyCopy, CopyError> {
        let public = ephemeral.public();
        let shared = ephemeral.secret().diffie_hellman(&PublicKey::from(recipient.0));
        // A recipient of small order gives a secret that everybody knows.
        if !shared.was_contributory() {
            return Err(CopyError::WeakKey);
        }
        let info = context(key.epoch(), cluster_id);
        let ciphertext = cipher(shared.as_bytes(), &public, recipient, &info)?
            .encrypt(&Nonce::default(), Payload { msg: key.bytes(), aad: &info })
            .map_err(|_| CopyError::Refused)?;
        let ciphertext = ciphertext.try_into().map_err(|_| CopyError::Malformed)?;
        Ok(DataKeyCopy { key_epoch: key.epoch(), ephemeral: public.0, ciphertext })
    }

    /// Opens a copy that was sealed to this key, in this cluster.
    pub fn open(&self, recipient: &SealSecretKey, cluster_id: &str) -> Result<DataKey, CopyError> {
        let ephemeral = SealPublicKey(self.ephemeral);
        let shared = recipient.secret().diffie_hellman(&PublicKey::from(self.ephemeral));
        if !shared.was_contributory() {
            return Err(CopyError::Refused);
        }
        let info = context(self.key_epoch, cluster_id);
        let opened = cipher(shared.as_bytes(), &ephemeral, &recipient.public(), &info)?
            .decrypt(&Nonce::default(), Payload { msg: &self.ciphertext, aad: &info })
            .map(Zeroizing::new)
            .map_err(|_| CopyError::Refused)?;
        let mut bytes = Zeroizing::new([0; 32]);
        if opened.len() != bytes.len() {
            return Err(CopyError::Malformed);
        }
        bytes.copy_from_slice(&opened);
        Ok(DataKey::from_parts(self.key_epoch, bytes))
    }

    /// The epoch of the data key inside.
    pub fn key_epoch(&self) -> u64 {
        self.key_epoch
    }

    /// The stored form: `JDK`, format (1 byte), epoch (8 bytes, little-endian), ephemeral key (32 bytes), ciphertext (48 bytes).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.key_epoch.to_le_bytes());
        bytes.extend_from_slice(&self.ephemeral);
        bytes.extend_from_slice(&self.ciphertext);
        bytes
    }

    /// The stored form in base64, as a record of the store holds it.
    pub fn to_text(&self) -> String {
        BASE64.encode(self.to_bytes())
    }

    /// Reads the base64 of the stored form.
    pub fn from_text(text: &str) -> Result<DataKeyCopy, CopyError> {
        DataKeyCopy::from_bytes(&BASE64.decode(text).map_err(|_| CopyError::Malformed)?)
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<DataKeyCopy, CopyError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(CopyError::Malformed)?;
        let (&format, rest) = rest.split_first().ok_or(CopyError::Malformed)?;
        if format != FORMAT {
            return Err(CopyError::Format { found: format });
        }
        let (epoch, rest) = rest.split_first_chunk::<8>().ok_or(CopyError::Malformed)?;
        let (ephemeral, rest) = rest.split_first_chunk::<32>().ok_or(CopyError::Malformed)?;
        let ciphertext = rest.try_into().map_err(|_| CopyError::Malformed)?;
        Ok(DataKeyCopy { key_epoch: u64::from_le_bytes(*epoch), ephemeral: *ephemeral, ciphertext })
    }
}

/// What a copy is for; part of the derivation and authenticated.
fn context(epoch: u64, cluster_id: &str) -> Vec<u8> {
    let mut info = b"jaco data key copy".to_vec();
    info.push(FORMAT);
    info.extend_from_slice(&epoch.to_le_bytes());
    info.extend_from_slice(cluster_id.as_bytes());
    info
}

/// The cipher for one copy. Both public keys go into the derivation, so a copy cannot be turned into one for another recipient.
fn cipher(
    shared: &[u8; 32],
    ephemeral: &SealPublicKey,
    recipient: &SealPublicKey,
    info: &[u8],
) -> Result<ChaCha20Poly1305, CopyError> {
    let mut salt = ephemeral.0.to_vec();
    salt.extend_from_slice(&recipient.0);
    let mut key = Zeroizing::new([0u8; 32]);
    Hkdf::<Sha256>::new(Some(&salt), shared).expand(info, key.as_mut_slice()).map_err(|_| CopyError::Malformed)?;
    Ok(ChaCha20Poly1305::new(&(*key).into()))
}
