//! Whole clusters in one process: stores in memory over a network in memory, on simulated time.
//!
//! To be used on a current-thread runtime with paused time; what happens then depends on the seed alone.

mod log;
mod network;
mod seeded;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jaco_controlplane::{
    ControlPlane, InitialiseError, Limits, MemoryLog, MemorySnapshots, OpenError, Options, RaftTarget, SeededRuntime,
    Timing,
};
use jaco_state::{Leadership, Store, Transaction};
use jaco_types::NodeId;

pub use log::VolatileLog;
pub use network::{Fate, MemoryNetwork, Weather};
pub use seeded::{JumpingClock, SeededRandomness, TokioClock};

use crate::records::{INCARNATION, cluster_meta};

/// The store of a node of a [`MemoryCluster`].
pub type SeededStore = ControlPlane<SeededRuntime>;

/// Why a cluster in memory could not be made.
#[derive(Debug)]
pub enum ClusterError {
    /// A store did not open.
    Open(OpenError),
    /// The first node could not be initialised.
    Initialise(InitialiseError),
    /// Nothing of the kind happened in time.
    TimedOut(&'static str),
}

/// What survives the end of a node.
#[derive(Clone)]
pub struct MemoryDisk {
    /// Its log.
    pub log: Arc<MemoryLog>,
    /// Its snapshots.
    pub snapshots: Arc<MemorySnapshots>,
}

/// Nodes with stores in memory.
pub struct MemoryCluster {
    /// What connects them.
    pub network: MemoryNetwork,
    /// Bounds of nodes that are opened from now on.
    pub limits: Limits,
    seed: u64,
    stores: BTreeMap<NodeId, SeededStore>,
    disks: BTreeMap<NodeId, MemoryDisk>,
}

impl MemoryCluster {
    /// No nodes yet.
    pub fn new(seed: u64) -> Self {
        MemoryCluster {
            network: MemoryNetwork::new(seed),
            limits: Limits::default(),
            seed,
            stores: BTreeMap::new(),
            disks: BTreeMap::new(),
        }
    }

    /// A cluster of this many voters with ids from 1; node 1 initialised it and leads.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn start(seed: u64, size: u64) -> Result<Self, ClusterError> {
        let mut cluster = MemoryCluster::new(seed);
        cluster.grow(size).await?;
        Ok(cluster)
    }

    /// Initialises a cluster with these bounds, see [`MemoryCluster::start`].
    ///
    /// # Errors
    /// What went wrong.
    pub async fn grow(&mut self, size: u64) -> Result<(), ClusterError> {
        let first = self.open(NodeId(1)).await.map_err(ClusterError::Open)?;
        first.initialise(cluster_meta(), Transaction::new("system")).await.map_err(ClusterError::Initialise)?;
        for id in 2..=size {
            self.open(NodeId(id)).await.map_err(ClusterError::Open)?;
            if first.add_learner(target(NodeId(id))).await.is_err() {
                return Err(ClusterError::TimedOut("a learner is added"));
            }
        }
        let voters = (1..=size).map(NodeId).collect();
        if size > 1 && first.change_voters(voters).await.is_err() {
            return Err(ClusterError::TimedOut("learners become voters"));
        }
        Ok(())
    }

    /// What a node is opened with: its disk, made when it has none.
    pub fn options(&mut self, node: NodeId) -> Options {
        let disk = self.disks.entry(node).or_insert_with(|| MemoryDisk {
            log: Arc::new(MemoryLog::default()),
            snapshots: Arc::new(MemorySnapshots::default()),
        });
        Options {
            clock: Arc::new(TokioClock::new(1_000_000)),
            randomness: Arc::new(SeededRandomness::new(self.seed ^ node.0.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
            transport: self.network.transport(node),
            address: target(node).address,
            incarnation: Some(INCARNATION),
            log: Some(disk.log.clone()),
            snapshots: Some(disk.snapshots.clone()),
            limits: self.limits,
            timing: Timing::default(),
            ..Options::new("never-touched", node)
        }
    }

    /// Starts a node on its disk, and connects it.
    ///
    /// # Errors
    /// What is wrong with its disk.
    pub async fn open(&mut self, node: NodeId) -> Result<SeededStore, OpenError> {
        let options = self.options(node);
        let store = SeededStore::open_on(options).await?;
        self.network.attach(node, Arc::new(store.clone()));
        self.stores.insert(node, store.clone());
        Ok(store)
    }

    /// Ends a node in order; its disk stays.
    pub async fn stop(&mut self, node: NodeId) {
        if let Some(store) = self.stores.remove(&node) {
            store.shutdown().await;
            self.network.detach(node);
        }
    }

    /// Ends a node as a power cut does: nobody hears from it any more, and what was not synced is gone.
    pub async fn crash(&mut self, node: NodeId) {
        self.network.detach(node);
        if let Some(store) = self.stores.remove(&node) {
            store.halt().await;
        }
        if let Some(disk) = self.disks.get(&node) {
            disk.snapshots.crash();
        }
    }

    /// The store of a running node.
    pub fn store(&self, node: NodeId) -> Option<&SeededStore> {
        self.stores.get(&node)
    }

    /// The stores of all running nodes.
    pub fn stores(&self) -> impl Iterator<Item = (NodeId, &SeededStore)> {
        self.stores.iter().map(|(node, store)| (*node, store))
    }

    /// The disk of a node that was opened once.
    pub fn disk(&self, node: NodeId) -> Option<&MemoryDisk> {
        self.disks.get(&node)
    }

    /// The node that leads with its majority, if there is one.
    pub fn leader(&self) -> Option<NodeId> {
        self.stores().find(|(_, store)| matches!(store.leadership(), Leadership::Leader { .. })).map(|(node, _)| node)
    }

    /// Waits, up to a minute of simulated time, until this holds.
    ///
    /// # Errors
    /// `what` when it did not come about.
    pub async fn until(&self, what: &'static str, mut holds: impl FnMut(&Self) -> bool) -> Result<(), ClusterError> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            if tokio::time::Instant::now() >= deadline {
                return Err(ClusterError::TimedOut(what));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// Where a node of a [`MemoryCluster`] is reached.
pub fn target(node: NodeId) -> RaftTarget {
    RaftTarget { node_id: node, address: format!("node-{}:7001", node.0) }
}
