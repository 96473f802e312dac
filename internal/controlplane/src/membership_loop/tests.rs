use std::collections::{BTreeMap, VecDeque};

use jaco_proto::v1;
use jaco_scheduler::Sessions;
use jaco_types::NodeId;

use super::*;
use crate::control_plane::{MemberStatus, Status};
use crate::log::LogUsage;
use crate::sessions::Peer;

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
    let mut sessions = Sessions { leading_for: Duration::from_secs(1), silent_for: BTreeMap::new() };
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
