//! The typed records of the replicated store.
//!
//! Who writes what: API handlers write intent (deployments, revisions, routes, ports, claims), the scheduler on the leader writes
//! [`ReplicaDesired`] and the deployment's status, and each node writes only its own observations ([`NodeStatus`],
//! [`ReplicaObserved`]) and the [`Subnet`]s of its bridges. Bodies are stored as JSON inside the store's own framing; fields left at
//! their default are left out.

mod access;
mod cluster;
mod deployment;
mod key;
mod membership;
mod replica;

pub use access::{Authority, DataKey, RecoveryRecipient, SealedValue, Token};
pub use cluster::{Claim, ClaimKind, ClusterMeta, Node, NodeSchedulability, NodeStatus, Subnet};
pub use deployment::{Deployment, DeploymentRevision, PortRoute, RevisionCounter, RevisionKind, Route};
pub use key::{Entity, Kind, Stored};
pub use membership::{ExclusiveSlot, JoinToken, Joiner, MigratedReplica, NodeOperation, NodeOperationKind, Tombstone};
pub use replica::{Endpoint, Outgoing, ReplaceOrder, ReplicaDesired, ReplicaIndex, ReplicaObserved, StateChange};
