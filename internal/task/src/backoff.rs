//! Waiting times after failures.

use std::sync::Arc;
use std::time::Duration;

/// A source of numbers in `0.0..1.0` that spread waiting times.
pub(crate) type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Exponential backoff: the wait doubles with each failure in a row, up to a longest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first failure.
    pub initial: Duration,
    /// Longest wait.
    pub max: Duration,
}

impl Backoff {
    /// A backoff from `initial` to `max`.
    pub const fn new(initial: Duration, max: Duration) -> Self {
        Backoff { initial, max }
    }

    /// The wait after this many failures in a row, between half of the exponential value and all of it.
    ///
    /// `jitter` is a number in `0.0..1.0`: half of the wait is spread evenly, so that tasks that failed together do not all come back
    /// together ("equal jitter" in the AWS architecture blog's comparison of exponential backoffs). No failure means no wait.
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let doublings = (failures - 1).min(31);
        let full = self.initial.saturating_mul(1_u32 << doublings).min(self.max);
        let half = full / 2;
        half + half.mul_f64(jitter.clamp(0.0, 1.0))
    }
}

impl Default for Backoff {
    /// Half a second to thirty seconds.
    fn default() -> Self {
        Backoff::new(Duration::from_millis(500), Duration::from_secs(30))
    }
}
