use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn held(name: char, grace: Duration) -> Held {
    Held { id: String::from(name).repeat(64), grace }
}

fn charge(until: Duration, within: Duration) -> Charge {
    Charge { lease_until: until, stop_within: within, containers: vec![held('a', 60 * SECOND)] }
}

#[test]
fn the_lease_comes_first_then_the_stop_then_the_kill_before_the_time_is_over() {
    let charge = charge(100 * SECOND, 10 * SECOND);
    let a = &charge.containers[0];
    let nothing = Due { again: Some(100 * SECOND + PRECEDENCE), ..Due::default() };
    assert_eq!(due(&charge, Duration::ZERO), nothing);
    assert_eq!(due(&charge, 100 * SECOND), nothing);
    let kill_at = 110 * SECOND - KILL_MARGIN;
    let stop = Due { stop: vec![(a, kill_at)], again: Some(kill_at), ..Due::default() };
    assert_eq!(due(&charge, 101 * SECOND), stop);
    let kill = |again| Due { kill: vec![a], again: Some(again), ..Due::default() };
    assert_eq!(due(&charge, kill_at), kill(kill_at + SWEEP));
    assert_eq!(due(&charge, 200 * SECOND), kill(200 * SECOND + SWEEP_LATER));
}

#[test]
fn each_container_has_its_own_time() {
    let mut charge = charge(100 * SECOND, 10 * SECOND);
    charge.containers = vec![held('a', 2 * SECOND), held('b', 6 * SECOND)];
    let [a, b] = charge.containers.as_slice() else { panic!() };
    let (first, second) = (102 * SECOND - KILL_MARGIN, 106 * SECOND - KILL_MARGIN);
    let stopping = due(&charge, 101 * SECOND);
    assert_eq!(stopping, Due { stop: vec![(a, first), (b, second)], again: Some(first), ..Due::default() });
    let one = due(&charge, 102 * SECOND);
    assert_eq!((one.stop, one.kill, one.again), (vec![(b, second)], vec![a], Some(102 * SECOND + SWEEP)));
    assert_eq!(due(&charge, 106 * SECOND).kill, [a, b]);
}

#[test]
fn a_time_that_leaves_no_room_is_a_kill_at_the_end_of_the_lease() {
    let charge = charge(100 * SECOND, SECOND / 10);
    assert_eq!(due(&charge, 99 * SECOND).again, Some(100 * SECOND));
    assert_eq!(due(&charge, 100 * SECOND).kill.len(), 1);
    assert_eq!(due(&charge, 100 * SECOND).again, Some(100 * SECOND + SWEEP));
}

#[test]
fn without_a_lease_nothing_may_run_and_without_containers_nothing_is_due() {
    assert_eq!(due(&charge(Duration::ZERO, 10 * SECOND), 500 * SECOND).kill.len(), 1);
    let nothing = Charge { containers: Vec::new(), ..charge(100 * SECOND, SECOND) };
    assert_eq!(due(&nothing, 500 * SECOND), Due::default());
}
