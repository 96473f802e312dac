//! What is written to the store: observations on transitions, and this node's own state. Pure: the difference to what is committed.

use std::collections::{BTreeMap, BTreeSet};

use jaco_state::{Transaction, View};
use jaco_types::{NodeId, NodeSchedulability, NodeState, NodeStatus, ReplicaId, ReplicaObserved, StateChange};

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

/// The transaction that brings the committed observations up to date, or `None` when they are.
pub(super) fn difference(view: &View, observed: &BTreeMap<ReplicaId, Option<ReplicaObserved>>) -> Option<Transaction> {
    let mut transaction = Transaction::new(ACTOR);
    for (id, now) in observed {
        if transaction.writes.len() >= AT_ONCE {
            break;
        }
        match (now, view.get::<ReplicaObserved>(id.as_str())) {
            (Some(now), before) if before != Some(now) => {
                transaction.put(now.clone());
            }
            (None, Some(_)) => {
                transaction.delete::<ReplicaObserved>(id.to_string());
            }
            (Some(_), _) | (None, None) => {}
        }
    }
    (!transaction.is_empty()).then_some(transaction)
}

/// The transaction that says whether this node can run containers, or `None` when the store says it already. States that others
/// set (draining, …) stay as they are.
pub(super) fn node_status(view: &View, node: NodeId, engine: Result<(), &str>) -> Option<Transaction> {
    let key = node.to_string();
    let before = view.get::<NodeStatus>(&key);
    let mut status =
        before.cloned().unwrap_or_else(|| NodeStatus { id: node, state: NodeState::Joining, details: BTreeMap::new() });
    let own = match status.state {
        NodeState::Joining | NodeState::Ready | NodeState::Unreachable | NodeState::Down => true,
        NodeState::IsolationUnavailable | NodeState::DrainTimeout | NodeState::Draining => false,
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
        status.state = if engine.is_ok() { NodeState::Ready } else { NodeState::Joining };
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
