//! Watches: a snapshot, then every change after it, in order, with no hole.
//!
//! The [`Hub`] keeps the newest view and a ring of recent [`Batch`]es that all watchers share; a [`Watcher`] is a place in that
//! ring. One wake-up serves all of them, and nothing is copied per watcher, so a slow one costs no memory: when its place has left
//! the ring, or a snapshot was installed, or the cluster began another life, it gets a new snapshot instead of a hole.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jaco_types::{ErrorCode, UserError};
use tokio::sync::watch;

use crate::record::Batch;
use crate::view::View;

/// A place in the history of a cluster, also across nodes and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Incarnation of the cluster, 0 before it is initialised.
    pub incarnation: u64,
    /// Everything up to this log index is known.
    pub index: u64,
}

/// Where a watcher begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchFrom {
    /// With a snapshot of now.
    Now,
    /// With the first change after this place; with a snapshot when that is no longer possible. A place this node has not reached
    /// yet is waited for.
    After(Cursor),
}

/// What a watcher gets.
#[derive(Debug, Clone)]
pub enum Event {
    /// Everything, as it is now: the first event, and again when the place was lost. What is not in it is gone.
    Snapshot(View),
    /// The changes of the next transaction.
    Batch(Arc<Batch>),
}

/// Bounds of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubLimits {
    /// Memory of the ring of recent batches, bytes; 16 MiB by default.
    pub ring_bytes: usize,
    /// Batches in the ring; 65,536 by default.
    pub ring_batches: usize,
    /// Watchers on behalf of clients; 4,096 by default.
    pub client_watchers: usize,
}

impl Default for HubLimits {
    fn default() -> Self {
        HubLimits { ring_bytes: 16 * 1024 * 1024, ring_batches: 65_536, client_watchers: 4096 }
    }
}

/// There are as many watchers on behalf of clients as this node allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this node already serves {limit} watchers")]
pub struct TooManyWatchers {
    /// The limit.
    pub limit: usize,
}

impl TooManyWatchers {
    /// What the user is told.
    pub fn user_error(&self) -> UserError {
        UserError::new(
            ErrorCode::RequestTooLarge,
            format!(
                "this node already serves {} watchers; end some of them, or watch through another node",
                self.limit
            ),
        )
        .with("limit", self.limit)
        .with("unit", "watchers")
    }
}

/// The hub was stopped; nothing more will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store has stopped")]
pub struct HubStopped;

struct State {
    view: View,
    /// Of that view; kept so that a thousand watchers need not look it up.
    incarnation: u64,
    /// Recent batches with their cost, by ascending index.
    ring: VecDeque<(Arc<Batch>, usize)>,
    ring_cost: usize,
    /// Every batch after this index is in the ring.
    floor: u64,
    stopped: bool,
}

struct Shared {
    state: RwLock<State>,
    wake: watch::Sender<()>,
    limits: HubLimits,
    client_watchers: AtomicUsize,
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The publishing side: one per store. Dropping it ends its watchers.
pub struct Hub {
    shared: Arc<Shared>,
}

impl Hub {
    /// A hub that begins with this view.
    pub fn new(view: View, limits: HubLimits) -> Self {
        let state = State {
            incarnation: view.incarnation(),
            floor: view.index(),
            view,
            ring: VecDeque::new(),
            ring_cost: 0,
            stopped: false,
        };
        let (wake, _) = watch::channel(());
        Hub {
            shared: Arc::new(Shared { state: RwLock::new(state), wake, limits, client_watchers: AtomicUsize::new(0) }),
        }
    }

    /// Publishes applied entries: the view after the last of them, and the batches they left, in log order.
    ///
    /// To be called by the one who applies, in the order of applying, also when no entry left a batch.
    pub fn publish(&self, view: View, batches: impl IntoIterator<Item = Batch>) {
        // Freed after the lock, under which everybody who wants a view waits.
        let mut retired = Vec::new();
        let _old_view = {
            let mut state = self.shared.write();
            for batch in batches {
                let cost = batch.cost();
                state.ring.push_back((Arc::new(batch), cost));
                state.ring_cost = state.ring_cost.saturating_add(cost);
            }
            while state.ring_cost > self.shared.limits.ring_bytes || state.ring.len() > self.shared.limits.ring_batches
            {
                let Some((oldest, cost)) = state.ring.pop_front() else { break };
                state.ring_cost = state.ring_cost.saturating_sub(cost);
                state.floor = oldest.index;
                retired.push(oldest);
            }
            state.incarnation = view.incarnation();
            std::mem::replace(&mut state.view, view)
        };
        self.shared.wake.send_replace(());
    }

    /// Replaces everything by an installed snapshot; every watcher whose place is before it gets it as one.
    pub fn install(&self, view: View) {
        {
            let mut state = self.shared.write();
            state.ring.clear();
            state.ring_cost = 0;
            state.floor = view.index();
            state.incarnation = view.incarnation();
            state.view = view;
        }
        self.shared.wake.send_replace(());
    }

