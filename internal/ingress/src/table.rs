//! The routing table as plain data: what is served, and by whom. Comparable, printable, and stored as the start-up cache.

use std::net::SocketAddr;

use jaco_types::{DeploymentName, Protocol, ServiceName};
use serde::{Deserialize, Serialize};

/// Everything the ingress serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// HTTP routes.
    pub routes: Vec<RouteRule>,
    /// Published ports.
    pub ports: Vec<PortRule>,
    /// Who answers; routes and ports refer to these by position.
    pub backends: Vec<Backend>,
}

/// One HTTP route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRule {
    /// Host, lower case.
    pub domain: String,
    /// Prefix without a trailing slash, empty for the catch-all.
    pub path: String,
    /// Whether the prefix is removed before forwarding.
    pub strip_path: bool,
    /// Position in [`Table::backends`].
    pub backend: usize,
}

/// One published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRule {
    /// Transport.
    pub protocol: Protocol,
    /// Port to listen on.
    pub host_port: u16,
    /// Position in [`Table::backends`].
    pub backend: usize,
}

/// One container port of one service, and the replicas that answer on it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Deployment.
    pub deployment: DeploymentName,
    /// Service.
    pub service: ServiceName,
    /// Container port.
    pub port: u16,
    /// How HTTP is spoken to it; means nothing for published ports.
    pub protocol: UpstreamProtocol,
    /// Usable replicas, in the order of their ids.
    pub endpoints: Vec<Endpoint>,
}

/// How the ingress speaks HTTP to an upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamProtocol {
    /// HTTP/1.1 with keep-alive.
    #[default]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}

/// Where one container answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// Address and container port.
    pub address: SocketAddr,
    /// Engine id of the container; it tells a new container from an old one at the same address.
    pub container: String,
}
