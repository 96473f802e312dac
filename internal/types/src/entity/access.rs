//! Records about who may do what: operators' tokens, and the keys that seal what the store keeps secret.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::name::OperatorName;
use crate::role::Role;
use crate::spec::serde_help::is_default;

/// An operator's way in: a bearer token, and the client certificates issued to the same identity.
///
/// A revoked one stays until its name is issued anew, so that lists can show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Whom it stands for.
    pub identity: OperatorName,
    /// SHA-256 of the token, lower-case hex. The token itself is shown once and kept nowhere.
    pub hash: String,
    /// What its bearer may do.
    pub role: Role,
    /// Its bearer may apply privileged services.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allows_privileged: bool,
    /// Cluster time, milliseconds since the Unix epoch.
    pub issued_at_ms: u64,
    /// Cluster time; absent while it is active.
    #[serde(default, skip_serializing_if = "is_default")]
    pub revoked_at_ms: Option<u64>,
    /// SHA-256 of the public keys of this identity's client certificates, lower-case hex. Only these are taken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub certificate_keys: BTreeSet<String>,
}

/// A value that only the cluster's data key opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedValue {
    /// The data key's epoch.
    pub epoch: u64,
    /// Format, nonce and ciphertext as the identity crate writes them, base64.
    pub bytes: String,
}

/// The cluster's certificate authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its certificate, PEM.
    pub certificate: String,
    /// Its key, PEM, sealed.
    pub key: SealedValue,
}

/// One data key of the cluster, only as copies that each member, and the holder of the recovery key, can open.
///
/// The highest epoch seals; older ones stay until nothing is sealed with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataKey {
    /// Counts the keys, from 1.
    pub epoch: u64,
    /// Copies by the member's node id, base64.
    pub copies: BTreeMap<String, String>,
    /// The copy for the recovery key, base64.
    pub recovery: String,
}

impl DataKey {
    /// Key of an epoch; the order of keys is the order of epochs.
    pub fn key_of(epoch: u64) -> String {
        format!("{epoch:020}")
    }
}

/// Whom copies of a data key are sealed to when nobody who holds it is at work: the public half of the recovery key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryRecipient {
    /// X25519 public key, lower-case hex.
    pub public_key: String,
}
