//! Exclusive replicas: who may start one, and that the plan asks.

use super::*;
use proptest::prelude::*;

use crate::exclusive::{Claimed, MayStart, may_start, take};
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
    ExclusiveSlot { replica: ReplicaId::new("shop-db-0").unwrap(), owner, epoch: 4, stop_within: None, released }
}

#[test]
fn the_wait_covers_lease_and_grace_by_a_slow_clock_and_a_second() {
    for millis in [1, 99, 100, 1_001, 9_999, 10_000, 123_457] {
        let terms = LeaseTerms { lease: Duration::from_millis(millis), grace: Duration::from_millis(2 * millis) };
        assert!(terms.wait(None).as_secs_f64() >= 3.0 * millis as f64 / 1000.0 * 1.01 + 1.0);
    }
    assert!(terms().wait(None) < Duration::from_millis(11_101));
    let huge = LeaseTerms { lease: Duration::MAX, grace: Duration::MAX };
    assert_eq!(huge.wait(None), Duration::MAX);
}

proptest! {
    /// A container with any grace is gone when the wait is over, though its node's clock goes a hundredth slower than the leader's; and
    /// the cluster's own values leave a second and a half of `node_down_after` + 5 s + the grace for the replacement to come up in.
    #[test]
    fn the_wait_follows_the_containers_own_grace(
        lease_ms in 1..60_000_u64,
        longest_ms in 1..120_000_u64,
        grace_ms in prop::option::of(0..200_000_u64),
        slower in 0.0..0.01_f64,
    ) {
        let terms = LeaseTerms { lease: Duration::from_millis(lease_ms), grace: Duration::from_millis(longest_ms) };
        let own = ExclusiveSlot::time_to_stop(grace_ms.map(Duration::from_millis));
        let gone = (terms.lease + own.min(terms.grace)).mul_f64(1.0 + slower);
        prop_assert!(terms.wait(Some(own)) >= gone + seconds(1));
        prop_assert!(terms.wait(Some(own)) <= terms.wait(None));
        let grace = grace_ms.map_or(seconds(10), Duration::from_millis);
        prop_assert!(own >= grace && own < grace + seconds(1) || own == seconds(1));

        // Whole seconds, as the engine is told.
        let bar = seconds(5 + 5) + seconds(grace.as_millis().div_ceil(1_000) as u64).min(seconds(30));
        prop_assert!(LeaseTerms::default().wait(Some(own)) + Duration::from_millis(900) <= bar, "{grace:?}");
    }
}

#[test]
fn the_time_to_stop_is_the_grace_in_whole_seconds_the_engines_own_where_there_is_none_and_never_nothing() {
    let of = |grace: Option<u64>| ExclusiveSlot::time_to_stop(grace.map(Duration::from_millis)).as_millis();
    assert_eq!(
        [of(None), of(Some(0)), of(Some(1)), of(Some(2_500)), of(Some(90_000))],
        [10_000, 1_000, 1_000, 3_000, 90_000]
    );
    assert_eq!(terms().wait(Some(seconds(1))), terms().wait(None) - Duration::from_millis(3_030));
    assert_eq!(terms().wait(Some(seconds(90))), terms().wait(None), "not more than the cluster's longest");
}

/// Every combination of slot, owner, answer, election and time, against the rule in words.
#[test]
fn may_start_is_the_rule() {
    let wait = terms().wait(None);
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
    let claim =
        |node| Claimed { replica: &id, node, stop_within: seconds(1), is_new: false, nothing_older_runs: false };
    assert_eq!(take(Some(&slot(A, false)), &claim(A), 100), None, "it has it already");
    let epoch = |slot: Option<&ExclusiveSlot>, node, index| take(slot, &claim(node), index).unwrap().epoch;
    assert_eq!(epoch(None, A, 100), 100);
    assert_eq!(epoch(Some(&slot(A, true)), A, 2), 5, "also for the same owner, once it was released");
    assert_eq!(epoch(Some(&slot(A, false)), B, 2), 5);
    let last = ExclusiveSlot { epoch: u64::MAX, ..slot(A, true) };
    assert_eq!(epoch(Some(&last), B, 2), u64::MAX);
}

