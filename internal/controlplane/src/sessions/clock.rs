//! The clock of leases.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jaco_state::Clock;
use rustix::time::{ClockId, clock_gettime};

/// Time since the boot of this machine, also while it slept: what leases are counted on, and the same for every process here.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        super::millis(since_epoch)
    }

    fn monotonic(&self) -> Duration {
        let now = clock_gettime(ClockId::Boottime);
        let part = |value: i64| u64::try_from(value).unwrap_or_default();
        Duration::from_secs(part(now.tv_sec)) + Duration::from_nanos(part(now.tv_nsec))
    }
}
