//! A published UDP port: one flow per client address, each with a socket of its own towards one replica.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};

use super::port::Port;
use crate::upstream::{InFlight, Upstream, UpstreamSet};

/// The largest datagram there is.
const DATAGRAM_BYTES: usize = 65_536;

struct Flow {
    socket: Arc<UdpSocket>,
    upstream: Arc<Upstream>,
    used_ms: Arc<AtomicU64>,
    task: AbortHandle,
}

pub(super) async fn serve(port: Port, listener: UdpSocket) {
    let listener = Arc::new(listener);
    let mut flows = Flows { port, listener: Arc::clone(&listener), open: HashMap::new(), tasks: JoinSet::new() };
    let mut datagram = vec![0; DATAGRAM_BYTES];
    let closed = flows.port.closed.clone();
    loop {
        tokio::select! {
            () = closed.cancelled() => return,
            ended = flows.ended() => flows.forget(ended),
            received = listener.recv_from(&mut datagram) => {
                // An error here is one that an earlier answer to a vanished client caused; the next datagram is unaffected.
                if let Ok((length, client)) = received
                    && let Some(data) = datagram.get(..length)
                {
                    flows.forward(client, data).await;
                }
            }
        }
    }
}

struct Flows {
    port: Port,
    listener: Arc<UdpSocket>,
    open: HashMap<SocketAddr, Flow>,
    /// Each task carries one flow's answers; it returns the client and its flow's socket.
    tasks: JoinSet<(SocketAddr, Arc<UdpSocket>)>,
}

impl Flows {
    async fn ended(&mut self) -> Option<(SocketAddr, Arc<UdpSocket>)> {
        match self.tasks.join_next().await {
            Some(ended) => ended.ok(),
            None => pending().await,
        }
    }

    /// Forgets a flow, unless the client has a newer one meanwhile.
    fn forget(&mut self, ended: Option<(SocketAddr, Arc<UdpSocket>)>) {
        if let Some((client, socket)) = ended
            && self.open.get(&client).is_some_and(|flow| Arc::ptr_eq(&flow.socket, &socket))
        {
            self.open.remove(&client);
        }
    }

    /// Sends one datagram on. What cannot be sent is lost, as datagrams may be.
    async fn forward(&mut self, client: SocketAddr, data: &[u8]) {
        let Some(set) = self.port.shared.table.load().ports.get(&self.port.key).cloned() else { return };
        // Twice: a replica that has gone shows itself by an error at the next datagram.
        let shared = Arc::clone(&self.port.shared);
        for _ in 0..2 {
            let Some(flow) = self.flow(client, &set).await else { return };
            flow.used_ms.store(shared.clock.now_ms(), Relaxed);
            match flow.socket.send(data).await {
                Ok(_sent) => return,
                Err(error) => {
                    tracing::debug!(%client, %error, "a flow's replica does not take datagrams");
                    flow.upstream.eject(shared.clock.now_ms(), shared.limits.eject_for);
                    flow.task.abort();
                    self.open.remove(&client);
                }
            }
        }
    }

    /// The client's flow; a new one if it has none, or its replica may no longer be used.
    async fn flow(&mut self, client: SocketAddr, set: &UpstreamSet) -> Option<&Flow> {
        let usable =
            self.open.get(&client).is_some_and(|flow| set.contains(&flow.upstream) && !flow.upstream.is_withdrawn());
        if !usable {
            if let Some(old) = self.open.remove(&client) {
                old.task.abort();
            }
            if self.open.len() >= self.port.shared.limits.udp_flows {
                tracing::debug!(port = self.port.key.1, "a published port has too many flows; a datagram was dropped");
                return None;
            }
            let flow = self.start(client, set).await?;
            self.open.insert(client, flow);
        }
        self.open.get(&client)
    }

    async fn start(&mut self, client: SocketAddr, set: &UpstreamSet) -> Option<Flow> {
        let upstream = set.in_turn(self.port.shared.clock.now_ms()).into_iter().next()?;
        let in_flight = InFlight::take(&upstream)?;
        let socket = Arc::new(connected(upstream.key.address).await.ok()?);
        let used_ms = Arc::new(AtomicU64::new(self.port.shared.clock.now_ms()));
        let answers = Answers {
            port: self.port.clone(),
            listener: Arc::clone(&self.listener),
            client,
            socket: Arc::clone(&socket),
            used_ms: Arc::clone(&used_ms),
            in_flight,
        };
        let task = self.tasks.spawn(answers.carry());
        Some(Flow { socket, upstream, used_ms, task })
    }
}

async fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let local = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind(SocketAddr::new(local, 0)).await?;
    socket.connect(address).await?;
    Ok(socket)
}

/// The way back of one flow.
struct Answers {
    port: Port,
    listener: Arc<UdpSocket>,
    client: SocketAddr,
    socket: Arc<UdpSocket>,
    used_ms: Arc<AtomicU64>,
    in_flight: InFlight,
}

impl Answers {
    /// Runs until the flow is idle, or its replica is withdrawn or gone.
    async fn carry(self) -> (SocketAddr, Arc<UdpSocket>) {
        let mut datagram = vec![0; DATAGRAM_BYTES];
        let idle = self.port.shared.limits.udp_idle;
        let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let withdrawn = self.in_flight.upstream().until_withdrawn();
        tokio::pin!(withdrawn);
        loop {
            let left = (self.used_ms.load(Relaxed) + idle_ms).saturating_sub(self.port.shared.clock.now_ms());
            if left == 0 {
                break;
            }
            tokio::select! {
                () = &mut withdrawn => break,
                () = tokio::time::sleep(Duration::from_millis(left)) => {}
                received = self.socket.recv(&mut datagram) => {
                    let Ok(length) = received else {
                        self.in_flight.upstream().eject(self.port.shared.clock.now_ms(), self.port.shared.limits.eject_for);
                        break;
                    };
                    self.used_ms.store(self.port.shared.clock.now_ms(), Relaxed);
                    if let Some(data) = datagram.get(..length)
                        && let Err(error) = self.listener.send_to(data, self.client).await
                    {
                        tracing::debug!(client = %self.client, %error, "an answer cannot be sent");
                    }
                }
            }
        }
        (self.client, self.socket)
    }
}
