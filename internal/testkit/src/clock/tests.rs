//! Tests of the manual clock.

use super::*;

#[test]
fn time_passes_on_both_clocks_and_jumps_on_one() {
    let clock = ManualClock::new(1_000);
    clock.advance(Duration::from_millis(250));
    assert_eq!((clock.now_ms(), clock.monotonic()), (1_250, Duration::from_millis(250)));
    clock.set_wall(10);
    assert_eq!((clock.now_ms(), clock.monotonic()), (10, Duration::from_millis(250)));
}
