//! Single steps of membership, for the one loop that makes the raft group follow the nodes of the cluster.
//!
//! Each step is committed when it returns. None of them decides anything: which step is due is for the caller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jaco_state::Leadership;
use jaco_types::NodeId;
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use tokio::time::Instant;

use super::{ControlPlane, Inner};
use crate::raft::{Peer, RaftMembershipError, Types};
use crate::runtime::Runtime;
use crate::transport::RaftTarget;

/// Why a step of membership was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Only a leader with its majority changes the membership; nothing was changed.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does, where that is known.
        leader: Option<NodeId>,
    },
    /// An earlier change is still under way; nothing was changed. Try again when it is committed.
    #[error("another change of the membership is under way")]
    InProgress,
    /// The node is no member; nothing was changed.
    #[error("node {node} is no member of the raft group")]
    NotAMember {
        /// The node.
        node: NodeId,
    },
    /// A voter cannot be removed at once: it has to be made a learner first. Nothing was changed.
    #[error("node {node} is a voter")]
    Voter {
        /// The node.
        node: NodeId,
    },
    /// Only a voter can lead. Nothing was changed.
    #[error("node {node} is not a voter")]
    NotAVoter {
        /// The node.
        node: NodeId,
    },
    /// Raft does not allow the change; nothing was changed.
    #[error("raft refuses the change: {reason}")]
    Rejected {
        /// What it said.
        reason: String,
    },
    /// The deadline passed before the change was committed. It may be committed yet.
    #[error("the change was not committed in time")]
    OutcomeUnknown,
    /// The store of this node has stopped.
    #[error("the store of this node has stopped")]
    Stopped,
}

type Written<R> = Result<ClientWriteResponse<Types<R>>, RaftError<Types<R>, ClientWriteError<Types<R>>>>;

impl<R: Runtime> ControlPlane<R> {
    /// Adds a node that gets the log and does not vote; also sets a new address of a member. Does not wait until the node has caught
    /// up: [`ControlPlane::status`] says how far it is. Returns the log index of the change.
    ///
    /// # Errors
    /// See [`MembershipError`]. Gives up after the deadline of [`Limits`](crate::Limits). May be repeated.
    pub async fn add_learner(&self, target: RaftTarget) -> Result<u64, MembershipError> {
        // At once, since the member that has moved may be needed to commit the change.
        self.inner.network.moved(&target);
        let nodes = BTreeMap::from([(target.node_id.0, Peer { address: target.address })]);
        self.inner.change(ChangeMembers::SetNodes(nodes)).await
    }

    /// Makes exactly these members voters; voters that are not among them become learners. Returns the log index of the change.
    ///
    /// # Errors
    /// See [`MembershipError`]. Gives up after the deadline of [`Limits`](crate::Limits). May be repeated.
    pub async fn change_voters(&self, voters: BTreeSet<NodeId>) -> Result<u64, MembershipError> {
        let known = self.inner.members();
        if let Some(node) = voters.iter().find(|voter| !known.contains_key(voter)) {
            return Err(MembershipError::NotAMember { node: *node });
        }
        self.inner.change(ChangeMembers::ReplaceAllVoters(voters.into_iter().map(|voter| voter.0).collect())).await
    }

    /// Removes a learner from the raft group. Returns the log index of the change. A node that is no member counts as removed.
    ///
    /// # Errors
    /// See [`MembershipError`]. Gives up after the deadline of [`Limits`](crate::Limits). May be repeated.
    pub async fn remove_member(&self, node: NodeId) -> Result<u64, MembershipError> {
        if self.inner.members().get(&node) == Some(&true) {
            return Err(MembershipError::Voter { node });
        }
        self.inner.change(ChangeMembers::RemoveNodes(BTreeSet::from([node.0]))).await
    }

    /// Has another voter lead, and returns when it does or nobody leads any more.
    ///
    /// # Errors
    /// See [`MembershipError`]. [`MembershipError::OutcomeUnknown`] when this node still leads after twice the longest election.
    pub async fn transfer_leadership(&self, to: NodeId) -> Result<(), MembershipError> {
        self.inner.leading()?;
        match self.inner.members().get(&to) {
            Some(true) => self.inner.transfer(to).await,
            Some(false) => Err(MembershipError::NotAVoter { node: to }),
            None => Err(MembershipError::NotAMember { node: to }),
        }
    }
}

