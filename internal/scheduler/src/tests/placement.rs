//! Where replicas go, and that they stay there.

use super::*;

#[test]
fn spread_is_balanced_and_ties_go_by_load_then_host_name() {
    let world = World::new(&["c", "a", "b"]);
    world.apply(spec("one", [("web", service(1))]));
    world.apply(spec("two", [("web", service(4))]));
    world.settle();
    assert_eq!(world.replica("one-web-0").hostname, host("a"), "equal nodes: the first name");
    let order: Vec<String> = world.replicas("two").iter().map(|replica| replica.hostname.to_string()).collect();
    assert_eq!(order, ["b", "c", "a", "b"], "a has a replica of another deployment and is chosen last");
}

#[test]
fn a_node_that_joins_is_levelled_and_new_replicas_fill_it() {
    let world = World::new(&["a", "b"]);
    world.apply(spec("shop", [("web", service(4))]));
    world.settle();
    let before = world.replicas("shop");
    world.add_node("c");
    world.settle();
    let stayed = world.replicas("shop").iter().zip(&before).filter(|(now, then)| now.node == then.node).count();
    assert_eq!(stayed, 3, "one moves: with it the nodes differ by one");
    world.apply(spec("shop", [("web", service(6))]));
    world.settle();
    assert_eq!(
        world.spread("shop"),
        [("a", 2), ("b", 2), ("c", 2)].map(|(name, count)| (name.to_owned(), count)).into()
    );
}

#[test]
fn pack_fills_the_node_that_has_the_service_already() {
    let world = World::new(&["a", "b"]);
    world.apply(spec("busy", [("x", service(1))]));
    world.settle();
    world.apply(spec("shop", [("web", with_placement(service(3), Placement::Pack))]));
    world.settle();
    assert_eq!(world.spread("shop"), [("b".to_owned(), 3)].into(), "the least loaded one first, then the same again");
}

#[test]
fn pinned_replicas_follow_their_list_by_number() {
    let world = World::new(&["a", "b", "c"]);
    world.apply(spec("shop", [("web", with_placement(service(2), hosts(&["c", "a"])))]));
    world.settle();
    assert_eq!(world.replica("shop-web-0").hostname, host("c"));
    assert_eq!(world.replica("shop-web-1").hostname, host("a"));
}

#[test]
fn a_change_of_the_pinned_hosts_moves_only_what_must_move() {
    let world = World::new(&["a", "b", "c"]);
    world.apply(spec("shop", [("web", with_placement(service(2), hosts(&["a", "b"])))]));
    world.settle();
    let kept = world.replica("shop-web-1");
    world.apply(spec("shop", [("web", with_placement(service(2), hosts(&["b", "c"])))]));
    world.settle();
    let moved = world.replica("shop-web-0");
    assert_eq!((moved.hostname, moved.generation), (host("c"), 2));
    assert_eq!(
        (world.replica("shop-web-1").hostname, world.replica("shop-web-1").generation),
        (host("b"), kept.generation)
    );
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Active);
}

#[test]
fn a_pinned_host_that_is_not_ready_is_named_and_used_when_it_comes() {
    let world = World::new(&["a", "b"]);
    world.set_node("b", NodeState::Joining);
    world.apply(spec("shop", [("web", with_placement(service(2), hosts(&["a", "b"])))]));
    world.settle();
    assert_eq!(world.ids("shop"), ["shop-web-0"]);
    let details = world.deployment("shop").status_details;
    let fact = |name: &str| details.get(name).map(String::as_str);
    assert_eq!(fact("reason"), Some("cannot_satisfy_host_placement"));
    assert_eq!((fact("requested"), fact("eligible"), fact("missing")), (Some("a,b"), Some("a"), Some("b")));
    world.set_node("b", NodeState::Ready);
    world.settle();
    assert_eq!(world.replica("shop-web-1").hostname, host("b"));
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Active);
}

#[test]
fn global_runs_once_on_each_ready_node() {
    let world = World::new(&["a", "b", "c"]);
    world.set_node("c", NodeState::Joining);
    world.apply(spec("shop", [("agent", with_placement(service(1), Placement::Global))]));
    world.settle();
    assert_eq!(world.ids("shop"), ["shop-agent-a", "shop-agent-b"]);
    world.set_node("c", NodeState::Ready);
    world.set_node("a", NodeState::Unreachable);
    world.settle();
    assert_eq!(world.ids("shop"), ["shop-agent-a", "shop-agent-b", "shop-agent-c"], "a short silence drops nothing");
    world.set_node("a", NodeState::Down);
    world.settle();
    assert_eq!(world.ids("shop"), ["shop-agent-b", "shop-agent-c"]);
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Active);
}

