//! The leader's planning pass: which deployments to look at, and what comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jaco_state::{Change, Transaction, View};
use jaco_types::{
    Deployment, DeploymentName, DeploymentRevision, DeploymentStatus, ExclusiveSlot, Kind, NodeId, NodeStatus,
    ReplicaDesired, ReplicaId, ReplicaObserved,
};

use crate::cluster::Cluster;
use crate::deployment::{Pass, plan_deployment, remove_orphans};
use crate::facts::{Facts, Load, Need};

/// What the leader proposes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Each of one deployment; one that is refused takes nothing from the others. The next pass, made from a view that has reached
    /// the refusal's index, finds what is left to do. Empty when there is nothing to do.
    pub transactions: Vec<Transaction>,
    /// When to plan again though nothing has changed, on the clock of [`Leases::now`](crate::Leases::now): a lease will have ended.
    pub again_at: Option<Duration>,
}

/// Plans everything the leader of `term` has to change in this view. Pure and deterministic; looks at every deployment.
///
/// Planning again is needed after any change of a deployment, a node, its status, schedulability or operation, a desired or an observed
/// replica, an exclusive slot or the facts, and at [`Plan::again_at`].
pub fn plan(view: &View, term: u64, facts: &Facts) -> Plan {
    Planner::new().plan_with(view, term, facts)
}

/// Plans one view after the other, at a cost that follows what changed between them.
///
/// It gives for each view exactly what [`plan`] gives: what it remembers only tells it which deployments cannot have anything to do.
#[derive(Debug, Clone, Default)]
pub struct Planner {
    /// The view of the last pass; what follows describes it.
    seen: View,
    replicas: BTreeMap<DeploymentName, BTreeSet<ReplicaId>>,
    load: BTreeMap<NodeId, Load>,
    /// Deployments to look at: changed since the last pass, not converged, or with something left to do then.
    open: BTreeSet<DeploymentName>,
}

impl Planner {
    /// A planner that has seen nothing; its first pass looks at everything.
    pub fn new() -> Self {
        Planner::default()
    }

    /// Plans everything the leader of `term` has to change in this view, with no facts beside it.
    pub fn plan(&mut self, view: &View, term: u64) -> Plan {
        self.plan_with(view, term, &Facts::default())
    }

    /// Plans everything the leader of `term` has to change in this view. The views may come in any order, also from another store.
    pub fn plan_with(&mut self, view: &View, term: u64, facts: &Facts) -> Plan {
        self.follow(view);
        let mut cluster = Cluster::new(view, &self.load, facts);
        let mut plan = Plan::default();
        let mut open = BTreeSet::new();
        for name in std::mem::take(&mut self.open) {
            let ids = self.replicas.get(&name).into_iter().flatten();
            let existing: Vec<&ReplicaDesired> = ids.filter_map(|id| view.get(id.as_str())).collect();
            let deployment = view.get::<Deployment>(name.as_str());
            let pass = Pass { view, term, facts };
            let planned = match deployment {
                Some(deployment) => plan_deployment(&pass, &mut cluster, deployment, &existing),
                None => remove_orphans(view, term, &name, &existing),
            };
            let converged = deployment.is_none_or(|deployment| deployment.status == DeploymentStatus::Active);
            if planned.open || !planned.transactions.is_empty() || !converged {
                open.insert(name);
            }
            plan.transactions.extend(planned.transactions);
            plan.again_at = [plan.again_at, planned.again_at].into_iter().flatten().min();
        }
        self.open = open;
        plan
    }

    /// Takes note of what is different in this view.
    fn follow(&mut self, view: &View) {
        let mut nodes_changed = false;
        for change in view.changes_since(&self.seen) {
            let Some(kind) = change.known_kind() else { continue };
            match kind {
                Kind::Node | Kind::NodeSchedulability | Kind::NodeOperation => nodes_changed = true,
                // Conditions in words come and go and decide nothing.
                Kind::NodeStatus => {
                    let state = |status: Option<&NodeStatus>| status.map(|status| status.state);
                    nodes_changed |= state(change.before()) != state(change.after());
                }
                Kind::ExclusiveSlot => self.reopen_owner_of(&change, view),
                Kind::Deployment => self.reopen::<Deployment>(&change, |deployment| &deployment.name),
                Kind::DeploymentRevision => self.reopen::<DeploymentRevision>(&change, |revision| &revision.deployment),
                Kind::ReplicaObserved => self.reopen::<ReplicaObserved>(&change, |observed| &observed.deployment),
                Kind::ReplicaDesired => {
                    self.reopen::<ReplicaDesired>(&change, |replica| &replica.deployment);
                    self.count(&change, view);
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
                | Kind::RecoveryRecipient => {}
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

    /// A slot's replica may not be there while it waits for the slot: every deployment that waits is open anyway.
    fn reopen_owner_of(&mut self, change: &Change, view: &View) {
        let slots = [change.before::<ExclusiveSlot>(), change.after::<ExclusiveSlot>()];
        let replicas = slots.into_iter().flatten().filter_map(|slot| view.get::<ReplicaDesired>(slot.replica.as_str()));
        self.open.extend(replicas.map(|replica| replica.deployment.clone()));
    }

    fn count(&mut self, change: &Change, view: &View) {
        if let Some(gone) = change.before::<ReplicaDesired>() {
            if let Some(ids) = self.replicas.get_mut(&gone.deployment) {
                ids.remove(&gone.id);
                if ids.is_empty() {
                    self.replicas.remove(&gone.deployment);
                }
            }
            let need = Need::of_replica(&self.seen, gone);
            if let Some(load) = self.load.get_mut(&gone.node) {
                load.remove(need);
                if load.replicas == 0 {
                    self.load.remove(&gone.node);
                }
            }
        }
        if let Some(replica) = change.after::<ReplicaDesired>() {
            self.replicas.entry(replica.deployment.clone()).or_default().insert(replica.id.clone());
            self.load.entry(replica.node).or_default().add(Need::of_replica(view, replica));
        }
    }
}
