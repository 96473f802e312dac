//! The leader's planning pass: which deployments to look at, and what comes out.

use std::collections::{BTreeMap, BTreeSet};

use jaco_state::{Change, Transaction, View};
use jaco_types::{
    Deployment, DeploymentName, DeploymentRevision, DeploymentStatus, Kind, NodeId, ReplicaDesired, ReplicaId,
    ReplicaObserved,
};

use crate::cluster::Cluster;
use crate::deployment::{plan_deployment, remove_orphans};

/// What the leader proposes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Each of one deployment; one that is refused takes nothing from the others. The next pass, made from a view that has reached
    /// the refusal's index, finds what is left to do. Empty when there is nothing to do.
    pub transactions: Vec<Transaction>,
}

/// Plans everything the leader of `term` has to change in this view. Pure and deterministic; looks at every deployment.
///
/// Planning again is needed after any change of a deployment, a node, its status or schedulability, a desired or an observed replica;
/// there are no deadlines of its own yet.
pub fn plan(view: &View, term: u64) -> Plan {
    Planner::new().plan(view, term)
}

/// Plans one view after the other, at a cost that follows what changed between them.
///
/// It gives for each view exactly what [`plan`] gives: what it remembers only tells it which deployments cannot have anything to do.
#[derive(Debug, Clone, Default)]
pub struct Planner {
    /// The view of the last pass; what follows describes it.
    seen: View,
    replicas: BTreeMap<DeploymentName, BTreeSet<ReplicaId>>,
    load: BTreeMap<NodeId, usize>,
    /// Deployments to look at: changed since the last pass, not converged, or with something left to do then.
    open: BTreeSet<DeploymentName>,
}

impl Planner {
    /// A planner that has seen nothing; its first pass looks at everything.
    pub fn new() -> Self {
        Planner::default()
    }

    /// Plans everything the leader of `term` has to change in this view. The views may come in any order, also from another store.
    pub fn plan(&mut self, view: &View, term: u64) -> Plan {
        self.follow(view);
        let mut cluster = Cluster::new(view, &self.load);
        let mut transactions = Vec::new();
        let mut open = BTreeSet::new();
        for name in std::mem::take(&mut self.open) {
            let ids = self.replicas.get(&name).into_iter().flatten();
            let existing: Vec<&ReplicaDesired> = ids.filter_map(|id| view.get(id.as_str())).collect();
            let deployment = view.get::<Deployment>(name.as_str());
            let planned = match deployment {
                Some(deployment) => plan_deployment(view, term, &mut cluster, deployment, &existing),
                None => remove_orphans(view, term, &name, &existing),
            };
            let converged = deployment.is_none_or(|deployment| deployment.status == DeploymentStatus::Active);
            if !(planned.is_empty() && converged) {
                open.insert(name);
            }
            transactions.extend(planned);
        }
        self.open = open;
        Plan { transactions }
    }

    /// Takes note of what is different in this view.
    fn follow(&mut self, view: &View) {
        let mut nodes_changed = false;
        for change in view.changes_since(&self.seen) {
            let Some(kind) = change.known_kind() else { continue };
            match kind {
                Kind::Node | Kind::NodeStatus | Kind::NodeSchedulability | Kind::NodeOperation => nodes_changed = true,
                Kind::Deployment => self.reopen::<Deployment>(&change, |deployment| &deployment.name),
                Kind::DeploymentRevision => self.reopen::<DeploymentRevision>(&change, |revision| &revision.deployment),
                Kind::ReplicaObserved => self.reopen::<ReplicaObserved>(&change, |observed| &observed.deployment),
                Kind::ReplicaDesired => {
                    self.reopen::<ReplicaDesired>(&change, |replica| &replica.deployment);
                    self.count(&change);
                }
                Kind::ClusterMeta
                | Kind::RevisionCounter
                | Kind::Route
                | Kind::PortRoute
                | Kind::Subnet
                | Kind::Claim
                | Kind::Token
                | Kind::JoinToken
                | Kind::Tombstone
                | Kind::Authority
                | Kind::DataKey
                | Kind::RecoveryRecipient
                | Kind::ExclusiveSlot => {}
            }
        }
        if nodes_changed {
            self.open.extend(view.list::<Deployment>().map(|deployment| deployment.name.clone()));
        }
        self.seen = view.clone();
    }

    fn reopen<T: jaco_types::Stored>(&mut self, change: &Change, deployment_of: impl Fn(&T) -> &DeploymentName) {
        let names = [change.before::<T>(), change.after::<T>()].into_iter().flatten().map(deployment_of);
        self.open.extend(names.cloned());
    }

    fn count(&mut self, change: &Change) {
        if let Some(gone) = change.before::<ReplicaDesired>() {
            if let Some(ids) = self.replicas.get_mut(&gone.deployment) {
                ids.remove(&gone.id);
                if ids.is_empty() {
                    self.replicas.remove(&gone.deployment);
                }
            }
            if let Some(load) = self.load.get_mut(&gone.node) {
                *load = load.saturating_sub(1);
                if *load == 0 {
                    self.load.remove(&gone.node);
                }
            }
        }
        if let Some(replica) = change.after::<ReplicaDesired>() {
            self.replicas.entry(replica.deployment.clone()).or_default().insert(replica.id.clone());
            *self.load.entry(replica.node).or_insert(0) += 1;
        }
    }
}
