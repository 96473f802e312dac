//! Nodes that are emptied or let go.

use std::collections::BTreeSet;
use std::sync::Arc;

use jaco_scheduler::Departures;
use jaco_state::Store;
use jaco_task::{LoopBody, TaskContext};
use jaco_types::NodeOperation;

use super::{CommitError, RaftMembers, commit};
use crate::sessions::SessionTable;

/// Most passes in a row: each one follows from the commits of the one before.
const PASSES: usize = 16;

/// The body of the loop. Its memory is only of times: what was asked for, and how far it is, are records.
pub struct OperationsPass {
    store: Arc<dyn Store>,
    table: SessionTable,
    raft: Arc<dyn RaftMembers>,
    departures: Departures,
    term: u64,
}

impl OperationsPass {
    pub(super) fn new(store: Arc<dyn Store>, table: SessionTable, raft: Arc<dyn RaftMembers>) -> Self {
        OperationsPass { store, table, raft, departures: Departures::new(), term: 0 }
    }
}

impl LoopBody for OperationsPass {
    type Error = CommitError;

    async fn run(&mut self, context: &TaskContext) -> Result<(), CommitError> {
        for _ in 0..PASSES {
            let Some((term, _)) = self.table.peek() else { return Ok(()) };
            if self.term != term {
                self.departures.forget();
                self.term = term;
            }
            let view = self.store.view();
            if context.shutdown.is_cancelled() || view.list::<NodeOperation>().next().is_none() {
                return Ok(());
            }
            let status = self.raft.status();
            // A node whose removal from raft is not committed yet is in it.
            if status.changing {
                return Ok(());
            }
            let in_raft: BTreeSet<_> = status.members.iter().map(|member| member.node_id).collect();
            let plan = self.departures.pass(&view, term, self.table.now(), &in_raft);
            if plan.transactions.is_empty() {
                return Ok(());
            }
            for transaction in plan.transactions {
                commit(&self.store, transaction).await?;
            }
        }
        Ok(())
    }
}
