//! Records about joining, leaving, and what only one node at a time may run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::{Hostname, NodeId, ReplicaId};
use crate::spec::serde_help::{is_default, nanos};

/// Permission for one node to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// SHA-256 of its secret, lower-case hex.
    pub hash: String,
    /// Who issued it.
    pub issued_by: String,
    /// Cluster time, milliseconds since the Unix epoch.
    pub issued_at_ms: u64,
    /// Cluster time from which on it is refused.
    pub expires_at_ms: u64,
    /// Who joined with it. The same joiner gets the same answer until it expires, as an answer may be lost.
    #[serde(default, skip_serializing_if = "is_default")]
    pub used_by: Option<Joiner>,
}

/// The one a join token was bound to at its use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joiner {
    /// SHA-256 of its public key, lower-case hex.
    pub public_key: String,
    /// The node it became.
    pub node: NodeId,
    /// The certificate it was given, PEM.
    pub certificate: String,
}

/// A node that was a member once: what its certificate is refused by, with `node_removed` and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The node's id; never given again.
    pub node: NodeId,
    /// Its name then.
    pub hostname: Hostname,
    /// SHA-256 of its public keys, lower-case hex.
    pub public_keys: Vec<String>,
    /// Cluster time of the removal, milliseconds since the Unix epoch.
    pub removed_at_ms: u64,
}

/// What an operator asked to be done with a node; carried on by whoever leads until it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeOperation {
    /// The node.
    pub node: NodeId,
    /// What is to become of it.
    pub kind: NodeOperationKind,
    /// Moves what has data of its own, too, and does not wait for a dead node.
    #[serde(default, skip_serializing_if = "is_default")]
    pub force: bool,
    /// Who asked.
    pub requested_by: String,
    /// Cluster time of the request, milliseconds since the Unix epoch.
    pub requested_at_ms: u64,
    /// What it ran when it was asked for, as far as that is neither migrated nor dropped yet.
    #[serde(default, skip_serializing_if = "is_default")]
    pub replicas: Vec<ReplicaId>,
    /// Replicas that left it, with where they went.
    #[serde(default, skip_serializing_if = "is_default")]
    pub migrated: Vec<MigratedReplica>,
    /// Replicas that were given up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dropped: Vec<ReplicaId>,
    /// Set when it took too long: the node stays a member until an operator asks again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timed_out: bool,
}

/// A replica that moved in the course of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigratedReplica {
    /// The replica.
    pub replica: ReplicaId,
    /// Where it was.
    pub from: Hostname,
    /// Where it is.
    pub to: Hostname,
}

impl ExclusiveSlot {
    /// As the owner: some node of an earlier life of the cluster may run it. No wait ends that, only an operator who says that it is off.
    pub const OLD_LIFE: NodeId = NodeId(0);

    /// Grace of a container that names none: the engine's own default.
    const DEFAULT_GRACE: Duration = Duration::from_secs(10);

    /// Within this time after the end of its node's lease an exclusive container with this stop grace has to be gone, where the cluster's
    /// longest time for that is not shorter. Whole seconds, as an engine counts them, and not less than one: a kill takes its time.
    pub fn time_to_stop(grace: Option<Duration>) -> Duration {
        let seconds = grace.unwrap_or(Self::DEFAULT_GRACE).as_nanos().div_ceil(1_000_000_000).max(1);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX))
    }
}

/// What an operator wants of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeOperationKind {
    /// Empty it, and keep it empty.
    Drain,
    /// Empty it, and let it go.
    Remove,
}

impl NodeOperationKind {
    /// The word used in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeOperationKind::Drain => "drain",
            NodeOperationKind::Remove => "remove",
        }
    }
}

/// The right to run an exclusive replica. It outlives the replica's record until its owner has confirmed that the container is
/// gone, or enough time has passed for the owner's guard to have stopped it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExclusiveSlot {
    /// The replica.
    pub replica: ReplicaId,
    /// Who may run it.
    pub owner: NodeId,
    /// Grows with each owner; the container knows it as `JACO_EPOCH`.
    pub epoch: u64,
    /// The longest [`ExclusiveSlot::time_to_stop`] of what the owner may run by this right. `None`: not known, so the cluster's longest.
    #[serde(default, skip_serializing_if = "is_default", with = "nanos")]
    pub stop_within: Option<Duration>,
    /// Whether the owner has said that nothing of it runs any more.
    #[serde(default, skip_serializing_if = "is_default")]
    pub released: bool,
}
