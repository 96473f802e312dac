//! What tests share: a clock they set, a store in memory, whole clusters in memory (feature `cluster`), and records that are right
//! unless a test says otherwise.
//!
//! A dev-dependency only. Builders give plain records with public fields: a test changes what it is about and leaves the rest.

mod clock;
#[cfg(feature = "cluster")]
mod cluster;
mod records;
mod store;

pub use clock::ManualClock;
#[cfg(feature = "cluster")]
pub use cluster::{
    ClusterError, Fate, JumpingClock, MemoryCluster, MemoryDisk, MemoryNetwork, SeededRandomness, SeededStore,
    TokioClock, VolatileLog, Weather, target,
};
pub use records::{
    CLUSTER_ID, Deployed, INCARNATION, ReadyNode, claim, cluster_meta, deployed, deployment_name, deployment_spec,
    hostname, ready_node, replica_desired, replica_observed, revision_of, route, service, service_name,
};
pub use store::{TestStore, cluster_store, empty_store};
