use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jaco_state::Clock;

use super::ClusterTime;

#[derive(Default)]
struct ManualClock {
    wall: AtomicU64,
    monotonic: AtomicU64,
}

impl ManualClock {
    fn set(&self, wall: u64, monotonic: u64) {
        self.wall.store(wall, Ordering::Relaxed);
        self.monotonic.store(monotonic, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.wall.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic.load(Ordering::Relaxed))
    }
}

#[test]
fn stamps_follow_the_wall_clock_only_as_far_as_the_monotonic_clock_bears_it_out() {
    let clock = Arc::new(ManualClock::default());
    let time = ClusterTime::new(clock.clone());
    // (wall, monotonic, term, applied) -> stamp
    let steps = [
        ((1_000_000, 0, 1, 0), 1_000_000, "the first stamp is wall time"),
        ((1_000_250, 250, 1, 1_000_000), 1_000_250, "both clocks agree"),
        ((400_000, 300, 1, 1_000_250), 1_000_250, "the wall clock was set back"),
        ((9_000_000, 400, 1, 1_000_250), 1_000_400, "the wall clock was set forward"),
        ((9_000_000, 400, 1, 1_000_700), 1_000_700, "an entry of another leader had a later stamp"),
        ((9_000_000, 500, 2, 1_000_700), 9_000_000, "a new term starts at wall time again"),
        ((8_000_000, 600, 3, 9_000_000), 9_000_000, "but never before what was applied"),
        ((9_000_050, 650, 3, 9_000_000), 9_000_050, "and goes on from there"),
    ];
    for ((wall, monotonic, term, applied), expected, why) in steps {
        clock.set(wall, monotonic);
        assert_eq!(time.stamp(term, applied), expected, "{why}");
    }
}
