//! What happened, for people and for comparing runs.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Events that are kept for the report of a failure.
const KEPT: usize = 300;

/// A ring of the last events, and a hash of all of them.
#[derive(Debug)]
pub(crate) struct Trace {
    begun: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    events: VecDeque<String>,
    hash: u64,
    count: u64,
}

impl Trace {
    /// An empty trace whose times count from now.
    pub(crate) fn new() -> Self {
        // The offset basis of FNV-1a.
        let inner = Inner { events: VecDeque::new(), hash: 0xcbf2_9ce4_8422_2325, count: 0 };
        Trace { begun: Instant::now(), inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an event at the present simulated time.
    pub(crate) fn note(&self, event: impl Display) {
        let event = format!("{:>10.3} {event}", self.begun.elapsed().as_secs_f64());
        let mut inner = self.lock();
        for byte in event.bytes() {
            inner.hash = (inner.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        inner.count += 1;
        if inner.events.len() == KEPT {
            inner.events.pop_front();
        }
        inner.events.push_back(event);
    }

    /// A hash of all events and their times.
    pub(crate) fn hash(&self) -> u64 {
        self.lock().hash
    }

    /// How many events there were.
    pub(crate) fn count(&self) -> u64 {
        self.lock().count
    }

    /// The last events, oldest first.
    pub(crate) fn last(&self) -> Vec<String> {
        self.lock().events.iter().cloned().collect()
    }
}

impl Default for Trace {
    fn default() -> Self {
        Trace::new()
    }
}
