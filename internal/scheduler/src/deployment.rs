//! One deployment: its services in order, its status, its old revisions, and the transactions that carry the result.

use std::collections::{BTreeMap, BTreeSet};

use jaco_state::{Transaction, View};
use jaco_types::{
    Deployment, DeploymentName, DeploymentRevision, DeploymentSpec, ErrorCode, NodeId, NodeSchedulability,
    ReplicaDesired, ReplicaId, ServiceName,
};

use crate::cluster::Cluster;
use crate::gate;
use crate::service::{Change, ServiceInput, ServicePlan, plan_service};
use crate::status::{self, Judgement};

/// Revisions kept of each deployment, whether or not anything refers to them (contract, section 8).
const REVISIONS_KEPT: usize = 10;

/// Most changes in one transaction of the planner. A replica's record and checks stay below 2 KiB with the longest names there can be,
/// so this many stay well inside the store's limit of 1 MiB.
const CHANGES_PER_TRANSACTION: usize = 400;

/// Name under which the daemon's own changes are recorded.
pub(crate) const SYSTEM: &str = "system";

/// Plans one deployment. `existing` are its desired replicas in the view.
pub(crate) fn plan_deployment<'a>(
    view: &'a View,
    term: u64,
    cluster: &mut Cluster<'a>,
    deployment: &'a Deployment,
    existing: &[&'a ReplicaDesired],
) -> Vec<Transaction> {
    let key = DeploymentRevision::key_of(&deployment.name, deployment.active_revision);
    let mut draft = Draft { view, term, deployment, changes: Vec::new(), dropped_revisions: Vec::new() };
    let judgement = match view.get::<DeploymentRevision>(&key) {
        // Cannot be read by this version, or lost: what runs is left alone.
        None => status::pending(ErrorCode::RevisionNotFound.as_str()),
        Some(revision) => {
            let services = plan_services(view, cluster, deployment, &revision.spec, existing, &mut draft.changes);
            let in_use = services.values().flat_map(|plan| &plan.replicas).map(|replica| replica.record.revision);
            let in_use: BTreeSet<u64> = in_use.chain(existing.iter().map(|record| record.revision)).collect();
            draft.dropped_revisions = expired_revisions(view, deployment, &in_use);
            let judgement = status::judge(&services);
            draft.changes.extend(services.into_values().flat_map(|plan| plan.changes));
            judgement
        }
    };
    draft.transactions(judgement)
}

fn plan_services<'a>(
    view: &'a View,
    cluster: &mut Cluster<'a>,
    deployment: &'a Deployment,
    spec: &'a DeploymentSpec,
    existing: &[&'a ReplicaDesired],
    removed: &mut Vec<Change>,
) -> BTreeMap<&'a ServiceName, ServicePlan<'a>> {
    let mut by_service: BTreeMap<&ServiceName, Vec<&'a ReplicaDesired>> = BTreeMap::new();
    for record in existing {
        if spec.services.contains_key(&record.service) {
            by_service.entry(&record.service).or_default().push(record);
        } else {
            removed.push(Change::Delete { id: record.id.clone() });
            cluster.remove_load(record.node);
        }
    }
    let mut planned = BTreeMap::new();
    for name in gate::planning_order(spec) {
        let Some(service) = spec.services.get(name) else { continue };
        let companions = gate::companions(service);
        let input = ServiceInput {
            view,
            deployment,
            name,
            spec: service,
            unmet: gate::unmet(spec, service, &planned),
            companions: companions.iter().filter_map(|companion| planned.get(companion)).collect(),
        };
        let plan = plan_service(&input, cluster, by_service.get(name).map_or(&[], Vec::as_slice));
        drop(input);
        planned.insert(name, plan);
    }
    planned
}

