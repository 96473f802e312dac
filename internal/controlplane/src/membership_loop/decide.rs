//! The decisions that are about raft's membership. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jaco_scheduler::{Member, Sessions, Suffrage, has_vacated};
use jaco_state::View;
use jaco_types::{Kind, Node, NodeId, NodeOperation, NodeSchedulability, NodeState, NodeStatus};

use crate::control_plane::Status;
use crate::sessions::{Peer, is_heard};
use crate::transport::RaftTarget;

/// Entries that a learner may lack and still be promoted (contract, 12: by lag, not by a timer).
pub(super) const CAUGHT_UP: u64 = 100;
/// A sync that takes longer is slow.
pub(super) const SLOW_SYNC: Duration = Duration::from_millis(500);
/// Slow syncs among a node's last heartbeats that make its disk slow.
const SLOW_SYNCS: usize = 3;

/// Records as the voter policy looks at them, and who is in raft's membership without one.
pub(super) fn members(
    view: &View,
    status: &Status,
    sessions: &Sessions,
    own: NodeId,
) -> (Vec<Member>, Vec<(NodeId, Suffrage)>) {
    let down_after = view.cluster().map(|cluster| cluster.node_down_after()).unwrap_or_default();
    let raft: BTreeMap<NodeId, _> = status.members.iter().map(|member| (member.node_id, member)).collect();
    let suffrage = |voter: bool| if voter { Suffrage::Voter } else { Suffrage::Learner };
    let is_live = |node: &Node| {
        let key = node.id.to_string();
        let state = view.get::<NodeStatus>(&key).map(|status| status.state);
        let was_there = view.get::<NodeSchedulability>(&key).is_some();
        // In a new leader's grace those who were there before still count as live.
        let heard = match sessions.silent_for.contains_key(&node.id) {
            true => is_heard(sessions, node.id, down_after),
            false => was_there && sessions.leading_for < down_after.saturating_add(jaco_scheduler::RECONNECT),
        };
        node.id == own || (state != Some(NodeState::Down) && heard)
    };
    let member = |node: &Node| {
        let raft = raft.get(&node.id);
        let operation = view.get::<NodeOperation>(&node.id.to_string());
        Member {
            id: node.id,
            hostname: node.hostname.clone(),
            live: is_live(node),
            leaving: operation.is_some_and(|operation| has_vacated(view, operation)),
            suffrage: raft.map_or(Suffrage::None, |member| suffrage(member.voter)),
            caught_up: raft
                .is_some_and(|member| member.matched.is_some() && member.lag.is_some_and(|lag| lag <= CAUGHT_UP)),
        }
    };
    // One whose members' port is not known cannot be reached by raft.
    let reachable = |node: &&Node| raft.contains_key(&node.id) || !node.cluster_address.is_empty();
    let members = view.list::<Node>().filter(reachable).map(member).collect();
    let known: BTreeSet<NodeId> = view.list::<Node>().map(|node| node.id).collect();
    let strangers = status.members.iter().filter(|member| !known.contains(&member.node_id));
    (members, strangers.map(|member| (member.node_id, suffrage(member.voter))).collect())
}

/// A member that raft looks for where it is not any more.
pub(super) fn moved(view: &View, status: &Status) -> Option<RaftTarget> {
    status.members.iter().find_map(|member| {
        let node = view.get::<Node>(&member.node_id.to_string())?;
        let address = &node.cluster_address;
        let differs = !address.is_empty() && *address != member.address;
        differs.then(|| RaftTarget { node_id: node.id, address: address.clone() })
    })
}

/// Where a node's log is to be reached.
pub(super) fn target(view: &View, node: NodeId) -> Option<RaftTarget> {
    let address = &view.get::<Node>(&node.to_string())?.cluster_address;
    (!address.is_empty()).then(|| RaftTarget { node_id: node, address: address.clone() })
}

/// Whether syncs were slow again and again.
pub(super) fn is_slow(syncs: &VecDeque<Duration>) -> bool {
    syncs.iter().filter(|sync| **sync > SLOW_SYNC).count() >= SLOW_SYNCS
}

/// Who should lead instead of this node, when its disk is slow or full: a live voter with nearly all of the log whose disk is neither.
pub(super) fn healthier(status: &Status, peers: &BTreeMap<NodeId, Peer>, own: NodeId) -> Option<NodeId> {
    let slow = peers.get(&own).is_some_and(|peer| is_slow(&peer.syncs));
    if !slow && !status.log.disk_full {
        return None;
    }
    let others = status.members.iter().filter(|member| member.voter && member.node_id != own);
    let fit = others.filter(|member| {
        let peer = peers.get(&member.node_id);
        let heard = member.heard.is_some_and(|heard| heard < Duration::from_secs(1));
        heard
            && member.lag.is_some_and(|lag| lag <= CAUGHT_UP)
            && peer.is_some_and(|peer| !peer.disk_full && peer.syncs.iter().all(|sync| *sync <= SLOW_SYNC))
    });
    fit.max_by_key(|member| member.matched).map(|member| member.node_id)
}

/// Whether the loops decide by records of this kind.
pub(super) fn is_relevant(kind: Kind) -> bool {
    match kind {
        Kind::ClusterMeta
        | Kind::Node
        | Kind::NodeStatus
        | Kind::NodeSchedulability
        | Kind::NodeOperation
        | Kind::Tombstone
        | Kind::ReplicaDesired
        | Kind::ReplicaObserved => true,
        Kind::Deployment
        | Kind::DeploymentRevision
        | Kind::ExclusiveSlot
        | Kind::RevisionCounter
        | Kind::Route
        | Kind::PortRoute
        | Kind::Subnet
        | Kind::Claim
        | Kind::Token
        | Kind::JoinToken
        | Kind::Authority
        | Kind::DataKey
        | Kind::RecoveryRecipient => false,
    }
}
