//! Confirmations: one read of the quorum for all heartbeats that waited when it began.

use std::convert::Infallible;
use std::time::Duration;

use jaco_state::Leadership;
use jaco_task::TaskContext;

use super::SessionTable;

/// Heartbeats that arrive within this time are confirmed together. Their leases are shorter by as much.
const GATHER: Duration = Duration::from_millis(50);
/// A confirmation that takes longer is none: the lease would be nearly over.
const LIMIT: Duration = Duration::from_secs(2);

impl SessionTable {
    /// Confirms and answers heartbeats until `context` is to stop. One of this is to run on every node; without it no heartbeat is
    /// ever answered.
    ///
    /// # Errors
    /// None; the type is the one that services have.
    pub async fn confirm(&self, context: TaskContext) -> Result<(), Infallible> {
        loop {
            tokio::select! {
                () = context.shutdown.cancelled() => return Ok(()),
                () = self.inner.arrived.notified() => {}
            }
            tokio::time::sleep(GATHER).await;
            let waiting = std::mem::take(&mut self.state().waiting);
            if waiting.is_empty() {
                continue;
            }
            let confirmed = self.confirm_now().await;
            self.answer(waiting, confirmed);
        }
    }

    /// The term in which a majority confirms that this node leads, by a read that begins now.
    async fn confirm_now(&self) -> Option<u64> {
        let term = self.lead()?;
        let read = tokio::time::timeout(LIMIT, self.inner.store.linearizable_view()).await;
        read.ok()?.ok()?;
        // The read may have been another leader's; then this one does not lead in its term any more.
        (self.inner.store.leadership() == Leadership::Leader { term }).then_some(term)
    }
}
