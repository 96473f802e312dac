//! A node's own files, in `<data_dir>/node/`: its keys, its certificate, the authority's, and what it joined with.
//!
//! A certificate and its key are two files, and a crash may come between them. So a new key is first written beside the old one
//! (`node.next.key`), asked a certificate for, and moved into place only after the new certificate is there; reading takes
//! whichever key belongs to the certificate. The same order holds for a join: the key is on disk before the token is used, so a
//! lost answer can be asked for again with the same key.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jaco_types::{Hostname, NodeId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::certificate::{Certificate, CertificateError};
use crate::hash::Fingerprint;
use crate::key::{KeyError, PrivateKey};
use crate::replace::{self, Owner};
use crate::seal::SealSecretKey;
use crate::subject::Subject;

const KEY: &str = "node.key";
const NEXT_KEY: &str = "node.next.key";
const CERTIFICATE: &str = "node.crt";
const AUTHORITY: &str = "ca.crt";
const JOIN: &str = "join.json";
const SEAL_KEY: &str = "seal.key";

/// The group may pass through, so that it reaches `ca.crt`, and not list: every file beside it that is not for the group is 0600.
const DIRECTORY: u32 = 0o710;
const SECRET: u32 = 0o600;
const GROUP_READABLE: u32 = 0o640;

const JOIN_FORMAT: u32 = 1;

/// A file of the node cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The disk or the permissions.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what belongs there.
    #[error("{} is damaged: {reason}; nothing was changed: restore the file, or let this node join anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong; never the content.
        reason: String,
    },
    /// No private key belongs to the certificate.
    #[error("{} belongs to none of the keys beside it; nothing was changed: restore the key, or let this node join anew", path.display())]
    KeyMissing {
        /// The certificate.
        path: PathBuf,
    },
    /// A key could not be made.
    #[error("a key for {} could not be made: {reason}", path.display())]
    Key {
        /// The file it was for.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// What a member has: certificate, key and authority that belong together.
#[derive(Debug)]
pub struct Installed {
    /// The node's certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: PrivateKey,
    /// The cluster's authority.
    pub authority: Certificate,
}

/// What a node joined with, or was initialised with: enough to find its cluster again. JSON on disk; no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRecord {
    /// UUID of the cluster.
    pub cluster_id: String,
    /// This node.
    pub node_id: NodeId,
    /// The name it joined with.
    pub hostname: Hostname,
    /// The life of the cluster it joined.
    pub incarnation: u64,
    /// SHA-256 of the authority's certificate, 64 hexadecimal digits.
    pub ca_fingerprint: String,
    /// `host:port` of members it knew then.
    pub peers: Vec<String>,
}

#[derive(Serialize)]
struct StoredJoin<'a> {
    format: u32,
    #[serde(flatten)]
    record: &'a JoinRecord,
}

#[derive(Deserialize)]
struct StoredFormat {
    format: u32,
}

/// The directory `<data_dir>/node`, mode 0710. One process uses it at a time: the holder of the data directory's lock.
#[derive(Debug, Clone)]
pub struct NodeDirectory {
    path: PathBuf,
    owner: Owner,
}

