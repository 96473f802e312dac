use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;

use jaco_proto::v1;
use jaco_scheduler::Sessions;
use jaco_state::{BoxFuture, LocalStore};
use jaco_task::{CancellationToken, LoopBody};
use jaco_testkit::ManualClock;
use jaco_types::{ClusterMeta, DataKey, Node, NodeId};

use super::*;
use crate::control_plane::{MemberStatus, MembershipError, Status};
use crate::log::LogUsage;
use crate::sessions::{Peer, SessionTableOptions};
use crate::transport::RaftTarget;

const OWN: NodeId = NodeId(1);

fn member(id: u64, voter: bool, lag: u64) -> MemberStatus {
    let matched = Some(1_000 - lag);
    let heard = (id != OWN.0).then_some(Duration::from_millis(100));
    MemberStatus { node_id: NodeId(id), address: format!("n{id}:7001"), voter, matched, lag: Some(lag), heard }
}

fn status(members: Vec<MemberStatus>) -> Status {
    let of = |voter| members.iter().filter(|member| member.voter == voter).map(|member| member.node_id).collect();
    let (voters, learners) = (of(true), of(false));
    Status {
        applied_index: 1_000,
        last_index: 1_000,
        term: 1,
        leader: Some(OWN),
        is_leader: true,
        quorum_acked: Some(Duration::ZERO),
        voters,
        learners,
        members,
        changing: false,
        half_changed: None,
        snapshot_index: None,
        log: LogUsage::default(),
    }
}

fn peer(syncs_ms: &[u64]) -> Peer {
    Peer {
        hello: v1::SessionHello::default(),
        heard: Duration::ZERO,
        clock_offset_ms: 0,
        reconciled: true,
        lease_lapsed: false,
        applied_index: 1,
        pressure: None,
        syncs: syncs_ms.iter().map(|ms| Duration::from_millis(*ms)).collect::<VecDeque<_>>(),
        disk_full: false,
    }
}

#[test]
fn a_disk_is_slow_when_three_of_the_last_five_syncs_are() {
    let is_slow = |syncs: &[u64]| decide::is_slow(&peer(syncs).syncs);
    assert!(!is_slow(&[]));
    assert!(!is_slow(&[900, 900, 1, 1, 1]));
    assert!(!is_slow(&[500, 500, 500, 500, 500]));
    assert!(is_slow(&[501, 1, 501, 1, 501]));
}

#[test]
fn leadership_goes_to_a_live_voter_whose_disk_is_well_or_stays() {
    let slow: &[u64] = &[700, 700, 700];
    let healthier = |members: Vec<MemberStatus>, peers: &[(u64, &[u64])]| {
        let peers = peers.iter().map(|(id, syncs)| (NodeId(*id), peer(syncs))).collect::<BTreeMap<_, _>>();
        decide::healthier(&status(members), &peers, OWN)
    };
    let three = || vec![member(1, true, 0), member(2, true, 50), member(3, true, 10)];
    assert_eq!(healthier(three(), &[(1, &[1, 1]), (2, &[1]), (3, &[1])]), None, "nothing is wrong");
    assert_eq!(healthier(three(), &[(1, slow), (2, &[1]), (3, &[1])]), Some(NodeId(3)), "the one with most of the log");
    assert_eq!(healthier(three(), &[(1, slow), (2, &[1]), (3, &[700])]), Some(NodeId(2)));
    assert_eq!(healthier(three(), &[(1, slow), (2, slow), (3, slow)]), None, "all alike: no use");
    assert_eq!(healthier(three(), &[(1, slow)]), None, "nobody has a session");
    let behind = vec![member(1, true, 0), member(2, true, 500), member(3, false, 0)];
    assert_eq!(healthier(behind, &[(1, slow), (2, &[1]), (3, &[1])]), None, "behind, or no voter");
    let mut silent = three();
    silent.iter_mut().for_each(|member| member.heard = None);
    assert_eq!(healthier(silent, &[(1, slow), (2, &[1]), (3, &[1])]), None);
}

