//! Time and randomness of a simulation.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jaco_controlplane::Randomness;
use jaco_state::Clock;
use tokio::time::Instant;

/// The same row of numbers for the same seed (SplitMix64: Steele, Lea, Flood 2014).
#[derive(Debug)]
pub struct SeededRandomness(AtomicU64);

impl SeededRandomness {
    /// A row of numbers.
    pub fn new(seed: u64) -> Self {
        SeededRandomness(AtomicU64::new(seed))
    }
}

impl Randomness for SeededRandomness {
    fn next_u64(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15u64;
        let state = self.0.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A clock that goes with tokio's time, also when that is paused.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    start: Instant,
    wall_ms: u64,
}

impl TokioClock {
    /// A clock whose wall time is this now, milliseconds since the Unix epoch, and whose monotonic time starts now.
    pub fn new(wall_ms: u64) -> Self {
        TokioClock { start: Instant::now(), wall_ms }
    }
}

impl Clock for TokioClock {
    fn now_ms(&self) -> u64 {
        self.wall_ms + u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock of a machine: it runs a little faster or slower than tokio's, and somebody sets its wall time, forwards or back.
#[derive(Debug)]
pub struct JumpingClock {
    start: Instant,
    wall_ms: u64,
    /// What it gains, parts of a million.
    gains_ppm: i32,
    jumped_ms: AtomicI64,
}

impl JumpingClock {
    /// A clock that has not jumped yet, see [`TokioClock::new`]. In a million seconds it gains so many; negative: it loses them.
    pub fn new(wall_ms: u64, gains_ppm: i32) -> Self {
        JumpingClock { start: Instant::now(), wall_ms, gains_ppm, jumped_ms: AtomicI64::new(0) }
    }

    /// Moves the wall time by so many milliseconds.
    pub fn jump(&self, by_ms: i64) {
        self.jumped_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for JumpingClock {
    fn now_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.monotonic().as_millis()).unwrap_or(u64::MAX);
        self.wall_ms.saturating_add(elapsed).saturating_add_signed(self.jumped_ms.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        let elapsed = self.start.elapsed();
        let gained = elapsed / 1_000_000 * self.gains_ppm.unsigned_abs();
        if self.gains_ppm < 0 { elapsed.saturating_sub(gained) } else { elapsed.saturating_add(gained) }
    }
}
