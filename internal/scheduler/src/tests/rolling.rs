//! Changes of running replicas.

use super::*;

/// A world whose deployment `shop` runs `web` with this many replicas of image `web:1`.
fn running(replicas: u32) -> World {
    let world = World::new(&["a", "b"]);
    world.apply(spec("shop", [("web", service(replicas))]));
    world.settle();
    world
}

fn generations(world: &World) -> Vec<u64> {
    world.replicas("shop").iter().map(|replica| replica.generation).collect()
}

fn roll_to(world: &World, image: &str, replicas: u32) {
    world.apply(spec("shop", [("web", with_image(service(replicas), image))]));
}

#[test]
fn a_changed_spec_rolls_one_replica_at_a_time() {
    let world = running(3);
    roll_to(&world, "web:2", 3);
    let mut steps = vec![generations(&world)];
    for _ in 0..3 {
        assert!(world.plan_once());
        steps.push(generations(&world));
        world.plan_once();
        assert_eq!(&generations(&world), steps.last().unwrap(), "it waits until the step is running");
        world.start_all();
    }
    assert_eq!(steps, [[1, 1, 1], [2, 1, 1], [2, 2, 1], [2, 2, 2]]);
    world.settle();
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Active);
    assert!(world.replicas("shop").iter().all(|replica| replica.revision == 2));
}

#[test]
fn a_single_replica_is_replaced_at_once() {
    let world = running(1);
    roll_to(&world, "web:2", 1);
    world.plan_once();
    let replica = world.replica("shop-web-0");
    assert_eq!((replica.generation, replica.revision, replica.attempt), (2, 2, 2));
}

#[test]
fn an_unchanged_spec_moves_to_the_new_revision_all_at_once_without_a_new_generation() {
    let world = running(3);
    world.apply(spec("shop", [("web", service(3))]));
    world.plan_once();
    let facts = |replica: &ReplicaDesired| (replica.generation, replica.revision, replica.attempt);
    assert_eq!(world.replicas("shop").iter().map(facts).collect::<Vec<_>>(), [(1, 2, 2), (1, 2, 2), (1, 2, 2)]);
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Active, "all of them still run");
}

#[test]
fn a_step_that_does_not_come_up_holds_the_others() {
    let world = running(3);
    roll_to(&world, "broken:1", 3);
    world.plan_once();
    world.observe("shop-web-0", ReplicaState::Failed, Some(ErrorCode::ContainerExited));
    world.plan_once();
    world.plan_once();
    assert_eq!(generations(&world), [2, 1, 1]);
    assert_eq!(world.reason("shop").as_deref(), Some("container_exited"));
    assert!(world.plan().transactions.is_empty());
}

#[test]
fn after_a_bad_roll_the_failed_replica_is_corrected_first() {
    let world = running(3);
    roll_to(&world, "broken:1", 3);
    world.plan_once();
    world.observe("shop-web-0", ReplicaState::Failed, Some(ErrorCode::ImagePullFailed));
    roll_to(&world, "web:3", 3);
    world.plan_once();
    assert_eq!(generations(&world), [3, 1, 1], "the failed one goes first, the healthy ones wait for it");
    world.settle();
    assert_eq!(generations(&world), [3, 2, 2]);
}

#[test]
fn replicas_that_serve_nothing_are_all_corrected_at_once() {
    let world = World::new(&["a"]);
    roll_to(&world, "broken:1", 3);
    world.plan_once();
    for number in 0..3 {
        world.observe(&format!("shop-web-{number}"), ReplicaState::Failed, Some(ErrorCode::ImagePullFailed));
    }
    world.plan_once();
    roll_to(&world, "web:1", 3);
    world.plan_once();
    assert_eq!(generations(&world), [2, 2, 2]);
}

#[test]
fn a_healthy_replica_waits_while_another_of_its_service_is_down() {
    let world = running(3);
    roll_to(&world, "web:2", 3);
    world.observe("shop-web-2", ReplicaState::Degraded, None);
    world.plan_once();
    assert_eq!(generations(&world), [1, 1, 2], "the degraded one first");
    world.start_all();
    world.plan_once();
    assert_eq!(generations(&world), [2, 1, 2]);
}

#[test]
fn new_replicas_of_a_scale_up_come_with_the_new_spec_before_the_roll_begins() {
    let world = running(2);
    roll_to(&world, "web:2", 4);
    world.plan_once();
    assert_eq!(generations(&world), [1, 1, 2, 2]);
    world.plan_once();
    assert_eq!(generations(&world), [1, 1, 2, 2], "they must run first");
    world.settle();
    assert_eq!(generations(&world), [2, 2, 2, 2]);
}

#[test]
fn a_back_and_forth_change_in_mid_roll_never_touches_what_is_right_already() {
    let world = running(3);
    roll_to(&world, "web:2", 3);
    world.plan_once();
    world.start_all();
    roll_to(&world, "web:1", 3);
    world.settle();
    assert_eq!(generations(&world), [3, 1, 1]);
    assert!(world.replicas("shop").iter().all(|replica| replica.revision == 3));
}

#[test]
fn a_change_from_numbered_to_global_keeps_the_old_replicas_until_the_new_ones_run() {
    let world = running(2);
    world.apply(spec("shop", [("web", with_placement(service(1), Placement::Global))]));
    world.plan_once();
    assert_eq!(world.ids("shop"), ["shop-web-0", "shop-web-1", "shop-web-a", "shop-web-b"]);
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Pending);
    world.settle();
    assert_eq!(world.ids("shop"), ["shop-web-a", "shop-web-b"]);
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Active);
}

#[test]
fn a_new_attempt_is_seen_by_a_replica_that_gave_up() {
    let world = running(1);
    world.observe("shop-web-0", ReplicaState::Failed, Some(ErrorCode::RestartExhausted));
    world.plan_once();
    assert_eq!(world.reason("shop").as_deref(), Some("restart_exhausted"));
    world.apply(spec("shop", [("web", service(1))]));
    world.plan_once();
    let replica = world.replica("shop-web-0");
    assert_eq!((replica.generation, replica.attempt), (1, 2));
    assert_eq!(world.reason("shop").as_deref(), Some("waiting"), "the failure belongs to the attempt before");
}
