//! Several stores as one raft group: in one process, in memory, on simulated time.
// Test code: it may panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cluster/failure.rs"]
mod failure;
#[path = "cluster/forwarding.rs"]
mod forwarding;
#[path = "cluster/full.rs"]
mod full;
#[path = "cluster/membership.rs"]
mod membership;
#[path = "cluster/snapshots.rs"]
mod snapshots;

use std::time::Duration;

use jaco_state::{Commit, ProposeError, RequestId, Store, Transaction, View};
use jaco_testkit::{MemoryCluster, SeededStore};
use jaco_types::{Claim, ClaimKind, DeploymentName, NodeId};
use tokio::time::Instant;

const SEED: u64 = 7;

fn node(id: u64) -> NodeId {
    NodeId(id)
}

fn claim(key: &str) -> Claim {
    Claim {
        kind: ClaimKind::Port,
        key: key.to_owned(),
        owner: DeploymentName::new("test").unwrap(),
        detail: "x".repeat(100),
    }
}

fn write_of(key: &str) -> Transaction {
    let mut transaction = Transaction::new("local");
    transaction.put(claim(key));
    transaction
}

/// A write that may be sent again.
fn request_of(key: &str, store: &SeededStore) -> Transaction {
    let mut transaction = write_of(key);
    transaction.request_id(RequestId { base_index: store.view().index(), token: [9; 16] });
    transaction
}

async fn write(store: &SeededStore, key: &str) -> Result<Commit, ProposeError> {
    store.propose(write_of(key)).await
}

fn keys(view: &View) -> Vec<String> {
    view.list::<Claim>().map(|claim| claim.key.clone()).collect()
}

/// Writes until one goes through, as clients do.
async fn write_again(store: &SeededStore, key: &str) -> Commit {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match write(store, key).await {
            Ok(commit) => return commit,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

/// Waits until every store shows the same as the leader, and holds these keys.
async fn agree(cluster: &MemoryCluster, expected: &[&str]) {
    let all = |cluster: &MemoryCluster| cluster.stores().all(|(_, store)| keys(&store.view()) == expected);
    if cluster.until("all agree", all).await.is_err() {
        let found: Vec<_> = cluster.stores().map(|(node, store)| (node, keys(&store.view()), store.status())).collect();
        panic!("{expected:?} is not everywhere: {found:#?}");
    }
}

async fn shutdown(cluster: &mut MemoryCluster) {
    let nodes: Vec<NodeId> = cluster.stores().map(|(node, _)| node).collect();
    for node in nodes {
        cluster.crash(node).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_leader_commits_is_everywhere() {
    for size in [3, 5] {
        let mut cluster = MemoryCluster::start(SEED, size).await.unwrap();
        let leader = cluster.store(node(1)).unwrap().clone();
        for key in ["a", "b", "c"] {
            write(&leader, key).await.unwrap();
        }
        agree(&cluster, &["a", "b", "c"]).await;
        let status = leader.status();
        assert_eq!(status.voters.len() as u64, size);
        assert!(status.members.iter().all(|member| member.voter && !member.address.is_empty()), "{status:?}");
        cluster
            .until("nothing lags", |_| leader.status().members.iter().all(|member| member.lag == Some(0)))
            .await
            .unwrap();
        let status = leader.status();
        assert!(status.quorum_acked.is_some_and(|ago| ago < Duration::from_secs(1)), "{status:?}");
        assert!(!status.changing);
        shutdown(&mut cluster).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_has_its_log_and_gets_the_rest() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let leader = cluster.store(node(1)).unwrap().clone();
    write(&leader, "a").await.unwrap();
    cluster.crash(node(3)).await;
    write(&leader, "b").await.unwrap();
    cluster.open(node(3)).await.unwrap();
    agree(&cluster, &["a", "b"]).await;
    shutdown(&mut cluster).await;
}

/// What happens when a leader is lost, as far as anybody can see it.
async fn story(seed: u64) -> Vec<String> {
    let mut cluster = MemoryCluster::start(seed, 5).await.unwrap();
    let begun = Instant::now();
    let mut story = Vec::new();
    for round in 0..3 {
        let leader = cluster.leader().unwrap();
        cluster.crash(leader).await;
        cluster.until("another leads", |cluster| cluster.leader().is_some()).await.unwrap();
        let next = cluster.leader().unwrap();
        let store = cluster.store(next).unwrap().clone();
        let commit = write_again(&store, &round.to_string()).await;
        let term = store.status().term;
        story.push(format!("{:?}: {next} in term {term}, index {}", begun.elapsed(), commit.index));
        cluster.open(leader).await.unwrap();
    }
    agree(&cluster, &["0", "1", "2"]).await;
    shutdown(&mut cluster).await;
    story
}

fn told(seed: u64) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(story(seed))
}

#[test]
fn the_same_seed_tells_the_same_story_and_another_seed_another_one() {
    let first = told(1);
    assert_eq!(first, told(1));
    assert!((2..6).any(|seed| told(seed) != first), "the seed decides nothing: {first:?}");
}