#[test]
fn nothing_is_placed_on_a_node_that_is_not_ready_or_is_closed() {
    let world = World::new(&["a"]);
    world.set_node("a", NodeState::IsolationUnavailable);
    world.apply(spec("shop", [("web", service(2))]));
    world.settle();
    assert!(world.ids("shop").is_empty());
    assert_eq!(world.reason("shop").as_deref(), Some("cannot_satisfy_host_placement"));
    world.set_node("a", NodeState::Ready);
    let mut close = Transaction::new("test");
    close.put(NodeSchedulability { id: node_id("a"), schedulable: false });
    world.commit(close).unwrap();
    world.settle();
    assert!(world.ids("shop").is_empty());
}

#[test]
fn replicas_of_a_dead_node_move_when_they_have_no_data_there() {
    let world = World::new(&["a", "b"]);
    let mut always = with_volume(service(1));
    always.reschedule = Reschedule::Always;
    let mut never = service(1);
    never.reschedule = Reschedule::Never;
    let mut exclusive = service(1);
    exclusive.exclusive = true;
    let pinned = |service| with_placement(service, Placement::Pack);
    world.set_node("b", NodeState::Joining);
    world.apply(spec(
        "shop",
        [
            ("always", pinned(always)),
            ("data", pinned(with_volume(service(1)))),
            ("exclusive", pinned(exclusive)),
            ("never", pinned(never)),
            ("web", pinned(service(1))),
        ],
    ));
    world.settle();
    world.set_node("b", NodeState::Ready);
    world.set_node("a", NodeState::Unreachable);
    world.settle();
    assert_eq!(world.spread("shop"), [("a".to_owned(), 5)].into(), "a short silence moves nothing");
    world.set_node("a", NodeState::Down);
    world.settle();
    let moved: Vec<String> = world
        .replicas("shop")
        .into_iter()
        .filter(|replica| replica.hostname == host("b"))
        .map(|replica| replica.id.to_string())
        .collect();
    assert_eq!(moved, ["shop-always-0", "shop-web-0"]);
    assert_eq!(world.reason("shop").as_deref(), Some("node_down"));
    world.remove_node("a");
    world.settle();
    assert_eq!(
        world.spread("shop"),
        [("a".to_owned(), 1), ("b".to_owned(), 4)].into(),
        "a node that is no member keeps nothing but what its guard may still run"
    );
    let slot = world.view().get::<ExclusiveSlot>("shop-exclusive-0").cloned().unwrap();
    assert_eq!((slot.owner, slot.released), (node_id("a"), false));
    let view = world.view();
    let events = view.audit().filter(|record| record.event == "replica_rescheduled");
    let told: Vec<String> = events
        .map(|record| {
            let of = |key: &str| record.payload.get(key).map_or("", String::as_str);
            format!("{} {}: {} -> {}, {}", record.identity, of("replica_id"), of("src"), of("dst"), of("reason"))
        })
        .collect();
    let expected = [("always", "node_down"), ("web", "node_down"), ("data", "node_removed"), ("never", "node_removed")];
    assert_eq!(told, expected.map(|(service, why)| format!("system shop-{service}-0: a -> b, {why}")));
}

#[test]
fn a_service_goes_where_the_container_is_that_it_shares_something_with() {
    let world = World::new(&["a", "b", "c"]);
    let mut sidecar = service(3);
    sidecar.container.network_mode = NetworkMode::Service(service_name("web"));
    let mut reader = service(1);
    reader.container.volumes_from.push(VolumesFrom { service: service_name("web"), read_only: true });
    world.apply(spec("busy", [("x", service(2))]));
    world.apply(spec("shop", [("a-reader", reader), ("b-sidecar", sidecar), ("web", service(3))]));
    world.settle();
    for number in 0..3 {
        let (web, sidecar) = (format!("shop-web-{number}"), format!("shop-b-sidecar-{number}"));
        assert_eq!(world.replica(&web).hostname, world.replica(&sidecar).hostname);
    }
    assert_eq!(world.replica("shop-web-0").hostname, world.replica("shop-a-reader-0").hostname);
}

#[test]
fn a_plan_from_before_a_node_was_closed_is_refused() {
    let world = World::new(&["a"]);
    world.apply(spec("shop", [("web", service(1))]));
    let stale = world.plan();
    let mut close = Transaction::new("test");
    close.put(NodeSchedulability { id: node_id("a"), schedulable: false });
    world.commit(close).unwrap();
    let refused = world.commit(stale.transactions[0].clone()).unwrap_err();
    assert!(matches!(refused, ProposeError::Refused { .. }), "{refused}");
    assert!(world.ids("shop").is_empty());
}

#[test]
fn a_status_change_alone_refuses_no_placement() {
    let world = World::new(&["a", "b"]);
    world.apply(spec("shop", [("web", service(1))]));
    let plan = world.plan();
    world.set_node("b", NodeState::Unreachable);
    world.commit(plan.transactions[0].clone()).unwrap();
}

#[test]
fn the_plan_of_another_term_is_refused() {
    let world = World::new(&["a"]);
    world.apply(spec("shop", [("web", service(1))]));
    let deposed = plan(&world.view(), TERM + 1, &Facts::default());
    assert!(world.commit(deposed.transactions[0].clone()).is_err());
}
