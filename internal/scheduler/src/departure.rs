//! Emptying nodes and letting them go, as far as the leader has to look after it: what has moved, what takes too long, and the end.
//!
//! The planner moves the replicas; here it is only noted where they went. The operation is a record, so whoever leads goes on with
//! it; only the time since the last move lives in the leader's memory and begins anew with another leader.
//!
//! A node's record ends last: after its replicas have left it and its place in raft's membership is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jaco_state::{Transaction, View};
use jaco_types::{
    Claim, ClaimKind, Deployment, DeploymentRevision, ErrorCode, MigratedReplica, Node, NodeId, NodeOperation,
    NodeOperationKind, NodeSchedulability, NodeState, NodeStatus, Placement, ReplicaDesired, ReplicaId,
    ReplicaObserved, Reschedule, ServiceSpec, Subnet, UserError,
};

use crate::deployment::SYSTEM;
use crate::intent::bury;

#[cfg(test)]
mod tests;

/// A node that is emptied has this long for each replica: when none has left it for so long, it stays (contract, 7.3).
pub const MOVE_LIMIT: Duration = Duration::from_secs(300);
/// Deletions in one transaction: far below the store's limit.
const AT_ONCE: usize = 400;
/// Replicas that a message names.
const NAMED: usize = 20;

/// Refuses to empty a node that would strand replicas, unless `force` accepts it.
///
/// Errors: `drain_no_placement`, naming the replicas.
pub fn check_drain(view: &View, node: &Node, force: bool) -> Result<(), UserError> {
    let stranded = stranded(view, node.id, false);
    if force || stranded.is_empty() {
        return Ok(());
    }
    let names = join(&stranded);
    Err(UserError::new(
        ErrorCode::DrainNoPlacement,
        format!(
            "these replicas on {} cannot move: {names}; add nodes that can take them, set `reschedule: always` where their data may \
             be left behind, or use `jaco node remove --force`",
            node.hostname
        ),
    )
    .with("hostname", &node.hostname)
    .with("replicas", names))
}

fn join<'a>(replicas: impl IntoIterator<Item = &'a ReplicaId>) -> String {
    let names: Vec<&str> = replicas.into_iter().map(ReplicaId::as_str).collect();
    let shown = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(",");
    if names.len() > NAMED { format!("{shown},… ({} in all)", names.len()) } else { shown }
}

/// The replicas that are to run on a node, without what they leave behind while they move.
pub(crate) fn held_replicas(view: &View, node: NodeId) -> BTreeSet<ReplicaId> {
    let here = view.list::<ReplicaDesired>().filter(|replica| replica.node == node);
    here.filter(|replica| !crate::service::is_leaving(replica)).map(|replica| replica.id.clone()).collect()
}

/// The replicas of a node that have nowhere to go: data that stays, or no node that may take them. Global ones go nowhere and are
/// simply dropped. What nodes have left to give is soft state and is not looked at: a full cluster shows as a drain that takes too long.
fn stranded(view: &View, node: NodeId, force: bool) -> BTreeSet<ReplicaId> {
    let open = open_nodes(view, node);
    let is_stranded = |replica: &&ReplicaDesired| {
        let service = active_service(view, replica);
        service.is_some_and(|service| {
            let may_move = force
                || match service.reschedule {
                    Reschedule::Always => true,
                    Reschedule::Never => false,
                    Reschedule::Auto => !service.is_stateful(),
                };
            match &service.placement {
                Placement::Global => false,
                Placement::Spread | Placement::Pack => !may_move || open.is_empty(),
                Placement::Hosts(hosts) => {
                    let listed = |other: &&Node| hosts.contains(&other.hostname);
                    !may_move || !open.iter().copied().filter(listed).any(|other| is_free(view, replica, other.id))
                }
            }
        })
    };
    let here = view.list::<ReplicaDesired>().filter(|replica| replica.node == node);
    let here = here.filter(|replica| !crate::service::is_leaving(replica));
    here.filter(is_stranded).map(|replica| replica.id.clone()).collect()
}

/// Whether a node has no replica of the same service.
fn is_free(view: &View, replica: &ReplicaDesired, node: NodeId) -> bool {
    !view
        .list::<ReplicaDesired>()
        .any(|other| other.node == node && other.deployment == replica.deployment && other.service == replica.service)
}

/// The service as the deployment wants it now; `None` when the replica is on its way out anyway.
fn active_service<'a>(view: &'a View, replica: &ReplicaDesired) -> Option<&'a ServiceSpec> {
    let deployment = view.get::<Deployment>(replica.deployment.as_str())?;
    let key = DeploymentRevision::key_of(&deployment.name, deployment.active_revision);
    view.get::<DeploymentRevision>(&key)?.spec.services.get(&replica.service)
}

/// The other members that take new replicas.
fn open_nodes(view: &View, but: NodeId) -> Vec<&Node> {
    let is_open = |node: &&Node| {
        let key = node.id.to_string();
        node.id != but
            && view.get::<NodeStatus>(&key).is_some_and(|status| status.state == NodeState::Ready)
            && view.get::<NodeSchedulability>(&key).is_some_and(|record| record.schedulable)
            && view.get::<NodeOperation>(&key).is_none()
    };
    view.list::<Node>().filter(is_open).collect()
}

