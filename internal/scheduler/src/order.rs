//! How a replica's old container makes room for the new one.

use jaco_types::{NetworkMode, ReplaceOrder, ServiceSpec};

/// Start-first, unless old and new cannot live side by side: they would write the same data, or need a name, an address, a port or a
/// device that only one of them can hold.
pub(crate) fn replace_order(service: &ServiceSpec) -> ReplaceOrder {
    let container = &service.container;
    let fixed_address =
        || container.networks.values().any(|network| network.ipv4_address.is_some() || network.ipv6_address.is_some());
    // Both containers would bind the same ports in one network namespace.
    let borrowed_network = match container.network_mode {
        NetworkMode::Host | NetworkMode::Service(_) => true,
        NetworkMode::Networks | NetworkMode::None => false,
    };
    let stop_first = service.exclusive
        || service.is_stateful()
        // Mounts of another service are taken over with its data, writable unless said otherwise.
        || container.volumes_from.iter().any(|volumes| !volumes.read_only)
        || container.container_name.is_some()
        || borrowed_network
        || fixed_address()
        || !container.devices.is_empty()
        || !container.device_requests.is_empty();
    if stop_first { ReplaceOrder::StopFirst } else { ReplaceOrder::StartFirst }
}
