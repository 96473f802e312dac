use super::*;
use crate::charge::Held;

const SECOND: Duration = Duration::from_secs(1);

fn charge(until: Duration, within: Duration) -> Charge {
    let held = Held { id: "a".repeat(64), grace: SECOND };
    Charge { lease_until: until, stop_within: within, containers: vec![held] }
}

#[test]
fn the_lease_comes_first_then_the_stop_then_the_kill_before_the_time_is_over() {
    let charge = charge(100 * SECOND, 10 * SECOND);
    assert_eq!(due(&charge, Duration::ZERO), Due::At(100 * SECOND + PRECEDENCE));
    assert_eq!(due(&charge, 100 * SECOND), Due::At(100 * SECOND + PRECEDENCE));
    let kill_at = 110 * SECOND - KILL_MARGIN;
    assert_eq!(due(&charge, 101 * SECOND), Due::Stop { kill_at });
    assert_eq!(due(&charge, kill_at), Due::Kill { again: kill_at + SWEEP });
    assert_eq!(due(&charge, 200 * SECOND), Due::Kill { again: 200 * SECOND + SWEEP_LATER });
}

#[test]
fn a_time_that_leaves_no_room_is_a_kill_at_the_end_of_the_lease() {
    let charge = charge(100 * SECOND, SECOND / 10);
    assert_eq!(due(&charge, 99 * SECOND), Due::At(100 * SECOND));
    assert_eq!(due(&charge, 100 * SECOND), Due::Kill { again: 100 * SECOND + SWEEP });
}

#[test]
fn without_a_lease_nothing_may_run_and_without_containers_nothing_is_due() {
    assert!(matches!(due(&charge(Duration::ZERO, 10 * SECOND), 500 * SECOND), Due::Kill { .. }));
    let nothing = Charge { containers: Vec::new(), ..charge(100 * SECOND, SECOND) };
    assert_eq!(due(&nothing, 500 * SECOND), Due::Idle);
}
