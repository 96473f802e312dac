//! The identity of a container's settings.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ContainerSpec;

/// The first 128 bits of SHA-256 over a container spec's canonical JSON, as 32 hexadecimal digits.
///
/// Canonical: struct fields in declared order, maps sorted, defaults left out. Two specs with one hash need no new container.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SpecHash(String);

impl SpecHash {
    /// The hash of a container's settings.
    pub fn of(container: &ContainerSpec) -> Self {
        // Serialising to a byte vector fails only for maps with non-string keys, and a spec has none; an empty text would merely
        // make every spec equal to a spec that cannot exist.
        let canonical = serde_json::to_vec(container).unwrap_or_default();
        let digest = Sha256::digest(&canonical);
        SpecHash(hex::encode(&digest[..16]))
    }

    /// A hash read back from a label or record; any text is accepted and simply equals no computed one if it is none.
    pub fn from_text(text: impl Into<String>) -> Self {
        SpecHash(text.into())
    }

    /// The hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpecHash({})", self.0)
    }
}
