//! Which address a node binds and advertises when its file leaves that open.

use std::net::Ipv4Addr;

/// An IPv4 address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Name, such as `eth0`.
    pub(crate) name: String,
    /// Address.
    pub(crate) address: Ipv4Addr,
}

/// How good an address is; the smaller the better.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    PrivateLan,
    Overlay,
}

/// The address to bind and advertise: private LAN (RFC 1918) before overlay, ties by interface name; never loopback, link-local,
/// public, nor an interface of containers, virtual machines or our own. `None` when no interface qualifies.
pub(crate) fn choose_address(interfaces: &[Interface]) -> Option<Ipv4Addr> {
    interfaces
        .iter()
        .filter(|interface| !is_virtual(&interface.name))
        .filter_map(|interface| rank(interface).map(|rank| (rank, &interface.name, interface.address)))
        .min()
        .map(|(_, _, address)| address)
}

/// Judged by name and not by the kind of link: a server's real uplink may be a bridge or a veth in a lab.
fn is_virtual(name: &str) -> bool {
    ["veth", "br-", "docker", "virbr", "cni", "jaco"].iter().any(|prefix| name.starts_with(prefix))
}

fn rank(interface: &Interface) -> Option<Rank> {
    let address = interface.address;
    if address.is_loopback() || address.is_link_local() || address.is_unspecified() {
        return None;
    }
    let overlay_name = ["tailscale", "tun", "tap", "wg"].iter().any(|prefix| interface.name.starts_with(prefix));
    // 100.64.0.0/10, RFC 6598: carrier-grade NAT, used by overlay networks.
    let shared = address.octets()[0] == 100 && (64..128).contains(&address.octets()[1]);
    match (overlay_name || shared, address.is_private() || shared) {
        (false, true) => Some(Rank::PrivateLan),
        (true, true) => Some(Rank::Overlay),
        (_, false) => None,
    }
}

/// The machine's interfaces that are up and have an IPv4 address.
pub(crate) fn interfaces() -> std::io::Result<Vec<Interface>> {
    let list = nix::ifaddrs::getifaddrs().map_err(std::io::Error::from)?;
    Ok(list
        .filter(|entry| entry.flags.contains(nix::net::if_::InterfaceFlags::IFF_UP))
        .filter_map(|entry| {
            let address = entry.address?.as_sockaddr_in()?.ip();
            Some(Interface { name: entry.interface_name, address })
        })
        .collect())
}
