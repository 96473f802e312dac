//! `jaco node …`: tokens to join with, joining, emptying a node, letting it go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::departure::{check_drain, held_replicas};
use jaco_state::{Transaction, View};
use jaco_types::{
    ClusterMeta, DataKey, ErrorCode, Hostname, JoinToken, Joiner, Node, NodeId, NodeOperation, NodeOperationKind,
    NodeSchedulability, NodeState, NodeStatus, Stored, Tombstone, UserError,
};

/// Longest life of a join token.
pub const MAX_JOIN_TOKEN_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Issues a join token whose secret has this hash.
///
/// Errors: `validation_failed` for a life of nothing or more than seven days.
pub fn issue_join_token(
    view: &View,
    hash: String,
    life: Duration,
    now_ms: u64,
    actor: &str,
) -> Result<(Transaction, JoinToken), UserError> {
    if life.is_zero() || life > MAX_JOIN_TOKEN_LIFE {
        return Err(UserError::new(
            ErrorCode::ValidationFailed,
            "a join token lives for more than nothing and at most 7 days (168h)",
        )
        .with("field", "ttl"));
    }
    let token = JoinToken {
        hash: hash.clone(),
        issued_by: actor.to_owned(),
        issued_at_ms: now_ms,
        expires_at_ms: now_ms.saturating_add(u64::try_from(life.as_millis()).unwrap_or(u64::MAX)),
        used_by: None,
    };
    let mut transaction = Transaction::new(actor);
    transaction.check_absent::<JoinToken>(hash);
    // Those that ended go with the next one: nothing else looks at them.
    for ended in view.list::<JoinToken>().filter(|token| token.expires_at_ms <= now_ms) {
        transaction.delete::<JoinToken>(ended.hash.clone());
    }
    transaction.audit("join_token_issued", [("expires_at_ms", token.expires_at_ms.to_string())]);
    transaction.put(token.clone());
    Ok((transaction, token))
}

/// A node that wants to join.
#[derive(Debug, Clone)]
pub struct Joining {
    /// SHA-256 of the token's secret, lower-case hex.
    pub token_hash: String,
    /// What its record will be; `public_keys` has the one key it asked a certificate for.
    pub node: Node,
}

/// What a join token says about somebody who uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It may join.
    New,
    /// It joined with this token before, and its answer may have been lost: it gets the same again.
    Again(Joiner),
}

/// Judges a join.
///
/// Errors: `join_token_invalid`, `join_token_expired`, `join_token_consumed`, `node_already_member`.
pub fn admit(view: &View, joining: &Joining, now_ms: u64) -> Result<Admission, UserError> {
    let refused = |code, text: &str| Err(UserError::new(code, text));
    let Some(token) = view.get::<JoinToken>(&joining.token_hash) else {
        return refused(
            ErrorCode::JoinTokenInvalid,
            "this join token is not known; issue one with `jaco node issue-join-token`",
        );
    };
    if now_ms >= token.expires_at_ms {
        return refused(
            ErrorCode::JoinTokenExpired,
            "this join token has expired; issue another one with `jaco node issue-join-token`",
        );
    }
    match &token.used_by {
        Some(joiner) if joining.node.public_keys.contains(&joiner.public_key) => {
            return Ok(Admission::Again(joiner.clone()));
        }
        Some(_) => {
            return refused(
                ErrorCode::JoinTokenConsumed,
                "this join token was used by another node; issue another one with `jaco node issue-join-token`",
            );
        }
        None => {}
    }
    let id = joining.node.id.to_string();
    let hostname = &joining.node.hostname;
    let taken = view.list::<Node>().any(|node| node.hostname == *hostname && !is_replaceable(view, node.id));
    if taken || view.get::<Node>(&id).is_some() || view.get::<Tombstone>(&id).is_some() {
        return Err(UserError::new(
            ErrorCode::NodeAlreadyMember,
            format!(
                "a member is named {hostname} already: give this node another `hostname` in jacod.yaml, or remove the other \
                 one first with `jaco node remove {hostname}`"
            ),
        )
        .with("hostname", hostname));
    }
    Ok(Admission::New)
}

