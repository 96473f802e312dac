//! The store without consensus: one node, memory only, every proposal applied at once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::command::Command;
use crate::machine::{EntryMeta, Outcome, StateMachine};
use crate::propose::ProposeError;
use crate::store::{BoxFuture, Leadership, Store};
use crate::transaction::{Commit, Transaction};
use crate::view::View;
use crate::watch::{Hub, HubLimits, TooManyWatchers, WatchFrom, Watcher};

struct Inner {
    machine: StateMachine,
    leadership: Leadership,
    term: u64,
    /// Errors for the next proposals, in order.
    failures: VecDeque<ProposeError>,
    stopped: bool,
}

/// A [`Store`] in memory, for tests of planners, loops and handlers. It applies with the same code as the replicated one.
pub struct LocalStore {
    inner: Mutex<Inner>,
    hub: Hub,
    clock: Arc<dyn Clock>,
}

impl LocalStore {
    /// An empty store that leads in term 1 and stamps its entries by this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        LocalStore::with_state(clock, StateMachine::new(), HubLimits::default())
    }

    /// A store that begins with this state, and these bounds of its watches.
    pub fn with_state(clock: Arc<dyn Clock>, machine: StateMachine, limits: HubLimits) -> Self {
        let hub = Hub::new(machine.view(), limits);
        let term = machine.view().term().max(1);
        let inner =
            Inner { machine, leadership: Leadership::Leader { term }, term, failures: VecDeque::new(), stopped: false };
        LocalStore { inner: Mutex::new(inner), hub, clock }
    }

    /// Proposes without a runtime: what [`Store::propose`] does, at once.
    pub fn commit(&self, transaction: Transaction) -> Result<Commit, ProposeError> {
        let command = Command::new(transaction)?;
        let mut inner = self.lock();
        if inner.stopped {
            return Err(ProposeError::Stopped);
        }
        if let Some(error) = inner.failures.pop_front() {
            return Err(error);
        }
        let index = inner.machine.view().index() + 1;
        let meta = EntryMeta { index, term: inner.term, time_ms: self.clock.now_ms() };
        let mut outcome = inner.machine.apply(meta, &command);
        let batch = match &mut outcome {
            Outcome::Committed { batch, .. } => batch.take(),
            Outcome::Refused { .. } | Outcome::Repeated(_) | Outcome::RequestTooOld => None,
        };
        // Under the lock, so that the order of publishing is that of applying.
        self.hub.publish(inner.machine.view(), batch);
        outcome.into_result(&command, index)
    }

    /// The next proposal fails with this error and is not applied; several queue up.
    pub fn fail_next(&self, error: ProposeError) {
        self.lock().failures.push_back(error);
    }

    /// Sets what [`Store::leadership`] says. A leader's term becomes the term of later entries.
    pub fn set_leadership(&self, leadership: Leadership) {
        let mut inner = self.lock();
        inner.leadership = leadership;
        if let Leadership::Leader { term } = leadership {
            inner.term = term;
        }
    }

    /// Replaces everything, as an installed snapshot does.
    pub fn install(&self, machine: StateMachine) {
        let mut inner = self.lock();
        inner.machine = machine;
        self.hub.install(inner.machine.view());
    }

    /// Stops it: proposals fail and watchers end.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.hub.stop();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for LocalStore {
    fn propose(&self, transaction: Transaction) -> BoxFuture<'_, Result<Commit, ProposeError>> {
        Box::pin(async move { self.commit(transaction) })
    }

    fn view(&self) -> View {
        self.hub.view()
    }

    fn linearizable_view(&self) -> BoxFuture<'_, Result<View, ProposeError>> {
        Box::pin(async move { if self.lock().stopped { Err(ProposeError::Stopped) } else { Ok(self.hub.view()) } })
    }

    fn reached(&self, index: u64) -> BoxFuture<'_, Result<View, ProposeError>> {
        Box::pin(async move { self.hub.reached(index).await.map_err(|_| ProposeError::Stopped) })
    }

    fn watch(&self, from: WatchFrom) -> Watcher {
        self.hub.watch(from)
    }

    fn watch_client(&self, from: WatchFrom) -> Result<Watcher, TooManyWatchers> {
        self.hub.watch_client(from)
    }

    fn leadership(&self) -> Leadership {
        self.lock().leadership
    }
}

#[cfg(test)]
mod tests;
