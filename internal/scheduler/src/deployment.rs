//! One deployment: its services in order, its status, its old revisions, and the transactions that carry the result.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jaco_state::{Transaction, View};
use jaco_types::{
    Deployment, DeploymentName, DeploymentRevision, DeploymentSpec, ErrorCode, ExclusiveSlot, NodeId,
    NodeSchedulability, NodeState, NodeStatus, ReplicaDesired, ReplicaId, ReplicaObserved, ServiceName,
};

use crate::cluster::Cluster;
use crate::facts::{Facts, Need};
use crate::gate;
use crate::service::{Change, ServiceInput, ServicePlan, plan_service};
use crate::status::{self, Judgement};

/// Revisions kept of each deployment, whether or not anything refers to them (contract, section 8).
const REVISIONS_KEPT: usize = 10;

/// Weight of the changes in one transaction of the planner. A replica's record and checks stay below 2 KiB with the longest names there
/// can be, so this many stay well inside the store's limit of 1 MiB.
const CHANGES_PER_TRANSACTION: usize = 400;

/// Weight of a change that takes a second record and an observation with it.
const WEIGHT_OF_A_MOVE: usize = 5;

/// Name under which the daemon's own changes are recorded.
pub(crate) const SYSTEM: &str = "system";

/// What every deployment of a pass is planned from.
pub(crate) struct Pass<'a> {
    pub(crate) view: &'a View,
    pub(crate) term: u64,
    pub(crate) facts: &'a Facts,
}

/// What comes out for one deployment.
pub(crate) struct Planned {
    pub(crate) transactions: Vec<Transaction>,
    /// Something is left that a change elsewhere may make possible.
    pub(crate) open: bool,
    pub(crate) again_at: Option<Duration>,
}

/// Plans one deployment. `existing` are its desired replicas in the view.
pub(crate) fn plan_deployment<'a>(
    pass: &Pass<'a>,
    cluster: &mut Cluster<'a>,
    deployment: &'a Deployment,
    existing: &[&'a ReplicaDesired],
) -> Planned {
    let Pass { view, term, .. } = *pass;
    let key = DeploymentRevision::key_of(&deployment.name, deployment.active_revision);
    let mut draft = Draft { view, term, deployment, changes: Vec::new(), dropped_revisions: Vec::new() };
    let (mut open, mut again_at) = (false, None);
    let judgement = match view.get::<DeploymentRevision>(&key) {
        // Cannot be read by this version, or lost: what runs is left alone.
        None => status::pending(ErrorCode::RevisionNotFound.as_str()),
        Some(revision) => {
            let services = plan_services(pass, cluster, deployment, &revision.spec, existing, &mut draft.changes);
            let in_use = services.values().flat_map(|plan| &plan.replicas).map(|replica| replica.record.revision);
            let in_use: BTreeSet<u64> = in_use.chain(existing.iter().map(|record| record.revision)).collect();
            draft.dropped_revisions = expired_revisions(view, deployment, &in_use);
            let judgement = status::judge(&services);
            for plan in services.into_values() {
                open |= plan.uneven;
                again_at = [again_at, plan.again_at].into_iter().flatten().min();
                draft.changes.extend(plan.changes);
            }
            judgement
        }
    };
    Planned { transactions: draft.transactions(judgement), open, again_at }
}

