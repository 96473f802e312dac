//! The names our objects have on a node. Other programs and users see them, so they are fixed by the contract.

use sha2::{Digest, Sha256};

use crate::name::{DeploymentName, NetworkName, VolumeName};
use crate::spec::VolumeSpec;

/// Labels on containers and networks.
pub mod label {
    /// The cluster an object belongs to; nothing without our own cluster's id is ever touched.
    pub const CLUSTER_ID: &str = "jaco.cluster_id";
    /// Deployment.
    pub const DEPLOYMENT: &str = "jaco.deployment";
    /// Service.
    pub const SERVICE: &str = "jaco.service";
    /// Replica id, also of a container that was renamed.
    pub const REPLICA_ID: &str = "jaco.replica_id";
    /// Replica index, or the host name for a global service.
    pub const REPLICA_INDEX: &str = "jaco.replica_index";
    /// Log index of the desired record the container was made from.
    pub const RAFT_INDEX: &str = "jaco.raft_index";
    /// Hash of the container's settings.
    pub const SPEC_HASH: &str = "jaco.spec_hash";
    /// Epoch of the slot that an exclusive replica's container was made in; on no other container.
    pub const EPOCH: &str = "jaco.epoch";
    /// Network key, on networks.
    pub const NETWORK: &str = "jaco.network";
    /// Subnet in CIDR form, on networks.
    pub const SUBNET: &str = "jaco.subnet";
}

/// The engine's name of a deployment's network: `jaco_<deployment>_<network>`, and `jaco_<deployment>__default` for the implicit one.
pub fn network_name(deployment: &DeploymentName, network: &NetworkName) -> String {
    match network.as_str() {
        "default" | "_default" => format!("jaco_{deployment}__default"),
        key => format!("jaco_{deployment}_{key}"),
    }
}

/// The engine's name of a named volume: its literal name, or `jaco_<deployment>_<key>`.
pub fn volume_name(deployment: &DeploymentName, key: &VolumeName, spec: &VolumeSpec) -> String {
    spec.literal_name.clone().unwrap_or_else(|| format!("jaco_{deployment}_{key}"))
}

/// The name of a network's Linux bridge: `jaco-` and 40 bits of SHA-256 over deployment and network, 15 characters in all.
pub fn bridge_name(deployment: &DeploymentName, network: &NetworkName) -> String {
    let mut hash = Sha256::new();
    hash.update(deployment.as_str().as_bytes());
    // Neither name can hold a zero byte, so no two pairs hash the same text.
    hash.update([0]);
    hash.update(network.as_str().as_bytes());
    format!("jaco-{}", hex::encode(&hash.finalize()[..5]))
}
