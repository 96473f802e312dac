//! Numbers for `cluster status` and metrics.

use jaco_types::NodeId;
use openraft::async_runtime::WatchReceiver;

use super::Inner;
use crate::log::LogUsage;

/// A look at the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Index of the last applied entry.
    pub applied_index: u64,
    /// Index of the last entry of the log.
    pub last_index: u64,
    /// Raft's term.
    pub term: u64,
    /// The leader, where one is known.
    pub leader: Option<NodeId>,
    /// This node is it, as raft says; see [`jaco_state::Store::leadership`] for whether it may act on it.
    pub is_leader: bool,
    /// Voters.
    pub voters: Vec<NodeId>,
    /// Members that do not vote.
    pub learners: Vec<NodeId>,
    /// Index that the newest snapshot ends at.
    pub snapshot_index: Option<u64>,
    /// The log's own numbers.
    pub log: LogUsage,
}

pub(super) fn status(inner: &Inner) -> Status {
    // All that takes a lock comes before the metrics are borrowed: asking for the voters borrows them a second time, and with raft
    // waiting in between to write new metrics neither would ever go on.
    let voters = inner.raft.voter_ids().map(NodeId).collect();
    let learners = inner.raft.learner_ids().map(NodeId).collect();
    let applied_index = inner.machine.hub.view().index();
    let snapshot_index = inner.machine.snapshot_index();
    let log = inner.log.usage();
    let metrics = inner.raft.metrics();
    let metrics = metrics.borrow_watched();
    Status {
        applied_index,
        last_index: metrics.last_log_index.unwrap_or(0),
        term: metrics.current_term,
        leader: metrics.current_leader.map(NodeId),
        is_leader: metrics.state.is_leader(),
        voters,
        learners,
        snapshot_index,
        log,
    }
}
