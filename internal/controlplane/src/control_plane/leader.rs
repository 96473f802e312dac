//! Who leads, and where; waiting for that to change.

use std::time::Duration;

use jaco_state::{Leadership, ProposeError};
use jaco_types::NodeId;
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;
use openraft::type_config::alias::WatchReceiverOf;
use tokio::time::Instant;

use super::Inner;
use crate::raft::Types;
use crate::runtime::Runtime;
use crate::transport::{RaftTarget, Refusal, RefusalCode};

impl<R: Runtime> Inner<R> {
    pub(super) fn leadership(&self) -> Leadership {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader.map(NodeId);
        let stopped = metrics.running_state.is_err() || *self.stopping.borrow();
        if stopped || !metrics.state.is_leader() {
            return Leadership::Follower { leader: leader.filter(|leader| !stopped && *leader != self.node_id) };
        }
        let mut voter_sets = metrics.membership_config.membership().get_joint_config().iter();
        let alone =
            voter_sets.len() > 0 && voter_sets.all(|voters| voters.len() == 1 && voters.contains(&self.node_id.0));
        let lease = self.timing.election_max;
        let confirmed = metrics.last_quorum_acked.as_ref().is_some_and(|acked| acked.elapsed() < lease);
        if alone || confirmed {
            Leadership::Leader { term: metrics.current_term }
        } else {
            Leadership::Follower { leader: None }
        }
    }

    /// The leader, when it is another node.
    pub(super) fn other_leader(&self) -> Option<RaftTarget> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader.filter(|leader| *leader != self.node_id.0)?;
        let peer = metrics.membership_config.membership().get_node(&leader)?;
        Some(RaftTarget { node_id: NodeId(leader), address: peer.address.clone() })
    }

    /// Whether another node leads than the one asked, or the store has stopped.
    pub(super) fn has_successor(&self, asked: NodeId) -> bool {
        let leads_here = matches!(self.leadership(), Leadership::Leader { .. });
        leads_here || self.has_failed() || self.other_leader().is_some_and(|leader| leader.node_id != asked)
    }

    /// Resolves when another node leads than the one asked, or the store stops, and never after the deadline.
    pub(super) async fn succession(&self, asked: NodeId, deadline: Instant) {
        loop {
            let mut change = self.leader_change();
            if self.has_successor(asked) {
                return;
            }
            if !change.wait(deadline, self.timing.heartbeat).await && !self.has_failed() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether there is nobody else who could lead.
    pub(super) fn is_alone(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let mut voters = metrics.membership_config.membership().voter_ids();
        !voters.any(|voter| voter != self.node_id.0)
    }

    /// What is wrong when no other leader is known: this one leads without its majority, or nobody does.
    pub(super) fn without_leader(&self) -> ProposeError {
        let leads = self.raft.metrics().borrow_watched().state.is_leader();
        if leads { ProposeError::QuorumLost } else { ProposeError::NoLeader }
    }

    /// The same for another member that asked.
    pub(super) fn refusal(&self, error: &ProposeError) -> Refusal {
        let code = match error {
            ProposeError::NoLeader => RefusalCode::NotLeader,
            ProposeError::QuorumLost => RefusalCode::QuorumLost,
            ProposeError::DiskFull => RefusalCode::DiskFull,
            ProposeError::Stopped => RefusalCode::Stopped,
            ProposeError::NotPermitted { .. } => RefusalCode::PermissionDenied,
            ProposeError::NodeRemoved => RefusalCode::NodeRemoved,
            ProposeError::Refused { .. }
            | ProposeError::RequestTooOld
            | ProposeError::TooLarge { .. }
            | ProposeError::Unencodable { .. }
            | ProposeError::OutcomeUnknown => RefusalCode::Malformed,
        };
        Refusal { leader: self.other_leader().map(|leader| leader.node_id.0), ..Refusal::new(code, error.to_string()) }
    }

    /// Begins to watch for a change of leader or membership.
    pub(super) fn leader_change(&self) -> LeaderChange<R> {
        let mut receiver = self.raft.server_metrics();
        receiver.borrow_and_update();
        LeaderChange { receiver, stopping: self.stopping.subscribe() }
    }
}

/// A change of leader or membership after this value was made.
pub(super) struct LeaderChange<R: Runtime> {
    receiver: WatchReceiverOf<Types<R>, openraft::metrics::RaftServerMetrics<Types<R>>>,
    stopping: tokio::sync::watch::Receiver<bool>,
}

impl<R: Runtime> LeaderChange<R> {
    /// Waits for a change, but not longer than `pause`; false when the deadline has passed or the store stops, so that nobody waits in
    /// a loop that never waits.
    pub(super) async fn wait(&mut self, deadline: Instant, pause: Duration) -> bool {
        let next = deadline.min(Instant::now() + pause);
        let changed = async {
            if self.receiver.changed().await.is_err() {
                // Raft has ended, which is no change to look at.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            _ = self.stopping.wait_for(|stopping| *stopping) => return false,
            () = changed => {}
            () = tokio::time::sleep_until(next) => {}
        }
        Instant::now() < deadline
    }
}
