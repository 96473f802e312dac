use jaco_identity::SealSecretKey;
use jaco_state::{Command, EntryMeta, Outcome, RequestId, Transaction, View};
use jaco_testkit::{INCARNATION, deployed, deployment_spec, replica_desired, replica_observed, service};
use jaco_types::{
    Claim, ClaimKind, DataKey, ErrorCode, ExclusiveSlot, JoinToken, Node, NodeId, NodeStatus, ReplicaDesired,
    ReplicaObserved, ReplicaState, Subnet, Tombstone,
};

use crate::founded::{Founded, NOW_MS, join_token, member, members, tokens};
use crate::restore::{INDEX_GAP, LifeEvent, NewLife, begin_life, open_with_recovery_key};
use crate::sealing::Sealing;

const NEW: u64 = 50;

/// Three members; an ordinary and an exclusive replica on each of the first two.
fn old_cluster() -> Founded {
    let mut founded = Founded::new(1, "a");
    let (b, _) = founded.join(2, "b");
    founded.join(3, "c");
    let mut db = service("db:1", 2);
    db.exclusive = true;
    let deployed = deployed(deployment_spec("shop", [("web", service("web:1", 2)), ("db", db)]));
    let mut transaction = Transaction::new("test");
    deployed.put_into(&mut transaction);
    for (index, node) in [(0, &founded.node), (1, &b)] {
        for service in ["web", "db"] {
            let desired = replica_desired(&deployed.revision, service, index, node);
            transaction.put(replica_observed(&desired, ReplicaState::Running)).put(desired);
        }
        let cidr: ipnet::Ipv4Net = format!("10.244.{index}.0/24").parse().unwrap();
        let claim = Claim {
            kind: ClaimKind::Subnet,
            key: cidr.to_string(),
            owner: deployed.deployment.name.clone(),
            detail: String::new(),
        };
        let subnet = Subnet {
            deployment: deployed.deployment.name.clone(),
            network: jaco_types::NetworkName::new("default").unwrap(),
            node: node.id,
            cidr,
        };
        transaction.put(claim).put(subnet);
    }
    // Of the other one nothing was written yet when the state was taken.
    let id = replica_desired(&deployed.revision, "db", 0, &founded.node).id;
    transaction.put(ExclusiveSlot {
        replica: id,
        owner: founded.node.id,
        epoch: 4,
        stop_within: None,
        released: false,
    });
    transaction.put(join_token());
    founded.commit(transaction);
    founded
}

struct Life {
    view: View,
    sealing: Sealing,
    machine: jaco_state::StateMachine,
}

fn restored(old: &Founded, old_nodes_are_off: bool) -> Life {
    let seal = SealSecretKey::generate().unwrap();
    let life = NewLife {
        event: LifeEvent::Restored,
        node: member(NEW, "fresh", &seal),
        incarnation: 0xbeef,
        now_ms: NOW_MS + 5_000_000,
        old_nodes_are_off,
    };
    let sealing = Sealing::new(NodeId(NEW), seal);
    let keys = open_with_recovery_key(&old.view(), &old.recovery).unwrap();
    let machine = begin_life(old.machine.clone(), &life, &keys, &sealing).unwrap();
    Life { view: machine.view(), sealing, machine }
}

fn recovered(old: &Founded, old_nodes_are_off: bool) -> View {
    let life = NewLife {
        event: LifeEvent::Recovered,
        node: old.node.clone(),
        incarnation: 0xbeef,
        now_ms: NOW_MS + 5_000_000,
        old_nodes_are_off,
    };
    begin_life(old.machine.clone(), &life, &old.keyring(), &old.sealing()).unwrap().view()
}

fn slots(view: &View) -> Vec<(String, NodeId, bool)> {
    view.list::<ExclusiveSlot>().map(|slot| (slot.replica.to_string(), slot.owner, slot.released)).collect()
}

#[test]
fn a_restored_cluster_has_one_member_and_everything_that_is_no_nodes() {
    let old = old_cluster();
    let new = restored(&old, false).view;
    assert_eq!(members(&new), [NodeId(NEW)]);
    let buried: Vec<NodeId> = new.list::<Tombstone>().map(|tombstone| tombstone.node).collect();
    assert_eq!(buried, [NodeId(1), NodeId(2), NodeId(3)]);
    let statuses: Vec<NodeId> = new.list::<NodeStatus>().map(|status| status.id).collect();
    assert_eq!(statuses, [NodeId(NEW)]);
    assert_eq!((new.count::<Subnet>(), new.count::<ReplicaObserved>(), new.count::<JoinToken>()), (0, 0, 0));
    assert!(new.list::<Claim>().all(|claim| claim.kind != ClaimKind::Subnet));
    assert_eq!(new.count::<ReplicaDesired>(), 4, "the scheduler moves them");

    assert_eq!(tokens(&new), tokens(&old.view()));
    let (before, after) = (old.view(), &new);
    let (before, after) = (before.cluster().unwrap(), after.cluster().unwrap());
    assert_eq!((&before.cluster_id, before.incarnation), (&after.cluster_id, INCARNATION));
    assert_eq!(after.incarnation, 0xbeef);
    let event = new.audit().find(|event| event.event == "restore_completed").unwrap();
    assert_eq!(event.payload["hostname"], "fresh");
    assert_eq!(event.payload["old_nodes"], "a,b,c");
}

