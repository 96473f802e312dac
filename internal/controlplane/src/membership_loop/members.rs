//! Raft's membership follows the records, one step after the other; a leader whose disk is slow or full hands over; the cluster's feature
//! level follows its members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jaco_scheduler::{MembershipStep, membership_step, unheard};
use jaco_state::{Store, View};
use jaco_task::{LoopBody, TaskContext};
use jaco_types::{Node, NodeId};

use super::{CommitError, RaftMembers, commit, decide, level};
use crate::control_plane::{MembershipError, Status};
use crate::sessions::SessionTable;

/// Most steps of one pass; the next one follows soon.
const STEPS: usize = 32;
/// A node that joined and was never heard of is removed after this time.
const UNHEARD: Duration = Duration::from_secs(600);

/// A step was not made.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// Of raft's membership.
    #[error("{step:?} was not made")]
    Step {
        /// Which.
        step: MembershipStep,
        /// Why.
        #[source]
        source: MembershipError,
    },
    /// A member's new address was not taken.
    #[error("the new address of node {node} was not taken")]
    Address {
        /// Whose.
        node: NodeId,
        /// Why.
        #[source]
        source: MembershipError,
    },
    /// A change that a leader before this one left half-done was not finished.
    #[error("a change of voters that was left half-done was not finished")]
    Unfinished {
        /// Why.
        #[source]
        source: MembershipError,
    },
    /// A record could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// The body of the loop.
pub struct MembersPass {
    store: Arc<dyn Store>,
    table: SessionTable,
    raft: Arc<dyn RaftMembers>,
    /// Since when nodes have been waited for in this term, by the table's clock.
    waited: BTreeMap<NodeId, Duration>,
    term: u64,
}

impl MembersPass {
    pub(super) fn new(store: Arc<dyn Store>, table: SessionTable, raft: Arc<dyn RaftMembers>) -> Self {
        MembersPass { store, table, raft, waited: BTreeMap::new(), term: 0 }
    }

    async fn make(&self, view: &View, status: &Status, step: MembershipStep) -> Result<(), MembersError> {
        tracing::info!(?step, "raft's membership changes");
        let with = |node: NodeId| status.voters.iter().copied().chain([node]).collect::<BTreeSet<_>>();
        let without = |node: NodeId| status.voters.iter().copied().filter(|voter| *voter != node).collect();
        let made = match step {
            MembershipStep::AddLearner(node) => match decide::target(view, node) {
                Some(target) => self.raft.add_learner(target).await.map(|_| ()),
                None => Ok(()),
            },
            MembershipStep::Promote(node) => self.raft.change_voters(with(node)).await.map(|_| ()),
            MembershipStep::Demote(node) => self.raft.change_voters(without(node)).await.map(|_| ()),
            MembershipStep::Remove(node) => self.raft.remove_member(node).await.map(|_| ()),
            MembershipStep::TransferLeadership(node) => self.raft.transfer_leadership(node).await,
        };
        made.map_err(|source| MembersError::Step { step, source })
    }

    /// Ends the records of nodes that joined long ago and were never heard of.
    async fn end_unheard(&mut self, view: &View, term: u64) -> Result<(), MembersError> {
        let now = self.table.now();
        let peers = self.table.peers();
        let mut waited = BTreeMap::new();
        for node in view.list::<Node>().filter(|node| !peers.contains_key(&node.id) && node.id != self.table.own()) {
            let Some(transaction) = unheard(view, term, node) else { continue };
            let since = self.waited.get(&node.id).copied().unwrap_or(now);
            waited.insert(node.id, since);
            if now.saturating_sub(since) >= UNHEARD {
                commit(&self.store, transaction).await?;
            }
        }
        self.waited = waited;
        Ok(())
    }
}

impl LoopBody for MembersPass {
    type Error = MembersError;

    async fn run(&mut self, context: &TaskContext) -> Result<(), MembersError> {
        for _ in 0..STEPS {
            let Some((term, sessions)) = self.table.peek() else { return Ok(()) };
            let (view, status) = (self.store.view(), self.raft.status());
            if let Some(voters) = &status.half_changed {
                // A leader before this one was lost between the two halves; nobody else goes on.
                let changed = self.raft.change_voters(voters.iter().copied().collect()).await;
                changed.map_err(|source| MembersError::Unfinished { source })?;
                continue;
            }
            if view.cluster().is_none() || status.changing || context.shutdown.is_cancelled() {
                return Ok(());
            }
            if self.term != term {
                self.waited.clear();
                self.term = term;
            }
            self.end_unheard(&view, term).await?;
            let own = self.table.own();
            if let Some(to) = decide::healthier(&status, &self.table.peers(), own) {
                let full = status.log.disk_full;
                tracing::warn!(%to, full, "the disk of this node is slow or full: it hands leadership over");
                let step = MembershipStep::TransferLeadership(to);
                return self.make(&view, &status, step).await;
            }
            if let Some(raise) = level::raise(&view, term, &self.table.peers()) {
                if commit(&self.store, raise).await? {
                    tracing::info!("every member is able to more: the cluster's feature level was raised");
                }
                continue;
            }
            if let Some(target) = decide::moved(&view, &status) {
                let node = target.node_id;
                let taken = self.raft.add_learner(target).await;
                taken.map_err(|source| MembersError::Address { node, source })?;
                continue;
            }
            let (members, strangers) = decide::members(&view, &status, &sessions, own);
            let Some(step) = membership_step(&members, &strangers, own) else { return Ok(()) };
            self.make(&view, &status, step).await?;
        }
        Ok(())
    }
}
