//! What a node does when it is no member any more: its containers go, then everything it knew of the cluster, and it begins anew.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use jaco_identity::NodeDirectory;
use jaco_runtime::DockerEngine;

use crate::config::Config;

/// Between two tries to clean up an engine that is away.
const RETRY: Duration = Duration::from_secs(2);
/// An engine that stays away longer is left to the operator.
const PATIENCE: Duration = Duration::from_secs(60);

/// Removes everything of the cluster from this node. What remains when a crash cuts it off is removed at the next start, when any member
/// tells it again that it was removed.
///
/// # Errors
/// Files that cannot be removed. An engine that stays away is logged: its containers stay.
pub(crate) async fn clean_up(config: &Config, cluster_id: &str) -> anyhow::Result<()> {
    let engine = DockerEngine::new(config.docker_socket.display().to_string());
    let removed = tokio::time::timeout(PATIENCE, async {
        while let Err(error) = jaco_runtime::leave(&engine, cluster_id).await {
            tracing::warn!(%error, "containers of the cluster this node left are not all gone yet");
            tokio::time::sleep(RETRY).await;
        }
    });
    if removed.await.is_err() {
        tracing::error!(
            cluster_id,
            "containers of the cluster this node left are still there: remove those with this label by hand"
        );
    }
    // The guard has nothing left to watch over.
    if let Err(error) = crate::fencing::charge_dir(config).write(&jaco_guard::Charge::default()) {
        tracing::warn!(%error, "the guard still has its charge");
    }
    let data_dir = config.data_dir.clone();
    tokio::task::spawn_blocking(move || forget(&data_dir)).await?
}

/// The certificate goes first: without it the rest is that of a node which never was a member.
fn forget(data_dir: &Path) -> anyhow::Result<()> {
    NodeDirectory::open(data_dir)?.clear()?;
    for path in [data_dir.join("raft"), data_dir.join("ingress/cache")] {
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{} cannot be removed", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
    }
    // A new id: one that was removed is never a member again.
    let id = data_dir.join("node/id");
    match std::fs::remove_file(&id) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", id.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_cluster_stays_but_what_is_not_its() {
        let data = tempfile::tempdir().unwrap();
        for folder in ["raft/log", "node", "ingress/cache", "other"] {
            std::fs::create_dir_all(data.path().join(folder)).unwrap();
        }
        for file in ["raft/log/1", "node/id", "ingress/cache/routes.json", "other/kept"] {
            std::fs::write(data.path().join(file), "x").unwrap();
        }
        forget(data.path()).unwrap();
        forget(data.path()).unwrap();
        for gone in ["raft", "node/id", "ingress/cache"] {
            assert!(!data.path().join(gone).exists(), "{gone}");
        }
        assert!(data.path().join("other/kept").exists());
    }
}
