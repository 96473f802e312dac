//! The handle that the daemon holds, and the loop that keeps the table true to the store.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jaco_state::{Event, Store, View, WatchFrom, Watcher};
use jaco_types::{Kind, Protocol};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::accept;
use crate::cache;
use crate::listen;
use crate::options::Options;
use crate::ports;
use crate::render::{Reach, render};
use crate::shared::Shared;
use crate::stats::Stats;
use crate::table::Table;
use crate::worker::Worker;

/// Quiet time after a change before the table is rendered: changes come in groups.
const DEBOUNCE: Duration = Duration::from_millis(15);

/// Longest time a change may wait for quiet; the bound of contract 18.1 is 1 s.
const DEBOUNCE_MAX: Duration = Duration::from_millis(150);

/// Why the ingress did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An HTTP address is taken, or a socket is unusable.
    #[error("the ingress cannot listen for HTTP")]
    Listen(#[source] io::Error),
    /// The system gave no thread or event queue.
    #[error("the ingress cannot start a serving thread")]
    Thread(#[source] io::Error),
}

/// How a withdrawal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Nothing is in flight to it any more.
    Idle,
    /// The time was over with this many requests, tunnels, connections and flows left.
    InFlight(usize),
}

/// What [`Ingress::route_loop`] has done last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteReport {
    /// Log index of the view.
    pub index: u64,
    /// Routes in the table in force.
    pub routes: usize,
    /// Published ports in the table in force.
    pub ports: usize,
    /// Why the cache could not be written, if so.
    pub cache_error: Option<String>,
}

/// A running ingress. Dropping it ends its threads at once; [`Ingress::stop`] lets them finish.
pub struct Ingress {
    shared: Arc<Shared>,
    reach: Reach,
    cache_file: Option<PathBuf>,
    sockets: Mutex<Vec<TcpListener>>,
    threads: Mutex<Vec<Serving>>,
    addresses: Vec<SocketAddr>,
}

struct Serving {
    thread: JoinHandle<()>,
    /// Resolves (to an error, as nothing is sent) when the thread has dropped its runtime.
    ended: oneshot::Receiver<()>,
}

impl Ingress {
    /// Opens the sockets, loads the cached table, and starts serving it. Blocks shortly; needs no runtime.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let workers = options.workers.max(1);
        let spread = listen::spread(options.http, workers).map_err(StartError::Listen)?;
        let sockets = distinct(&spread).map_err(StartError::Listen)?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in sockets.iter().filter_map(|socket| socket.local_addr().ok()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let shared = Arc::new(Shared::new(options.limits, workers));
        let ingress = Ingress {
            shared: Arc::clone(&shared),
            reach: options.reach,
            cache_file: options.cache_file,
            sockets: Mutex::new(sockets),
            threads: Mutex::default(),
            addresses,
        };
        ingress.load_cache();
        for (index, listeners) in spread.into_iter().enumerate() {
            let worker = Arc::new(Worker::new(index, Arc::clone(&shared)));
            ingress.spawn(&format!("ingress-{index}"), move |runtime| {
                let _context = runtime.enter();
                let listeners: Result<Vec<_>, _> =
                    listeners.into_iter().map(tokio::net::TcpListener::from_std).collect();
                listeners.map(|listeners| accept::run(worker, listeners))
            })?;
        }
        let setup =
            ports::Setup { address: options.port_address, inherited: options.ports, keeper: options.port_keeper };
        ingress.spawn("ingress-ports", move |_runtime| Ok(ports::run(shared, setup)))?;
        Ok(ingress)
    }

