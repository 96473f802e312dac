//! Stores for tests.

use std::ops::Deref;
use std::sync::Arc;

use jaco_state::{Commit, LocalStore, ProposeError, Transaction};

use crate::clock::ManualClock;
use crate::records::{cluster_meta, ready_node};

/// A [`LocalStore`] with the clock that stamps its entries.
#[derive(Clone)]
pub struct TestStore {
    /// The store, ready to be handed on as `Arc<dyn Store>`.
    pub store: Arc<LocalStore>,
    /// Its clock; starts at wall time 1,000,000 ms.
    pub clock: Arc<ManualClock>,
}

impl TestStore {
    /// Fills a transaction of `system` and commits it.
    pub fn write(&self, fill: impl FnOnce(&mut Transaction)) -> Result<Commit, ProposeError> {
        let mut transaction = Transaction::new("system");
        fill(&mut transaction);
        self.store.commit(transaction)
    }
}

impl Deref for TestStore {
    type Target = LocalStore;
    fn deref(&self) -> &LocalStore {
        &self.store
    }
}

/// A store that has applied nothing.
pub fn empty_store() -> TestStore {
    let clock = Arc::new(ManualClock::new(1_000_000));
    TestStore { store: Arc::new(LocalStore::new(clock.clone())), clock }
}

/// The store of an initialised cluster with these members, all ready; their ids count from 1.
///
/// # Panics
/// When a name is not a host name.
#[allow(clippy::unwrap_used)] // The records fit any store: a failure is a mistake in this crate.
pub fn cluster_store(hostnames: &[&str]) -> TestStore {
    let store = empty_store();
    let fill = |transaction: &mut Transaction| {
        transaction.put(cluster_meta());
        for (id, name) in (1..).zip(hostnames) {
            ready_node(id, name).put_into(transaction);
        }
    };
    store.write(fill).unwrap();
    store
}

#[cfg(test)]
mod tests;
