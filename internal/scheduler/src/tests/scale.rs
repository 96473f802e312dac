//! How long a pass over a large cluster takes. Printed, with a bar far above what is expected so that a loaded machine fails nothing.

use std::time::Instant;

use super::*;

#[test]
fn thousands_of_nodes_and_replicas_are_planned_quickly() {
    let names: Vec<String> = (0..2_000).map(|number| format!("node-{number:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::new(&names);
    for number in 0..100 {
        world.apply(spec(&format!("app-{number:03}"), [("db", with_volume(service(10))), ("web", service(90))]));
    }
    let mut planner = Planner::new();
    let mut pass = || time(|| planner.plan(&world.view(), TERM));
    let place = pass();
    world.settle();
    assert_eq!(world.view().count::<ReplicaDesired>(), 10_000);
    let full = pass();
    let idle = pass();
    world.apply(spec("app-050", [("db", with_volume(service(10))), ("web", with_image(service(90), "web:2"))]));
    let apply = pass();
    world.observe("app-007-web-3", ReplicaState::Degraded, None);
    let observed = pass();
    println!(
        "2,000 nodes, 10,000 replicas: all placed in {place:?}, all looked at in {full:?}; after no change {idle:?}, after an apply \
         {apply:?}, after one observation {observed:?}"
    );
    assert!(place < Duration::from_secs(60) && full < Duration::from_secs(20));
    assert!(idle.max(apply).max(observed) < Duration::from_secs(5));
}

fn time<R>(work: impl FnOnce() -> R) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}
