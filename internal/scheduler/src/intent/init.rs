//! `jaco cluster init`.

use jaco_state::{Transaction, View};
use jaco_types::{ClusterMeta, ErrorCode, Node, NodeSchedulability, NodeState, NodeStatus, UserError};

/// Longest name of a cluster, bytes.
const MAX_NAME: usize = 128;

/// The first transaction of a cluster: its record, and the node it begins with, which is `joining` until it says that it is ready.
///
/// Errors: `cluster_already_initialized`; `validation_failed` for a name that lists could not show.
pub fn init(view: &View, cluster: ClusterMeta, node: Node, identity: &str) -> Result<Transaction, UserError> {
    if let Some(existing) = view.cluster() {
        return Err(UserError::new(
            ErrorCode::ClusterAlreadyInitialized,
            format!("this node already belongs to cluster {:?}; nothing was changed", existing.name),
        )
        .with("cluster_id", &existing.cluster_id));
    }
    // What operators read in lists: printable, and not long.
    if cluster.name.len() > MAX_NAME || cluster.name.chars().any(char::is_control) {
        return Err(UserError::new(
            ErrorCode::ValidationFailed,
            format!("a cluster's name has at most {MAX_NAME} bytes and no control characters"),
        )
        .with("field", "name"));
    }
    let id = node.id;
    let mut transaction = Transaction::new(identity);
    transaction.audit("node_join", [("hostname", node.hostname.to_string())]);
    // Its key: the only record of its kind.
    transaction.check_absent::<ClusterMeta>("cluster");
    transaction.put(cluster);
    transaction.put(node);
    transaction.put(NodeStatus { id, state: NodeState::Joining, details: std::collections::BTreeMap::new() });
    transaction.put(NodeSchedulability { id, schedulable: true });
    Ok(transaction)
}
