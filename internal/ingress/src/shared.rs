//! What the threads of one ingress share.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use jaco_types::Protocol;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::live::{LiveTable, Registry};
use crate::options::Limits;
use crate::stats::WorkerStats;
use crate::table::Table;

pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) workers: usize,
    pub(crate) table: ArcSwap<LiveTable>,
    /// Grows with every new table, and when the table is confirmed.
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) state: Mutex<State>,
    pub(crate) clients: ClientCount,
    pub(crate) stats: Box<[WorkerStats]>,
    pub(crate) port_conditions: Mutex<BTreeMap<(Protocol, u16), String>>,
    pub(crate) stop: Stop,
    /// Set once a table came from the store; before that there is at most the cached one.
    confirmed: AtomicBool,
    start: Instant,
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
            limits,
            workers,
            table: ArcSwap::default(),
            changed: watch::Sender::new(0),
            state: Mutex::default(),
            clients: ClientCount::default(),
            stats: (0..workers).map(|_| WorkerStats::default()).collect(),
            port_conditions: Mutex::default(),
            stop: Stop::default(),
            confirmed: AtomicBool::new(false),
            start: Instant::now(),
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

    /// Microseconds since the start, of a monotonic clock; never 0, which stands for "not set".
    pub(crate) fn micros(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX).max(1)
    }

    pub(crate) fn now_micros(&self) -> u64 {
        self.micros(Instant::now())
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_micros() / 1000
    }

    pub(crate) fn instant(&self, micros: u64) -> Instant {
        self.start + std::time::Duration::from_micros(micros)
    }
}

/// Client connections by address.
#[derive(Default)]
pub(crate) struct ClientCount(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    total: u32,
    by_client: HashMap<IpAddr, u32>,
}

impl ClientCount {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, client: IpAddr, limits: &Limits) -> bool {
        let mut counted = self.counted();
        if counted.total >= limits.connections {
            return false;
        }
        let own = counted.by_client.entry(client).or_insert(0);
        if *own >= limits.connections_per_client {
            return false;
        }
        *own += 1;
        counted.total += 1;
        true
    }

    fn leave(&self, client: IpAddr) {
        let mut counted = self.counted();
        counted.total = counted.total.saturating_sub(1);
        if let Some(own) = counted.by_client.get_mut(&client) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counted.by_client.remove(&client);
            }
        }
    }
}

/// A client connection that counts.
pub(crate) struct ClientGuard {
    shared: Arc<Shared>,
    client: IpAddr,
}

impl ClientGuard {
    /// `None` over the limit.
    pub(crate) fn enter(shared: &Arc<Shared>, client: IpAddr) -> Option<Self> {
        let client = network_of(client);
        shared.clients.enter(client, &shared.limits).then(|| ClientGuard { shared: Arc::clone(shared), client })
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.shared.clients.leave(self.client);
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 /64, as that is the least a single host is given.
fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}
