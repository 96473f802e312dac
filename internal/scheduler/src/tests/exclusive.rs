//! Exclusive replicas: who may start one, and that the plan asks.

use super::*;
use crate::exclusive::{MayStart, may_start, take};
use crate::{LeaseTerms, Leases};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// L + G = 10 s, so W is 11.1 s.
fn terms() -> LeaseTerms {
    LeaseTerms { lease: seconds(6), grace: seconds(4) }
}

fn slot(owner: NodeId, released: bool) -> ExclusiveSlot {
    ExclusiveSlot { replica: ReplicaId::new("shop-db-0").unwrap(), owner, epoch: 4, released }
}

#[test]
fn the_wait_covers_lease_and_grace_by_a_slow_clock_and_a_second() {
    for millis in [1, 99, 100, 1_001, 9_999, 10_000, 123_457] {
        let terms = LeaseTerms { lease: Duration::from_millis(millis), grace: Duration::from_millis(2 * millis) };
        assert!(terms.wait().as_secs_f64() >= 3.0 * millis as f64 / 1000.0 * 1.01 + 1.0);
    }
    assert!(terms().wait() < Duration::from_millis(11_101));
    let huge = LeaseTerms { lease: Duration::MAX, grace: Duration::MAX };
    assert_eq!(huge.wait(), Duration::MAX);
}

