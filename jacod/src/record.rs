//! What this node says of itself to its cluster.

use std::collections::BTreeMap;

use jaco_types::{Node, NodeId};

use crate::config::Config;

/// This node's record, without its keys.
pub(crate) fn own_record(config: &Config, id: NodeId, now_ms: u64) -> Node {
    Node {
        id,
        hostname: config.hostname.clone(),
        address: config.advertise.to_string(),
        grpc_address: std::net::SocketAddr::new(config.advertise, config.listen_addr.port()).to_string(),
        version: crate::VERSION.to_owned(),
        joined_at_ms: now_ms,
        cluster_address: std::net::SocketAddr::new(config.advertise, config.cluster_addr.port()).to_string(),
        public_keys: Vec::new(),
        seal_key: String::new(),
        labels: BTreeMap::new(),
    }
}
