//! Published ports: keeps one listener per port of the table.
//!
//! One thread runs all of them. A listener that leaves the table closes at once; connections through it may go on for a bounded time.
//! A port that cannot be opened is reported and tried again. Sockets that the process before had open are taken over when a table
//! names their port; those that the first table of the store does not name are closed.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use kept::Unclaimed;
use port::{Port, PortKey};

mod kept;
mod port;
mod tcp;
mod udp;

pub(crate) use kept::NoKeeper;
pub use kept::{PortKeeper, PortSocket};

/// Time between two tries to open ports that could not be opened.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// What the ports are opened with.
pub(crate) struct Setup {
    /// Address that they listen on.
    pub(crate) address: IpAddr,
    /// Sockets of the process before.
    pub(crate) inherited: Vec<PortSocket>,
    pub(crate) keeper: Arc<dyn PortKeeper>,
}

/// Runs until the ingress is stopped and the last connection has ended, or it is killed.
pub(crate) async fn run(shared: Arc<Shared>, setup: Setup) {
    let mut changed = shared.changed.subscribe();
    let mut listeners = Listeners::new(Arc::clone(&shared), setup);
    loop {
        changed.mark_unchanged();
        listeners.reconcile();
        tokio::select! {
            () = shared.stop.draining.cancelled() => break,
            _change = changed.changed() => {}
            () = tokio::time::sleep(RETRY_EVERY) => {}
        }
        while listeners.tasks.try_join_next().is_some() {}
    }
    let mut tasks = listeners.stop();
    let finished = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        () = finished => {}
        () = shared.stop.killed.cancelled() => {}
    }
}

/// A port that is open now.
struct Open {
    closed: CancellationToken,
    /// Shared with the listener's task; `None` for UDP.
    listener: Option<Arc<TcpListener>>,
}

struct Listeners {
    shared: Arc<Shared>,
    address: IpAddr,
    keeper: Arc<dyn PortKeeper>,
    unclaimed: Unclaimed,
    open: BTreeMap<PortKey, Open>,
    /// Owns every listener task; each of those owns its connections.
    tasks: JoinSet<()>,
}

impl Listeners {
    fn new(shared: Arc<Shared>, setup: Setup) -> Self {
        let Setup { address, inherited, keeper } = setup;
        let unclaimed = Unclaimed::new(inherited, address, keeper.as_ref());
        Listeners { shared, address, keeper, unclaimed, open: BTreeMap::new(), tasks: JoinSet::new() }
    }

    fn reconcile(&mut self) {
        // Asked before the table is read: a table read after that is the store's.
        let confirmed = self.shared.is_confirmed();
        let table = self.shared.table.load_full();
        let keeper = &self.keeper;
        self.open.retain(|key, open| {
            let wanted = table.ports.contains_key(key);
            if !wanted {
                open.closed.cancel();
                if let Some(listener) = &open.listener {
                    kept::refuse(listener.as_ref());
                }
                keeper.forget(key.0, key.1);
            }
            wanted
        });
        let mut conditions = BTreeMap::new();
        for key in table.ports.keys() {
            if self.open.contains_key(key) {
                continue;
            }
            match self.listen(*key) {
                Ok(open) => {
                    self.open.insert(*key, open);
                }
                Err(error) => {
                    let text = format!("{}/{} cannot be opened on this node: {error}", key.0.as_str(), key.1);
                    conditions.insert(*key, text);
                }
            }
        }
        if confirmed {
            self.unclaimed.close(self.keeper.as_ref());
        }
        *self.shared.port_conditions.lock().unwrap_or_else(PoisonError::into_inner) = conditions;
    }

    fn listen(&mut self, key: PortKey) -> io::Result<Open> {
        let socket = match self.unclaimed.take(key) {
            Some(inherited) => inherited,
            None => PortSocket::bind(key, self.address)?,
        };
        let closed = CancellationToken::new();
        let port = Port { shared: Arc::clone(&self.shared), key, closed: closed.clone() };
        let listener = match socket {
            PortSocket::Tcp(listener) => {
                let listener = Arc::new(TcpListener::from_std(listener)?);
                self.keeper.keep(key.0, key.1, listener.as_fd());
                self.tasks.spawn(tcp::serve(port, Arc::clone(&listener)));
                Some(listener)
            }
            PortSocket::Udp(socket) => {
                let socket = UdpSocket::from_std(socket)?;
                self.keeper.keep(key.0, key.1, socket.as_fd());
                self.tasks.spawn(udp::serve(port, socket));
                None
            }
        };
        Ok(Open { closed, listener })
    }

    /// Closes every socket of this process, and leaves the duplicates that are kept elsewhere in service. The tasks returned are those
    /// of connections that go on.
    fn stop(self) -> JoinSet<()> {
        for open in self.open.into_values() {
            open.closed.cancel();
        }
        self.tasks
    }
}
