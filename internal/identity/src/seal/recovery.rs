//! The recovery key: printed once at init, asked for at restore.
//!
//! It is an X25519 key like a member's, so that a rotation seals the next data key to it without anybody typing it in. Its text
//! form is Crockford's base32 (no letters that look like digits) of 32 bytes of key and 3 bytes of checksum: 56 characters, in
//! 8 groups of 7.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::copy::{SealPublicKey, SealSecretKey};
use crate::random::RandomError;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const KEY: usize = 32;
const CHECKSUM: usize = 3;
/// 35 bytes are 280 bits: 56 characters of 5 bits, with none left over.
const CHARACTERS: usize = 56;
const GROUP: usize = 7;

/// A text that is not a recovery key. It never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryKeyError {
    /// Characters are missing or too many.
    #[error("the recovery key has {found} characters, and {CHARACTERS} are expected (spaces and hyphens do not count)")]
    Length {
        /// How many there are.
        found: usize,
    },
    /// A character that never occurs.
    #[error("character {position} of the recovery key cannot be: it has digits and letters, without U")]
    Character {
        /// Which one, counted from 1 without spaces and hyphens.
        position: usize,
    },
    /// The checksum differs.
    #[error("the recovery key has a typing error: its checksum does not match")]
    Checksum,
}

/// The recovery key. Wiped when dropped, never shown by `Debug`.
#[derive(Clone)]
pub struct RecoveryKey(SealSecretKey);

impl RecoveryKey {
    /// A new random key.
    pub fn generate() -> Result<RecoveryKey, RandomError> {
        SealSecretKey::generate().map(RecoveryKey)
    }

    #[cfg(test)]
    pub(super) fn from_secret(secret: SealSecretKey) -> RecoveryKey {
        RecoveryKey(secret)
    }

    /// Its public half, kept in the store.
    pub fn public(&self) -> SealPublicKey {
        self.0.public()
    }

    /// The key that opens the copies sealed to it.
    pub fn secret(&self) -> &SealSecretKey {
        &self.0
    }

    /// The text to print once: 8 groups of 7 characters, with hyphens between.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0u8; KEY + CHECKSUM]);
        bytes[..KEY].copy_from_slice(self.0.bytes());
        bytes[KEY..].copy_from_slice(&checksum(self.0.bytes()));
        let mut text = Zeroizing::new(String::with_capacity(CHARACTERS + CHARACTERS / GROUP));
        let (mut bits, mut held, mut count) = (0u32, 0u32, 0usize);
        for byte in bytes.iter() {
            bits = bits << 8 | u32::from(*byte);
            held += 8;
            while held >= 5 {
                held -= 5;
                if count > 0 && count % GROUP == 0 {
                    text.push('-');
                }
                let index = usize::try_from(bits >> held & 31).unwrap_or(0);
                text.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'0')));
                count += 1;
            }
            bits &= (1 << held) - 1;
        }
        text
    }

    /// Reads the text form. Case, spaces and hyphens do not matter; `O` is read as 0, `I` and `L` as 1.
    pub fn parse(text: &str) -> Result<RecoveryKey, RecoveryKeyError> {
        let mut values = Zeroizing::new(Vec::with_capacity(CHARACTERS));
        let characters = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
        for (at, character) in characters.enumerate() {
            let value = value(character).ok_or(RecoveryKeyError::Character { position: at + 1 })?;
            // More than enough is only counted: the text may be of any length.
            if at < CHARACTERS {
                values.push(value);
            } else {
                return Err(RecoveryKeyError::Length { found: text.chars().filter(|c| value_like(*c)).count() });
            }
        }
        if values.len() != CHARACTERS {
            return Err(RecoveryKeyError::Length { found: values.len() });
        }
        let mut bytes = Zeroizing::new([0u8; KEY + CHECKSUM]);
        for (group, out) in values.chunks(8).zip(bytes.chunks_mut(5)) {
            let bits = group.iter().fold(0u64, |bits, value| bits << 5 | u64::from(*value));
            out.copy_from_slice(&bits.to_be_bytes()[3..]);
        }
        let mut key = Zeroizing::new([0u8; KEY]);
        key.copy_from_slice(&bytes[..KEY]);
        if checksum(&key) != bytes[KEY..] {
            return Err(RecoveryKeyError::Checksum);
        }
        Ok(RecoveryKey(SealSecretKey::from_bytes(key)))
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecoveryKey(public {})", self.public())
    }
}

/// The first 24 bits of a hash over the key: a wrong character passes once in 16 million.
fn checksum(key: &[u8; KEY]) -> [u8; CHECKSUM] {
    let digest = Sha256::new().chain_update(b"jaco recovery key 1").chain_update(key).finalize();
    let mut checksum = [0; CHECKSUM];
    for (to, from) in checksum.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    checksum
}

fn value(character: char) -> Option<u8> {
    let folded = match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    ALPHABET.iter().position(|c| char::from(*c) == folded).and_then(|at| u8::try_from(at).ok())
}

fn value_like(character: char) -> bool {
    !character.is_whitespace() && character != '-'
}
