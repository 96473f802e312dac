//! Wall time as a parameter: certificates are judged by it, and tests decide what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

/// A source of wall time.
///
/// Any `Fn() -> u64` is one, so that the daemon hands in its own clock without this crate knowing it.
pub trait WallClock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
}

impl<F: Fn() -> u64 + Send + Sync + 'static> WallClock for F {
    fn now_ms(&self) -> u64 {
        self()
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemWallClock;

impl WallClock for SystemWallClock {
    fn now_ms(&self) -> u64 {
        // A clock before 1970 counts as 1970, where no certificate of ours is valid: nothing is trusted until it is set right.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }
}
