//! Records about the cluster and its nodes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::name::{DeploymentName, Hostname, NetworkName, NodeId};
use crate::spec::serde_help::is_default;
use crate::status::NodeState;

/// The one record whose presence means "this cluster is initialised".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterMeta {
    /// UUID of the cluster.
    pub cluster_id: String,
    /// Its name; the UUID when none was given.
    pub name: String,
    /// Random; changed by restore and recover.
    pub incarnation: u64,
    /// Minimum over the members; nobody writes a kind, field or check above it.
    pub feature_level: u32,
    /// Cluster time of the init, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// Pool that container subnets are cut from.
    pub ipam_pool: Ipv4Net,
    /// Addresses of the mesh.
    pub mesh_cidr: Ipv4Net,
    /// Silence after which a node is down, milliseconds.
    pub node_down_after_ms: u64,
}

impl ClusterMeta {
    /// Silence after which a node is down.
    pub fn node_down_after(&self) -> Duration {
        Duration::from_millis(self.node_down_after_ms)
    }
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Identity.
    pub id: NodeId,
    /// Name.
    pub hostname: Hostname,
    /// Address that the other nodes reach it by.
    pub address: String,
    /// `host:port` of its API.
    pub grpc_address: String,
    /// `host:port` that members reach its raft and sessions by; empty on a node that has none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cluster_address: String,
    /// SHA-256 of the public keys that its certificates may have, lower-case hex: one, or two while it changes its key.
    #[serde(default, skip_serializing_if = "is_default")]
    pub public_keys: Vec<String>,
    /// X25519 key that copies of the data key are sealed to, lower-case hex.
    #[serde(default, skip_serializing_if = "is_default")]
    pub seal_key: String,
    /// Version of its daemon.
    pub version: String,
    /// Cluster time of its joining, milliseconds since the Unix epoch.
    pub joined_at_ms: u64,
    /// Free labels; `zone` is reserved.
    #[serde(default, skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
}

/// What a node says of itself; written by that node, and by the leader for silent ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node.
    pub id: NodeId,
    /// State.
    pub state: NodeState,
    /// Conditions in words: engine not reachable, port taken, …
    #[serde(default, skip_serializing_if = "is_default")]
    pub details: BTreeMap<String, String>,
}

/// What a placement checks the version of, apart from the status, so that a status change alone refuses no placement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSchedulability {
    /// The node.
    pub id: NodeId,
    /// It may take new replicas.
    pub schedulable: bool,
}

/// The subnet of one (deployment, network) on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Deployment.
    pub deployment: DeploymentName,
    /// Network key.
    pub network: NetworkName,
    /// Node.
    pub node: NodeId,
    /// Range, cut from the cluster's pool.
    pub cidr: Ipv4Net,
}

impl Subnet {
    /// The bridge's address: the first of the range.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.cidr.network()).saturating_add(1))
    }
}

/// What a claim makes unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimKind {
    /// (domain, path) of a route: `domain/path`.
    Route,
    /// A domain, for one TLS mode and one owner of its catch-all: `domain`.
    Domain,
    /// A published host port: `tcp/8080`.
    Port,
    /// A container name or the prefix of replica ids.
    ContainerName,
    /// An engine network name.
    NetworkName,
    /// An engine volume name.
    VolumeName,
    /// A range of the pool.
    Subnet,
}

impl ClaimKind {
    /// The word used in keys and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            ClaimKind::Route => "route",
            ClaimKind::Domain => "domain",
            ClaimKind::Port => "port",
            ClaimKind::ContainerName => "container_name",
            ClaimKind::NetworkName => "network_name",
            ClaimKind::VolumeName => "volume_name",
            ClaimKind::Subnet => "subnet",
        }
    }
}

/// A uniqueness, taken by an absent-check and released in the transaction that drops its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What kind of thing is unique.
    pub kind: ClaimKind,
    /// The thing.
    pub key: String,
    /// The deployment it belongs to.
    pub owner: DeploymentName,
    /// For a domain: its TLS mode. Empty otherwise.
    #[serde(default, skip_serializing_if = "is_default")]
    pub detail: String,
}
