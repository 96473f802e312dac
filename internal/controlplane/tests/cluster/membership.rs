//! Nodes that join, vote, hand over and leave.

use std::collections::BTreeSet;
use std::time::Duration;

use jaco_controlplane::MembershipError;
use jaco_state::Store;
use jaco_testkit::{MemoryCluster, target};
use jaco_types::NodeId;
use tokio::time::Instant;

use super::{SEED, agree, keys, node, shutdown, write, write_again};

fn set(ids: impl IntoIterator<Item = u64>) -> BTreeSet<NodeId> {
    ids.into_iter().map(node).collect()
}

#[tokio::test(start_paused = true)]
async fn a_node_joins_catches_up_votes_and_leaves() {
    let mut cluster = MemoryCluster::start(SEED, 1).await.unwrap();
    let leader = cluster.store(node(1)).unwrap().clone();
    write(&leader, "a").await.unwrap();
    cluster.open(node(2)).await.unwrap();
    leader.add_learner(target(node(2))).await.unwrap();
    agree(&cluster, &["a"]).await;
    let status = leader.status();
    assert_eq!((status.voters, status.learners), (vec![node(1)], vec![node(2)]));

    leader.change_voters(set([1, 2])).await.unwrap();
    assert_eq!(leader.status().voters, [node(1), node(2)]);
    assert_eq!(leader.remove_member(node(2)).await, Err(MembershipError::Voter { node: node(2) }));
    write(cluster.store(node(2)).unwrap(), "b").await.unwrap();

    leader.change_voters(set([1])).await.unwrap();
    assert_eq!(leader.status().learners, [node(2)]);
    leader.remove_member(node(2)).await.unwrap();
    assert_eq!(leader.status().members.len(), 1);
    cluster.crash(node(2)).await;
    write(&leader, "c").await.unwrap();
    assert_eq!(keys(&leader.view()), ["a", "b", "c"]);
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_wrong_changes_nothing_and_says_why() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let (leader, follower) = (cluster.store(node(1)).unwrap().clone(), cluster.store(node(2)).unwrap().clone());
    let not_leader = Err(MembershipError::NotLeader { leader: Some(node(1)) });
    assert_eq!(follower.add_learner(target(node(4))).await, not_leader);
    assert_eq!(follower.transfer_leadership(node(3)).await, not_leader.map(|_: u64| ()));
    assert_eq!(leader.change_voters(set([1, 9])).await, Err(MembershipError::NotAMember { node: node(9) }));
    assert!(matches!(leader.change_voters(set([])).await, Err(MembershipError::Rejected { .. })));
    assert_eq!(leader.transfer_leadership(node(9)).await, Err(MembershipError::NotAMember { node: node(9) }));
    leader.add_learner(target(node(4))).await.unwrap();
    assert_eq!(leader.transfer_leadership(node(4)).await, Err(MembershipError::NotAVoter { node: node(4) }));
    assert_eq!(leader.status().voters.len(), 3);
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn leadership_goes_where_it_is_sent() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let first = cluster.store(node(1)).unwrap().clone();
    let begun = Instant::now();
    first.transfer_leadership(node(3)).await.unwrap();
    cluster.until("node 3 leads", |cluster| cluster.leader() == Some(node(3))).await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
    write(&first, "a").await.unwrap();
    agree(&cluster, &["a"]).await;
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_hands_over_first() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let other = cluster.store(node(2)).unwrap().clone();
    let begun = Instant::now();
    cluster.stop(node(1)).await;
    cluster.until("another leads", |cluster| cluster.leader().is_some()).await.unwrap();
    // Less than the shortest election: nobody waited for one.
    assert!(begun.elapsed() < Duration::from_millis(300), "{:?}", begun.elapsed());
    write(&other, "a").await.unwrap();
    shutdown(&mut cluster).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_grows_from_three_to_five_and_outlives_two() {
    let mut cluster = MemoryCluster::start(SEED, 3).await.unwrap();
    let leader = cluster.store(node(1)).unwrap().clone();
    for id in [4, 5] {
        cluster.open(node(id)).await.unwrap();
        leader.add_learner(target(node(id))).await.unwrap();
    }
    leader.change_voters(set(1..=5)).await.unwrap();
    cluster.crash(node(1)).await;
    cluster.crash(node(2)).await;
    let other = cluster.store(node(5)).unwrap().clone();
    write_again(&other, "a").await;
    agree(&cluster, &["a"]).await;
    shutdown(&mut cluster).await;
}
