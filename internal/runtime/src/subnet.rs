//! Subnets of (deployment, network) pairs on a node: which range is free, and the transactions that take and free one. Pure.
//!
//! A /26 per network: the default /16 pool then carries 1,024 networks of 61 containers each, which is 16 nodes with 64 networks
//! and 60 containers. The claim's key is the range, so two allocations of one range cannot both commit.

#[cfg(test)]
mod tests;

use ipnet::Ipv4Net;
use jaco_state::Transaction;
use jaco_types::{Claim, ClaimKind, DeploymentName, NetworkName, NodeId, Subnet};

/// Prefix length of a network's range.
pub const PREFIX: u8 = 26;

/// The lowest free range of the pool, or `None` when there is none. `used` may hold ranges of any size, also outside the pool.
pub fn lowest_free(pool: Ipv4Net, used: impl IntoIterator<Item = Ipv4Net>) -> Option<Ipv4Net> {
    let prefix = PREFIX.max(pool.prefix_len());
    let size = 1_u64 << (32 - u32::from(prefix));
    let mut taken: Vec<(u64, u64)> = used
        .into_iter()
        .map(|net| (u64::from(u32::from(net.network())), u64::from(u32::from(net.broadcast()))))
        .collect();
    taken.sort_unstable();
    let last = u64::from(u32::from(pool.broadcast()));
    let mut start = u64::from(u32::from(pool.network()));
    for (from, to) in taken {
        if from >= start + size {
            break;
        }
        if to >= start {
            start = (to + 1).div_ceil(size) * size;
        }
    }
    if start + size - 1 > last {
        return None;
    }
    Ipv4Net::new(u32::try_from(start).ok()?.into(), prefix).ok()
}

/// The transaction that records a new subnet and takes its range.
pub fn take(subnet: Subnet) -> Transaction {
    let claim = Claim {
        kind: ClaimKind::Subnet,
        key: subnet.cidr.to_string(),
        owner: subnet.deployment.clone(),
        detail: String::new(),
    };
    let mut transaction = Transaction::new(ACTOR);
    transaction
        .check_absent::<Subnet>(Subnet::key_of(&subnet.deployment, &subnet.network, subnet.node))
        .check_absent::<Claim>(Claim::key_of(ClaimKind::Subnet, &claim.key))
        .put(subnet)
        .put(claim);
    transaction
}

/// The transaction that gives a range back; to be proposed only after the bridge is gone.
pub fn free(subnet: &Subnet, version: u64) -> Transaction {
    let key = Subnet::key_of(&subnet.deployment, &subnet.network, subnet.node);
    let mut transaction = Transaction::new(ACTOR);
    transaction
        .check_version::<Subnet>(key.clone(), version)
        .delete::<Subnet>(key)
        .delete::<Claim>(Claim::key_of(ClaimKind::Subnet, &subnet.cidr.to_string()));
    transaction
}

/// Who writes a node's own records.
pub(crate) const ACTOR: &str = "runtime";

/// The record of a network on a node.
pub fn record(deployment: &DeploymentName, network: &NetworkName, node: NodeId, cidr: Ipv4Net) -> Subnet {
    Subnet { deployment: deployment.clone(), network: network.clone(), node, cidr }
}
