//! A clock that stands still until a test moves it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jaco_state::Clock;

#[derive(Debug, Clone, Copy)]
struct Times {
    wall_ms: u64,
    monotonic: Duration,
}

/// A clock set by hand.
#[derive(Debug)]
pub struct ManualClock {
    times: Mutex<Times>,
}

impl ManualClock {
    /// A clock at this wall time (milliseconds since the Unix epoch) and monotonic zero.
    pub fn new(wall_ms: u64) -> Self {
        ManualClock { times: Mutex::new(Times { wall_ms, monotonic: Duration::ZERO }) }
    }

    /// Lets time pass: both clocks move. Wall time moves by whole milliseconds.
    pub fn advance(&self, by: Duration) {
        let mut times = self.times();
        times.monotonic = times.monotonic.saturating_add(by);
        times.wall_ms = times.wall_ms.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
    }

    /// Somebody sets the machine's clock: wall time jumps, monotonic time does not.
    pub fn set_wall(&self, wall_ms: u64) {
        self.times().wall_ms = wall_ms;
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.times().wall_ms
    }

    fn monotonic(&self) -> Duration {
        self.times().monotonic
    }
}

#[cfg(test)]
mod tests;
