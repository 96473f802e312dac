//! Deployment status and its reasons.

use super::*;

#[test]
fn active_means_that_every_replica_of_the_active_revision_runs() {
    let world = World::new(&["a"]);
    world.apply(spec("shop", [("web", service(2))]));
    assert_eq!(world.reason("shop").as_deref(), Some("waiting"));
    world.plan_once();
    world.observe("shop-web-0", ReplicaState::Running, None);
    world.plan_once();
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Pending);
    world.observe("shop-web-1", ReplicaState::Running, None);
    world.plan_once();
    let shop = world.deployment("shop");
    assert_eq!((shop.status, shop.status_details.len()), (DeploymentStatus::Active, 0));
    world.observe("shop-web-1", ReplicaState::Degraded, None);
    world.plan_once();
    let details = world.deployment("shop").status_details;
    assert_eq!(details.get("reason").map(String::as_str), Some("degraded"));
    assert_eq!(details.get("replica").map(String::as_str), Some("shop-web-1"));
    world.observe("shop-web-1", ReplicaState::Running, None);
    world.plan_once();
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Active, "it comes back by itself");
}

#[test]
fn observations_of_another_generation_say_nothing() {
    let world = World::new(&["a"]);
    world.apply(spec("shop", [("web", service(1))]));
    world.settle();
    let old = observation(&world.replica("shop-web-0"), ReplicaState::Running, None);
    world.apply(spec("shop", [("web", with_image(service(1), "web:2"))]));
    world.plan_once();
    let mut late = Transaction::new("node");
    late.put(old);
    world.commit(late).unwrap();
    world.plan_once();
    assert_eq!(world.deployment("shop").status, DeploymentStatus::Pending);
}

#[test]
fn a_failure_outranks_a_replica_that_is_on_its_way() {
    let world = World::new(&["a"]);
    world.apply(spec("shop", [("db", service(1)), ("web", service(1))]));
    world.plan_once();
    world.observe("shop-db-0", ReplicaState::Pending, Some(ErrorCode::ImagePullFailed));
    world.plan_once();
    assert_eq!(world.reason("shop").as_deref(), Some("image_pull_failed"));
    world.observe("shop-web-0", ReplicaState::Failed, Some(ErrorCode::BindSourceMissing));
    world.plan_once();
    assert_eq!(world.reason("shop").as_deref(), Some("bind_source_missing"));
}

#[test]
fn a_status_is_written_only_when_it_changes() {
    let world = World::new(&["a"]);
    world.apply(spec("shop", [("web", service(1))]));
    world.settle();
    let version = world.view().version::<Deployment>("shop");
    world.observe("shop-web-0", ReplicaState::Running, None);
    assert!(!world.plan_once());
    assert_eq!(world.view().version::<Deployment>("shop"), version);
}

#[test]
fn a_missing_revision_leaves_everything_as_it_is_and_is_said() {
    let world = World::new(&["a"]);
    let revision = world.apply(spec("shop", [("web", service(1))]));
    world.settle();
    let mut lost = Transaction::new("test");
    lost.delete::<DeploymentRevision>(DeploymentRevision::key_of(&deployment("shop"), revision));
    world.commit(lost).unwrap();
    world.settle();
    assert_eq!(world.ids("shop"), ["shop-web-0"]);
    assert_eq!(world.reason("shop").as_deref(), Some("revision_not_found"));
}

#[test]
fn one_deployments_refused_transaction_does_not_hold_the_others() {
    let world = World::new(&["a"]);
    world.apply(spec("one", [("web", service(1))]));
    world.apply(spec("two", [("web", service(1))]));
    let plan = world.plan();
    world.apply(spec("one", [("web", service(2))]));
    let results: Vec<bool> =
        plan.transactions.into_iter().map(|transaction| world.commit(transaction).is_ok()).collect();
    assert_eq!(results, [false, true]);
}