/// One that joined and was never heard of since: a new join under its name takes its place.
fn is_replaceable(view: &View, node: NodeId) -> bool {
    view.get::<NodeSchedulability>(&node.to_string()).is_none()
}

/// The transaction of a join that was admitted as new: the token is used up and the member made, or neither. `copies` are the data
/// keys with a copy for the joiner in each.
///
/// Every join writes the data keys, and checks that nobody did so meanwhile: so of two at once, for one name or with one token, one is
/// refused and looks again.
pub fn join(view: &View, joining: &Joining, certificate: String, copies: Vec<DataKey>) -> Transaction {
    let node = joining.node.clone();
    let id = node.id;
    let mut transaction = Transaction::new("system");
    transaction
        .check_unchanged::<JoinToken>(joining.token_hash.as_str(), view.version::<JoinToken>(&joining.token_hash));
    transaction.check_absent::<Node>(id.to_string()).check_absent::<Tombstone>(id.to_string());
    // What the joiner is able to was compared with the level that this record says.
    if let Some(cluster) = view.cluster() {
        let key = cluster.key();
        transaction.check_unchanged::<ClusterMeta>(key.clone(), view.version::<ClusterMeta>(&key));
    }
    if let Some(token) = view.get::<JoinToken>(&joining.token_hash) {
        let public_key = node.public_keys.first().cloned().unwrap_or_default();
        transaction.put(JoinToken { used_by: Some(Joiner { public_key, node: id, certificate }), ..token.clone() });
    }
    for copy in copies {
        let key = DataKey::key_of(copy.epoch);
        transaction.check_unchanged::<DataKey>(key.clone(), view.version::<DataKey>(&key)).put(copy);
    }
    for replaced in view.list::<Node>().filter(|other| other.hostname == node.hostname) {
        bury(&mut transaction, replaced, view.now_ms());
    }
    transaction.audit("node_join", [("hostname", node.hostname.to_string())]);
    transaction.put(node);
    transaction.put(NodeStatus { id, state: NodeState::Joining, details: BTreeMap::new() });
    transaction
}

/// Replaces a member's records by its tombstone.
pub fn bury(transaction: &mut Transaction, node: &Node, now_ms: u64) {
    let key = node.id.to_string();
    transaction
        .delete::<Node>(key.clone())
        .delete::<NodeStatus>(key.clone())
        .delete::<NodeSchedulability>(key.clone())
        .delete::<NodeOperation>(key)
        .put(Tombstone {
            node: node.id,
            hostname: node.hostname.clone(),
            public_keys: node.public_keys.clone(),
            removed_at_ms: now_ms,
        });
}

