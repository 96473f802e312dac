//! Waiting for the outside world: a condition with a deadline, never a fixed time.

use std::time::{Duration, Instant};

/// A short pause between two looks at the outside world.
#[allow(clippy::disallowed_methods)] // Nothing outside this process wakes us; every use has a condition and a deadline.
pub fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

/// Looks until `look` gives something; fails with what it said last when the deadline passes.
pub fn eventually<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> anyhow::Result<T> {
    let end = Instant::now() + deadline;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(last) if Instant::now() > end => {
                anyhow::bail!("{what}: not within {deadline:?}; last: {last}")
            }
            Err(_) => pause(),
        }
    }
}
