//! Sealing: secrets are encrypted with the cluster's data key before they enter the log, and the data key is stored only as
//! copies, each sealed to one member's own key or to the recovery key.
//!
//! - A secret is sealed with XChaCha20-Poly1305. Its nonce has 192 bits and is random: with 96 bits a busy data key would have to
//!   count its messages over all nodes to stay clear of a repeated nonce, with 192 nobody ever has to.
//! - The place a secret belongs to (kind and key of its record) is authenticated with it: a sealed value copied to another record
//!   does not open.
//! - A copy of the data key is sealed to an X25519 key through a fresh key pair and HKDF-SHA256. The derived key seals one
//!   message ever, so its nonce is constant.
//! - A rotation makes a data key with the next epoch; a [`Keyring`] seals with the newest and opens with all it has, while a loop
//!   re-seals what is old.

mod copy;
mod data_key;
mod keyring;
mod recovery;

pub use copy::{CopyError, DataKeyCopy, SealPublicKey, SealSecretKey};
pub use data_key::{DataKey, Place, SealError, Sealed};
pub use keyring::Keyring;
pub use recovery::{RecoveryKey, RecoveryKeyError};

#[cfg(test)]
mod tests;