/// Whether a node that is to go has given everything away, so that it may leave raft's membership: nothing is to run there, and, while
/// it can say so, nothing does. With force, what has nowhere to go and what a dead node ran do not count.
pub fn has_vacated(view: &View, operation: &NodeOperation) -> bool {
    let node = operation.node;
    let leaves = operation.kind == NodeOperationKind::Remove && !operation.timed_out;
    if !leaves {
        return false;
    }
    let mut left = view.list::<ReplicaDesired>().filter(|replica| replica.node == node);
    if operation.force {
        let stranded = stranded(view, node, true);
        let nowhere = open_nodes(view, node).is_empty();
        return left.all(|replica| stranded.contains(&replica.id))
            && (nowhere || operation.replicas.iter().all(|id| stranded.contains(id)));
    }
    let runs = || view.list::<ReplicaObserved>().any(|observed| observed.node == node);
    left.next().is_none() && operation.replicas.is_empty() && (!is_alive(view, node) || !runs())
}

fn is_alive(view: &View, node: NodeId) -> bool {
    match view.get::<NodeStatus>(&node.to_string()).map(|status| status.state) {
        Some(NodeState::Down | NodeState::Unreachable) | None => false,
        Some(
            NodeState::Joining
            | NodeState::Ready
            | NodeState::IsolationUnavailable
            | NodeState::DrainTimeout
            | NodeState::Draining,
        ) => true,
    }
}

/// What the leader does about the operations on nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeparturesPlan {
    /// Each of one node; one that is refused takes nothing from the others.
    pub transactions: Vec<Transaction>,
    /// When to look again though nothing has changed, on the clock of the pass: a move will have taken too long.
    pub again_at: Option<Duration>,
}

/// The leader's memory of operations: how far each was, and when it last got on.
#[derive(Debug, Clone, Default)]
pub struct Departures {
    progress: BTreeMap<NodeId, Progress>,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    left: usize,
    since: Duration,
}

impl Departures {
    /// Knows of no operation.
    pub fn new() -> Self {
        Departures::default()
    }

    /// Forgets the times: another leader has begun.
    pub fn forget(&mut self) {
        self.progress.clear();
    }

    /// What is due now, on the leader's monotonic clock. `in_raft` are the nodes of raft's membership, committed.
    pub fn pass(&mut self, view: &View, term: u64, now: Duration, in_raft: &BTreeSet<NodeId>) -> DeparturesPlan {
        let mut plan = DeparturesPlan::default();
        self.progress.retain(|node, _| view.get::<NodeOperation>(&node.to_string()).is_some());
        for operation in view.list::<NodeOperation>() {
            let mut transaction = begin(view, term, operation);
            let Some(node) = view.get::<Node>(&operation.node.to_string()) else {
                transaction.delete::<NodeOperation>(operation.node.to_string());
                plan.transactions.push(transaction);
                continue;
            };
            if operation.timed_out {
                self.progress.remove(&operation.node);
                continue;
            }
            if has_vacated(view, operation) && !in_raft.contains(&operation.node) {
                plan.transactions.push(end(view, transaction, node, operation));
                continue;
            }
            let noted = account(view, operation);
            let left = view.list::<ReplicaDesired>().filter(|replica| replica.node == operation.node).count()
                + noted.replicas.len();
            let progress = self.progress.entry(operation.node).or_insert(Progress { left, since: now });
            if left < progress.left {
                *progress = Progress { left, since: now };
            }
            // What is empty waits for raft's membership, or for an operator, and for no replica.
            let limit = progress.since.saturating_add(MOVE_LIMIT);
            let is_late = left > 0 && now >= limit;
            if is_late {
                give_up(view, &mut transaction, &noted);
            } else if left > 0 {
                plan.again_at = Some(plan.again_at.map_or(limit, |other| other.min(limit)));
            }
            if is_late || noted != *operation {
                transaction.put(NodeOperation { timed_out: is_late, ..noted });
                plan.transactions.push(transaction);
            }
        }
        plan
    }
}

fn begin(view: &View, term: u64, operation: &NodeOperation) -> Transaction {
    let key = operation.node.to_string();
    let mut transaction = Transaction::new(SYSTEM);
    transaction.check_term(term);
    transaction.check_unchanged::<NodeOperation>(key.clone(), view.version::<NodeOperation>(&key));
    transaction
}