fn plan_services<'a>(
    pass: &Pass<'a>,
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
            cluster.remove_load(record.node, Need::of_replica(pass.view, record));
        }
    }
    let followed: BTreeSet<ServiceName> = spec.services.values().flat_map(gate::companions).collect();
    let mut planned = BTreeMap::new();
    for name in gate::planning_order(spec) {
        let Some(service) = spec.services.get(name) else { continue };
        let companions = gate::companions(service);
        let input = ServiceInput {
            view: pass.view,
            facts: pass.facts,
            deployment,
            name,
            spec: service,
            unmet: gate::unmet(spec, service, &planned),
            companions: companions.iter().filter_map(|companion| planned.get(companion)).collect(),
            is_followed: followed.contains(name),
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
        let mut transactions: Vec<Transaction> =
            chunks(&self.changes).into_iter().map(|changes| self.change_replicas(changes)).collect();
        let fits = transactions.len() <= 1;
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

    /// What a replica leaves behind goes on under an id of its own, and with it what is observed of it: it is never without its address.
    fn hand_over(&self, transaction: &mut Transaction, id: &ReplicaId, leaving: &ReplicaDesired) {
        check_replica(transaction, self.view, &leaving.id);
        transaction.put(leaving.clone());
        if let Some(observed) =
            crate::service::observed(self.view, &ReplicaDesired { id: id.clone(), ..leaving.clone() })
        {
            let version = self.view.version::<ReplicaObserved>(id.as_str());
            transaction.check_unchanged::<ReplicaObserved>(id.as_str(), version);
            transaction.put(ReplicaObserved { id: leaving.id.clone(), ..observed.clone() });
            transaction.delete::<ReplicaObserved>(id.as_str());
        }
    }

    /// Leaves an event when a replica is placed elsewhere since its node is down or no member any more.
    fn audit_rescheduling(&self, transaction: &mut Transaction, record: &ReplicaDesired) {
        let Some(before) = self.view.get::<ReplicaDesired>(record.id.as_str()) else { return };
        let status = self.view.get::<NodeStatus>(&before.node.to_string());
        let reason = match status.map(|status| status.state) {
            Some(NodeState::Down) => "node_down",
            None => "node_removed",
            Some(
                NodeState::Joining
                | NodeState::Ready
                | NodeState::IsolationUnavailable
                | NodeState::DrainTimeout
                | NodeState::Draining
                | NodeState::Unreachable,
            ) => return,
        };
        if before.node == record.node {
            return;
        }
        transaction.audit(
            "replica_rescheduled",
            [
                ("replica_id", record.id.to_string()),
                ("deployment", record.deployment.to_string()),
                ("service", record.service.to_string()),
                ("src", before.hostname.to_string()),
                ("dst", record.hostname.to_string()),
                ("reason", reason.to_owned()),
            ],
        );
    }

    fn change_replicas(&self, changes: &[Change]) -> Transaction {
        let mut transaction = self.begin();
        let mut nodes: BTreeSet<NodeId> = BTreeSet::new();
        for change in changes {
            let id = match change {
                Change::Put(put) => {
                    nodes.extend(put.placed);
                    if let Some(leaving) = &put.leaving {
                        self.hand_over(&mut transaction, &put.record.id, leaving);
                    }
                    if let Some(slot) = &put.slot {
                        let key = slot.replica.as_str();
                        transaction.check_unchanged::<ExclusiveSlot>(key, self.view.version::<ExclusiveSlot>(key));
                        transaction.put(slot.clone());
                    }
                    self.audit_rescheduling(&mut transaction, &put.record);
                    transaction.put(put.record.clone());
                    &put.record.id
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

/// The changes in pieces that fit into a transaction each.
fn chunks(changes: &[Change]) -> Vec<&[Change]> {
    let weight_of = |change: &Change| match change {
        Change::Put(put) if put.leaving.is_some() => WEIGHT_OF_A_MOVE,
        Change::Put(_) | Change::Delete { .. } => 1,
    };
    let (mut chunks, mut rest, mut weight) = (Vec::new(), changes, 0);
    let mut end = 0;
    for change in changes {
        if weight + weight_of(change) > CHANGES_PER_TRANSACTION {
            let (chunk, after) = rest.split_at(end);
            chunks.push(chunk);
            (rest, end, weight) = (after, 0, 0);
        }
        end += 1;
        weight += weight_of(change);
    }
    if !rest.is_empty() {
        chunks.push(rest);
    }
    chunks
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
) -> Planned {
    let chunks = replicas.chunks(CHANGES_PER_TRANSACTION);
    let transactions = chunks
        .map(|replicas| {
            let mut transaction = Transaction::new(SYSTEM);
            transaction.check_term(term).check_absent::<Deployment>(deployment.as_str());
            for replica in replicas {
                check_replica(&mut transaction, view, &replica.id);
                transaction.delete::<ReplicaDesired>(replica.id.as_str());
            }
            transaction
        })
        .collect();
    Planned { transactions, open: false, again_at: None }
}
