//! How many connections clients may have, each and all together.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::Limits;

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
    count: Arc<ClientCount>,
    client: IpAddr,
}

impl ClientGuard {
    /// `None` over the limit.
    pub(crate) fn enter(count: &Arc<ClientCount>, client: IpAddr, limits: &Limits) -> Option<Self> {
        let client = network_of(client);
        count.enter(client, limits).then(|| ClientGuard { count: Arc::clone(count), client })
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.count.leave(self.client);
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 /64, as that is the least a single host is given.
fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}
