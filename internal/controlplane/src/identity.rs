//! Whose data directory this is: one small file made with the directory.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jaco_types::NodeId;
use prost::Message;

use crate::data_dir::replace_file;

const MAGIC: &[u8; 8] = b"JACORAFT";
const FORMAT_VERSION: u32 = 1;

/// The stored identity.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct StoredIdentity {
    #[prost(uint64, tag = "1")]
    node_id: u64,
    #[prost(uint64, tag = "2")]
    incarnation: u64,
}

/// Why the identity of a data directory could not be settled.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file could not be read or made.
    #[error("cannot open {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what we wrote.
    #[error("{} is damaged; nothing was changed: restore this node from a backup, or let it join anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The directory belongs to another life of the cluster.
    #[error(
        "{} says that this data directory is of incarnation {found:016x}, and this node belongs to incarnation {expected:016x}",
        path.display()
    )]
    OtherIncarnation {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u64,
        /// What the node was opened with.
        expected: u64,
    },
    /// The directory was made by another node.
    #[error("{} says that this data directory belongs to node {found}, and this is node {expected}", path.display())]
    OtherNode {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Who opened it.
        expected: NodeId,
    },
}

/// The incarnation that a data directory must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incarnation {
    /// That of the cluster; another one is refused.
    Of(u64),
    /// Whichever the directory has, and this one when it is made.
    Fresh(u64),
}

/// Reads the identity, or makes it. Returns the incarnation.
pub(crate) fn open_identity(directory: &Path, node_id: NodeId, incarnation: Incarnation) -> Result<u64, IdentityError> {
    let path = directory.join("identity");
    match fs::read(&path) {
        Ok(bytes) => {
            let identity = decode(&bytes).ok_or_else(|| IdentityError::Damaged { path: path.clone() })?;
            if identity.node_id != node_id.0 {
                return Err(IdentityError::OtherNode { path, found: NodeId(identity.node_id), expected: node_id });
            }
            match incarnation {
                Incarnation::Of(expected) if expected != identity.incarnation => {
                    Err(IdentityError::OtherIncarnation { path, found: identity.incarnation, expected })
                }
                Incarnation::Of(_) | Incarnation::Fresh(_) => Ok(identity.incarnation),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (Incarnation::Of(incarnation) | Incarnation::Fresh(incarnation)) = incarnation;
            let identity = StoredIdentity { node_id: node_id.0, incarnation };
            replace_file(&path, |file| file.write_all(&encode(&identity)))
                .map_err(|source| IdentityError::Io { path, source })?;
            Ok(incarnation)
        }
        Err(source) => Err(IdentityError::Io { path, source }),
    }
}

fn encode(identity: &StoredIdentity) -> Vec<u8> {
    let body = identity.encode_to_vec();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

fn decode(bytes: &[u8]) -> Option<StoredIdentity> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let body = bytes.get(16..)?;
    let right = bytes.starts_with(MAGIC) && number(8)? == FORMAT_VERSION && number(12)? == crc32fast::hash(body);
    right.then(|| StoredIdentity::decode(body).ok()).flatten()
}

#[cfg(test)]
mod tests;
