//! Published ports: keeps one listener per port of the table.
//!
//! One thread runs all of them. A listener that leaves the table closes at once; connections through it may go on for a bounded time.
//! A port that cannot be opened is reported and tried again.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jaco_types::Protocol;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::listen;
use crate::shared::Shared;

mod tcp;
mod udp;

/// Time between two tries to open ports that could not be opened.
const RETRY_EVERY: Duration = Duration::from_secs(1);

type PortKey = (Protocol, u16);

/// What every listener of a port needs.
#[derive(Clone)]
struct Port {
    shared: Arc<Shared>,
    key: PortKey,
    /// Cancelled when the port left the table, or the ingress stops.
    closed: CancellationToken,
}

/// Runs until the ingress is stopped and the last connection has ended, or it is killed.
pub(crate) async fn run(shared: Arc<Shared>, address: IpAddr) {
    let mut changed = shared.changed.subscribe();
    let mut open: BTreeMap<PortKey, CancellationToken> = BTreeMap::new();
    // Owns every listener task; each of those owns its connections.
    let mut listeners: JoinSet<()> = JoinSet::new();
    loop {
        changed.mark_unchanged();
        reconcile(&shared, address, &mut open, &mut listeners);
        tokio::select! {
            () = shared.stop.draining.cancelled() => break,
            _change = changed.changed() => {}
            () = tokio::time::sleep(RETRY_EVERY) => {}
        }
        while listeners.try_join_next().is_some() {}
    }
    for closed in open.values() {
        closed.cancel();
    }
    let finished = async { while listeners.join_next().await.is_some() {} };
    tokio::select! {
        () = finished => {}
        () = shared.stop.killed.cancelled() => {}
    }
}

fn reconcile(
    shared: &Arc<Shared>,
    address: IpAddr,
    open: &mut BTreeMap<PortKey, CancellationToken>,
    listeners: &mut JoinSet<()>,
) {
    let table = shared.table.load_full();
    open.retain(|key, closed| {
        let wanted = table.ports.contains_key(key);
        if !wanted {
            closed.cancel();
        }
        wanted
    });
    let mut conditions = BTreeMap::new();
    for key in table.ports.keys() {
        if open.contains_key(key) {
            continue;
        }
        let port = Port { shared: Arc::clone(shared), key: *key, closed: CancellationToken::new() };
        let closed = port.closed.clone();
        match listen(port, address, listeners) {
            Ok(()) => {
                open.insert(*key, closed);
            }
            Err(error) => {
                conditions.insert(*key, format!("{}/{} cannot be opened on this node: {error}", key.0.as_str(), key.1));
            }
        }
    }
    *shared.port_conditions.lock().unwrap_or_else(PoisonError::into_inner) = conditions;
}

fn listen(port: Port, address: IpAddr, listeners: &mut JoinSet<()>) -> io::Result<()> {
    let address = SocketAddr::new(address, port.key.1);
    match port.key.0 {
        Protocol::Tcp => {
            let listener = tokio::net::TcpListener::from_std(listen::bind_tcp(address, false)?)?;
            listeners.spawn(tcp::serve(port, listener));
        }
        Protocol::Udp => {
            let socket = tokio::net::UdpSocket::from_std(listen::bind_udp(address)?)?;
            listeners.spawn(udp::serve(port, socket));
        }
    }
    Ok(())
}