impl NodeDirectory {
    /// Opens it, making it when it is missing. `data_dir` must exist; what is written here gets its owner and group.
    pub fn open(data_dir: &Path) -> Result<NodeDirectory, FileError> {
        let owner = Owner::of(data_dir).map_err(|source| FileError::Io { path: data_dir.to_owned(), source })?;
        let path = data_dir.join("node");
        replace::directory(&path, DIRECTORY, owner).map_err(|source| FileError::Io { path: path.clone(), source })?;
        Ok(NodeDirectory { path, owner })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the authority's certificate is, installed or not.
    pub fn authority_path(&self) -> PathBuf {
        self.path.join(AUTHORITY)
    }

    /// The key to ask a certificate for: the one a former, unfinished request used, or a new one. It is on disk when this returns.
    pub fn pending_key(&self) -> Result<PrivateKey, FileError> {
        if let Some(key) = self.read_key(NEXT_KEY)? {
            return Ok(key);
        }
        let path = self.path.join(NEXT_KEY);
        let key = PrivateKey::generate().map_err(|error| FileError::Key { path, reason: error.to_string() })?;
        self.write(NEXT_KEY, key.to_pem().as_bytes(), SECRET)?;
        Ok(key)
    }

    /// Installs a certificate for the pending key, or for the present one, and the authority's certificate.
    pub fn install(&self, certificate: &Certificate, authority: &Certificate) -> Result<(), FileError> {
        let wanted = certificate.facts().public_key;
        let pending = self.read_key(NEXT_KEY)?.is_some_and(|key| key.public_key() == wanted);
        if !pending && self.read_key(KEY)?.is_none_or(|key| key.public_key() != wanted) {
            return Err(FileError::KeyMissing { path: self.path.join(CERTIFICATE) });
        }
        self.write(AUTHORITY, authority.to_pem().as_bytes(), GROUP_READABLE)?;
        self.write(CERTIFICATE, certificate.to_pem().as_bytes(), GROUP_READABLE)?;
        if pending { self.adopt_pending_key() } else { Ok(()) }
    }

    /// Reads what is installed. `None`: this node has no certificate. Finishes an installation that a crash cut off.
    pub fn load(&self) -> Result<Option<Installed>, FileError> {
        let Some(certificate) = self.read_certificate(CERTIFICATE)? else { return Ok(None) };
        let Some(authority) = self.read_certificate(AUTHORITY)? else { return Ok(None) };
        self.check_subjects(&certificate, &authority)?;
        let wanted = certificate.facts().public_key;
        if let Some(key) = self.read_key(KEY)?.filter(|key| key.public_key() == wanted) {
            return Ok(Some(Installed { certificate, key, authority }));
        }
        match self.read_key(NEXT_KEY)?.filter(|key| key.public_key() == wanted) {
            Some(key) => {
                self.adopt_pending_key()?;
                Ok(Some(Installed { certificate, key, authority }))
            }
            None => Err(FileError::KeyMissing { path: self.path.join(CERTIFICATE) }),
        }
    }

    fn check_subjects(&self, certificate: &Certificate, authority: &Certificate) -> Result<(), FileError> {
        let (node, root) = (&certificate.facts().subject, &authority.facts().subject);
        if !matches!(node, Subject::Node { .. }) || node.cluster_id() != root.cluster_id() {
            return Err(self.damaged(CERTIFICATE, format!("it is a certificate of {node}")));
        }
        if !matches!(root, Subject::Authority { .. }) {
            return Err(self.damaged(AUTHORITY, format!("it is a certificate of {root}")));
        }
        Ok(())
    }

    /// Writes what the node joined with.
    pub fn write_join(&self, record: &JoinRecord) -> Result<(), FileError> {
        let mut text = serde_json::to_string_pretty(&StoredJoin { format: JOIN_FORMAT, record })
            .map_err(|error| self.damaged(JOIN, error.to_string()))?;
        text.push('\n');
        self.write(JOIN, text.as_bytes(), SECRET)
    }

    /// Reads what the node joined with. `None`: it never joined.
    pub fn read_join(&self) -> Result<Option<JoinRecord>, FileError> {
        let Some(bytes) = self.read(JOIN)? else { return Ok(None) };
        let damaged = |reason: String| self.damaged(JOIN, reason);
        let stored: StoredFormat = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if stored.format != JOIN_FORMAT {
            return Err(damaged(format!("it has format {}, and this version reads {JOIN_FORMAT}", stored.format)));
        }
        let record: JoinRecord = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        record.ca_fingerprint.parse::<Fingerprint>().map_err(|error| damaged(format!("ca_fingerprint: {error}")))?;
        Ok(Some(record))
    }

    /// The node's sealing key, made at the first call. It never leaves this directory.
    pub fn seal_key(&self) -> Result<SealSecretKey, FileError> {
        if let Some(bytes) = self.read(SEAL_KEY)? {
            let text = std::str::from_utf8(&bytes).map_err(|_| self.damaged(SEAL_KEY, "it is not text".to_owned()))?;
            return SealSecretKey::from_file_text(text).map_err(|error| self.damaged(SEAL_KEY, error.to_string()));
        }
        let path = self.path.join(SEAL_KEY);
        let key = SealSecretKey::generate().map_err(|error| FileError::Key { path, reason: error.to_string() })?;
        self.write(SEAL_KEY, key.to_file_text().as_bytes(), SECRET)?;
        Ok(key)
    }

    /// Removes everything, for a node that was removed from its cluster or gives up a join. The certificate goes first, so that a
    /// crash on the way leaves no half member.
    pub fn clear(&self) -> Result<(), FileError> {
        for name in [CERTIFICATE, JOIN, KEY, NEXT_KEY, SEAL_KEY, AUTHORITY] {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(FileError::Io { path, source }),
                Ok(()) | Err(_) => {}
            }
        }
        replace::sync_directory(&self.path).map_err(|source| FileError::Io { path: self.path.clone(), source })
    }

    fn adopt_pending_key(&self) -> Result<(), FileError> {
        let path = self.path.join(KEY);
        fs::rename(self.path.join(NEXT_KEY), &path)
            .and_then(|()| replace::sync_directory(&self.path))
            .map_err(|source| FileError::Io { path, source })
    }

    fn read_certificate(&self, name: &str) -> Result<Option<Certificate>, FileError> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).map_err(|_| self.damaged(name, "it is not text".to_owned()))?;
        let read = Certificate::from_pem(text);
        read.map(Some).map_err(|error: CertificateError| self.damaged(name, error.to_string()))
    }

    fn read_key(&self, name: &str) -> Result<Option<PrivateKey>, FileError> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).map_err(|_| self.damaged(name, "it is not text".to_owned()))?;
        PrivateKey::from_pem(text).map(Some).map_err(|error: KeyError| self.damaged(name, error.to_string()))
    }

    fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FileError::Io { path, source }),
        }
    }

    fn write(&self, name: &str, content: &[u8], mode: u32) -> Result<(), FileError> {
        let path = self.path.join(name);
        replace::file(&path, content, mode, self.owner).map_err(|source| FileError::Io { path, source })
    }

    fn damaged(&self, name: &str, reason: String) -> FileError {
        FileError::Damaged { path: self.path.join(name), reason }
    }
}

#[cfg(test)]
mod tests;
