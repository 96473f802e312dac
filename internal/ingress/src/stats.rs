//! Counters. Each worker counts for itself; readers add up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds of the duration buckets in microseconds; one more bucket above them is unbounded.
pub const DURATION_BUCKETS_MICROS: [u64; 13] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000];

/// A sum over all workers since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Finished requests by the first digit of their status: index 0 is 1xx, index 4 is 5xx.
    pub requests: [u64; 5],
    /// Finished requests by duration, from the head's arrival to the last byte handed over; not cumulative. Tunnels are not in it.
    pub durations: [u64; DURATION_BUCKETS_MICROS.len() + 1],
    /// Sum of those durations, microseconds.
    pub duration_micros: u64,
    /// Open client connections, tunnels included.
    pub active_connections: u64,
    /// Client connections ever accepted.
    pub connections: u64,
    /// Client connections refused by a limit.
    pub refused_connections: u64,
    /// Requests sent again to another or the same replica.
    pub retries: u64,
    /// Failures of upstreams: connecting, or before the first byte of an answer.
    pub upstream_failures: u64,
}

#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct WorkerStats {
    requests: [AtomicU64; 5],
    durations: [AtomicU64; DURATION_BUCKETS_MICROS.len() + 1],
    duration_micros: AtomicU64,
    pub(crate) opened: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) upstream_failures: AtomicU64,
}

impl WorkerStats {
    /// Counts a finished request.
    pub(crate) fn finish(&self, status: u16, micros: u64) {
        if let Some(class) = self.requests.get(usize::from(status / 100).saturating_sub(1)) {
            class.fetch_add(1, Relaxed);
        }
        let bucket =
            DURATION_BUCKETS_MICROS.iter().position(|bound| micros <= *bound).unwrap_or(DURATION_BUCKETS_MICROS.len());
        if let Some(bucket) = self.durations.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        self.duration_micros.fetch_add(micros, Relaxed);
    }

    pub(crate) fn add_to(&self, sum: &mut Stats) {
        for (total, own) in sum.requests.iter_mut().zip(&self.requests) {
            *total += own.load(Relaxed);
        }
        for (total, own) in sum.durations.iter_mut().zip(&self.durations) {
            *total += own.load(Relaxed);
        }
        sum.duration_micros += self.duration_micros.load(Relaxed);
        // Closed first: a connection that opens and closes in between must not make the difference negative.
        let closed = self.closed.load(Relaxed);
        let opened = self.opened.load(Relaxed);
        sum.active_connections += opened.saturating_sub(closed);
        sum.connections += opened;
        sum.refused_connections += self.refused.load(Relaxed);
        sum.retries += self.retries.load(Relaxed);
        sum.upstream_failures += self.upstream_failures.load(Relaxed);
    }
}
