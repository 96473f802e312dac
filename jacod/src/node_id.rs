//! The node's identity: random 64 bits, made once with the data directory. A changed host name or address does not change it; a
//! lost disk does.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jaco_types::NodeId;

/// The stored identity cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeIdError {
    /// The file cannot be read or made.
    #[error("the node's identity {path} cannot be read or made")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error(
        "{path} does not hold a node id; nothing was changed: restore the file, or move the data directory away and join anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

/// Reads the identity of this data directory, or makes one with `fresh`.
pub(crate) fn load_or_create(data_dir: &Path, fresh: u64) -> Result<NodeId, NodeIdError> {
    let folder = data_dir.join("node");
    let path = folder.join("id");
    let failed = |source| NodeIdError::Io { path: path.clone(), source };
    match std::fs::read_to_string(&path) {
        Ok(text) => NodeId::try_from(text.trim().to_owned()).map_err(|_| NodeIdError::Damaged { path: path.clone() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::DirBuilder::new().recursive(true).mode(0o710).create(&folder).map_err(failed)?;
            let id = NodeId(fresh);
            write(&folder, &path, &id.to_string()).map_err(failed)?;
            Ok(id)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Whole or not at all, and on disk: a node that forgets who it is would not be recognised by its own log.
fn write(folder: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = folder.join("id.new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load_or_create(folder.path(), 7).unwrap(), NodeId(7));
        assert_eq!(load_or_create(folder.path(), 8).unwrap(), NodeId(7));
    }

    #[test]
    fn a_damaged_identity_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        load_or_create(folder.path(), 7).unwrap();
        let path = folder.path().join("node/id");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(matches!(load_or_create(folder.path(), 8), Err(NodeIdError::Damaged { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "nonsense");
    }
}
