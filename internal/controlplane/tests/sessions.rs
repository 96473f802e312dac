//! Sessions, liveness and membership of several nodes: in one process, in memory, on simulated time.
// Test code: it may panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "sessions/lab.rs"]
mod lab;

use std::collections::BTreeMap;
use std::time::Duration;

use jaco_scheduler::exclusive::{MayStart, may_start};
use jaco_scheduler::{LeaseTerms, intent};
use jaco_state::{Store, Transaction};
use jaco_types::{ExclusiveSlot, Node, NodeId, NodeOperationKind, NodeState, NodeStatus, ReplicaId, Tombstone};
use tokio::time::Instant;

use lab::{Lab, hostname_of};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_idle_cluster_writes_nothing_and_everybody_holds_a_lease() {
    let mut lab = Lab::start(3).await;
    lab.until("all hold a lease", |lab| (1..=3).all(|id| lab.lease_left(id) > SECOND)).await;
    tokio::time::sleep(5 * SECOND).await;
    let before = lab.status(1).last_index;
    for _ in 0..60 {
        tokio::time::sleep(SECOND).await;
        for id in 1..=3 {
            assert!(lab.lease_left(id) > 4 * SECOND, "node {id} has {:?} left", lab.lease_left(id));
        }
    }
    assert_eq!(lab.status(1).last_index, before, "heartbeats leave nothing in the log");
    lab.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_node_is_unreachable_then_down_and_comes_back_as_joining() {
    let mut lab = Lab::start(3).await;
    lab.until("all hold a lease", |lab| (1..=3).all(|id| lab.lease_left(id) > SECOND)).await;
    lab.cut(3, true, true);
    let cut = Instant::now();
    lab.until("unreachable", |lab| lab.state(3) == Some(NodeState::Unreachable)).await;
    assert!(cut.elapsed() >= 2 * SECOND && cut.elapsed() < 5 * SECOND, "{:?}", cut.elapsed());
    lab.until("down", |lab| lab.state(3) == Some(NodeState::Down)).await;
    assert!(cut.elapsed() >= 9 * SECOND && cut.elapsed() < 12 * SECOND, "{:?}", cut.elapsed());
    assert_eq!(lab.state(2), Some(NodeState::Ready));
    lab.cut(3, false, false);
    lab.until("it is heard again", |lab| lab.state(3) == Some(NodeState::Joining)).await;
    lab.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_election_is_no_mass_failure_and_ends_no_lease() {
    let mut lab = Lab::start(3).await;
    lab.until("all hold a lease", |lab| (1..=3).all(|id| lab.lease_left(id) > SECOND)).await;
    let leader = lab.leader().unwrap();
    let from = lab.status(leader).last_index;
    lab.crash(leader).await;
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    let crashed = Instant::now();
    lab.until("another one leads", |lab| lab.leader().is_some()).await;
    while crashed.elapsed() < 8 * SECOND {
        for id in &others {
            assert!(lab.lease_left(*id) > Duration::ZERO, "node {id} lost its lease after {:?}", crashed.elapsed());
            assert_eq!(lab.state(*id), Some(NodeState::Ready));
        }
        tokio::time::sleep(SECOND / 10).await;
    }
    lab.until("the dead one is down", |lab| lab.state(leader) == Some(NodeState::Down)).await;
    // Its successor knows since when it is silent, so it has no more time than another node.
    assert!(
        crashed.elapsed() >= 10 * SECOND - SECOND / 2 && crashed.elapsed() < 11 * SECOND,
        "{:?}",
        crashed.elapsed()
    );
    assert!(lab.status(others[0]).last_index > from);
    for id in &others {
        assert_eq!(lab.state(*id), Some(NodeState::Ready));
    }
    lab.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_deposed_leader_that_answers_is_not_down_before_its_session_had_its_time() {
    let mut lab = Lab::start(3).await;
    lab.until("all hold a lease", |lab| (1..=3).all(|id| lab.lease_left(id) > SECOND)).await;
    let leader = lab.leader().unwrap();
    // It is out of reach for an election, and then only its sessions are.
    lab.cut_store(leader);
    lab.until("another one leads", |lab| lab.leader().is_some_and(|now| now != leader)).await;
    let elected = Instant::now();
    lab.heal();
    lab.cut(leader, true, true);
    while elected.elapsed() < 11 * SECOND {
        assert_ne!(lab.state(leader), Some(NodeState::Down), "{:?} after the election", elected.elapsed());
        tokio::time::sleep(SECOND / 10).await;
    }
    lab.until("down", |lab| lab.state(leader) == Some(NodeState::Down)).await;
    assert!(elected.elapsed() < 13 * SECOND, "{:?}", elected.elapsed());
    lab.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hears_no_answers_is_silent_though_the_leader_hears_it() {
    let mut lab = Lab::start(3).await;
    lab.until("all hold a lease", |lab| (1..=3).all(|id| lab.lease_left(id) > SECOND)).await;
    let leader = lab.leader().unwrap();
    let other = (1..=3).find(|id| *id != leader).unwrap();
    lab.cut(other, false, true);
    lab.until("down", |lab| lab.state(other) == Some(NodeState::Down)).await;
    assert_eq!(lab.lease_left(other), Duration::ZERO);
    lab.end().await;
}

/// The heart of fencing: whatever is cut, nobody else may start before the first one must have stopped.
#[tokio::test(start_paused = true)]
async fn nobody_else_may_start_before_the_lease_and_its_stop_have_ended() {
    for (up, down) in [(true, true), (true, false), (false, true)] {
        let mut lab = Lab::start(3).await;
        lab.until("all hold a lease", |lab| (1..=3).all(|id| lab.lease_left(id) > SECOND)).await;
        let leader = lab.leader().unwrap();
        let (owner, other) = ((1..=3).find(|id| *id != leader).unwrap(), leader);
        let replica = ReplicaId::new("db-main-0").unwrap();
        let slot = ExclusiveSlot { replica, owner: NodeId(owner), epoch: 1, stop_within: None, released: false };
        lab.cut(owner, up, down);
        let terms = LeaseTerms::default();
        let allowed = loop {
            let facts = lab.table(other).facts();
            let leases = facts.leases.expect("the leader knows its leases");
            if may_start(Some(&slot), NodeId(other), Some(&leases)) == MayStart::Now {
                break leases.now;
            }
            tokio::time::sleep(SECOND / 20).await;
        };
        let ended = lab.lease(owner).unwrap().until + terms.grace;
        assert!(allowed > ended, "allowed at {allowed:?}, stopped for certain at {ended:?} ({up}, {down})");
        assert!(allowed < ended + 6 * SECOND, "and not for ever: {allowed:?} after {ended:?} ({up}, {down})");
        lab.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_waits_from_its_own_election() {
    let mut lab = Lab::start(3).await;
    lab.until("all hold a lease", |lab| (1..=3).all(|id| lab.lease_left(id) > SECOND)).await;
    let owner = lab.leader().unwrap();
    let replica = ReplicaId::new("db-main-0").unwrap();
    let slot = ExclusiveSlot { replica, owner: NodeId(owner), epoch: 1, stop_within: None, released: false };
    lab.cut_store(owner);
    let terms = LeaseTerms::default();
    lab.until("another one leads", |lab| lab.leader().is_some_and(|leader| leader != owner)).await;
    let leader = lab.leader().unwrap();
    let allowed = loop {
        let facts = lab.table(leader).facts();
        if let Some(leases) = facts.leases
            && may_start(Some(&slot), NodeId(leader), Some(&leases)) == MayStart::Now
        {
            break leases.now;
        }
        tokio::time::sleep(SECOND / 20).await;
    };
    let ended = lab.lease(owner).unwrap().until + terms.grace;
    assert!(allowed > ended, "allowed at {allowed:?}, stopped for certain at {ended:?}");
    assert!(allowed < ended + 10 * SECOND);
    lab.end().await;
}

#[tokio::test(start_paused = true)]
async fn raft_follows_the_records_as_nodes_come_and_go() {
    let mut lab = Lab::start(1).await;
    for id in 2..=5 {
        lab.join(id).await;
    }
    lab.until("five voters", |lab| lab.status(1).voters.len() == 5).await;
    let view = lab.store(1).view();
    let remove = intent::operate(&view, &hostname_of(4), NodeOperationKind::Remove, false, 5, "local").unwrap();
    lab.store(1).propose(remove).await.unwrap();
    lab.until("it is gone", |lab| lab.store(1).view().get::<Tombstone>(&NodeId(4).to_string()).is_some()).await;
    assert!(lab.status(1).members.iter().all(|member| member.node_id != NodeId(4)));
    lab.until("three voters of four", |lab| lab.status(1).voters.len() == 3).await;
    lab.until("the removed one is told", |lab| lab.was_removed(4)).await;
    // The leader itself leaves: it hands over first, and its successor ends the operation.
    let view = lab.store(1).view();
    let leader = lab.leader().unwrap();
    let remove = intent::operate(&view, &hostname_of(leader), NodeOperationKind::Remove, false, 5, "local").unwrap();
    lab.store(1).propose(remove).await.unwrap();
    let rest = (1..=5).find(|id| *id != leader && *id != 4).unwrap();
    lab.until("the leader is gone", |lab| {
        lab.store(rest).view().get::<Tombstone>(&NodeId(leader).to_string()).is_some()
    })
    .await;
    lab.end().await;
}

#[tokio::test(start_paused = true)]
async fn addresses_and_clocks_are_published_once() {
    let mut lab = Lab::start(2).await;
    lab.until("all hold a lease", |lab| (1..=2).all(|id| lab.lease_left(id) > SECOND)).await;
    lab.say(2, |identity| identity.address = "192.0.2.77".to_owned());
    lab.shift_clock(2, 5_000);
    lab.reconnect(2);
    lab.until("the address is published", |lab| {
        let view = lab.store(1).view();
        view.get::<Node>(&NodeId(2).to_string()).is_some_and(|node| node.address == "192.0.2.77")
    })
    .await;
    let details = |lab: &Lab| -> BTreeMap<String, String> {
        let view = lab.store(1).view();
        view.get::<NodeStatus>(&NodeId(2).to_string()).map(|status| status.details.clone()).unwrap_or_default()
    };
    lab.until("the skew is a condition", |lab| details(lab).contains_key("clock_skew")).await;
    let index = lab.status(1).last_index;
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(lab.status(1).last_index, index);
    lab.shift_clock(2, 0);
    lab.until("and ends", |lab| !details(lab).contains_key("clock_skew")).await;
    lab.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_with_a_slow_disk_hands_over() {
    let mut lab = Lab::start(3).await;
    lab.until("all hold a lease", |lab| (1..=3).all(|id| lab.lease_left(id) > SECOND)).await;
    let leader = lab.leader().unwrap();
    lab.set_sync(leader, Duration::from_millis(700));
    lab.until("another one leads", |lab| lab.leader().is_some_and(|now| now != leader)).await;
    tokio::time::sleep(30 * SECOND).await;
    assert_ne!(lab.leader(), Some(leader), "it does not get it back while it is slow");
    lab.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_joined_and_was_never_heard_goes_after_ten_minutes() {
    let mut lab = Lab::start(1).await;
    let mut transaction = Transaction::new("system");
    transaction.put(lab::node(9));
    transaction.put(NodeStatus { id: NodeId(9), state: NodeState::Joining, details: BTreeMap::new() });
    lab.store(1).propose(transaction).await.unwrap();
    tokio::time::sleep(590 * SECOND).await;
    let is_member = |lab: &Lab| lab.store(1).view().get::<Node>(&NodeId(9).to_string()).is_some();
    assert!(is_member(&lab));
    tokio::time::sleep(15 * SECOND).await;
    assert!(!is_member(&lab));
    lab.until("and raft forgets it", |lab| lab.status(1).members.len() == 1).await;
    lab.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_was_removed_while_it_was_away_is_told_when_it_is_back() {
    let mut lab = Lab::start(4).await;
    lab.until("all hold a lease", |lab| (1..=4).all(|id| lab.lease_left(id) > SECOND)).await;
    let leader = lab.leader().unwrap();
    let away = (1..=4).find(|id| *id != leader).unwrap();
    lab.cut_store(away);
    lab.until("down", |lab| lab.state(away) == Some(NodeState::Down)).await;
    let view = lab.store(leader).view();
    let remove = intent::operate(&view, &hostname_of(away), NodeOperationKind::Remove, true, 5, "local").unwrap();
    lab.store(leader).propose(remove).await.unwrap();
    lab.until("it is gone", |lab| lab.store(leader).view().get::<Tombstone>(&NodeId(away).to_string()).is_some()).await;
    assert!(!lab.was_removed(away));
    lab.heal();
    lab.until("it is told", |lab| lab.was_removed(away)).await;
    lab.end().await;
}