/// Revisions that are neither among the newest, nor what a replica runs, nor what a rollback without a number goes to.
fn expired_revisions(view: &View, deployment: &Deployment, in_use: &BTreeSet<u64>) -> Vec<u64> {
    let prefix = format!("{}/", deployment.name);
    let numbers: Vec<u64> = view.list_prefix::<DeploymentRevision>(&prefix).map(|revision| revision.revision).collect();
    let old = numbers.len().saturating_sub(REVISIONS_KEPT);
    let is_needed = |number: &u64| {
        *number == deployment.active_revision
            || Some(*number) == deployment.previous_revision
            || in_use.contains(number)
    };
    numbers.into_iter().take(old).filter(|number| !is_needed(number)).collect()
}

/// What is to be written for a deployment, before it is cut into transactions.
struct Draft<'a> {
    view: &'a View,
    term: u64,
    deployment: &'a Deployment,
    changes: Vec<Change>,
    dropped_revisions: Vec<u64>,
}

impl Draft<'_> {
    fn transactions(self, judgement: Judgement) -> Vec<Transaction> {
        let fits = self.changes.len() <= CHANGES_PER_TRANSACTION;
        let mut transactions: Vec<Transaction> =
            self.changes.chunks(CHANGES_PER_TRANSACTION).map(|changes| self.change_replicas(changes)).collect();
        let (status, status_details) = judgement;
        let status_changed = (self.deployment.status, &self.deployment.status_details) != (status, &status_details);
        // A status that follows from changes in several transactions is left to the pass after them: one of them may be refused.
        let write_status = status_changed && fits;
        if write_status || !self.dropped_revisions.is_empty() {
            if transactions.is_empty() {
                transactions.push(self.begin());
            }
            let Some(last) = transactions.last_mut() else { return transactions };
            for revision in &self.dropped_revisions {
                last.delete::<DeploymentRevision>(DeploymentRevision::key_of(&self.deployment.name, *revision));
            }
            if write_status {
                last.put(Deployment { status, status_details, ..self.deployment.clone() });
            }
        }
        transactions
    }

    /// An empty transaction that holds only as long as this leader leads and the deployment is as it was planned for.
    fn begin(&self) -> Transaction {
        let mut transaction = Transaction::new(SYSTEM);
        let name = self.deployment.name.as_str();
        transaction.check_term(self.term);
        transaction.check_unchanged::<Deployment>(name, self.view.version::<Deployment>(name));
        transaction
    }

    fn change_replicas(&self, changes: &[Change]) -> Transaction {
        let mut transaction = self.begin();
        let mut nodes: BTreeSet<NodeId> = BTreeSet::new();
        for change in changes {
            let id = match change {
                Change::Put { record, placed } => {
                    nodes.extend(placed);
                    transaction.put(ReplicaDesired::clone(record));
                    &record.id
                }
                Change::Delete { id } => {
                    transaction.delete::<ReplicaDesired>(id.as_str());
                    id
                }
            };
            check_replica(&mut transaction, self.view, id);
        }
        for node in nodes {
            let key = node.to_string();
            let version = self.view.version::<NodeSchedulability>(&key);
            transaction.check_unchanged::<NodeSchedulability>(key, version);
        }
        transaction
    }
}

fn check_replica(transaction: &mut Transaction, view: &View, id: &ReplicaId) {
    transaction.check_unchanged::<ReplicaDesired>(id.as_str(), view.version::<ReplicaDesired>(id.as_str()));
}

/// Removes the desired replicas of a deployment that does not exist any more.
pub(crate) fn remove_orphans(
    view: &View,
    term: u64,
    deployment: &DeploymentName,
    replicas: &[&ReplicaDesired],
) -> Vec<Transaction> {
    let chunks = replicas.chunks(CHANGES_PER_TRANSACTION);
    chunks
        .map(|replicas| {
            let mut transaction = Transaction::new(SYSTEM);
            transaction.check_term(term).check_absent::<Deployment>(deployment.as_str());
            for replica in replicas {
                check_replica(&mut transaction, view, &replica.id);
                transaction.delete::<ReplicaDesired>(replica.id.as_str());
            }
            transaction
        })
        .collect()
}
