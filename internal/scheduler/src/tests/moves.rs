//! From node to node: drain, levelling, reservations.

use super::*;
use crate::Capacity;

pub(super) fn operate(world: &World, name: &str, kind: NodeOperationKind, force: bool) {
    let mut transaction = Transaction::new("test");
    transaction.put(NodeOperation {
        node: node_id(name),
        kind,
        force,
        requested_by: "local".to_owned(),
        requested_at_ms: 1,
        replicas: Vec::new(),
        migrated: Vec::new(),
        dropped: Vec::new(),
        timed_out: false,
    });
    world.commit(transaction).unwrap();
}

fn hosts_of(world: &World) -> Vec<(String, String)> {
    let place = |replica: &ReplicaDesired| (replica.id.to_string(), replica.hostname.to_string());
    world.replicas("shop").iter().map(place).collect()
}

fn places(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(id, host)| ((*id).to_owned(), (*host).to_owned())).collect()
}

#[test]
fn a_drained_replica_serves_on_until_its_replacement_runs() {
    let world = World::new(&["a", "b"]);
    world.set_node("b", NodeState::Joining);
    world.apply(spec("shop", [("web", service(2))]));
    world.settle();
    world.set_node("b", NodeState::Ready);
    operate(&world, "a", NodeOperationKind::Drain, false);
    world.plan_once();
    let moving = [("shop-web-0", "b"), ("shop-web-0.old", "a"), ("shop-web-1", "b"), ("shop-web-1.old", "a")];
    assert_eq!(hosts_of(&world), places(&moving));
    let view = world.view();
    for id in ["shop-web-0.old", "shop-web-1.old"] {
        let left = world.replica(id);
        let observed = crate::service::observed(&view, &left).expect("what was observed goes with it");
        assert_eq!((observed.state, left.generation), (ReplicaState::Running, 1));
    }
    assert_eq!(view.count::<ReplicaObserved>(), 2);
    assert!(!world.plan_once(), "nothing more until one runs");
    world.observe("shop-web-1", ReplicaState::Running, None);
    world.plan_once();
    assert_eq!(hosts_of(&world), places(&[("shop-web-0", "b"), ("shop-web-0.old", "a"), ("shop-web-1", "b")]));
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Pending);
    world.settle();
    assert_eq!(hosts_of(&world), places(&[("shop-web-0", "b"), ("shop-web-1", "b")]));
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Active);
}

#[test]
fn what_has_data_leaves_only_when_it_may_and_then_stop_first() {
    let world = World::new(&["a", "b"]);
    world.set_node("b", NodeState::Joining);
    let always = ServiceSpec { reschedule: Reschedule::Always, ..with_volume(service(1)) };
    let never = ServiceSpec { reschedule: Reschedule::Never, ..service(1) };
    world.apply(spec("shop", [("always", always), ("data", with_volume(service(1))), ("never", never)]));
    world.settle();
    world.set_node("b", NodeState::Ready);
    operate(&world, "a", NodeOperationKind::Remove, false);
    world.plan_once();
    assert_eq!(world.ids("shop"), ["shop-data-0", "shop-never-0"], "the one that may is removed first");
    assert!(!world.plan_once(), "and made only when its node says that it is gone");
    world.settle();
    assert_eq!(hosts_of(&world), places(&[("shop-always-0", "b"), ("shop-data-0", "a"), ("shop-never-0", "a")]));
    operate(&world, "a", NodeOperationKind::Remove, true);
    world.settle();
    assert_eq!(hosts_of(&world), places(&[("shop-always-0", "b"), ("shop-data-0", "b"), ("shop-never-0", "b")]));
}

#[test]
fn a_drained_node_takes_nothing_and_one_that_took_too_long_moves_nothing_more() {
    let world = World::new(&["a", "b"]);
    operate(&world, "b", NodeOperationKind::Drain, false);
    world.apply(spec("shop", [("web", service(2))]));
    world.settle();
    assert_eq!(world.spread("shop"), [("a".to_owned(), 2)].into());
    let view = world.view();
    let operation = view.get::<NodeOperation>(&node_id("b").to_string()).unwrap();
    let mut transaction = Transaction::new("test");
    transaction.delete::<NodeOperation>(node_id("b").to_string());
    transaction.put(NodeOperation { node: node_id("a"), timed_out: true, ..operation.clone() });
    world.commit(transaction).unwrap();
    world.settle();
    assert_eq!(world.spread("shop"), [("a".to_owned(), 2)].into(), "not levelled either: it takes and gives nothing");
}

#[test]
fn a_move_whose_target_dies_goes_elsewhere_and_the_old_one_serves_on() {
    let world = World::new(&["a", "b", "c"]);
    for name in ["b", "c"] {
        world.set_node(name, NodeState::Joining);
    }
    world.apply(spec("shop", [("web", service(1))]));
    world.settle();
    world.set_node("b", NodeState::Ready);
    operate(&world, "a", NodeOperationKind::Drain, false);
    world.plan_once();
    world.set_node("b", NodeState::Down);
    world.set_node("c", NodeState::Ready);
    world.plan_once();
    assert_eq!(hosts_of(&world), places(&[("shop-web-0", "c"), ("shop-web-0.old", "a")]));
    world.set_node("a", NodeState::Down);
    world.plan_once();
    assert_eq!(hosts_of(&world), places(&[("shop-web-0", "c")]), "a lost node serves nothing");
}