#[test]
fn a_kept_slot_allows_the_longest_grace_that_may_run_by_it() {
    let id = ReplicaId::new("shop-db-0").unwrap();
    let held = |stop_within| ExclusiveSlot { stop_within, ..slot(A, false) };
    let taken = |known: Option<u64>, wanted, nothing_older_runs| {
        let stop_within = seconds(wanted);
        let claim = Claimed { replica: &id, node: A, stop_within, is_new: false, nothing_older_runs };
        take(Some(&held(known.map(seconds))), &claim, 100)
    };
    assert_eq!(taken(Some(5), 8, false), Some(held(Some(seconds(8)))), "more at once, and the epoch stays");
    assert_eq!(taken(Some(5), 3, false), None, "what took longer may run still");
    assert_eq!(taken(Some(5), 3, true), Some(held(Some(seconds(3)))));
    assert_eq!(taken(None, 3, false), None, "not known is the longest there is");
    assert_eq!(taken(None, 3, true), Some(held(Some(seconds(3)))));
    assert_eq!(taken(Some(3), 3, true), None);
    let claim = Claimed { replica: &id, node: B, stop_within: seconds(3), is_new: false, nothing_older_runs: false };
    assert_eq!(take(Some(&held(Some(seconds(9)))), &claim, 1).unwrap().stop_within, Some(seconds(3)), "a new owner");
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

/// The node's word that the container of the record before is gone may be on its way while the next one comes up.
#[test]
fn a_release_of_an_earlier_record_frees_nothing() {
    let world = World::new(&["a"]);
    world.apply(spec("shop", [("db", exclusive(1))]));
    world.settle();
    let before = world.view();
    let key = "shop-db-0";
    let held = owner_of(&world, key);
    let deleted = intent::delete(&before, &deployment("shop"), "local").unwrap();
    world.commit(deleted.transaction).unwrap();
    let mut release = Transaction::new("node");
    release.check_unchanged::<ExclusiveSlot>(key, before.version::<ExclusiveSlot>(key));
    release.put(ExclusiveSlot { released: true, ..held.clone() });
    world.apply(spec("shop", [("db", exclusive(1))]));
    world.plan_once();
    assert_eq!(world.replica(key).hostname, host("a"), "it goes on where it was");
    assert_eq!(owner_of(&world, key), held, "by the same right");
    assert!(world.commit(release).is_err(), "but what was said of the record before does not count for this one");
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
    assert_eq!(world.plan().again_at, Some(seconds(10) + terms().wait(None)));
    world.settle();
    assert_eq!(world.replica("shop-db-0").hostname, host("a"));
    assert_eq!(world.reason("shop").as_deref(), Some("node_down"));
    leases(&world, 22, &[("a", 10), ("b", 20)]);
    world.settle();
    assert_eq!(world.replica("shop-db-0").hostname, host("b"));
    let second = owner_of(&world, "shop-db-0");
    assert_eq!((second.owner, second.epoch > first.epoch), (node_id("b"), true));
}

/// The slot follows the manifest's grace, and the wait follows the slot.
#[test]
fn a_replica_moves_after_the_grace_that_its_silent_node_may_take() {
    let world = World::new(&["a", "b"]);
    let with_grace = |grace: u64| {
        let mut service = exclusive(1);
        service.container.stop_grace_period = Some(seconds(grace));
        spec("shop", [("db", service)])
    };
    let allowed = |world: &World| owner_of(world, "shop-db-0").stop_within;
    world.apply(with_grace(2));
    world.settle();
    assert_eq!(allowed(&world), Some(seconds(2)));
    world.apply(with_grace(3));
    world.settle();
    assert_eq!(allowed(&world), Some(seconds(3)));
    world.set_node("a", NodeState::Down);
    world.apply(with_grace(1));
    leases(&world, 10, &[("a", 10), ("b", 10)]);
    world.settle();
    assert_eq!(allowed(&world), Some(seconds(3)), "the silent node may not know the shorter one");
    assert_eq!(world.plan().again_at, Some(seconds(10) + terms().wait(Some(seconds(3)))));
    leases(&world, 21, &[("a", 10), ("b", 21)]);
    world.settle();
    assert_eq!(world.replica("shop-db-0").hostname, host("b"));
    assert_eq!(allowed(&world), Some(seconds(1)));
}

#[test]
fn a_shorter_grace_counts_once_the_node_says_that_nothing_else_runs() {
    let world = World::new(&["a", "b"]);
    let with_grace = |grace: u64| {
        let mut service = exclusive(1);
        service.container.stop_grace_period = Some(seconds(grace));
        spec("shop", [("db", service)])
    };
    world.apply(with_grace(9));
    world.settle();
    world.apply(with_grace(2));
    world.plan_once();
    assert_eq!(owner_of(&world, "shop-db-0").stop_within, Some(seconds(9)));
    world.settle();
    assert_eq!(owner_of(&world, "shop-db-0").stop_within, Some(seconds(2)));
    assert!(world.plan().transactions.is_empty());
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
    for silent in [NodeState::Unreachable, NodeState::Down] {
        let world = World::new(&["a", "b"]);
        world.apply(spec("shop", [("db", exclusive(1))]));
        world.settle();
        world.set_node("a", silent);
        let deleted = intent::delete(&world.view(), &deployment("shop"), "local").unwrap();
        world.commit(deleted.transaction).unwrap();
        world.apply(spec("shop", [("db", exclusive(1))]));
        world.settle();
        assert!(world.ids("shop").is_empty(), "the node that is {silent:?} may still run it");
        world.set_node("a", NodeState::Ready);
        world.settle();
        assert_eq!(world.replica("shop-db-0").hostname, host("a"));
    }
}

#[test]
fn an_exclusive_replica_is_placed_on_no_node_that_is_not_there() {
    for silent in [NodeState::Unreachable, NodeState::Down, NodeState::Joining] {
        let world = World::new(&["a", "b"]);
        world.set_node("a", silent);
        world.apply(spec("shop", [("db", exclusive(1))]));
        world.settle();
        assert_eq!(world.replica("shop-db-0").hostname, host("b"), "a is {silent:?}");
        let alone = World::new(&["a"]);
        alone.set_node("a", silent);
        alone.apply(spec("shop", [("db", exclusive(1))]));
        alone.settle();
        assert!(alone.ids("shop").is_empty(), "a is {silent:?}");
    }
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
