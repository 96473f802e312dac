//! The loop that makes snapshots, so that the log stays short.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;

use super::Inner;
use crate::data_dir::is_disk_full;
use crate::runtime::{Runtime, blocking};

/// A snapshot for which there was no room is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);

/// Makes a snapshot whenever the log has grown enough. Ends with the store. Any error but a full disk is the store's end.
pub(super) async fn run<R: Runtime>(inner: Arc<Inner<R>>) {
    let mut stopping = inner.stopping.subscribe();
    loop {
        tokio::select! {
            biased;
            () = inner.machine.grown.notified() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        match compact(&inner).await {
            Ok(()) => {}
            Err(error) if is_disk_full(&error) => {
                tracing::warn!(%error, "no room for a snapshot; it is tried again while the log grows");
                tokio::select! {
                    biased;
                    () = tokio::time::sleep(RETRY) => inner.machine.grown.notify_one(),
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                }
            }
            Err(_) if inner.has_failed() => return,
            Err(error) => return inner.fail(format!("a snapshot cannot be written: {error}")),
        }
    }
}

/// Writes a snapshot, then has raft take note of it and drop the log before it.
pub(super) async fn compact<R: Runtime>(inner: &Arc<Inner<R>>) -> io::Result<()> {
    let machine = inner.machine.clone();
    let snapshot = blocking(machine.snapshots.blocks(), move || machine.write_snapshot()).await?;
    // Nothing was applied yet, so there is nothing to drop either.
    let Some(last) = snapshot.meta.last else { return Ok(()) };
    inner.machine.prepare(snapshot);
    inner.raft.trigger().snapshot().await.map_err(io::Error::other)?;
    let mut metrics = inner.raft.metrics();
    let mut stopping = inner.stopping.subscribe();
    while metrics.borrow_watched().snapshot.is_none_or(|known| known.index < last.index) {
        tokio::select! {
            biased;
            changed = metrics.changed() => changed.map_err(|_| io::Error::other("raft has ended"))?,
            _ = stopping.wait_for(|stopping| *stopping) => return Err(io::Error::other("the store is stopping")),
        }
        metrics.borrow_watched().running_state.as_ref().map_err(|fatal| io::Error::other(fatal.to_string()))?;
    }
    Ok(())
}
