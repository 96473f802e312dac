//! What a session says of its node and the store is to know: where it is reached, its version, whether its clock is off or its disk full.
//! Pure.

use jaco_scheduler::Sessions;
use jaco_state::{Transaction, View};
use jaco_types::{Node, NodeStatus};

use super::CLOCK_SKEW;
use super::table::Peer;

/// Keys of the conditions in [`NodeStatus::details`].
pub(crate) const CLOCK_SKEW_CONDITION: &str = "clock_skew";
pub(crate) const DISK_FULL_CONDITION: &str = "disk_full";

/// What is said of a full disk.
const DISK_FULL: &str = "the disk of the data directory has no room for the raft log; free some";

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
    if let Some(known) = view.get::<NodeStatus>(&key) {
        let mut status = known.clone();
        let changes = [
            (CLOCK_SKEW_CONDITION, skew(known, peer.clock_offset_ms)),
            (DISK_FULL_CONDITION, full(known, peer.disk_full)),
        ];
        for (condition, change) in changes {
            match change {
                Some(Some(text)) => drop(status.details.insert(condition.to_owned(), text)),
                Some(None) => drop(status.details.remove(condition)),
                None => {}
            }
        }
        if status != *known {
            transaction.check_unchanged::<NodeStatus>(key.clone(), view.version::<NodeStatus>(&key)).put(status);
        }
    }
    (!transaction.writes.is_empty()).then_some(transaction)
}

/// The condition of a full disk, when it is to change.
fn full(status: &NodeStatus, is_full: bool) -> Option<Option<String>> {
    let known = status.details.contains_key(DISK_FULL_CONDITION);
    (known != is_full).then(|| is_full.then(|| DISK_FULL.to_owned()))
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
