//! Who is there: silence becomes `unreachable` and `down`, and what sessions say is published.

use std::sync::Arc;

use jaco_scheduler::judge;
use jaco_state::{Store, View};
use jaco_task::{LoopBody, TaskContext};
use jaco_types::Node;

use super::{CommitError, commit};
use crate::sessions::{SessionTable, publish};

/// The body of the loop that judges silence.
pub struct LivenessPass {
    store: Arc<dyn Store>,
    table: SessionTable,
}

impl LivenessPass {
    pub(super) fn new(store: Arc<dyn Store>, table: SessionTable) -> Self {
        LivenessPass { store, table }
    }
}

impl LoopBody for LivenessPass {
    type Error = CommitError;

    async fn run(&mut self, context: &TaskContext) -> Result<(), CommitError> {
        let Some((term, sessions)) = self.table.sessions() else { return Ok(()) };
        let view: View = self.store.view();
        let mut transactions = judge(&view, term, self.table.own(), &sessions);
        let peers = self.table.peers();
        let said = peers.iter().filter_map(|(node, peer)| {
            let node = view.get::<Node>(&node.to_string())?;
            publish(&view, term, node, peer)
        });
        transactions.extend(said);
        for transaction in transactions {
            if context.shutdown.is_cancelled() {
                return Ok(());
            }
            commit(&self.store, transaction).await?;
        }
        Ok(())
    }
}