impl<R: Runtime> Inner<R> {
    /// Members, and whether they vote.
    fn members(&self) -> BTreeMap<NodeId, bool> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        membership.nodes().map(|(node, _)| (NodeId(*node), voters.contains(node))).collect()
    }

    fn leading(&self) -> Result<(), MembershipError> {
        match self.leadership() {
            Leadership::Leader { term: _ } => Ok(()),
            Leadership::Follower { leader } => Err(MembershipError::NotLeader { leader }),
        }
    }

    async fn change(self: &Arc<Self>, change: ChangeMembers<u64, Peer>) -> Result<u64, MembershipError> {
        self.leading()?;
        let deadline = Instant::now() + self.limits.deadline;
        let written = tokio::time::timeout_at(deadline, self.raft.change_membership(change, true));
        outcome::<R>(written.await.map_err(|_elapsed| MembershipError::OutcomeUnknown)?)
    }

    async fn transfer(&self, to: NodeId) -> Result<(), MembershipError> {
        let deadline = Instant::now() + 2 * self.timing.election_max;
        self.raft.trigger().transfer_leader(to.0).await.map_err(|_fatal| MembershipError::Stopped)?;
        loop {
            let mut change = self.leader_change();
            if !self.raft.metrics().borrow_watched().state.is_leader() {
                return Ok(());
            }
            if !change.wait(deadline, self.timing.heartbeat).await {
                return Err(MembershipError::OutcomeUnknown);
            }
        }
    }

    /// Hands leadership to the voter that has most of the log, when there is another one that was heard of within the lease.
    pub(super) async fn hand_over(&self) {
        if self.has_failed() || self.leading().is_err() {
            return;
        }
        let Some(to) = self.successor() else { return };
        match self.transfer(to).await {
            Ok(()) => tracing::info!(%to, "leadership was handed over"),
            // Others elect a leader when they miss this one.
            Err(error) => tracing::warn!(%to, %error, "leadership could not be handed over"),
        }
    }

    fn successor(&self) -> Option<NodeId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let (replication, heard) = (metrics.replication.as_ref()?, metrics.heartbeat.as_ref()?);
        let others = metrics.membership_config.membership().voter_ids().filter(|voter| *voter != self.node_id.0);
        let alive = others.filter(|voter| {
            let last = heard.get(voter).and_then(Option::as_ref);
            last.is_some_and(|last| openraft::Instant::elapsed(&**last) < self.timing.election_max)
        });
        alive
            .max_by_key(|voter| replication.get(voter).and_then(|matched| matched.as_ref()).map(|id| id.index))
            .map(NodeId)
    }
}

fn outcome<R: Runtime>(written: Written<R>) -> Result<u64, MembershipError> {
    match written {
        Ok(response) => Ok(response.log_id.index),
        Err(RaftError::Fatal(_)) => Err(MembershipError::Stopped),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
            Err(MembershipError::NotLeader { leader: forward.leader_id.map(NodeId) })
        }
        Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => Err(MembershipError::OutcomeUnknown),
        Err(RaftError::APIError(ClientWriteError::PreconditionFailed(failed))) => {
            Err(MembershipError::Rejected { reason: failed.to_string() })
        }
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => Err(rejection(&error)),
    }
}

fn rejection(error: &RaftMembershipError) -> MembershipError {
    match error {
        RaftMembershipError::InProgress(_) | RaftMembershipError::UncommittedLeaderLog(_) => {
            MembershipError::InProgress
        }
        RaftMembershipError::LearnerNotFound(missing) => MembershipError::NotAMember { node: NodeId(missing.node_id) },
        RaftMembershipError::EmptyMembership(_)
        | RaftMembershipError::UnsupportedMembershipTransition(_)
        | RaftMembershipError::NodeMetadataChanged(_) => MembershipError::Rejected { reason: error.to_string() },
    }
}