#[test]
fn a_new_leaders_grace_makes_no_voter_dead_and_no_stranger_live() {
    use jaco_state::{Clock, LocalStore, Transaction};
    use jaco_types::{ClusterMeta, Hostname, Node, NodeSchedulability, NodeState, NodeStatus};

    struct Still;
    impl Clock for Still {
        fn now_ms(&self) -> u64 {
            1
        }
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }
    let store = LocalStore::new(Arc::new(Still));
    let mut transaction = Transaction::new("test");
    transaction.put(ClusterMeta {
        cluster_id: "c".to_owned(),
        name: "c".to_owned(),
        incarnation: 7,
        feature_level: 1,
        created_at_ms: 1,
        ipam_pool: "10.244.0.0/16".parse().unwrap(),
        mesh_cidr: "10.243.0.0/16".parse().unwrap(),
        node_down_after_ms: 10_000,
    });
    for id in 1..=4 {
        let node = NodeId(id);
        transaction.put(Node {
            id: node,
            hostname: Hostname::new(format!("n{id}")).unwrap(),
            address: String::new(),
            grpc_address: String::new(),
            cluster_address: if id == 2 { "moved:7001".to_owned() } else { format!("n{id}:7001") },
            public_keys: Vec::new(),
            seal_key: String::new(),
            version: String::new(),
            joined_at_ms: 1,
            labels: BTreeMap::new(),
        });
        // The fourth has joined and was never heard of.
        let state = if id == 4 { NodeState::Joining } else { NodeState::Ready };
        transaction.put(NodeStatus { id: node, state, details: BTreeMap::new() });
        if id != 4 {
            transaction.put(NodeSchedulability { id: node, schedulable: true });
        }
    }
    store.commit(transaction).unwrap();
    let view = store.view();
    let raft = status(vec![member(1, true, 0), member(2, true, 0), member(3, true, 101), member(9, false, 0)]);
    let live = |sessions: &Sessions| -> Vec<bool> {
        decide::members(&view, &raft, sessions, OWN).0.iter().map(|member| member.live).collect()
    };
    let mut sessions = Sessions { leading_for: Duration::from_secs(1), ..Sessions::default() };
    assert_eq!(live(&sessions), [true, true, true, false]);
    sessions.leading_for = Duration::from_secs(60);
    sessions.silent_for.insert(NodeId(3), Duration::from_secs(9));
    assert_eq!(live(&sessions), [true, false, true, false]);
    sessions.silent_for.insert(NodeId(3), Duration::from_secs(10));
    sessions.silent_for.insert(NodeId(4), Duration::ZERO);
    assert_eq!(live(&sessions), [true, false, false, true]);
    let (members, strangers) = decide::members(&view, &raft, &sessions, OWN);
    assert_eq!(strangers, [(NodeId(9), jaco_scheduler::Suffrage::Learner)]);
    assert_eq!(members.iter().map(|member| member.caught_up).collect::<Vec<_>>(), [true, true, false, false]);
    let moved = decide::moved(&view, &raft).unwrap();
    assert_eq!((moved.node_id, moved.address.as_str()), (NodeId(2), "moved:7001"));
}

/// A cluster of so many members, all known as well as ready, at this feature level.
fn cluster_of(members: u64, feature_level: u32) -> Arc<LocalStore> {
    let store = LocalStore::new(Arc::new(ManualClock::new(1)));
    let mut transaction = Transaction::new("test");
    transaction.put(ClusterMeta { feature_level, ..jaco_testkit::cluster_meta() });
    transaction.put(DataKey { epoch: 1, copies: BTreeMap::new(), recovery: String::new() });
    for id in 1..=members {
        let ready = jaco_testkit::ready_node(id, &format!("n{id}"));
        transaction.put(Node { cluster_address: format!("n{id}:7001"), ..ready.node });
        transaction.put(ready.status).put(ready.schedulability);
    }
    store.commit(transaction).unwrap();
    Arc::new(store)
}

/// Raft as a test wants it: each change is made at once, or fails.
struct FakeRaft {
    status: Mutex<Status>,
    changes: Mutex<Vec<String>>,
    fails: bool,
}

impl FakeRaft {
    fn done(&self, change: String) -> BoxFuture<'_, Result<u64, MembershipError>> {
        self.changes.lock().unwrap().push(change);
        let result = if self.fails { Err(MembershipError::OutcomeUnknown) } else { Ok(1) };
        Box::pin(std::future::ready(result))
    }
}

impl RaftMembers for FakeRaft {
    fn status(&self) -> Status {
        self.status.lock().unwrap().clone()
    }

    fn add_learner(&self, target: RaftTarget) -> BoxFuture<'_, Result<u64, MembershipError>> {
        self.done(format!("add {}", target.node_id))
    }

    fn change_voters(&self, voters: BTreeSet<NodeId>) -> BoxFuture<'_, Result<u64, MembershipError>> {
        let numbers: Vec<u64> = voters.iter().map(|voter| voter.0).collect();
        if !self.fails {
            let members = numbers.iter().map(|voter| member(*voter, true, 0)).collect();
            *self.status.lock().unwrap() = status(members);
        }
        self.done(format!("voters {numbers:?}"))
    }

    fn remove_member(&self, node: NodeId) -> BoxFuture<'_, Result<u64, MembershipError>> {
        self.done(format!("remove {node}"))
    }

    fn transfer_leadership(&self, to: NodeId) -> BoxFuture<'_, Result<(), MembershipError>> {
        let done = self.done(format!("transfer to {to}"));
        Box::pin(async move { done.await.map(|_| ()) })
    }
}