/// The operation with what has left the node since it was last noted.
fn account(view: &View, operation: &NodeOperation) -> NodeOperation {
    let mut noted = NodeOperation { replicas: Vec::new(), ..operation.clone() };
    let Some(from) = view.get::<Node>(&operation.node.to_string()) else { return operation.clone() };
    let leaving: BTreeSet<String> = view
        .list::<ReplicaDesired>()
        .filter(|replica| replica.node == operation.node && crate::service::is_leaving(replica))
        .map(|replica| replica.id.to_string())
        .collect();
    let mut expected = None;
    for id in &operation.replicas {
        let is_leaving = leaving.contains(&format!("{id}{}", crate::service::LEAVING));
        match view.get::<ReplicaDesired>(id.as_str()) {
            Some(replica) if replica.node == operation.node || is_leaving => noted.replicas.push(id.clone()),
            Some(replica) => noted.migrated.push(MigratedReplica {
                replica: id.clone(),
                from: from.hostname.clone(),
                to: replica.hostname.clone(),
            }),
            // Between its stop here and its start elsewhere it is nowhere.
            None if expected.get_or_insert_with(|| expected_replicas(view)).contains(id) => {
                noted.replicas.push(id.clone());
            }
            None => noted.dropped.push(id.clone()),
        }
    }
    noted
}

/// Ids of all replicas that the active revisions count.
fn expected_replicas(view: &View) -> BTreeSet<ReplicaId> {
    let mut expected = BTreeSet::new();
    for deployment in view.list::<Deployment>() {
        let key = DeploymentRevision::key_of(&deployment.name, deployment.active_revision);
        let Some(revision) = view.get::<DeploymentRevision>(&key) else { continue };
        for (name, service) in &revision.spec.services {
            let count = match service.placement {
                Placement::Global => 0,
                Placement::Spread | Placement::Pack | Placement::Hosts(_) => service.replicas,
            };
            expected.extend((0..count).filter_map(|index| ReplicaId::indexed(&deployment.name, name, index).ok()));
        }
    }
    expected
}

/// The node stays a member, and says that its drain took too long.
fn give_up(view: &View, transaction: &mut Transaction, operation: &NodeOperation) {
    let key = operation.node.to_string();
    if let Some(status) = view.get::<NodeStatus>(&key).filter(|status| status.state == NodeState::Draining) {
        transaction.check_unchanged::<NodeStatus>(key.clone(), view.version::<NodeStatus>(&key));
        transaction.put(NodeStatus { state: NodeState::DrainTimeout, ..status.clone() });
    }
}

/// The last transaction of a removal: the records give way to the tombstone, its subnets are freed. What would not fit goes in
/// transactions before it.
fn end(view: &View, mut transaction: Transaction, node: &Node, operation: &NodeOperation) -> Transaction {
    let observed = view.list::<ReplicaObserved>().filter(|observed| observed.node == node.id);
    let observed: Vec<&ReplicaId> = observed.map(|observed| &observed.id).take(AT_ONCE).collect();
    let subnets = view.list::<Subnet>().filter(|subnet| subnet.node == node.id);
    let subnets: Vec<&Subnet> = subnets.take(AT_ONCE).collect();
    let is_last = observed.len() < AT_ONCE && subnets.len() < AT_ONCE;
    for id in observed {
        transaction.delete::<ReplicaObserved>(id.as_str());
    }
    for subnet in subnets {
        transaction.delete::<Subnet>(Subnet::key_of(&subnet.deployment, &subnet.network, subnet.node));
        transaction.delete::<Claim>(Claim::key_of(ClaimKind::Subnet, &subnet.cidr.to_string()));
    }
    if !is_last {
        return transaction;
    }
    let key = node.id.to_string();
    transaction.check_unchanged::<Node>(key.clone(), view.version::<Node>(&key));
    let noted = account(view, operation);
    let dropped: BTreeSet<&ReplicaId> = noted.dropped.iter().chain(&noted.replicas).collect();
    let moved = |moved: &MigratedReplica| format!("{}:{}", moved.replica, moved.to);
    let migrated: Vec<String> = noted.migrated.iter().take(NAMED).map(moved).collect();
    transaction.audit(
        "node_remove",
        [
            ("hostname", node.hostname.to_string()),
            ("requested_by", operation.requested_by.clone()),
            ("forced", operation.force.to_string()),
            ("migrated", migrated.join(",")),
            ("migrated_count", noted.migrated.len().to_string()),
            ("dropped", join(dropped)),
        ],
    );
    bury(&mut transaction, node, view.now_ms());
    transaction
}

/// The transaction that ends the record of a node that joined and was never heard of, so that its name is free again. When that is
/// due is for the caller, who has the clock.
pub fn unheard(view: &View, term: u64, node: &Node) -> Option<Transaction> {
    let key = node.id.to_string();
    let is_joining = view.get::<NodeStatus>(&key).is_none_or(|status| status.state == NodeState::Joining);
    if !is_joining || view.get::<NodeSchedulability>(&key).is_some() {
        return None;
    }
    let mut transaction = Transaction::new(SYSTEM);
    transaction.check_term(term).check_unchanged::<Node>(key.clone(), view.version::<Node>(&key));
    transaction.check_absent::<NodeSchedulability>(key);
    let payload = [("hostname", node.hostname.to_string()), ("reason", "it was never heard of".to_owned())];
    transaction.audit("node_remove", payload);
    bury(&mut transaction, node, view.now_ms());
    Some(transaction)
}
