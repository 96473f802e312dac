//! Numbers for `cluster status`, metrics and the loop that changes the membership.

use std::collections::BTreeSet;
use std::time::Duration;

use jaco_types::NodeId;
use openraft::Instant;
use openraft::async_runtime::WatchReceiver;

use super::Inner;
use crate::log::LogUsage;
use crate::runtime::Runtime;

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
    /// How long ago a majority last confirmed that this node leads; `None` when it does not lead, or nobody has confirmed it yet.
    pub quorum_acked: Option<Duration>,
    /// Voters.
    pub voters: Vec<NodeId>,
    /// Members that do not vote.
    pub learners: Vec<NodeId>,
    /// All members, by node id.
    pub members: Vec<MemberStatus>,
    /// A change of the membership is under way: it is not committed, or has its second half before it.
    pub changing: bool,
    /// The voters that a change is to end with whose first half is committed: when nobody goes on with it, as its leader is gone, it is
    /// carried on by changing to these.
    pub half_changed: Option<Vec<NodeId>>,
    /// Index that the newest snapshot ends at.
    pub snapshot_index: Option<u64>,
    /// The log's own numbers.
    pub log: LogUsage,
}

/// A member of the raft group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Which node.
    pub node_id: NodeId,
    /// Where it is reached, as the membership says.
    pub address: String,
    /// It votes.
    pub voter: bool,
    /// Index up to which it is known to hold the leader's log; on the leader only, and `None` before its first answer.
    pub matched: Option<u64>,
    /// Entries that it lacks; on the leader only.
    pub lag: Option<u64>,
    /// How long ago it last answered; on the leader only.
    pub heard: Option<Duration>,
}

pub(super) fn status<R: Runtime>(inner: &Inner<R>) -> Status {
    // All that takes a lock comes before the metrics are borrowed: with raft waiting in between to write new metrics, neither would
    // ever go on.
    let applied_index = inner.machine.hub.view().index();
    let snapshot_index = inner.machine.snapshot_index();
    let log = inner.log.usage();
    let metrics = inner.raft.metrics();
    let metrics = metrics.borrow_watched();
    let membership = metrics.membership_config.membership();
    let voting: BTreeSet<u64> = membership.voter_ids().collect();
    let last_index = metrics.last_log_index.unwrap_or(0);
    let members: Vec<MemberStatus> = membership
        .nodes()
        .map(|(node, peer)| {
            let replicated = metrics.replication.as_ref().map(|replication| replication.get(node));
            let matched = replicated.flatten().and_then(|matched| matched.as_ref()).map(|id| id.index);
            let heard = metrics.heartbeat.as_ref().and_then(|heard| heard.get(node)).and_then(Option::as_ref);
            MemberStatus {
                node_id: NodeId(*node),
                address: peer.address.clone(),
                voter: voting.contains(node),
                matched,
                lag: replicated.map(|_| last_index.saturating_sub(matched.unwrap_or(0))),
                heard: heard.map(|at| at.elapsed()),
            }
        })
        .collect();
    let of = |voter: bool| members.iter().filter(|member| member.voter == voter).map(|member| member.node_id).collect();
    let is_committed = metrics.membership_config == metrics.committed_membership_config;
    let joint = membership.get_joint_config();
    let goal = joint.last().filter(|_| is_committed && joint.len() > 1);
    Status {
        applied_index,
        last_index,
        term: metrics.current_term,
        leader: metrics.current_leader.map(NodeId),
        is_leader: metrics.state.is_leader(),
        quorum_acked: metrics.last_quorum_acked.as_ref().map(|acked| acked.elapsed()),
        voters: of(true),
        learners: of(false),
        changing: metrics.membership_config != metrics.committed_membership_config
            || membership.get_joint_config().len() > 1,
        half_changed: goal.map(|voters| voters.iter().map(|voter| NodeId(*voter)).collect()),
        members,
        snapshot_index,
        log,
    }
}
