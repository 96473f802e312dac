//! Which replicas there are.

use super::*;

#[test]
fn a_new_deployment_gets_its_replicas_with_everything_the_runtime_needs() {
    let world = World::new(&["a"]);
    let revision = world.apply(spec("shop", [("web", service(2))]));
    assert!(world.plan_once());
    let replica = world.replica("shop-web-1");
    assert_eq!(replica.index, ReplicaIndex::Index(1));
    assert_eq!((replica.node, replica.hostname.as_str()), (node_id("a"), "a"));
    assert_eq!((replica.revision, replica.generation, replica.attempt), (revision, 1, 1));
    assert_eq!(replica.spec_hash, service(2).hash());
    assert_eq!(replica.order, ReplaceOrder::StartFirst);
    assert!(replica.waiting_on.is_empty());
    assert!(!world.plan_once(), "nothing is left to do");
}

#[test]
fn scaling_down_takes_the_highest_indexes_and_zero_keeps_the_deployment() {
    let world = World::new(&["a", "b"]);
    world.apply(spec("shop", [("web", service(3))]));
    world.settle();
    world.apply(spec("shop", [("web", service(1))]));
    world.settle();
    assert_eq!(world.ids("shop"), ["shop-web-0"]);
    world.apply(spec("shop", [("web", service(0))]));
    world.settle();
    assert!(world.ids("shop").is_empty());
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Active);
    world.apply(spec("shop", [("web", service(12))]));
    world.settle();
    let mut indexes: Vec<ReplicaIndex> = world.replicas("shop").into_iter().map(|replica| replica.index).collect();
    indexes.sort();
    assert_eq!(indexes, (0..12).map(ReplicaIndex::Index).collect::<Vec<_>>());
}

#[test]
fn removed_services_and_deployments_lose_their_replicas() {
    let world = World::new(&["a"]);
    world.apply(spec("shop", [("db", service(1)), ("web", service(2))]));
    world.apply(spec("shop-web", [("x", service(1))]));
    world.settle();
    world.apply(spec("shop", [("db", service(1))]));
    world.settle();
    assert_eq!(world.ids("shop"), ["shop-db-0"]);
    let mut gone = Transaction::new("test");
    gone.delete::<Deployment>("shop");
    world.commit(gone).unwrap();
    world.settle();
    assert!(world.ids("shop").is_empty());
    assert_eq!(world.ids("shop-web"), ["shop-web-x-0"]);
}

#[test]
fn a_recreated_deployment_does_not_take_old_observations_for_its_own() {
    let world = World::new(&["a"]);
    world.apply(spec("shop", [("web", service(1))]));
    world.settle();
    let old = world.replica("shop-web-0");
    let deleted = intent::delete(&world.view(), &deployment("shop"), "local").unwrap();
    world.commit(deleted.transaction).unwrap();
    world.apply(spec("shop", [("web", with_image(service(1), "web:2"))]));
    world.plan_once();
    assert!(world.replica("shop-web-0").generation > old.generation);
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Pending);
}

#[test]
fn what_cannot_live_side_by_side_is_replaced_stop_first() {
    let named = |change: fn(&mut ServiceSpec)| {
        let mut changed = service(1);
        change(&mut changed);
        changed
    };
    let order_of = |service: &ServiceSpec| crate::order::replace_order(service);
    let stop_first = [
        with_volume(service(1)),
        named(|service| service.exclusive = true),
        named(|service| service.container.container_name = Some("db".to_owned())),
        named(|service| service.container.network_mode = NetworkMode::Host),
        named(|service| {
            let attachment =
                NetworkAttachment { ipv4_address: Some([10, 0, 0, 9].into()), ..NetworkAttachment::default() };
            service.container.networks.insert(NetworkName::new("default").unwrap(), attachment);
        }),
        named(|service| service.container.device_requests.push(DeviceRequest { count: 1, ..DeviceRequest::default() })),
    ];
    for service in &stop_first {
        assert_eq!(order_of(service), ReplaceOrder::StopFirst, "{service:?}");
    }
    let start_first = [
        service(1),
        named(|service| service.container.hostname = Some("db".to_owned())),
        named(|service| {
            service.container.mounts.push(Mount::Bind {
                source: "/etc/localtime".to_owned(),
                target: "/etc/localtime".to_owned(),
                read_only: true,
                create_host_path: false,
                propagation: None,
            });
        }),
    ];
    for service in &start_first {
        assert_eq!(order_of(service), ReplaceOrder::StartFirst, "{service:?}");
    }
}

#[test]
fn old_revisions_go_when_nothing_refers_to_them() {
    let world = World::new(&["a"]);
    let revisions =
        || -> Vec<u64> { world.view().list::<DeploymentRevision>().map(|record| record.revision).collect() };
    for number in 1..=14 {
        world.apply(spec("shop", [("web", with_image(service(1), &format!("web:{number}")))]));
        world.settle();
    }
    assert_eq!(revisions(), (5..=14).collect::<Vec<_>>());
    let back = intent::rollback(&world.view(), &deployment("shop"), Some(5), "local").unwrap();
    world.commit(back.transaction).unwrap();
    world.settle();
    assert_eq!(revisions(), (5..=14).collect::<Vec<_>>());
    world.apply(spec("shop", [("web", with_image(service(1), "web:new"))]));
    world.settle();
    assert_eq!(revisions(), (5..=15).collect::<Vec<_>>(), "5 is the one a plain rollback goes to");
}

#[test]
fn a_revision_that_still_runs_somewhere_is_kept() {
    let world = World::new(&["a"]);
    world.apply(spec("shop", [("web", service(2))]));
    world.settle();
    for number in 2..=15 {
        world.apply(spec("shop", [("web", with_image(service(2), &format!("broken:{number}")))]));
        world.plan_once();
        world.observe("shop-web-0", ReplicaState::Failed, Some(ErrorCode::ImagePullFailed));
        world.plan_once();
    }
    assert_eq!(world.replica("shop-web-1").revision, 1);
    let stored: Vec<u64> = world.view().list::<DeploymentRevision>().map(|record| record.revision).collect();
    assert_eq!(stored, [vec![1], (6..=15).collect()].concat());
}

#[test]
fn many_replicas_are_written_in_several_transactions() {
    let world = World::new(&["a"]);
    world.apply(spec("shop", [("web", service(1_000))]));
    let plan = world.plan();
    assert_eq!(plan.transactions.len(), 3);
    world.settle();
    assert_eq!(world.ids("shop").len(), 1_000);
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Active);
}

#[test]
fn an_id_that_belongs_to_another_deployment_is_left_alone_and_said() {
    let world = World::new(&["0-1", "x"]);
    // "a" + "b" + host "0-1" and "a-b" + "0" + 1 are the same id.
    world.apply(spec("a-b", [("0", service(2))]));
    world.settle();
    let before = world.replica("a-b-0-1");
    world.apply(spec("a", [("b", with_placement(service(1), Placement::Global))]));
    world.settle();
    assert_eq!(world.replica("a-b-0-1"), before);
    assert_eq!(world.reason("a").as_deref(), Some("name_conflict"));
    assert_eq!(world.ids("a"), ["a-b-x"]);
}
