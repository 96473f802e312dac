//! Time as a parameter, so that tests and the simulation decide what time it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time.
///
/// Wall time is for stamps a user reads; deadlines, leases and grace periods use [`Clock::monotonic`] only, since wall time jumps.
pub trait Clock: Send + Sync + 'static {
    /// Wall time, milliseconds since the Unix epoch. It may jump either way.
    fn now_ms(&self) -> u64;

    /// Time since an arbitrary start. It never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's own clocks.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        // A wall clock before 1970 counts as 1970: cluster time never goes back, so it only delays until the clock is right.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
