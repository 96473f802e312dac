//! What the threads of one ingress share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use jaco_types::Protocol;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admission::ClientCount;
use crate::clock::Clock;
use crate::limits::Limits;
use crate::live::{LiveTable, Registry};
use crate::stats::WorkerStats;
use crate::table::Table;

pub(crate) struct Shared {
    pub(crate) limits: Arc<Limits>,
    pub(crate) clock: Clock,
    pub(crate) workers: usize,
    pub(crate) table: ArcSwap<LiveTable>,
    /// Grows with every new table, and when the table is confirmed.
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) state: Mutex<State>,
    pub(crate) clients: Arc<ClientCount>,
    pub(crate) stats: Box<[WorkerStats]>,
    pub(crate) port_conditions: Mutex<BTreeMap<(Protocol, u16), String>>,
    pub(crate) stop: Stop,
    /// Set once a table came from the store; before that there is at most the cached one.
    confirmed: AtomicBool,
}

/// What only changes of the table touch.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) registry: Registry,
    /// The table in force; `None` before the first.
    pub(crate) current: Option<Table>,
}

/// The two steps of stopping.
#[derive(Default)]
pub(crate) struct Stop {
    /// Set before `draining` is cancelled; cheap to read with every request.
    pub(crate) began: AtomicBool,
    /// Take no new connections; finish what is in flight.
    pub(crate) draining: CancellationToken,
    /// End now.
    pub(crate) killed: CancellationToken,
}

impl Stop {
    pub(crate) fn drain(&self) {
        self.began.store(true, Ordering::SeqCst);
        self.draining.cancel();
    }
}

impl Shared {
    pub(crate) fn new(limits: Limits, workers: usize) -> Self {
        Shared {
            limits: Arc::new(limits),
            clock: Clock::start(),
            workers,
            table: ArcSwap::default(),
            changed: watch::Sender::new(0),
            state: Mutex::default(),
            clients: Arc::default(),
            stats: (0..workers).map(|_| WorkerStats::default()).collect(),
            port_conditions: Mutex::default(),
            stop: Stop::default(),
            confirmed: AtomicBool::new(false),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Swaps a table in. False when it is the one in force.
    pub(crate) fn apply(&self, table: &Table) -> bool {
        let mut state = self.state();
        if state.current.as_ref() == Some(table) {
            return false;
        }
        let live = state.registry.compile(table, self.workers);
        state.current = Some(table.clone());
        self.table.store(Arc::new(live));
        self.tell();
        true
    }

    /// The table in force is the store's from now on.
    pub(crate) fn confirm(&self) {
        if !self.confirmed.swap(true, Ordering::SeqCst) {
            self.tell();
        }
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::SeqCst)
    }

    fn tell(&self) {
        self.changed.send_modify(|version| *version = version.wrapping_add(1));
    }
}
