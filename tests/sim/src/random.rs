//! The choices of a run: a row of numbers that follows from its seed.

use std::time::Duration;

use jaco_controlplane::Randomness;
use jaco_testkit::SeededRandomness;

/// A row of choices.
#[derive(Debug)]
pub(crate) struct Random(SeededRandomness);

impl Random {
    /// The row of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Random(SeededRandomness::new(seed))
    }

    /// A row of its own for a part of the run, so that its choices do not depend on when others choose.
    pub(crate) fn split(&self) -> Random {
        Random::new(self.next())
    }

    /// 64 bits.
    pub(crate) fn next(&self) -> u64 {
        self.0.next_u64()
    }

    /// One of `0..bound`; 0 for a bound of 0.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// True so many times in a hundred.
    pub(crate) fn percent(&self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of these; `None` when there is none.
    pub(crate) fn pick<T: Clone>(&self, from: &[T]) -> Option<T> {
        let place = usize::try_from(self.below(from.len() as u64)).ok()?;
        from.get(place).cloned()
    }

    /// Between these, in milliseconds.
    pub(crate) fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most.saturating_sub(least) + 1))
    }

    /// Evenly in `0.0..1.0`.
    pub(crate) fn fraction(&self) -> f64 {
        (self.next() >> 40) as f64 / f64::from(1u32 << 24)
    }

    /// A request's token.
    pub(crate) fn token(&self) -> [u8; 16] {
        (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes()
    }
}
