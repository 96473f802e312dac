//! What the leader does about nodes: who is there, who votes, who leaves.
//!
//! Three loops over one table of sessions, each a thin body around a pure decision: [`LivenessPass`] judges silence and publishes what
//! sessions say, [`MembersPass`] makes raft's membership follow the records, [`OperationsPass`] looks after nodes that are emptied or let
//! go. They run on every node and do nothing on one that does not lead with its majority; each transaction carries the term.
//!
//! Invariants: an idle cluster writes nothing; nobody else calls raft's membership; one change of it at a time.

mod decide;
mod level;
mod liveness;
mod members;
mod operations;
mod raft;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jaco_state::{Event, ProposeError, Store, Transaction, WatchFrom};
use jaco_task::{Backoff, LoopSpec, OnExit, Supervisor, TaskContext, Wake};
use jaco_types::Kind;

pub use liveness::LivenessPass;
pub use members::{MembersError, MembersPass};
pub use operations::OperationsPass;
pub use raft::RaftMembers;

use crate::sessions::SessionTable;

/// Silence is judged this often.
const LIVENESS_TICK: Duration = Duration::from_millis(500);
/// What nobody tells of is looked at this often: how far a learner's log is, and how long the disk takes.
const MEMBERS_TICK: Duration = Duration::from_secs(1);
/// The same of operations on nodes.
const OPERATIONS_TICK: Duration = Duration::from_secs(5);
/// Names of the tasks, for the order of a stop.
pub const LEADER_LOOPS: &[&str] = &["session-confirm", "liveness", "membership", "node-operations", "membership-wake"];

/// A transaction could not be proposed.
#[derive(Debug, thiserror::Error)]
#[error("it could not be committed")]
pub struct CommitError(#[source] pub(crate) ProposeError);

/// The leader's loops about nodes, and what they share. Cheap to clone.
#[derive(Clone)]
pub struct LeaderLoops {
    store: Arc<dyn Store>,
    table: SessionTable,
    raft: Arc<dyn RaftMembers>,
}

impl LeaderLoops {
    /// The loops of this node.
    pub fn new(store: Arc<dyn Store>, table: SessionTable, raft: Arc<dyn RaftMembers>) -> Self {
        LeaderLoops { store, table, raft }
    }

    /// Judges silence; see [`LivenessPass`].
    pub fn liveness(&self) -> LivenessPass {
        LivenessPass::new(Arc::clone(&self.store), self.table.clone())
    }

    /// Makes raft's membership follow; see [`MembersPass`].
    pub fn members(&self) -> MembersPass {
        MembersPass::new(Arc::clone(&self.store), self.table.clone(), Arc::clone(&self.raft))
    }

    /// Looks after nodes that leave; see [`OperationsPass`].
    pub fn operations(&self) -> OperationsPass {
        OperationsPass::new(Arc::clone(&self.store), self.table.clone(), Arc::clone(&self.raft))
    }

    /// Starts all of them, under the names in [`LEADER_LOOPS`]. Must be called inside a tokio runtime.
    pub fn spawn(&self, supervisor: &Supervisor) {
        let table = self.table.clone();
        let restart = OnExit::Restart(Backoff::default());
        supervisor.spawn_service("session-confirm", restart, move |context| {
            let table = table.clone();
            async move { table.confirm(context).await }
        });
        // What failed is tried again soon: a cluster without a leader for a moment must not be without a judge for longer.
        let spec =
            |name, tick| LoopSpec::new(name, tick).backoff(Backoff::new(Duration::from_millis(100), MEMBERS_TICK));
        supervisor.spawn_loop(spec("liveness", LIVENESS_TICK), Wake::new(), self.liveness());
        let (members, operations) = (Wake::new(), Wake::new());
        supervisor.spawn_loop(spec("membership", MEMBERS_TICK), members.clone(), self.members());
        supervisor.spawn_loop(spec("node-operations", OPERATIONS_TICK), operations.clone(), self.operations());
        let store = Arc::clone(&self.store);
        supervisor.spawn_service("membership-wake", restart, move |context| {
            let wakes = [members.clone(), operations.clone()];
            wake_on_changes(Arc::clone(&store), wakes, context)
        });
    }
}

/// Wakes the loops on changes of what they decide by, until the store or the task stops.
async fn wake_on_changes(
    store: Arc<dyn Store>,
    wakes: [Wake; 2],
    context: TaskContext,
) -> Result<(), std::convert::Infallible> {
    let mut watcher = store.watch(WatchFrom::Now);
    loop {
        let event = tokio::select! {
            () = context.shutdown.cancelled() => return Ok(()),
            event = watcher.next() => event,
        };
        let is_relevant = match event {
            None => return Ok(()),
            Some(Event::Snapshot(_)) => true,
            Some(Event::Batch(batch)) => {
                batch.changes.iter().any(|change| Kind::from_number(change.kind).is_some_and(decide::is_relevant))
            }
        };
        if is_relevant {
            wakes.iter().for_each(Wake::notify);
        }
    }
}

/// Commits a transaction of a loop. A refusal is no error: the state has moved on, and the next pass looks at it anew.
async fn commit(store: &Arc<dyn Store>, transaction: Transaction) -> Result<bool, CommitError> {
    match store.propose(transaction).await {
        Ok(_) => Ok(true),
        Err(ProposeError::Refused { failed, index }) => {
            tracing::debug!(%failed, index, "a decision was overtaken by a newer state");
            store.reached(index).await.map_err(CommitError)?;
            Ok(false)
        }
        Err(error) => Err(CommitError(error)),
    }
}