/// Every combination of slot, owner, answer, election and time, against the rule in words.
#[test]
fn may_start_is_the_rule() {
    let wait = terms().wait();
    let slots = [None, Some(slot(A, false)), Some(slot(A, true)), Some(slot(B, false)), Some(slot(B, true))];
    let step = Duration::from_millis(700);
    for slot in &slots {
        for node in [A, B] {
            let own_or_free = slot.as_ref().is_none_or(|slot| slot.released || slot.owner == node);
            let expected = if own_or_free { MayStart::Now } else { MayStart::WhenReleased };
            assert_eq!(may_start(slot.as_ref(), node, None), expected, "nothing is known of leases");
            for elected in 0..6 {
                for answered in [None, Some(0), Some(3), Some(9)] {
                    for other in [None, Some(30)] {
                        for now in 0..40 {
                            let owner = slot.as_ref().map_or(A, |slot| slot.owner);
                            let stranger = NodeId(77);
                            let answers = [(owner, answered), (stranger, other)];
                            let leases = Leases {
                                now: step * now,
                                elected: step * elected,
                                answered: answers.into_iter().filter_map(|(id, at)| Some((id, step * at?))).collect(),
                                terms: terms(),
                            };
                            let last = step * elected.max(answered.unwrap_or(0));
                            let expected = if own_or_free || leases.now >= last + wait {
                                MayStart::Now
                            } else {
                                MayStart::NotBefore(last + wait)
                            };
                            assert_eq!(may_start(slot.as_ref(), node, Some(&leases)), expected, "{slot:?} {leases:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_an_earlier_life_of_the_cluster_may_be_running_waits_for_an_operator() {
    let held = slot(ExclusiveSlot::OLD_LIFE, false);
    let leases = Leases {
        now: seconds(1_000_000),
        elected: Duration::ZERO,
        answered: BTreeMap::new(),
        terms: LeaseTerms::default(),
    };
    for leases in [None, Some(&leases)] {
        assert_eq!(may_start(Some(&held), A, leases), MayStart::WhenReleased);
        assert_eq!(may_start(Some(&ExclusiveSlot { released: true, ..held.clone() }), A, leases), MayStart::Now);
    }
}

#[test]
fn epochs_grow_with_every_owner_and_with_the_log() {
    let id = ReplicaId::new("shop-db-0").unwrap();
    assert_eq!(take(Some(&slot(A, false)), &id, A, 100), None, "it has it already");
    let epoch = |slot: Option<&ExclusiveSlot>, node, index| take(slot, &id, node, index).unwrap().epoch;
    assert_eq!(epoch(None, A, 100), 100);
    assert_eq!(epoch(Some(&slot(A, true)), A, 2), 5, "also for the same owner, once it was released");
    assert_eq!(epoch(Some(&slot(A, false)), B, 2), 5);
    let last = ExclusiveSlot { epoch: u64::MAX, ..slot(A, true) };
    assert_eq!(epoch(Some(&last), B, 2), u64::MAX);
}

fn exclusive(replicas: u32) -> ServiceSpec {
    ServiceSpec { exclusive: true, ..service(replicas) }
}

fn owner_of(world: &World, id: &str) -> ExclusiveSlot {
    world.view().get::<ExclusiveSlot>(id).cloned().unwrap()
}

fn leases(world: &World, now: u64, answered: &[(&str, u64)]) {
    world.facts.borrow_mut().leases = Some(Leases {
        now: seconds(now),
        elected: seconds(0),
        answered: answered.iter().map(|(name, at)| (node_id(name), seconds(*at))).collect(),
        terms: terms(),
    });
}

#[test]
fn a_slot_comes_with_its_replica_and_stays_while_nothing_moves() {
    let world = World::new(&["a", "b"]);
    world.apply(spec("shop", [("db", exclusive(1))]));
    world.settle();
    let first = owner_of(&world, "shop-db-0");
    assert_eq!((first.owner, first.released), (node_id("a"), false));
    world.apply(spec("shop", [("db", with_image(exclusive(1), "db:2"))]));
    world.settle();
    assert_eq!(owner_of(&world, "shop-db-0"), first, "another container of the same owner");
}

#[test]
fn a_service_that_becomes_exclusive_gets_its_slots() {
    let world = World::new(&["a", "b"]);
    world.apply(spec("shop", [("db", service(2))]));
    world.settle();
    world.apply(spec("shop", [("db", exclusive(2))]));
    world.settle();
    assert_eq!(owner_of(&world, "shop-db-1").owner, world.replica("shop-db-1").node);
    assert!(world.plan().transactions.is_empty());
}

#[test]
fn a_silent_node_keeps_its_exclusive_replica_until_its_lease_has_ended() {
    let world = World::new(&["a", "b"]);
    world.apply(spec("shop", [("db", exclusive(1))]));
    world.settle();
    let first = owner_of(&world, "shop-db-0");
    world.set_node("a", NodeState::Down);
    world.settle();
    assert_eq!(world.replica("shop-db-0").hostname, host("a"), "nothing is known of its lease");
    leases(&world, 20, &[("a", 10), ("b", 20)]);
    assert_eq!(world.plan().again_at, Some(seconds(10) + terms().wait()));
    world.settle();
    assert_eq!(world.replica("shop-db-0").hostname, host("a"));
    assert_eq!(world.reason("shop").as_deref(), Some("node_down"));
    leases(&world, 22, &[("a", 10), ("b", 20)]);
    world.settle();
    assert_eq!(world.replica("shop-db-0").hostname, host("b"));
    let second = owner_of(&world, "shop-db-0");
    assert_eq!((second.owner, second.epoch > first.epoch), (node_id("b"), true));
}

#[test]
fn a_removed_node_keeps_its_slot_as_long_as_its_guard_may_run_it() {
    let world = World::new(&["a", "b"]);
    world.apply(spec("shop", [("db", exclusive(1))]));
    world.settle();
    world.remove_node("a");
    leases(&world, 10, &[("a", 9)]);
    world.settle();
    assert_eq!(owner_of(&world, "shop-db-0").owner, node_id("a"));
    leases(&world, 30, &[("a", 9)]);
    world.settle();
    assert_eq!(owner_of(&world, "shop-db-0").owner, node_id("b"));
}

#[test]
fn a_slot_outlives_delete_and_recreate() {
    let world = World::new(&["a", "b"]);
    world.apply(spec("shop", [("db", exclusive(1))]));
    world.settle();
    world.set_node("a", NodeState::Down);
    let deleted = intent::delete(&world.view(), &deployment("shop"), "local").unwrap();
    world.commit(deleted.transaction).unwrap();
    world.apply(spec("shop", [("db", exclusive(1))]));
    world.settle();
    assert!(world.ids("shop").is_empty(), "the node that is silent may still run it");
    world.set_node("a", NodeState::Ready);
    world.settle();
    assert_eq!(world.replica("shop-db-0").hostname, host("a"));
}

#[test]
fn a_drained_exclusive_replica_is_gone_before_it_is_desired_elsewhere() {
    let world = World::new(&["a", "b"]);
    world.apply(spec("shop", [("db", exclusive(1))]));
    world.settle();
    super::moves::operate(&world, "a", NodeOperationKind::Drain, false);
    world.plan_once();
    assert!(world.ids("shop").is_empty());
    world.plan_once();
    assert!(world.ids("shop").is_empty(), "not confirmed yet");
    world.settle();
    assert_eq!(world.replica("shop-db-0").hostname, host("b"));
    assert_eq!(owner_of(&world, "shop-db-0").owner, node_id("b"));
}