#[test]
fn changed_hosts_are_followed_without_a_gap() {
    let world = World::new(&["a", "b"]);
    world.apply(spec("shop", [("web", with_placement(service(1), hosts(&["a"])))]));
    world.settle();
    world.apply(spec("shop", [("web", with_placement(service(1), hosts(&["b"])))]));
    world.plan_once();
    assert_eq!(hosts_of(&world), places(&[("shop-web-0", "b"), ("shop-web-0.old", "a")]));
    world.apply(spec("shop", [("web", with_placement(service(1), hosts(&["a"])))]));
    world.settle();
    assert_eq!(hosts_of(&world), places(&[("shop-web-0", "a")]));
}

#[test]
fn levelling_moves_one_replica_at_a_time_and_only_when_all_serve() {
    let world = World::new(&["a", "b"]);
    world.set_node("b", NodeState::Joining);
    world.apply(spec("shop", [("web", service(6))]));
    world.settle();
    world.observe("shop-web-2", ReplicaState::Degraded, None);
    world.set_node("b", NodeState::Ready);
    assert!(world.plan().transactions.iter().all(|plan| {
        !plan.writes.iter().any(|write| matches!(write, jaco_state::Write::Put(Entity::ReplicaDesired(_))))
    }));
    world.observe("shop-web-2", ReplicaState::Running, None);
    let mut most = 0;
    for _ in 0..20 {
        world.plan_once();
        most = most.max(world.ids("shop").len());
        world.start_all();
    }
    assert_eq!(most, 7, "one replica is in two places at a time");
    assert_eq!(world.spread("shop"), [("a".to_owned(), 3), ("b".to_owned(), 3)].into());
    assert_eq!(world.replica("shop-web-5").hostname, host("b"), "the highest indexes go");
}

#[test]
fn what_has_data_or_is_followed_is_not_levelled() {
    let world = World::new(&["a", "b"]);
    world.set_node("b", NodeState::Joining);
    let mut side = service(4);
    side.container.network_mode = NetworkMode::Service(service_name("web"));
    world.apply(spec("shop", [("db", with_volume(service(4))), ("side", side), ("web", service(4))]));
    world.settle();
    world.set_node("b", NodeState::Ready);
    world.settle();
    assert_eq!(world.spread("shop"), [("a".to_owned(), 12)].into());
}

fn reserving(mut service: ServiceSpec, nano_cpus: u64, memory: u64) -> ServiceSpec {
    service.container.resources.reserved_nano_cpus = Some(nano_cpus);
    service.container.resources.memory_reservation = Some(memory);
    service
}

#[test]
fn reservations_are_respected_and_freed() {
    let world = World::new(&["a", "b"]);
    let capacity = Capacity { nano_cpus: 4_000_000_000, memory: 1_000 };
    world.facts.borrow_mut().capacity = ["a", "b"].map(|name| (node_id(name), capacity)).into();
    world.apply(spec("big", [("web", reserving(service(2), 3_000_000_000, 100))]));
    world.settle();
    world.apply(spec("shop", [("web", reserving(service(3), 1_000_000_000, 10))]));
    world.settle();
    assert_eq!(world.ids("shop").len(), 2, "one core is left on each");
    assert_eq!(world.reason("shop").as_deref(), Some("cannot_satisfy_host_placement"));
    world.apply(spec("small", [("web", service(5))]));
    world.settle();
    assert_eq!(world.ids("small").len(), 5, "what declares nothing always fits");
    let deleted = intent::delete(&world.view(), &deployment("big"), "local").unwrap();
    world.commit(deleted.transaction).unwrap();
    world.settle();
    assert_eq!(world.ids("shop").len(), 3);
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Active);
}

#[test]
fn a_packed_service_fills_one_node_by_its_limits_and_then_the_next() {
    let world = World::new(&["a", "b"]);
    let capacity = Capacity { nano_cpus: 4_000_000_000, memory: 1_000 };
    world.facts.borrow_mut().capacity = ["a", "b"].map(|name| (node_id(name), capacity)).into();
    let mut packed = with_placement(service(3), Placement::Pack);
    packed.container.resources.memory = Some(500);
    world.apply(spec("shop", [("web", packed)]));
    world.settle();
    assert_eq!(world.spread("shop"), [("a".to_owned(), 2), ("b".to_owned(), 1)].into());
}

#[test]
fn a_dependency_on_a_lost_node_is_not_there() {
    let world = World::new(&["a", "b"]);
    let web = with_dependency(service(1), "db", DependencyCondition::Healthy, true);
    world.apply(spec("shop", [("db", with_placement(with_volume(service(1)), hosts(&["a"])))]));
    world.settle();
    world.set_node("a", NodeState::Down);
    world.apply(spec("shop", [("db", with_placement(with_volume(service(1)), hosts(&["a"]))), ("web", web)]));
    world.plan_once();
    assert_eq!(world.replica("shop-web-0").waiting_on, [service_name("db")]);
}

#[test]
fn a_replica_is_bound_to_the_one_of_its_own_number() {
    let world = World::new(&["a", "b", "c", "d"]);
    world.set_node("d", NodeState::Joining);
    let mut side = service(3);
    side.container.network_mode = NetworkMode::Service(service_name("web"));
    let web = ServiceSpec { reschedule: Reschedule::Always, ..with_volume(service(3)) };
    world.apply(spec("shop", [("side", side), ("web", web)]));
    world.settle();
    world.set_node("d", NodeState::Ready);
    let before = world.replica("shop-side-2");
    operate(&world, "b", NodeOperationKind::Drain, false);
    world.settle();
    assert_eq!(world.replica("shop-side-2"), before, "it does not move while another one is away");
    for id in ["shop-side-1", "shop-web-1"] {
        assert_eq!(world.replica(id).hostname, host("d"));
    }
}
