//! The time that one ingress reckons with.

use std::time::{Duration, Instant};

/// A monotonic clock that counts from its making.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// One that begins now.
    pub(crate) fn start() -> Self {
        Clock(Instant::now())
    }

    /// Microseconds since the start; never 0, which stands for "not set".
    pub(crate) fn micros(self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.0).as_micros()).unwrap_or(u64::MAX).max(1)
    }

    pub(crate) fn now_micros(self) -> u64 {
        self.micros(Instant::now())
    }

    pub(crate) fn now_ms(self) -> u64 {
        self.now_micros() / 1000
    }

    pub(crate) fn instant(self, micros: u64) -> Instant {
        self.0 + Duration::from_micros(micros)
    }
}
