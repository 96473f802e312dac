//! One container port as the ingress uses it: load, health and idle connections; and the choice among several.
//!
//! Guards and withdrawal follow one rule: a guard is taken *before* the withdrawn flag is read, and the flag is set *before* the guards
//! are counted. So either the withdrawer sees the guard, or the taker sees the flag and gives the guard back.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use tokio::sync::{Notify, watch};

use crate::request_body::RequestBody;
use crate::table::UpstreamProtocol;

#[cfg(test)]
mod tests;

/// What makes an upstream the same one across tables.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UpstreamKey {
    pub(crate) address: SocketAddr,
    pub(crate) container: String,
    pub(crate) protocol: UpstreamProtocol,
}

pub(crate) struct Upstream {
    pub(crate) key: UpstreamKey,
    /// Requests, tunnels, connections and flows in flight.
    active: AtomicUsize,
    /// Milliseconds of the ingress' clock until which it is left out.
    ejected_until: AtomicU64,
    withdrawn: watch::Sender<bool>,
    withdrawn_flag: AtomicBool,
    /// Told when a withdrawn upstream has lost its last guard.
    drained: Notify,
    /// Idle connections, one slot per worker, so that workers never wait for each other.
    slots: Box<[Slot]>,
}

#[derive(Default)]
#[repr(align(128))]
struct Slot {
    http1: Mutex<Vec<IdleConnection>>,
    http2: Mutex<Option<http2::SendRequest<RequestBody>>>,
}

struct IdleConnection {
    sender: http1::SendRequest<RequestBody>,
    since: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upstream {
    pub(crate) fn new(key: UpstreamKey, workers: usize) -> Self {
        Upstream {
            key,
            active: AtomicUsize::new(0),
            ejected_until: AtomicU64::new(0),
            withdrawn: watch::Sender::new(false),
            withdrawn_flag: AtomicBool::new(false),
            drained: Notify::new(),
            slots: (0..workers).map(|_| Slot::default()).collect(),
        }
    }

    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::SeqCst)
    }

    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn_flag.load(Ordering::SeqCst)
    }

    /// Closes it to new guards, or opens it again. A replica that is told to stop waits for its connections as a rule, so the idle ones
    /// are closed here, and those in use when their exchange ends.
    pub(crate) fn set_withdrawn(&self, withdrawn: bool) {
        self.withdrawn_flag.store(withdrawn, Ordering::SeqCst);
        self.withdrawn.send_replace(withdrawn);
        if withdrawn {
            for slot in &self.slots {
                lock(&slot.http1).clear();
                *lock(&slot.http2) = None;
            }
        }
    }

    /// Resolves when it is withdrawn.
    pub(crate) async fn until_withdrawn(&self) {
        let mut watched = self.withdrawn.subscribe();
        // The sender lives as long as `self`, so there is no error to see.
        let _closed = watched.wait_for(|withdrawn| *withdrawn).await;
    }

    /// Resolves when nothing is in flight any more. Only for a withdrawn upstream: others are not told.
    pub(crate) async fn until_drained(&self) {
        loop {
            let drained = self.drained.notified();
            if self.active() == 0 {
                return;
            }
            drained.await;
        }
    }

    /// Leaves it out for a while.
    pub(crate) fn eject(&self, now_ms: u64, length: Duration) {
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        self.ejected_until.store(now_ms.saturating_add(length), Ordering::Relaxed);
    }

    fn is_usable(&self, now_ms: u64) -> bool {
        !self.is_withdrawn() && self.ejected_until.load(Ordering::Relaxed) <= now_ms
    }

    /// An idle HTTP/1 connection of this worker that can take a request now.
    pub(crate) fn take_http1(&self, worker: usize, max_idle: Duration) -> Option<http1::SendRequest<RequestBody>> {
        let mut idle = lock(&self.slots.get(worker)?.http1);
        let mut position = idle.len();
        while position > 0 {
            position -= 1;
            let connection = idle.get(position)?;
            if connection.sender.is_closed() {
                idle.swap_remove(position);
            } else if connection.sender.is_ready() {
                let found = idle.swap_remove(position);
                if found.since.elapsed() < max_idle {
                    return Some(found.sender);
                }
            }
        }
        None
    }

    /// Gives a connection back; it may still be finishing its last exchange. Over the bound, or withdrawn, it is closed.
    pub(crate) fn put_http1(
        &self,
        worker: usize,
        sender: http1::SendRequest<RequestBody>,
        since: Instant,
        bound: usize,
    ) {
        if sender.is_closed() {
            return;
        }
        if let Some(slot) = self.slots.get(worker) {
            let mut idle = lock(&slot.http1);
            // Asked under the lock: whoever withdraws closes what is in here after that.
            if idle.len() < bound && !self.is_withdrawn() {
                idle.push(IdleConnection { sender, since });
            }
        }
    }

    pub(crate) fn shared_http2(&self, worker: usize) -> Option<http2::SendRequest<RequestBody>> {
        let mut shared = lock(&self.slots.get(worker)?.http2);
        if shared.as_ref().is_some_and(http2::SendRequest::is_closed) {
            *shared = None;
        }
        shared.clone()
    }

    pub(crate) fn share_http2(&self, worker: usize, sender: http2::SendRequest<RequestBody>) {
        if let Some(slot) = self.slots.get(worker) {
            let mut shared = lock(&slot.http2);
            *shared = (!self.is_withdrawn()).then_some(sender);
        }
    }

    /// Closes what this worker has kept idle for too long.
    pub(crate) fn sweep(&self, worker: usize, max_idle: Duration) {
        let Some(slot) = self.slots.get(worker) else { return };
        lock(&slot.http1).retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < max_idle);
        let mut shared = lock(&slot.http2);
        if shared.as_ref().is_some_and(|sender| sender.is_closed() || self.active() == 0) {
            *shared = None;
        }
    }
}

