//! Cluster time: what the leader stamps on entries.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jaco_state::Clock;

/// Makes stamps that never go back and never advance faster than the monotonic clock.
///
/// In each term it starts at the later of wall time and the last applied stamp. From then on wall time counts only as far as the
/// monotonic clock bears it out: a wall clock set back stops the stamps, one set forward moves them no faster.
pub(crate) struct ClusterTime {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    anchor: Option<Anchor>,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    term: u64,
    stamp: u64,
    at: Duration,
}

impl ClusterTime {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        ClusterTime { clock, state: Mutex::default() }
    }

    /// The stamp of an entry proposed now, milliseconds since the Unix epoch. `applied` is the stamp of the last applied entry.
    pub(crate) fn stamp(&self, term: u64, applied: u64) -> u64 {
        let (wall, monotonic) = (self.clock.now_ms(), self.clock.monotonic());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let anchor = match state.anchor {
            Some(anchor) if anchor.term == term => anchor,
            Some(_) | None => *state.anchor.insert(Anchor { term, stamp: wall.max(applied), at: monotonic }),
        };
        let elapsed = monotonic.saturating_sub(anchor.at).as_millis() as u64;
        let stamp = wall.min(anchor.stamp.saturating_add(elapsed)).max(applied).max(state.last);
        state.last = stamp;
        stamp
    }
}

#[cfg(test)]
mod tests;
