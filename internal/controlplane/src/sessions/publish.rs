//! What a session says of its node and the store is to know: where it is reached, its version, whether its clock is off. Pure.

use jaco_scheduler::Sessions;
use jaco_state::{Transaction, View};
use jaco_types::{Node, NodeStatus};

use super::CLOCK_SKEW;
use super::table::Peer;

/// Key of the condition in [`NodeStatus::details`].
pub(crate) const CLOCK_SKEW_CONDITION: &str = "clock_skew";

/// The transaction that brings a node's records in line with what its session says; `None` when they are.
pub(crate) fn publish(view: &View, term: u64, node: &Node, peer: &Peer) -> Option<Transaction> {
    let key = node.id.to_string();
    let mut transaction = Transaction::new("system");
    transaction.check_term(term);
    let told = |told: &String, known: &String| if told.is_empty() { known.clone() } else { told.clone() };
    let hello = &peer.hello;
    let now = Node {
        address: told(&hello.address, &node.address),
        grpc_address: told(&hello.grpc_address, &node.grpc_address),
        cluster_address: told(&hello.cluster_address, &node.cluster_address),
        version: told(&hello.version, &node.version),
        ..node.clone()
    };
    if now != *node {
        transaction.check_unchanged::<Node>(key.clone(), view.version::<Node>(&key)).put(now);
    }
    if let Some(status) = view.get::<NodeStatus>(&key)
        && let Some(skew) = skew(status, peer.clock_offset_ms)
    {
        let mut status = status.clone();
        match skew {
            Some(text) => drop(status.details.insert(CLOCK_SKEW_CONDITION.to_owned(), text)),
            None => drop(status.details.remove(CLOCK_SKEW_CONDITION)),
        }
        transaction.check_unchanged::<NodeStatus>(key.clone(), view.version::<NodeStatus>(&key)).put(status);
    }
    (!transaction.writes.is_empty()).then_some(transaction)
}

/// The condition as it is to be, when it is to change. It holds until the clock is well within the limit again, so that one that is
/// just about there writes nothing.
fn skew(status: &NodeStatus, offset_ms: i64) -> Option<Option<String>> {
    let (off, limit) = (offset_ms.unsigned_abs(), super::millis(CLOCK_SKEW));
    let known = status.details.contains_key(CLOCK_SKEW_CONDITION);
    if off > limit && !known {
        let direction = if offset_ms > 0 { "ahead of" } else { "behind" };
        // To the second: what is committed must not follow every tick of a clock that runs away.
        return Some(Some(format!("its clock is about {} s {direction} the leader's", off.div_ceil(1000))));
    }
    (known && off < limit / 2).then_some(None)
}

/// Whether a node was heard in this term and has not been silent for too long since.
pub(crate) fn is_heard(sessions: &Sessions, node: jaco_types::NodeId, limit: std::time::Duration) -> bool {
    sessions.silent_for.get(&node).is_some_and(|silence| *silence < limit)
}