/// Asks for a node to be emptied, or to be let go as well. Asking again goes on with what is under way; `force` may be added, and a drain
/// may become a removal.
///
/// Errors: `node_not_found`; `conflict` for the last member, which cannot leave; `drain_no_placement` when replicas could not move, unless
/// `force` accepts that.
pub fn operate(
    view: &View,
    hostname: &Hostname,
    kind: NodeOperationKind,
    force: bool,
    now_ms: u64,
    actor: &str,
) -> Result<Transaction, UserError> {
    let node = find_node(view, hostname)?;
    if kind == NodeOperationKind::Remove && view.count::<Node>() == 1 {
        return Err(UserError::new(
            ErrorCode::Conflict,
            format!("{hostname} is the last member: a cluster cannot lose it; to end the cluster, stop jacod and move its data directory away"),
        )
        .with("hostname", hostname));
    }
    let key = node.id.to_string();
    let mut transaction = Transaction::new(actor);
    transaction.check_unchanged::<NodeOperation>(key.clone(), view.version::<NodeOperation>(&key));
    transaction.check_unchanged::<Node>(key.clone(), view.version::<Node>(&key));
    let known = view.get::<NodeOperation>(&key);
    // What is under way was accepted when it was asked for.
    if known.is_none_or(|known| known.timed_out) {
        check_drain(view, node, force)?;
    }
    let goes_on = known.is_some_and(|known| !known.timed_out && known.kind >= kind && (known.force || !force));
    if !goes_on {
        let removes = (kind == NodeOperationKind::Remove).to_string();
        let payload = [("hostname", hostname.to_string()), ("remove", removes), ("forced", force.to_string())];
        transaction.audit("node_drain", payload);
    }
    let replicas = held_replicas(view, node.id);
    let operation = match known {
        Some(known) => NodeOperation {
            kind: known.kind.max(kind),
            force: known.force || force,
            timed_out: false,
            requested_at_ms: if known.timed_out { now_ms } else { known.requested_at_ms },
            replicas: known.replicas.iter().cloned().collect::<BTreeSet<_>>().union(&replicas).cloned().collect(),
            ..known.clone()
        },
        None => NodeOperation {
            node: node.id,
            kind,
            force,
            requested_by: actor.to_owned(),
            requested_at_ms: now_ms,
            replicas: replicas.into_iter().collect(),
            migrated: Vec::new(),
            dropped: Vec::new(),
            timed_out: false,
        },
    };
    transaction.put(operation);
    transaction.put(NodeSchedulability { id: node.id, schedulable: false });
    if let Some(status) = view.get::<NodeStatus>(&key) {
        let state = match status.state {
            NodeState::Unreachable | NodeState::Down | NodeState::Joining => status.state,
            NodeState::Ready | NodeState::IsolationUnavailable | NodeState::DrainTimeout | NodeState::Draining => {
                NodeState::Draining
            }
        };
        transaction.check_unchanged::<NodeStatus>(key.clone(), view.version::<NodeStatus>(&key));
        transaction.put(NodeStatus { state, ..status.clone() });
    }
    Ok(transaction)
}

/// Lets a node take replicas again. A node that is not being emptied stays as it is.
///
/// Errors: `node_not_found`; `conflict` for a node that is being removed.
pub fn uncordon(view: &View, hostname: &Hostname, actor: &str) -> Result<Transaction, UserError> {
    let node = find_node(view, hostname)?;
    let key = node.id.to_string();
    let mut transaction = Transaction::new(actor);
    let Some(operation) = view.get::<NodeOperation>(&key) else { return Ok(transaction) };
    if operation.kind == NodeOperationKind::Remove && !operation.timed_out {
        return Err(UserError::new(
            ErrorCode::Conflict,
            format!("{hostname} is being removed; once it is gone it can join again"),
        )
        .with("hostname", hostname));
    }
    transaction.check_unchanged::<NodeOperation>(key.clone(), view.version::<NodeOperation>(&key));
    transaction.delete::<NodeOperation>(key.clone());
    transaction.audit("node_uncordon", [("hostname", hostname.to_string())]);
    if let Some(status) = view.get::<NodeStatus>(&key)
        && matches!(status.state, NodeState::Draining | NodeState::DrainTimeout)
    {
        transaction.check_unchanged::<NodeStatus>(key.clone(), view.version::<NodeStatus>(&key));
        // It says itself that it is ready.
        transaction.put(NodeStatus { state: NodeState::Joining, ..status.clone() });
    }
    Ok(transaction)
}

/// The member of this name, or `node_not_found`.
pub fn find_node<'a>(view: &'a View, hostname: &Hostname) -> Result<&'a Node, UserError> {
    view.list::<Node>().find(|node| node.hostname == *hostname).ok_or_else(|| {
        UserError::new(
            ErrorCode::NodeNotFound,
            format!("there is no node {hostname}; `jaco node list` shows those there are"),
        )
        .with("hostname", hostname)
    })
}
