//! Found by the simulation: a slot was being taken from a node that had been away, the node came back and got a lease, read that the slot
//! was its own, and started; then the decision was committed, and the next owner started as well.

use jaco_scheduler::Leases;
use jaco_state::View;
use jaco_types::{ExclusiveSlot, ReplicaId};

use super::*;

fn slot(owner: NodeId) -> ExclusiveSlot {
    let replica = ReplicaId::new("web-solo-0").unwrap();
    ExclusiveSlot { replica, owner, epoch: 1, stop_within: None, released: false }
}

/// A slot of the other node, and its session.
async fn setting() -> (SessionTable, Arc<LocalStore>, Wire) {
    let (table, store, _clock) = table();
    let mut transaction = Transaction::new("test");
    transaction.put(slot(OTHER));
    store.commit(transaction).unwrap();
    let mut wire = Wire::open(&table);
    wire.say(Request::Hello(hello())).await;
    assert!(matches!(wire.hear(), Some(Response::Welcome(_))));
    (table, store, wire)
}

/// The lease that the answer to this heartbeat gives, milliseconds.
async fn lease(table: &SessionTable, wire: &mut Wire, sequence: u64) -> u64 {
    wire.beat(sequence, sequence - 1).await;
    assert_eq!(wire.hear(), None, "it waits to be confirmed");
    let waiting = std::mem::take(&mut table.state().waiting);
    table.answer(waiting, Some(TERM));
    match wire.hear() {
        Some(Response::Answer(answer)) => answer.lease_ms,
        other => panic!("{other:?}"),
    }
}

fn leases(table: &SessionTable) -> Leases {
    table.facts().leases.unwrap()
}

fn taking(view: &View) -> Vec<Handover> {
    let mut transaction = Transaction::new("system");
    transaction.put(slot(OWN));
    handovers(view, &transaction)
}

#[tokio::test]
async fn nobody_gets_a_lease_while_a_slot_is_being_taken_from_it() {
    let (table, store, mut wire) = setting().await;
    let taken = taking(&store.view());
    assert_eq!(taken.len(), 1);
    assert!(table.withhold(&taken, &leases(&table)));
    assert_eq!(lease(&table, &mut wire, 1).await, 0, "under way");
    assert_eq!(lease(&table, &mut wire, 2).await, 0, "still under way");
    let mut transaction = Transaction::new("test");
    transaction.put(slot(OWN));
    store.commit(transaction).unwrap();
    assert_ne!(lease(&table, &mut wire, 3).await, 0, "the slot was written: reads show it");
}

#[tokio::test]
async fn what_certainly_came_to_nothing_is_withheld_no_longer() {
    let (table, store, mut wire) = setting().await;
    let taken = taking(&store.view());
    assert!(table.withhold(&taken, &leases(&table)));
    assert_eq!(lease(&table, &mut wire, 1).await, 0);
    table.relent(&taken);
    assert_ne!(lease(&table, &mut wire, 2).await, 0);
}

#[tokio::test]
async fn a_decision_is_void_when_its_owner_has_got_a_lease_since() {
    let (table, store, mut wire) = setting().await;
    let decided_by = leases(&table);
    assert_ne!(lease(&table, &mut wire, 1).await, 0);
    assert!(!table.withhold(&taking(&store.view()), &decided_by));
    assert_ne!(lease(&table, &mut wire, 2).await, 0, "nothing is withheld for a void decision");
    assert!(table.withhold(&taking(&store.view()), &leases(&table)), "a new one counts");
}

#[test]
fn only_what_its_owner_has_not_let_go_of_is_taken() {
    let (_table, store, _clock) = table();
    let view = |slot: ExclusiveSlot| {
        let mut transaction = Transaction::new("test");
        transaction.put(slot);
        store.commit(transaction).unwrap();
        store.view()
    };
    assert!(taking(&store.view()).is_empty(), "nobody has it");
    assert!(taking(&view(slot(OWN))).is_empty(), "it stays where it is");
    assert!(taking(&view(ExclusiveSlot { released: true, ..slot(OTHER) })).is_empty());
    let held = view(slot(OTHER));
    let mut forgotten = Transaction::new("system");
    forgotten.delete::<ExclusiveSlot>(slot(OTHER).replica.as_str());
    assert_eq!(handovers(&held, &forgotten), taking(&held), "forgetting it takes it as well");
}
