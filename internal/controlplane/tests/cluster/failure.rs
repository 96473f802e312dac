//! Nodes lost, links cut.

use std::time::Duration;

use jaco_state::{Leadership, ProposeError, Store};
use jaco_testkit::MemoryCluster;
use jaco_types::NodeId;
use tokio::time::Instant;

use super::{SEED, agree, keys, node, shutdown, write, write_again};

fn all() -> impl Iterator<Item = NodeId> {
    (1..=5).map(node)
}

#[tokio::test(start_paused = true)]
async fn a_lost_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    for size in [3, 5] {
        let mut cluster = MemoryCluster::start(SEED, size).await.unwrap();
        write(cluster.store(node(1)).unwrap(), "a").await.unwrap();
        let begun = Instant::now();
        cluster.crash(node(1)).await;
        let other = cluster.store(node(2)).unwrap().clone();
        write_again(&other, "b").await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        cluster.open(node(1)).await.unwrap();
        agree(&cluster, &["a", "b"]).await;
        shutdown(&mut cluster).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_its_majority_neither_acts_nor_acknowledges() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let old = cluster.store(node(1)).unwrap().clone();
    write(&old, "a").await.unwrap();
    cluster.network.isolate(node(1), all());
    cluster.until("it knows", |_| !matches!(old.leadership(), Leadership::Leader { .. })).await.unwrap();
    assert_eq!(write(&old, "lost").await, Err(ProposeError::QuorumLost));
    let begun = Instant::now();
    assert_eq!(old.linearizable_view().await.err(), Some(ProposeError::QuorumLost));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());

    let other = cluster.store(node(2)).unwrap().clone();
    write_again(&other, "b").await;
    cluster.network.heal();
    agree(&cluster, &["a", "b"]).await;
    cluster.until("it follows", |_| old.status().leader.is_some_and(|leader| leader != node(1))).await.unwrap();
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_write_under_way_when_the_majority_is_lost_has_an_unknown_outcome() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let old = cluster.store(node(1)).unwrap().clone();
    cluster.network.isolate(node(1), all());
    // The lease still holds: the proposal is taken and never confirmed.
    assert_eq!(write(&old, "lost").await, Err(ProposeError::OutcomeUnknown));
    cluster.network.heal();
    let other = cluster.store(node(2)).unwrap().clone();
    write_again(&other, "b").await;
    agree(&cluster, &["b"]).await;
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_minority_says_so() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let cut_off = cluster.store(node(3)).unwrap().clone();
    cluster.crash(node(1)).await;
    cluster.crash(node(2)).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let begun = Instant::now();
    assert_eq!(write(&cut_off, "lost").await, Err(ProposeError::QuorumLost));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(cut_off.linearizable_view().await.err(), Some(ProposeError::QuorumLost));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_cut_off_and_back_does_not_depose_a_healthy_leader() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let leader = cluster.store(node(1)).unwrap().clone();
    let term = leader.status().term;
    for one_way in [false, true] {
        match one_way {
            false => cluster.network.isolate(node(3), all()),
            // It hears nobody, and everybody hears it.
            true => [1, 2].into_iter().for_each(|other| cluster.network.cut(node(other), node(3))),
        }
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            write(&leader, "a").await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        write(&leader, "b").await.unwrap();
        cluster.network.heal();
        agree(&cluster, &["a", "b"]).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!((leader.status().term, cluster.leader()), (term, Some(node(1))));
    }
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_heard_and_hears_nobody_is_replaced() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let old = cluster.store(node(1)).unwrap().clone();
    write(&old, "a").await.unwrap();
    for other in [2, 3] {
        cluster.network.cut(node(other), node(1));
    }
    cluster.until("another leads", |cluster| cluster.leader().is_some_and(|leader| leader != node(1))).await.unwrap();
    let leader = cluster.leader().unwrap();
    let leader = cluster.store(leader).unwrap().clone();
    write_again(&leader, "b").await;
    assert_eq!(keys(&old.view()), ["a"]);
    cluster.network.heal();
    agree(&cluster, &["a", "b"]).await;
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_read_under_way_when_its_node_stops_ends_with_it() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let follower = cluster.store(node(2)).unwrap().clone();
    cluster.until("it follows", |_| follower.status().leader == Some(node(1))).await.unwrap();
    cluster.network.cut(node(2), node(1));
    let begun = Instant::now();
    let reading = follower.linearizable_view();
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        follower.halt().await;
    };
    let (read, ()) = tokio::join!(reading, stopping);
    assert_eq!(read.err(), Some(ProposeError::Stopped));
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    shutdown(&mut cluster).await;
}
