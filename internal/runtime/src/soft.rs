//! What is worth showing and not worth committing: health-check times, attempts, pull progress; and the counters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jaco_types::ReplicaId;

use crate::engine::PullProgress;

/// The soft state of one replica. Times are this node's wall clock, milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaSoft {
    /// Last time it was seen to be well: end of its last health check, or without one the last look at its running process.
    pub last_health_at_ms: Option<u64>,
    /// Last attempt to pull, create or start.
    pub last_attempt_at_ms: Option<u64>,
    /// Where its pull stands, while one is under way.
    pub pull: Option<PullProgress>,
}

/// Handle on the soft state of this node's replicas; clones share it.
#[derive(Debug, Clone, Default)]
pub struct SoftState(Arc<Mutex<BTreeMap<ReplicaId, ReplicaSoft>>>);

impl SoftState {
    /// One replica's soft state; the default for an unknown one.
    pub fn get(&self, id: &ReplicaId) -> ReplicaSoft {
        self.lock().get(id).copied().unwrap_or_default()
    }

    /// All replicas' soft state.
    pub fn all(&self) -> BTreeMap<ReplicaId, ReplicaSoft> {
        self.lock().clone()
    }

    pub(crate) fn update(&self, id: &ReplicaId, change: impl FnOnce(&mut ReplicaSoft)) {
        change(self.lock().entry(id.clone()).or_default());
    }

    pub(crate) fn retain(&self, keep: impl Fn(&ReplicaId) -> bool) {
        self.lock().retain(|id, _| keep(id));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, ReplicaSoft>> {
        // The map is whole after any panic elsewhere: each change is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the start of the process, for metrics.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[$doc])* pub(crate) $name: AtomicU64,)* }

        /// The counters at one moment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct StatsSnapshot { $($(#[$doc])* pub $name: u64,)* }

        impl Stats {
            /// Reads all counters.
            pub fn snapshot(&self) -> StatsSnapshot {
                StatsSnapshot { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Containers started.
    container_starts,
    /// Containers made.
    container_creates,
    /// Containers stopped or removed.
    container_stops,
    /// Pulls begun.
    pulls,
    /// Steps that failed.
    step_failures,
    /// Times the engine was lost.
    engine_losses,
    /// Transactions of observations committed.
    reports,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
