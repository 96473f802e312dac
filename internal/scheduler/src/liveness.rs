//! Which nodes the leader calls unreachable or down, and which have come back.
//!
//! The leader judges by its own monotonic clock alone: how long each node's session has been silent. A new leader has heard nobody yet
//! and grants every node a full period, counted from when the sessions could be back. The leader before it is the exception: this node
//! followed it, so it knows since when that one has been silent, and has asked it for its log all the time since. Nothing is written
//! while nothing changes.

use std::collections::BTreeMap;
use std::time::Duration;

use jaco_state::{Transaction, View};
use jaco_types::{Node, NodeId, NodeSchedulability, NodeState, NodeStatus};

#[cfg(test)]
mod tests;

/// Silence after which a node is unreachable: three heartbeats.
pub const UNREACHABLE_AFTER: Duration = Duration::from_secs(3);
/// Time for sessions to find a new leader, their jitter included.
pub const RECONNECT: Duration = Duration::from_secs(2);

/// No more than this of the silence before an election counts against the leader before it. An election takes about a second; what goes
/// beyond may be this node's own absence.
const BEFORE_ELECTION: Duration = Duration::from_secs(3);

/// What the leader knows of its members' sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sessions {
    /// Since this node began to lead.
    pub leading_for: Duration,
    /// Silence of each node that this leader has heard.
    pub silent_for: BTreeMap<NodeId, Duration>,
    /// Who led before, and for how long nothing has come from it, neither as a leader nor in answer to this one.
    pub predecessor: Option<(NodeId, Duration)>,
}

/// The transactions that bring the nodes' states in line with what is heard of them. `own` is the leader, which needs no session.
pub fn judge(view: &View, term: u64, own: NodeId, sessions: &Sessions) -> Vec<Transaction> {
    let Some(cluster) = view.cluster() else { return Vec::new() };
    let down_after = cluster.node_down_after();
    view.list::<Node>()
        .filter_map(|node| {
            let status = view.get::<NodeStatus>(&node.id.to_string())?;
            // The leader may have been down under the one before it.
            let heard = if node.id == own { Some(Duration::ZERO) } else { sessions.silent_for.get(&node.id).copied() };
            let was_there = view.get::<NodeSchedulability>(&node.id.to_string()).is_some();
            let predecessor = sessions.predecessor.filter(|(predecessor, _)| *predecessor == node.id);
            let as_leader = predecessor.map(|(_, silence)| silence);
            let heard = Heard { heard, was_there, leading_for: sessions.leading_for, as_leader };
            let to = verdict(status.state, &heard, down_after)?;
            Some(change(view, term, node, status, to))
        })
        .collect()
}

/// What is known of a node's voice.
struct Heard {
    /// Its silence, when this leader has heard it.
    heard: Option<Duration>,
    /// It has spoken under some leader.
    was_there: bool,
    leading_for: Duration,
    /// It led before, and has been silent for so long.
    as_leader: Option<Duration>,
}

impl Heard {
    /// How long the node has been silent, as far as is certain.
    fn silence(&self) -> Duration {
        let without_session = || self.leading_for.saturating_sub(RECONNECT);
        match (self.heard, self.as_leader) {
            (Some(silence), _) => silence,
            // It has not answered this leader for as long as makes any node unreachable.
            (None, Some(silence)) if self.leading_for >= UNREACHABLE_AFTER => {
                silence.min(self.leading_for.saturating_add(BEFORE_ELECTION)).max(without_session())
            }
            (None, Some(_) | None) => without_session(),
        }
    }
}

/// The state a node is to have instead of this one.
fn verdict(state: NodeState, known: &Heard, down_after: Duration) -> Option<NodeState> {
    let heard = known.heard;
    let silent = match known.silence() {
        silence if silence >= down_after => Some(NodeState::Down),
        silence if silence >= UNREACHABLE_AFTER => Some(NodeState::Unreachable),
        _ => None,
    };
    match (state, silent) {
        // One that has joined and was never heard has nothing to lose; its record ends by itself.
        (NodeState::Joining, Some(_)) if heard.is_none() && !known.was_there => None,
        (NodeState::Down, _) if heard.is_some_and(|silence| silence < UNREACHABLE_AFTER) => Some(NodeState::Joining),
        // Down stays down until it is heard; a new leader's grace does not bring it back.
        (NodeState::Down, _) => None,
        (NodeState::Unreachable, None) if heard.is_some() => Some(NodeState::Joining),
        (NodeState::Unreachable, Some(NodeState::Down)) => Some(NodeState::Down),
        (NodeState::Unreachable, Some(_) | None) => None,
        (
            NodeState::Joining
            | NodeState::Ready
            | NodeState::IsolationUnavailable
            | NodeState::DrainTimeout
            | NodeState::Draining,
            silent,
        ) => silent,
    }
}

/// A node that comes back is `joining` until it says itself that it has stopped what it no longer owns.
fn change(view: &View, term: u64, node: &Node, status: &NodeStatus, to: NodeState) -> Transaction {
    let id = node.id;
    let key = id.to_string();
    let mut transaction = Transaction::new("system");
    transaction.check_term(term).check_unchanged::<NodeStatus>(key.clone(), view.version::<NodeStatus>(&key));
    transaction.put(NodeStatus { id, state: to, details: status.details.clone() });
    let open = view.get::<NodeSchedulability>(&key).is_some_and(|record| record.schedulable);
    if open {
        transaction.put(NodeSchedulability { id, schedulable: false });
    }
    let hostname = [("hostname", node.hostname.to_string())];
    match (status.state, to) {
        (_, NodeState::Down) => drop(transaction.audit("node_down", hostname)),
        (NodeState::Down, _) => drop(transaction.audit("node_recovered", hostname)),
        (_, _) => {}
    }
    transaction
}
