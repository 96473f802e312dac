//! A fresh node gets the state as a snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jaco_controlplane::Limits;
use jaco_state::{Store, Transaction};
use jaco_testkit::{Fate, MemoryCluster, SeededStore, target};
use jaco_types::Claim;

use super::{SEED, claim, keys, node, shutdown, write};

/// A state of so many megabytes, in a snapshot and no longer in the log.
async fn filled(megabytes: u32) -> (MemoryCluster, SeededStore) {
    let mut cluster = MemoryCluster::new(SEED);
    cluster.limits = Limits { kept_entries: 0, ..Limits::default() };
    cluster.grow(1).await.unwrap();
    let leader = cluster.store(node(1)).unwrap().clone();
    for piece in 0..megabytes {
        let mut transaction = Transaction::new("local");
        for record in 0..300 {
            let key = format!("{piece}-{record:03}");
            transaction.put(Claim { detail: "d".repeat(3_000), ..claim(&key) });
        }
        leader.propose(transaction).await.unwrap();
    }
    leader.compact().await.unwrap();
    cluster.until("the log is short", |_| leader.status().log.entries == 0).await.unwrap();
    (cluster, leader)
}

/// Counts bytes of snapshots that travel; of those after the first `most` pieces every request is lost.
fn count(cluster: &MemoryCluster, most: u64) -> Arc<AtomicU64> {
    let bytes = Arc::new(AtomicU64::new(0));
    let (counted, pieces) = (bytes.clone(), AtomicU64::new(0));
    cluster.network.judge(move |_, _, request| {
        if request.kind() != "snapshot" {
            return Fate::Delivered;
        }
        if pieces.fetch_add(1, Ordering::Relaxed) >= most {
            return Fate::Lost;
        }
        let size = request.encode().len() as u64;
        assert!(size <= (1 << 20) + 1_000, "a piece of {size} bytes");
        counted.fetch_add(size, Ordering::Relaxed);
        Fate::Delivered
    });
    bytes
}

async fn caught_up(cluster: &MemoryCluster, leader: &SeededStore, id: u64) {
    let store = cluster.store(node(id)).unwrap().clone();
    cluster.until("it has caught up", |_| store.view().index() == leader.view().index()).await.unwrap();
    assert_eq!(keys(&store.view()), keys(&leader.view()));
    let parts = jaco_controlplane::SnapshotStorage::list(&*cluster.disk(node(id)).unwrap().snapshots).unwrap();
    assert!(parts.iter().all(|name| name.ends_with(".snap")), "{parts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fresh_learner_gets_a_snapshot_in_pieces() {
    let (mut cluster, leader) = filled(6).await;
    let sent = count(&cluster, u64::MAX);
    cluster.open(node(2)).await.unwrap();
    leader.add_learner(target(node(2))).await.unwrap();
    caught_up(&cluster, &leader, 2).await;
    assert!(sent.load(Ordering::Relaxed) > 5_000_000, "{sent:?}");
    assert!(cluster.store(node(2)).unwrap().status().snapshot_index.is_some());
    leader.change_voters([node(1), node(2)].into()).await.unwrap();
    write(cluster.store(node(2)).unwrap(), "after").await.unwrap();
    // It is there again after a restart, from its own disk.
    let before = keys(&leader.view());
    cluster.stop(node(2)).await;
    let again = cluster.open(node(2)).await.unwrap();
    assert_eq!(keys(&again.linearizable_view().await.unwrap()), before);
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_transfer_goes_on_where_it_broke_also_after_a_crash() {
    let (mut cluster, leader) = filled(14).await;
    let whole = {
        let snapshots = cluster.disk(node(1)).unwrap().snapshots.clone();
        let name = jaco_controlplane::SnapshotStorage::list(&*snapshots).unwrap().pop().unwrap();
        jaco_controlplane::SnapshotStorage::size(&*snapshots, &name).unwrap().unwrap()
    };
    // A question and ten mebibytes get through.
    let first = count(&cluster, 21);
    cluster.open(node(2)).await.unwrap();
    leader.add_learner(target(node(2))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!((10 << 20..11 << 20).contains(&first.load(Ordering::Relaxed)), "{first:?}");
    cluster.crash(node(2)).await;
    let rest = count(&cluster, u64::MAX);
    cluster.open(node(2)).await.unwrap();
    caught_up(&cluster, &leader, 2).await;
    // Eight of them had been synced.
    let (rest, left) = (rest.load(Ordering::Relaxed), whole - (8 << 20));
    assert!(rest >= left && rest < left + 10_000, "{rest} bytes were sent where {left} of {whole} were left");
    shutdown(&mut cluster).await;
}
