//! Records of replicas: what is desired, and what is observed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::name::{DeploymentName, Hostname, NetworkName, NodeId, ReplicaId, ServiceName};
use crate::spec::SpecHash;
use crate::spec::serde_help::is_default;
use crate::status::ReplicaState;

/// Which of a service's replicas this is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaIndex {
    /// Number `0..n`.
    Index(u32),
    /// The host, for a global service.
    Host(Hostname),
}

impl std::fmt::Display for ReplicaIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplicaIndex::Index(index) => write!(f, "{index}"),
            ReplicaIndex::Host(host) => write!(f, "{host}"),
        }
    }
}

/// How an old container makes room for its replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplaceOrder {
    /// The new one runs before the old one stops.
    StartFirst,
    /// The old one is gone before the new one starts: it has a writable volume, or a name or address only one can hold.
    StopFirst,
}

/// One replica that is to run; written by the scheduler alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaDesired {
    /// Identity and container name.
    pub id: ReplicaId,
    /// Deployment.
    pub deployment: DeploymentName,
    /// Service.
    pub service: ServiceName,
    /// Index or host.
    pub index: ReplicaIndex,
    /// Node it runs on.
    pub node: NodeId,
    /// That node's name.
    pub hostname: Hostname,
    /// Revision whose spec it is to run. An unchanged spec moves to a new revision without a new container.
    pub revision: u64,
    /// Hash of that spec's container settings.
    pub spec_hash: SpecHash,
    /// Grows when the container is to be another one: another spec or another node. Observations name the generation they describe.
    pub generation: u64,
    /// The deployment's attempt this record belongs to; failure counters start anew with it.
    pub attempt: u64,
    /// How the old container makes room.
    pub order: ReplaceOrder,
    /// Dependencies that are not there yet: it must not start. A replica that already runs is not stopped for them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub waiting_on: Vec<ServiceName>,
}

/// Where a replica answers, per network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Network key.
    pub network: NetworkName,
    /// The container's address in it.
    pub address: IpAddr,
}

/// The container of the generation before, while it still serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    /// Its generation, 0 when unknown.
    pub generation: u64,
    /// Engine id.
    pub container_id: String,
    /// Where it answers.
    pub endpoints: Vec<Endpoint>,
}

/// A step of a replica's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    /// State reached.
    pub state: ReplicaState,
    /// Its code, if any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub code: Option<ErrorCode>,
    /// The node's clock, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// What a node sees of one of its replicas; written by that node alone, on transitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaObserved {
    /// Identity.
    pub id: ReplicaId,
    /// Deployment.
    pub deployment: DeploymentName,
    /// Service.
    pub service: ServiceName,
    /// The node that reports.
    pub node: NodeId,
    /// Generation this describes.
    pub generation: u64,
    /// Attempt this describes.
    pub attempt: u64,
    /// State.
    pub state: ReplicaState,
    /// Why, when it is not simply up or on its way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub code: Option<ErrorCode>,
    /// One line of text beside the code.
    #[serde(default, skip_serializing_if = "is_default")]
    pub message: Option<String>,
    /// Facts: `exit_code`, `waiting_on`, `image`, …
    #[serde(default, skip_serializing_if = "is_default")]
    pub details: BTreeMap<String, String>,
    /// Engine id of the container.
    #[serde(default, skip_serializing_if = "is_default")]
    pub container_id: Option<String>,
    /// Image reference it was made from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub image: String,
    /// Where it answers; empty while it must not get traffic.
    #[serde(default, skip_serializing_if = "is_default")]
    pub endpoints: Vec<Endpoint>,
    /// The container it replaces, while that one still serves.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outgoing: Option<Outgoing>,
    /// Engine's start time of the container, milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "is_default")]
    pub started_at_ms: Option<u64>,
    /// Restarts since the generation began.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart_count: u32,
    /// Failures in a row without a `running` of 10 s in between.
    #[serde(default, skip_serializing_if = "is_default")]
    pub failures: u32,
    /// The last ten states, newest last.
    #[serde(default, skip_serializing_if = "is_default")]
    pub history: Vec<StateChange>,
}