    /// Starts a thread that runs one future on its own runtime. The future is made before the thread, so that errors are seen here.
    fn spawn<F>(&self, name: &str, make: impl FnOnce(&Runtime) -> io::Result<F>) -> Result<(), StartError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let future = make(&runtime).map_err(StartError::Listen)?;
        let (alive, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                runtime.block_on(future);
                // Ends what is left of the thread's tasks.
                drop(runtime);
                drop(alive);
            })
            .map_err(StartError::Thread)?;
        lock(&self.threads).push(Serving { thread, ended });
        Ok(())
    }

    fn load_cache(&self) {
        let Some(path) = &self.cache_file else { return };
        match cache::load(path) {
            Ok(Some(table)) => {
                self.shared.apply(&table);
                tracing::info!(routes = table.routes.len(), "serving the last known routes until the store is read");
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the route cache is not used"),
        }
    }

    /// The addresses HTTP is served on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Duplicates of every HTTP socket, to be handed to the service manager or the next process
    /// ([`HttpListener::Inherited`](crate::HttpListener::Inherited)). While a duplicate is open, connections that arrive after
    /// [`Ingress::stop`] wait in the socket's queue instead of being refused.
    pub fn listeners(&self) -> io::Result<Vec<OwnedFd>> {
        lock(&self.sockets).iter().map(|socket| socket.try_clone().map(OwnedFd::from)).collect()
    }

    /// Puts a table in force. Requests in flight go on as they began. Returns whether it differs from the one before. The first call
    /// ends the time of the cached table: inherited sockets of ports that it does not name are closed.
    pub fn apply(&self, table: &Table) -> bool {
        let changed = self.shared.apply(table);
        self.shared.confirm();
        changed
    }

    /// Takes a container out of every choice at once, and waits until nothing is in flight to it, at most for `limit`. Long-lived
    /// tunnels and TCP connections are what usually makes it last until then; UDP flows are ended at once.
    ///
    /// It stays out until a table no longer names it; when the table in force does not name it, a later one that does brings it back.
    /// Dropping the future before its end puts it back in.
    pub fn withdraw(&self, container: &str, limit: Duration) -> impl Future<Output = Drained> + Send + use<> {
        let upstreams = self.shared.state().registry.withdraw(container);
        let mut undo = Undo { shared: Arc::clone(&self.shared), container: Some(container.to_owned()) };
        async move {
            let all = async {
                for upstream in &upstreams {
                    upstream.until_drained().await;
                }
            };
            let outcome = timeout(limit, all).await;
            undo.disarm();
            match outcome {
                Ok(()) => Drained::Idle,
                Err(_elapsed) => match upstreams.iter().map(|upstream| upstream.active()).sum() {
                    0 => Drained::Idle,
                    left => Drained::InFlight(left),
                },
            }
        }
    }

    /// Keeps the table true to the store until `stop`, or until the store stops. Changes are in force within 200 ms. A store without a
    /// cluster record says nothing about routes, so the cached table stays until there is one; start this loop once the store has
    /// caught up with what it had before a restart.
    pub async fn route_loop(
        &self,
        store: Arc<dyn Store>,
        stop: CancellationToken,
        report: impl Fn(RouteReport) + Send,
    ) {
        let mut watcher = store.watch(WatchFrom::Now);
        loop {
            let view = store.view();
            if view.cluster().is_some() {
                report(self.take_view(&view).await);
            }
            drop(view);
            let settled = tokio::select! {
                () = stop.cancelled() => return,
                settled = settle(&mut watcher) => settled,
            };
            if settled.is_none() {
                return;
            }
        }
    }

    async fn take_view(&self, view: &View) -> RouteReport {
        let table = render(view, self.reach);
        let mut report = RouteReport {
            index: view.index(),
            routes: table.routes.len(),
            ports: table.ports.len(),
            cache_error: None,
        };
        if self.apply(&table)
            && let Some(path) = self.cache_file.clone()
        {
            let stored = tokio::task::spawn_blocking(move || cache::store(&path, &table)).await;
            report.cache_error = match stored {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
        }
        report
    }

    /// Published ports that cannot be opened on this node, with the reason; tried again every second.
    pub fn port_conditions(&self) -> BTreeMap<(Protocol, u16), String> {
        lock(&self.shared.port_conditions).clone()
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for worker in &self.shared.stats {
            worker.add_to(&mut sum);
        }
        sum
    }

    /// Stops accepting, lets what is in flight finish, ends what is left after `limit`. Idle keep-alive connections are closed after
    /// half a second. Returns when every thread has ended.
    pub async fn stop(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        // Sockets kept open here without anybody accepting would swallow connections.
        lock(&self.sockets).clear();
        self.shared.stop.drain();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for mut serving in threads {
            if tokio::time::timeout_at(deadline, &mut serving.ended).await.is_err() {
                self.shared.stop.killed.cancel();
                // Nothing is ever sent: the error says that the thread is done.
                let _ended = serving.ended.await;
            }
            if serving.thread.join().is_err() {
                tracing::error!("an ingress thread panicked");
            }
        }
    }
}

impl Drop for Ingress {
    fn drop(&mut self) {
        self.shared.stop.drain();
        self.shared.stop.killed.cancel();
    }
}

/// Waits for a change that concerns routing, then for quiet. `None`: the store stopped.
async fn settle(watcher: &mut Watcher) -> Option<()> {
    while !concerns_routing(&watcher.next().await?) {}
    let latest = Instant::now() + DEBOUNCE_MAX;
    loop {
        let quiet = (Instant::now() + DEBOUNCE).min(latest);
        match tokio::time::timeout_at(quiet, watcher.next()).await {
            Ok(event) => {
                event?;
            }
            Err(_elapsed) => return Some(()),
        }
        if Instant::now() >= latest {
            return Some(());
        }
    }
}

fn concerns_routing(event: &Event) -> bool {
    match event {
        Event::Snapshot(_) => true,
        Event::Batch(batch) => batch.changes.iter().any(|change| match Kind::from_number(change.kind) {
            Some(
                Kind::ClusterMeta
                | Kind::Deployment
                | Kind::DeploymentRevision
                | Kind::Route
                | Kind::PortRoute
                | Kind::ReplicaDesired
                | Kind::ReplicaObserved,
            ) => true,
            Some(
                Kind::Node
                | Kind::NodeStatus
                | Kind::NodeSchedulability
                | Kind::RevisionCounter
                | Kind::Subnet
                | Kind::Claim
                | Kind::Token
                | Kind::JoinToken
                | Kind::Tombstone
                | Kind::Authority
                | Kind::DataKey
                | Kind::RecoveryRecipient
                | Kind::NodeOperation
                | Kind::ExclusiveSlot,
            )
            | None => false,
        }),
    }
}

/// Puts a container back in when its withdrawal was given up.
struct Undo {
    shared: Arc<Shared>,
    container: Option<String>,
}

impl Undo {
    fn disarm(&mut self) {
        self.container = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(container) = self.container.take() {
            self.shared.state().registry.restore(&container);
        }
    }
}

/// One handle per socket; workers may share some.
fn distinct(spread: &[Vec<TcpListener>]) -> io::Result<Vec<TcpListener>> {
    let mut sockets: Vec<(u64, TcpListener)> = Vec::new();
    for socket in spread.iter().flatten() {
        let cookie = socket2::SockRef::from(socket).cookie()?;
        if !sockets.iter().any(|(known, _)| *known == cookie) {
            sockets.push((cookie, socket.try_clone()?));
        }
    }
    Ok(sockets.into_iter().map(|(_, socket)| socket).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