    /// Ends every watcher once it has seen what was published before. It cannot be undone.
    pub fn stop(&self) {
        self.shared.write().stopped = true;
        self.shared.wake.send_replace(());
    }

    /// The newest view.
    pub fn view(&self) -> View {
        self.shared.read().view.clone()
    }

    /// A view that has applied at least this index, as soon as there is one.
    ///
    /// # Errors
    /// [`HubStopped`] when the hub was stopped before it got there.
    pub async fn reached(&self, index: u64) -> Result<View, HubStopped> {
        let mut wake = self.shared.wake.subscribe();
        loop {
            wake.borrow_and_update();
            {
                let state = self.shared.read();
                if state.view.index() >= index {
                    return Ok(state.view.clone());
                }
                if state.stopped {
                    return Err(HubStopped);
                }
            }
            wake.changed().await.map_err(|_| HubStopped)?;
        }
    }

    /// A watcher for a part of the daemon itself; not counted.
    pub fn watch(&self, from: WatchFrom) -> Watcher {
        Watcher::new(self.shared.clone(), from, None)
    }

    /// A watcher on behalf of a client; counted until it is dropped.
    pub fn watch_client(&self, from: WatchFrom) -> Result<Watcher, TooManyWatchers> {
        let limit = self.shared.limits.client_watchers;
        let counted = self
            .shared
            .client_watchers
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < limit).then_some(count + 1));
        match counted {
            Ok(_) => Ok(Watcher::new(self.shared.clone(), from, Some(Counted(self.shared.clone())))),
            Err(_) => Err(TooManyWatchers { limit }),
        }
    }

    /// Watchers on behalf of clients at the moment.
    pub fn client_watchers(&self) -> usize {
        self.shared.client_watchers.load(Ordering::Acquire)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One watcher in the count of those on behalf of clients.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.client_watchers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The receiving side of a watch.
pub struct Watcher {
    shared: Arc<Shared>,
    wake: watch::Receiver<()>,
    /// Everything up to here was delivered, or is known from the cursor.
    place: Cursor,
    /// The next event must be a snapshot.
    lost: bool,
    _counted: Option<Counted>,
}

enum Step {
    Deliver(Event),
    Wait,
    End,
}

impl Watcher {
    fn new(shared: Arc<Shared>, from: WatchFrom, counted: Option<Counted>) -> Self {
        let wake = shared.wake.subscribe();
        let (place, lost) = {
            let state = shared.read();
            match from {
                WatchFrom::Now => (Cursor { incarnation: state.incarnation, index: state.view.index() }, true),
                WatchFrom::After(cursor) => {
                    // A node that has not applied its first `ClusterMeta` yet cannot tell lives apart: it waits for the place.
                    let behind = state.incarnation == 0 && cursor.index > state.view.index();
                    (cursor, cursor.incarnation != state.incarnation && !behind)
                }
            }
        };
        Watcher { shared, wake, place, lost, _counted: counted }
    }

    /// The next event; `None` when the store has stopped and everything before that was delivered.
    ///
    /// Cancel safe: a dropped call loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            // Marked as seen before looking: what is published after the look wakes the wait.
            self.wake.borrow_and_update();
            match self.step() {
                Step::Deliver(event) => return Some(event),
                Step::End => return None,
                Step::Wait => self.wake.changed().await.ok()?,
            }
        }
    }

    /// The next event if it is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        match self.step() {
            Step::Deliver(event) => Some(event),
            Step::Wait | Step::End => None,
        }
    }

    /// The place after the last event: where another watcher can go on.
    pub fn cursor(&self) -> Cursor {
        self.place
    }

    fn step(&mut self) -> Step {
        let shared = self.shared.clone();
        let state = shared.read();
        if self.lost || self.place_is_gone(&state) {
            self.lost = false;
            self.place = Cursor { incarnation: state.incarnation, index: state.view.index() };
            return Step::Deliver(Event::Snapshot(state.view.clone()));
        }
        let next = state.ring.partition_point(|(batch, _)| batch.index <= self.place.index);
        if let Some((batch, _)) = state.ring.get(next) {
            self.place = Cursor { incarnation: state.incarnation, index: batch.index };
            return Step::Deliver(Event::Batch(batch.clone()));
        }
        if state.view.index() >= self.place.index {
            // Entries that changed nothing move the place as well, so that it does not fall out of the ring for their sake.
            self.place = Cursor { incarnation: state.incarnation, index: state.view.index() };
        }
        if state.stopped { Step::End } else { Step::Wait }
    }

    fn place_is_gone(&self, state: &State) -> bool {
        let another_life =
            self.place.incarnation != 0 && state.incarnation != 0 && self.place.incarnation != state.incarnation;
        // An installed snapshot ends every place before it. One at or after it knows as much or more: it goes on, or goes on waiting.
        another_life || self.place.index < state.floor
    }
}

#[cfg(test)]
mod tests;
