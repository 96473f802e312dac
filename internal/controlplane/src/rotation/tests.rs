use std::sync::Arc;

use jaco_state::{HubLimits, LocalStore, StateMachine, Store};
use jaco_testkit::ManualClock;

use super::*;
use crate::founded::{Founded, NOW_MS};

fn epochs(view: &View) -> Vec<u64> {
    view.list::<Record>().map(|record| record.epoch).collect()
}

fn run(founded: &mut Founded) -> Vec<Transaction> {
    let mut steps = Vec::new();
    while let Some(step) = plan_rotation(&founded.view(), &founded.sealing()).unwrap() {
        steps.push(step.clone());
        founded.commit(step);
        assert!(steps.len() < 10, "it never ends: {steps:?}");
    }
    steps
}

fn remove(founded: &mut Founded, node: &Node) {
    let mut transaction = Transaction::new("system");
    jaco_scheduler::intent::bury(&mut transaction, node, NOW_MS);
    founded.commit(transaction);
}

#[test]
fn a_cluster_whose_members_are_all_there_changes_nothing() {
    let mut founded = Founded::new(1, "a");
    assert!(!rotation_due(&founded.view()));
    founded.join(2, "b");
    assert!(!rotation_due(&founded.view()));
    assert!(run(&mut founded).is_empty());
    assert_eq!(plan_rotation(&View::empty(), &founded.sealing()).unwrap(), None);
}

#[test]
fn a_removed_node_cannot_open_what_is_sealed_after_it() {
    let mut founded = Founded::new(1, "a");
    let (b, _) = founded.join(2, "b");
    let (_, seal_c) = founded.join(3, "c");
    let before = founded.view().list::<Authority>().next().unwrap().clone();
    remove(&mut founded, &b);
    assert!(rotation_due(&founded.view()));
    let steps = run(&mut founded);
    assert_eq!(steps.len(), 3, "a new key, sealing again, dropping the old one");
    assert_eq!(steps[0].audit[0].event, "key_rotated");

    let view = founded.view();
    assert_eq!(epochs(&view), [2]);
    let record = view.list::<Record>().next().unwrap();
    let holders: Vec<&String> = record.copies.keys().collect();
    assert_eq!(holders, [&founded.node.id.to_string(), &jaco_types::NodeId(3).to_string()]);
    let after = view.list::<Authority>().next().unwrap();
    assert_eq!((before.key.epoch, after.key.epoch), (1, 2));
    // Members and the recovery key open it.
    for sealing in [founded.sealing(), Sealing::new(jaco_types::NodeId(3), seal_c)] {
        assert_eq!(sealing.authority(&view).unwrap().key_pem().as_str(), founded.authority_key);
    }
    let copy = DataKeyCopy::from_text(&record.recovery).unwrap();
    let key = copy.open(founded.recovery.secret(), &view.cluster().unwrap().cluster_id).unwrap();
    assert_eq!(key.epoch(), 2);
    assert!(run(&mut founded).is_empty(), "nothing is left to do");
}

#[test]
fn the_old_key_stays_while_something_is_sealed_with_it() {
    let mut founded = Founded::new(1, "a");
    let step = rotate(&founded.view(), &founded.sealing(), "alice").unwrap();
    founded.commit(step);
    assert_eq!(epochs(&founded.view()), [1, 2]);
    assert_eq!(drop_unused(&founded.view(), 2), None);
    founded.sealing().authority(&founded.view()).unwrap();
    run(&mut founded);
    assert_eq!(epochs(&founded.view()), [2]);
}

#[test]
fn a_join_and_a_new_key_exclude_each_other() {
    for join_first in [true, false] {
        let mut founded = Founded::new(1, "a");
        let view = founded.view();
        let rotation = rotate(&view, &founded.sealing(), "alice").unwrap();
        let seal = jaco_identity::SealSecretKey::generate().unwrap();
        let copies = founded.sealing().copies_for(&view, jaco_types::NodeId(2), &seal.public()).unwrap();
        let mut join = Transaction::new("system");
        for record in copies {
            let key = Record::key_of(record.epoch);
            join.check_unchanged::<Record>(key.clone(), view.version::<Record>(&key)).put(record);
        }
        let (winner, loser) = if join_first { (join, rotation) } else { (rotation, join) };
        founded.commit(winner);
        let meta = jaco_state::EntryMeta { index: view.index() + 2, term: 3, time_ms: NOW_MS };
        let outcome = founded.machine.apply(meta, &jaco_state::Command::new(loser).unwrap());
        assert!(matches!(outcome, jaco_state::Outcome::Refused { .. }), "{outcome:?}");
    }
}

#[test]
fn a_node_without_a_copy_makes_no_key_that_it_could_not_seal_with() {
    let founded = Founded::new(1, "a");
    let stranger = Sealing::new(jaco_types::NodeId(9), jaco_identity::SealSecretKey::generate().unwrap());
    assert_eq!(rotate(&founded.view(), &stranger, "alice").unwrap_err().code, ErrorCode::Internal);
}

#[tokio::test]
async fn the_same_request_makes_one_key() {
    let founded = Founded::new(1, "a");
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let machine: StateMachine = founded.machine.clone();
    let store = Arc::new(LocalStore::with_state(clock.clone(), machine, HubLimits::default()));
    let enrolment = Enrolment::new(store.clone(), clock, founded.sealing());
    let id = RequestId { base_index: 0, token: [7; 16] };
    for _ in 0..2 {
        assert_eq!(enrolment.rotate_key("alice", Some(id)).await.unwrap(), 2);
    }
    assert_eq!(epochs(&store.view()), [2]);
    assert_eq!(enrolment.rotate_key("alice", None).await.unwrap(), 3);
    let rotated = store.view().audit().filter(|event| event.event == "key_rotated").count();
    assert_eq!(rotated, 2);
}

#[tokio::test]
async fn the_leader_replaces_a_key_that_a_removed_node_has_and_others_do_nothing() {
    let mut founded = Founded::new(1, "a");
    let (b, _) = founded.join(2, "b");
    remove(&mut founded, &b);
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let store = Arc::new(LocalStore::with_state(clock.clone(), founded.machine.clone(), HubLimits::default()));
    let enrolment = Enrolment::new(store.clone(), clock, founded.sealing());
    store.set_leadership(Leadership::Follower { leader: None });
    enrolment.keep_key().await.unwrap();
    assert_eq!(epochs(&store.view()), [1]);
    store.set_leadership(Leadership::Leader { term: store.view().term() });
    store.fail_next(jaco_state::ProposeError::NoLeader);
    assert_eq!(enrolment.keep_key().await.unwrap_err().code, ErrorCode::NoLeader);
    enrolment.keep_key().await.unwrap();
    assert_eq!(epochs(&store.view()), [2]);
    let index = store.view().index();
    enrolment.keep_key().await.unwrap();
    assert_eq!(store.view().index(), index, "an idle cluster writes nothing");
}
