//! What everything on one serving thread shares: its tasks, its counters, its random numbers.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hyper::rt::Executor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::shared::Shared;
use crate::stats::WorkerStats;

/// One serving thread: a current-thread runtime, its client connections, its upstream connections.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    /// Client connections, their streams and tunnels.
    pub(crate) clients: TaskTracker,
    /// Upstream connections.
    pub(crate) upstreams: TaskTracker,
    /// Cancelled when the stop begins.
    pub(crate) draining: CancellationToken,
    random: AtomicU64,
}

/// Runs what HTTP/2 splits off as tasks of the worker.
#[derive(Clone)]
pub(crate) struct TrackedExecutor(pub(crate) TaskTracker);

impl<F> Executor<F> for TrackedExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Self {
        Worker {
            index,
            // A child has a lock of its own, so that the connections of one worker do not meet those of another on it.
            draining: shared.stop.draining.child_token(),
            shared,
            clients: TaskTracker::new(),
            upstreams: TaskTracker::new(),
            random: AtomicU64::new(rand::random::<u64>() | 1),
        }
    }

    pub(crate) fn stats(&self) -> Option<&WorkerStats> {
        self.shared.stats.get(self.index)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.shared.stop.began.load(Relaxed)
    }

    /// xorshift64*: good enough to spread load, and only this worker uses it.
    pub(crate) fn random(&self) -> u64 {
        let mut state = self.random.load(Relaxed);
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.random.store(state, Relaxed);
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Counts a client connection that has ended.
    pub(crate) fn closed(&self) {
        if let Some(stats) = self.stats() {
            stats.closed.fetch_add(1, Relaxed);
        }
    }
}