/// Keeps an upstream counted as in use.
pub(crate) struct InFlight(Arc<Upstream>);

impl InFlight {
    /// Takes a guard unless the upstream is withdrawn.
    pub(crate) fn take(upstream: &Arc<Upstream>) -> Option<Self> {
        upstream.active.fetch_add(1, Ordering::SeqCst);
        let guard = InFlight(Arc::clone(upstream));
        (!upstream.is_withdrawn()).then_some(guard)
    }

    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.is_withdrawn() {
            self.0.drained.notify_waiters();
        }
    }
}

/// The upstreams of one backend.
pub(crate) struct UpstreamSet {
    upstreams: Box<[Arc<Upstream>]>,
    next: AtomicUsize,
}

impl UpstreamSet {
    pub(crate) fn new(upstreams: Vec<Arc<Upstream>>) -> Self {
        UpstreamSet { upstreams: upstreams.into_boxed_slice(), next: AtomicUsize::new(0) }
    }

    pub(crate) fn contains(&self, upstream: &Arc<Upstream>) -> bool {
        self.upstreams.iter().any(|own| Arc::ptr_eq(own, upstream))
    }

    /// The less loaded of two random ones that are usable and not in `tried`. If none is usable, the least loaded ejected one: leaving
    /// out the last one would turn a hiccup into an outage.
    pub(crate) fn choose(&self, random: u64, now_ms: u64, tried: &[SocketAddr]) -> Option<InFlight> {
        let usable = |upstream: &&Arc<Upstream>| upstream.is_usable(now_ms) && !tried.contains(&upstream.key.address);
        if let [only] = &*self.upstreams {
            return if tried.contains(&only.key.address) { None } else { InFlight::take(only) };
        }
        let count = self.upstreams.len().max(1);
        // Both halves of the number are used, so that the two choices are independent.
        let first = (random as u32) as usize % count;
        let second = (first + 1 + ((random >> 32) as usize % (count.max(2) - 1))) % count;
        let pair = [self.upstreams.get(first), self.upstreams.get(second)];
        let of_pair = pair.into_iter().flatten().filter(usable).min_by_key(|upstream| upstream.active());
        let chosen = of_pair
            .or_else(|| self.upstreams.iter().filter(usable).min_by_key(|upstream| upstream.active()))
            .or_else(|| {
                self.upstreams
                    .iter()
                    .filter(|upstream| !upstream.is_withdrawn() && !tried.contains(&upstream.key.address))
                    .min_by_key(|upstream| upstream.active())
            })?;
        let mut untried = self.upstreams.iter().filter(|upstream| !tried.contains(&upstream.key.address));
        // It may have been withdrawn just now.
        InFlight::take(chosen).or_else(|| untried.find_map(InFlight::take))
    }

    /// Every one that may be tried, beginning with the next in turn; ejected ones last.
    pub(crate) fn in_turn(&self, now_ms: u64) -> Vec<Arc<Upstream>> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.upstreams.len().max(1);
        let turned =
            || (0..self.upstreams.len()).filter_map(|step| self.upstreams.get(start.wrapping_add(step) % count));
        let usable = turned().filter(|upstream| upstream.is_usable(now_ms));
        let ejected = turned().filter(|upstream| !upstream.is_usable(now_ms) && !upstream.is_withdrawn());
        usable.chain(ejected).cloned().collect()
    }
}