#[test]
fn the_log_goes_on_far_behind_the_old_one_and_old_requests_are_refused() {
    let old = old_cluster();
    let mut new = restored(&old, false);
    assert!(new.view.index() >= old.view().index() + INDEX_GAP);
    assert!(new.view.term() > old.view().term());
    assert!(new.view.now_ms() >= old.view().now_ms());
    let mut late = Transaction::new("test");
    late.request_id(RequestId { base_index: old.view().index(), token: [1; 16] });
    let meta = EntryMeta { index: new.view.index() + 1, term: new.view.term(), time_ms: NOW_MS };
    let outcome = new.machine.apply(meta, &Command::new(late).unwrap());
    assert_eq!(outcome, Outcome::RequestTooOld);
}

#[test]
fn the_member_and_the_recovery_key_open_what_is_sealed_and_nobody_else() {
    let old = old_cluster();
    let new = restored(&old, false);
    assert_eq!(new.sealing.authority(&new.view).unwrap().key_pem().as_str(), old.authority_key);
    let keys = open_with_recovery_key(&new.view, &old.recovery).unwrap();
    assert_eq!(keys.newest_epoch(), Some(2), "the old members have held the first one");
    let records: Vec<&DataKey> = new.view.list::<DataKey>().collect();
    assert_eq!(records.len(), 1);
    let holders: Vec<&String> = records[0].copies.keys().collect();
    assert_eq!(holders, [&NodeId(NEW).to_string()]);
    assert!(old.sealing().authority(&new.view).is_err());
}

#[test]
fn another_recovery_key_is_refused_by_name() {
    let old = old_cluster();
    let other = jaco_identity::RecoveryKey::generate().unwrap();
    let error = open_with_recovery_key(&old.view(), &other).unwrap_err();
    assert_eq!(error.code, ErrorCode::ValidationFailed);
    assert!(error.message.contains("not the recovery key"), "{}", error.message);
}

#[test]
fn exclusive_replicas_wait_for_the_word_that_the_old_nodes_are_off() {
    let old = old_cluster();
    let held = ExclusiveSlot::OLD_LIFE;
    let expected = |owner: NodeId| vec![("shop-db-0".to_owned(), owner, false), ("shop-db-1".to_owned(), owner, false)];
    assert_eq!(slots(&restored(&old, false).view), expected(held));
    assert_eq!(slots(&restored(&old, true).view), [("shop-db-0".to_owned(), NodeId(1), true)]);
    // Also on the node that had it itself: the old cluster may have given it to another one.
    let view = recovered(&old, false);
    assert_eq!(slots(&view), expected(held));
    assert!(view.get::<ReplicaDesired>("shop-db-0").is_none());
    assert!(view.get::<ReplicaDesired>("shop-web-0").is_some());
    let view = recovered(&old, true);
    assert_eq!(slots(&view), [("shop-db-0".to_owned(), NodeId(1), false)]);
    assert!(view.get::<ReplicaDesired>("shop-db-0").is_some());
}

#[test]
fn a_recovered_cluster_keeps_what_its_node_runs() {
    let old = old_cluster();
    let view = recovered(&old, false);
    assert_eq!(members(&view), [NodeId(1)]);
    let buried: Vec<NodeId> = view.list::<Tombstone>().map(|tombstone| tombstone.node).collect();
    assert_eq!(buried, [NodeId(2), NodeId(3)]);
    let observed: Vec<NodeId> = view.list::<ReplicaObserved>().map(|replica| replica.node).collect();
    assert_eq!(observed, [NodeId(1), NodeId(1)]);
    let subnets: Vec<NodeId> = view.list::<Subnet>().map(|subnet| subnet.node).collect();
    assert_eq!(subnets, [NodeId(1)]);
    assert_eq!(view.list::<Claim>().filter(|claim| claim.kind == ClaimKind::Subnet).count(), 1);
    assert_eq!(view.audit().filter(|event| event.event == "cluster_recovered").count(), 1);
    assert_eq!(old.sealing().authority(&view).unwrap().key_pem().as_str(), old.authority_key);
    let holders: Vec<String> = view.list::<DataKey>().flat_map(|key| key.copies.keys().cloned()).collect();
    assert_eq!(holders, [NodeId(1).to_string()]);
}

#[test]
fn a_state_of_any_size_becomes_a_new_life() {
    let mut old = old_cluster();
    for group in 0..25u64 {
        let mut transaction = Transaction::new("test");
        for number in 0..1000u64 {
            let mut token = join_token();
            token.hash = format!("{:064x}", group * 1000 + number);
            transaction.put(token);
        }
        old.commit(transaction);
    }
    let new = restored(&old, true).view;
    assert_eq!(new.count::<JoinToken>(), 0);
    assert_eq!(new.count::<Node>(), 1);
}
