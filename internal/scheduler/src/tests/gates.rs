//! `depends_on`.

use super::*;

use DependencyCondition::{Healthy, Started};

fn waiting_on(world: &World, id: &str) -> Vec<String> {
    world.replica(id).waiting_on.iter().map(ToString::to_string).collect()
}

fn shop(condition: DependencyCondition, required: bool) -> DeploymentSpec {
    let web = with_dependency(service(1), "db", condition, required);
    spec("shop", [("db", with_image(service(1), "db:1")), ("web", web)])
}

#[test]
fn a_replica_waits_for_a_healthy_dependency() {
    let world = World::new(&["a"]);
    world.apply(shop(Healthy, true));
    world.plan_once();
    assert_eq!(waiting_on(&world, "shop-web-0"), ["db"]);
    world.observe("shop-db-0", ReplicaState::Pulling, None);
    world.observe("shop-db-0", ReplicaState::Degraded, None);
    world.plan_once();
    assert_eq!(waiting_on(&world, "shop-web-0"), ["db"], "degraded is not healthy");
    world.observe("shop-db-0", ReplicaState::Running, None);
    assert!(world.plan_once());
    assert!(waiting_on(&world, "shop-web-0").is_empty());
    assert_eq!(world.replica("shop-web-0").generation, 1, "opening the gate is no new container");
}

#[test]
fn started_is_met_by_degraded_but_not_by_pulling() {
    let world = World::new(&["a"]);
    world.apply(shop(Started, true));
    world.plan_once();
    world.observe("shop-db-0", ReplicaState::Pulling, None);
    world.plan_once();
    assert_eq!(waiting_on(&world, "shop-web-0"), ["db"]);
    world.observe("shop-db-0", ReplicaState::Degraded, None);
    world.plan_once();
    assert!(waiting_on(&world, "shop-web-0").is_empty());
}

#[test]
fn an_optional_dependency_and_one_without_replicas_never_block() {
    let world = World::new(&["a"]);
    world.apply(shop(Healthy, false));
    world.plan_once();
    assert!(waiting_on(&world, "shop-web-0").is_empty());
    let mut off = shop(Healthy, true);
    off.name = deployment("off");
    off.services.get_mut("db").unwrap().replicas = 0;
    world.apply(off);
    world.plan_once();
    assert!(waiting_on(&world, "off-web-0").is_empty());
}

#[test]
fn the_gate_holds_starts_only() {
    let world = World::new(&["a"]);
    world.apply(shop(Healthy, true));
    world.settle();
    world.observe("shop-db-0", ReplicaState::Failed, Some(ErrorCode::ContainerExited));
    world.plan_once();
    assert!(waiting_on(&world, "shop-web-0").is_empty(), "a running replica is not stopped for its dependency");
    world.observe("shop-web-0", ReplicaState::Failed, Some(ErrorCode::ContainerExited));
    world.plan_once();
    assert!(waiting_on(&world, "shop-web-0").is_empty(), "nor is its restart held");
}

#[test]
fn evidence_must_belong_to_the_current_revision() {
    let world = World::new(&["a"]);
    world.apply(shop(Healthy, true));
    world.settle();
    let mut changed = shop(Healthy, true);
    for service in changed.services.values_mut() {
        service.container.image.push_str("-new");
    }
    world.apply(changed);
    world.plan_once();
    assert_eq!(world.replica("shop-db-0").generation, 2);
    assert_eq!(world.replica("shop-web-0").generation, 1, "it serves on until the new dependency is up");
    assert_eq!(world.reason("shop").as_deref(), Some("waiting"));
    world.plan_once();
    assert_eq!(
        world.deployment("shop").status_details.get("waiting_on").map(String::as_str),
        None,
        "db itself is late"
    );
    world.settle();
    assert_eq!(world.replica("shop-web-0").generation, 2);
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Active);
}

#[test]
fn a_new_attempt_of_a_replica_that_is_down_waits_again() {
    let world = World::new(&["a"]);
    world.apply(spec("shop", [("db", with_image(service(1), "db:1")), ("web", service(1))]));
    world.plan_once();
    world.observe("shop-web-0", ReplicaState::Failed, Some(ErrorCode::RestartExhausted));
    world.apply(shop(Healthy, true));
    world.plan_once();
    assert_eq!(waiting_on(&world, "shop-web-0"), ["db"]);
    world.settle();
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Active);
}

#[test]
fn a_chain_starts_in_order() {
    let world = World::new(&["a"]);
    world.apply(spec(
        "shop",
        [
            ("a-web", with_dependency(service(2), "b-api", Healthy, true)),
            ("b-api", with_dependency(service(2), "c-db", Healthy, true)),
            ("c-db", service(1)),
        ],
    ));
    let mut started = Vec::new();
    for _ in 0..4 {
        world.plan_once();
        world.start_all();
        started.push(world.view().count::<ReplicaObserved>());
    }
    assert_eq!(started, [1, 3, 5, 5]);
}