/// One pass over this raft; the changes that it made, and how it ended.
async fn pass(status: Status, fails: bool) -> (Vec<String>, Result<(), MembersError>) {
    let store: Arc<dyn Store> = cluster_of(3, 1);
    let table = SessionTable::new(SessionTableOptions {
        predecessor: Arc::new(()),
        store: Arc::clone(&store),
        own: OWN,
        clock: Arc::new(ManualClock::new(1)),
        terms: jaco_scheduler::LeaseTerms::default(),
    });
    let raft = Arc::new(FakeRaft { status: Mutex::new(status), changes: Mutex::default(), fails });
    let mut pass = LeaderLoops::new(store, table, raft.clone()).members();
    let context = TaskContext { name: "membership".into(), shutdown: CancellationToken::new() };
    let ended = pass.run(&context).await;
    let changes = std::mem::take(&mut *raft.changes.lock().unwrap());
    (changes, ended)
}

/// Joint: the old voters and the new ones both count, and nobody goes on with the change.
fn half_changed() -> Status {
    let members = vec![member(1, true, 0), member(2, true, 0), member(3, true, 0)];
    let goal = Some(vec![NodeId(1), NodeId(2), NodeId(3)]);
    Status { changing: true, half_changed: goal, ..status(members) }
}

#[tokio::test]
async fn a_change_of_voters_that_a_lost_leader_left_half_done_is_finished_by_the_next() {
    let (changes, ended) = pass(half_changed(), false).await;
    ended.unwrap();
    assert_eq!(changes, ["voters [1, 2, 3]"], "to what it was to end with, once, and nothing else");
    let (changes, ended) = pass(half_changed(), true).await;
    assert!(matches!(ended, Err(MembersError::Unfinished { .. })), "it is tried again: {ended:?}");
    assert_eq!(changes.len(), 1, "nothing comes before it is finished");
}

#[tokio::test]
async fn a_change_of_members_that_is_under_way_is_left_alone() {
    let changing = Status { half_changed: None, ..half_changed() };
    let (changes, ended) = pass(changing, false).await;
    ended.unwrap();
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn a_leader_whose_disk_is_full_hands_over_to_one_that_has_room() {
    let mut full = status(vec![member(1, true, 0), member(2, true, 0), member(3, true, 10)]);
    let healthier = |status: &Status, full_too: &[u64]| {
        let peer = |id: u64| (NodeId(id), Peer { disk_full: full_too.contains(&id), ..peer(&[1]) });
        decide::healthier(status, &[peer(1), peer(2), peer(3)].into(), OWN)
    };
    assert_eq!(healthier(&full, &[]), None);
    full.log.disk_full = true;
    assert_eq!(healthier(&full, &[1]), Some(NodeId(2)));
    assert_eq!(healthier(&full, &[1, 2]), Some(NodeId(3)));
    assert_eq!(healthier(&full, &[1, 2, 3]), None, "all alike: no use");
}

#[test]
fn the_feature_level_is_the_least_that_a_member_is_able_to_and_waits_for_all() {
    let store = cluster_of(3, 1);
    let raise = |levels: &[u32]| {
        let said = levels.iter().enumerate().map(|(at, level)| {
            let hello = v1::SessionHello { feature_level: *level, ..Default::default() };
            (NodeId(at as u64 + 1), Peer { hello, ..peer(&[]) })
        });
        level::raise(&store.view(), 1, &said.collect())
    };
    for unchanged in [&[1, 1, 1][..], &[2, 2, 1], &[2, 2], &[], &[3, 3, 0]] {
        assert!(raise(unchanged).is_none(), "{unchanged:?}");
    }
    let late = raise(&[3, 2, 2]).unwrap();
    store.commit(raise(&[3, 2, 2]).unwrap()).unwrap();
    let view = store.view();
    assert_eq!(view.cluster().unwrap().feature_level, 2);
    assert_eq!(view.audit().last().map(|event| event.event.as_str()), Some("feature_level_raised"));
    assert!(raise(&[2, 2, 2]).is_none() && raise(&[3, 1, 3]).is_none(), "it never falls");
    assert!(store.commit(late).is_err(), "of two leaders one raises it");
}

#[test]
fn a_join_at_the_same_time_keeps_the_level_where_it_was() {
    let store = cluster_of(1, 1);
    let hello = v1::SessionHello { feature_level: 2, ..Default::default() };
    let raise = level::raise(&store.view(), 1, &[(OWN, Peer { hello, ..peer(&[]) })].into()).unwrap();
    // As every join does.
    let mut join = Transaction::new("test");
    join.put(DataKey { epoch: 1, copies: [("2".to_owned(), "copy".to_owned())].into(), recovery: String::new() });
    store.commit(join).unwrap();
    assert!(store.commit(raise).is_err());
}
