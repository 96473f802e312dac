//! What is written to the store: observations on transitions, and this node's own state. Pure: the difference to what is committed.

use std::collections::{BTreeMap, BTreeSet};

use jaco_state::{Transaction, View};
use jaco_types::{
    ExclusiveSlot, NodeId, NodeOperation, NodeSchedulability, NodeState, NodeStatus, ReplicaId, ReplicaObserved,
    StateChange, Tombstone,
};

use crate::plan::{World, observe};
use crate::subnet::ACTOR;

/// Steps of history kept.
const HISTORY: usize = 10;
/// Most observations in one transaction: far below its size limit.
const AT_ONCE: usize = 400;

/// The observations of all replicas that are or were here, histories left out; `None` where there is to be none.
pub(super) fn observe_all(
    world: &World<'_>,
    skip: &BTreeSet<ReplicaId>,
) -> BTreeMap<ReplicaId, Option<ReplicaObserved>> {
    let ids: BTreeSet<&ReplicaId> = world.wanted.keys().chain(world.committed.keys()).collect();
    ids.into_iter().filter(|id| !skip.contains(*id)).map(|id| (id.clone(), observe(world, id))).collect()
}

/// Adds the observation's state to the history if it is another one than the last, and gives the observation that history. States
/// that come and go between two reports are in it.
pub(super) fn keep_history(history: &mut Vec<StateChange>, observed: &mut ReplicaObserved, wall_ms: u64) {
    if history.last().is_none_or(|last| (last.state, last.code) != (observed.state, observed.code)) {
        history.push(StateChange { state: observed.state, code: observed.code, at_ms: wall_ms });
        let surplus = history.len().saturating_sub(HISTORY);
        history.drain(..surplus);
    }
    observed.history.clone_from(history);
}

/// The transaction that brings the committed observations up to date, empty when they are.
pub(super) fn difference(view: &View, observed: &BTreeMap<ReplicaId, Option<ReplicaObserved>>) -> Transaction {
    let mut transaction = Transaction::new(ACTOR);
    for (id, now) in observed {
        if transaction.writes.len() >= AT_ONCE {
            break;
        }
        match (now, view.get::<ReplicaObserved>(id.as_str())) {
            (Some(now), before) if before != Some(now) => {
                check(&mut transaction, view, id);
                transaction.put(now.clone());
            }
            (None, Some(_)) => {
                check(&mut transaction, view, id);
                transaction.delete::<ReplicaObserved>(id.to_string());
            }
            (Some(_), _) | (None, None) => {}
        }
    }
    transaction
}

/// A replica that moves is written by two nodes, one after the other: what the next one wrote must not be undone from an older view.
fn check(transaction: &mut Transaction, view: &View, id: &ReplicaId) {
    transaction.check_unchanged::<ReplicaObserved>(id.as_str(), view.version::<ReplicaObserved>(id.as_str()));
}

/// Says of the exclusive slots that this node has, and runs nothing of any more, that they are free. `runs` must know every container
/// here, and every one that is being made.
pub(super) fn release_slots(
    transaction: &mut Transaction,
    view: &View,
    node: NodeId,
    runs: impl Fn(&ReplicaId) -> bool,
) {
    let slots = view.list::<ExclusiveSlot>().filter(|slot| slot.owner == node && !slot.released);
    for slot in slots.filter(|slot| !runs(&slot.replica)).take(AT_ONCE) {
        let key = slot.replica.as_str();
        transaction.check_unchanged::<ExclusiveSlot>(key, view.version::<ExclusiveSlot>(key));
        transaction.put(ExclusiveSlot { released: true, ..slot.clone() });
    }
}

/// The transaction that says whether this node can run containers, or `None` when the store says it already. States that others
/// set (draining, down, …) stay as they are: a node that was silent becomes `joining` by the leader's word and `ready` by its own, and
/// that only when it is `clean`: nothing runs here any more that is not wanted here.
pub(super) fn node_status(view: &View, node: NodeId, engine: Result<(), &str>, clean: bool) -> Option<Transaction> {
    let key = node.to_string();
    // Its records went with its membership.
    if view.get::<Tombstone>(&key).is_some() {
        return None;
    }
    let before = view.get::<NodeStatus>(&key);
    let mut status =
        before.cloned().unwrap_or_else(|| NodeStatus { id: node, state: NodeState::Joining, details: BTreeMap::new() });
    let own = match status.state {
        NodeState::Joining | NodeState::Ready => true,
        NodeState::IsolationUnavailable
        | NodeState::DrainTimeout
        | NodeState::Draining
        | NodeState::Unreachable
        | NodeState::Down => false,
    };
    match engine {
        Ok(()) => {
            status.details.remove("docker");
        }
        Err(reason) => {
            status.details.insert("docker".to_owned(), reason.to_owned());
        }
    }
    if own {
        let ready = engine.is_ok() && (clean || status.state == NodeState::Ready);
        // One that was away while it was to be emptied goes on with that.
        status.state = match view.get::<NodeOperation>(&key) {
            _ if !ready => NodeState::Joining,
            None => NodeState::Ready,
            Some(operation) if operation.timed_out => NodeState::DrainTimeout,
            Some(_) => NodeState::Draining,
        };
    }
    let schedulable = status.state == NodeState::Ready;
    let mut transaction = Transaction::new(ACTOR);
    if before != Some(&status) {
        transaction.check_unchanged::<NodeStatus>(key.clone(), view.version::<NodeStatus>(&key)).put(status);
    }
    if view.get::<NodeSchedulability>(&key).map(|known| known.schedulable) != Some(schedulable) {
        let version = view.version::<NodeSchedulability>(&key);
        transaction
            .check_unchanged::<NodeSchedulability>(key, version)
            .put(NodeSchedulability { id: node, schedulable });
    }
    (!transaction.is_empty()).then_some(transaction)
}
