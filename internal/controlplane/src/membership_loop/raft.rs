//! Raft's membership as the loops see it.

use std::collections::BTreeSet;

use jaco_state::BoxFuture;
use jaco_types::NodeId;

use crate::control_plane::{ControlPlane, MembershipError, Status};
use crate::runtime::Runtime;
use crate::transport::RaftTarget;

/// The steps that raft's membership can be changed by, and how it is now. [`ControlPlane`] is one.
pub trait RaftMembers: Send + Sync + 'static {
    /// How it is.
    fn status(&self) -> Status;
    /// Adds a learner, or sets a member's address.
    fn add_learner(&self, target: RaftTarget) -> BoxFuture<'_, Result<u64, MembershipError>>;
    /// Makes exactly these the voters.
    fn change_voters(&self, voters: BTreeSet<NodeId>) -> BoxFuture<'_, Result<u64, MembershipError>>;
    /// Removes a learner.
    fn remove_member(&self, node: NodeId) -> BoxFuture<'_, Result<u64, MembershipError>>;
    /// Has another voter lead.
    fn transfer_leadership(&self, to: NodeId) -> BoxFuture<'_, Result<(), MembershipError>>;
}

impl<R: Runtime> RaftMembers for ControlPlane<R> {
    fn status(&self) -> Status {
        ControlPlane::status(self)
    }

    fn add_learner(&self, target: RaftTarget) -> BoxFuture<'_, Result<u64, MembershipError>> {
        Box::pin(ControlPlane::add_learner(self, target))
    }

    fn change_voters(&self, voters: BTreeSet<NodeId>) -> BoxFuture<'_, Result<u64, MembershipError>> {
        Box::pin(ControlPlane::change_voters(self, voters))
    }

    fn remove_member(&self, node: NodeId) -> BoxFuture<'_, Result<u64, MembershipError>> {
        Box::pin(ControlPlane::remove_member(self, node))
    }

    fn transfer_leadership(&self, to: NodeId) -> BoxFuture<'_, Result<(), MembershipError>> {
        Box::pin(ControlPlane::transfer_leadership(self, to))
    }
}
