//! What the failure tests share: transactions that can be checked, a writer in a process of its own, and a disk that can be broken.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)] // Every test binary uses another part.

mod disk;
mod writer;

use std::path::Path;
use std::time::Duration;

use jaco_controlplane::{ControlPlane, Limits, Options};
use jaco_state::{ProposeError, Store, Transaction, View};
use jaco_types::{Claim, ClaimKind, ClusterMeta, DeploymentName, NodeId};

pub use disk::{LoopDisk, Tmpfs, can_mount};
pub use writer::{WriterProcess, run_as_writer};

/// The node of these tests.
pub const NODE: NodeId = NodeId(7);

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub fn options(data_dir: &Path) -> Options {
    let limits = Limits {
        snapshot_after_entries: 400,
        kept_entries: 50,
        min_free_bytes: 1 << 20,
        space_check_interval: Duration::from_millis(50),
        ..Limits::default()
    };
    Options { limits, ..Options::new(data_dir, NODE) }
}

pub fn meta() -> ClusterMeta {
    ClusterMeta {
        cluster_id: "c".to_owned(),
        name: "c".to_owned(),
        incarnation: 0,
        feature_level: 1,
        created_at_ms: 0,
        ipam_pool: "10.64.0.0/10".parse().unwrap(),
        mesh_cidr: "10.63.0.0/16".parse().unwrap(),
        node_down_after_ms: 10_000,
    }
}

/// Opens, initialises when that was not done, and waits until everything acknowledged is in the view.
pub async fn open(data_dir: &Path) -> ControlPlane {
    let store = ControlPlane::open(options(data_dir)).await.unwrap_or_else(|error| panic!("{error}: {error:?}"));
    if store.ready().await.unwrap().cluster().is_none() {
        store.initialise(meta(), Transaction::new("test")).await.unwrap();
    }
    store
}

fn claim(side: &str, sequence: u64) -> Claim {
    Claim {
        kind: ClaimKind::Port,
        key: format!("{side}/{sequence:08}"),
        owner: DeploymentName::new("test").unwrap(),
        detail: format!("{sequence} ").repeat(1 + sequence as usize % 40),
    }
}

/// Transaction number `sequence`: two records that must both be there or both not.
pub async fn commit(store: &ControlPlane, sequence: u64) -> Result<(), ProposeError> {
    let mut transaction = Transaction::new("test");
    transaction.put(claim("left", sequence)).put(claim("right", sequence));
    store.propose(transaction).await.map(|_commit| ())
}

/// Removes transaction number `sequence` again.
pub async fn remove(store: &ControlPlane, sequence: u64) -> Result<(), ProposeError> {
    let mut transaction = Transaction::new("test");
    for side in ["left", "right"] {
        let claim = claim(side, sequence);
        transaction.delete::<Claim>(Claim::key_of(claim.kind, &claim.key));
    }
    store.propose(transaction).await.map(|_commit| ())
}

/// Every transaction in the view; panics when one is half there or not as it was written.
pub fn committed(view: &View) -> Vec<u64> {
    let sequences = |side: &str| {
        let prefix = format!("{}{side}/", Claim::key_of(ClaimKind::Port, ""));
        view.list_prefix::<Claim>(&prefix)
            .map(|found| {
                let sequence: u64 = found.key.rsplit('/').next().unwrap().parse().unwrap();
                assert_eq!(found, &claim(side, sequence), "a record is not as it was written");
                sequence
            })
            .collect::<Vec<_>>()
    };
    let left = sequences("left");
    assert_eq!(left, sequences("right"), "a transaction is half there");
    left
}

/// Everything up to `acknowledged` must be there, and nothing may be missing in between.
pub fn assert_nothing_lost(view: &View, acknowledged: Option<u64>) {
    let found = committed(view);
    let expected: Vec<u64> = (0..found.len() as u64).collect();
    assert_eq!(found, expected, "there is a hole");
    let missing = acknowledged.is_some_and(|last| last >= found.len() as u64);
    assert!(!missing, "{acknowledged:?} was acknowledged, and only {} are there", found.len());
}
