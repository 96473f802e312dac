//! A deployment and its services: what runs how often, where, behind which routes and ports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::serde_help::is_default;
use super::{ContainerSpec, NetworkSpec, SpecHash, VolumeSpec};
use crate::name::{DeploymentName, Domain, Hostname, NetworkName, ServiceName, VolumeName};

/// The resolved form of one `jaco.yaml` and its compose files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentSpec {
    /// The deployment's name.
    pub name: DeploymentName,
    /// Every compose service.
    pub services: BTreeMap<ServiceName, ServiceSpec>,
    /// Every network a service joins, the implicit `default` included when one uses it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
    /// Every named volume a service mounts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub volumes: BTreeMap<VolumeName, VolumeSpec>,
    /// Routes in the order written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub routes: Vec<RouteSpec>,
    /// `acme_email`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub acme_email: Option<String>,
}

/// One service of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Wanted replicas; 0 keeps routes and revision with no container. Not used by [`Placement::Global`].
    pub replicas: u32,
    /// Where replicas go.
    #[serde(default, skip_serializing_if = "is_default")]
    pub placement: Placement,
    /// At most one running instance of each replica, ever.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exclusive: bool,
    /// What happens to replicas of a dead node.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reschedule: Reschedule,
    /// Whether its end is a success or a failure.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart: RestartMode,
    /// When the image is pulled.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pull_policy: PullPolicy,
    /// Services that must be up before a replica of this one starts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// Cluster-wide listeners.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ports: Vec<PublishedPort>,
    /// Names of environment variables whose values are hidden in output, as they came from an environment file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hidden_environment: Vec<String>,
    /// The container of each replica.
    pub container: ContainerSpec,
}

impl ServiceSpec {
    /// Whether a replica keeps data of its own: any writable volume, bind or anonymous volume.
    pub fn is_stateful(&self) -> bool {
        self.container.mounts.iter().any(super::Mount::is_writable_state)
    }

    /// The hash of what makes a new container necessary.
    pub fn hash(&self) -> SpecHash {
        SpecHash::of(&self.container)
    }
}

/// Where the replicas of a service go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Balanced over the eligible nodes.
    #[default]
    Spread,
    /// One node is filled first.
    Pack,
    /// One replica on each of these hosts, by index.
    Hosts(Vec<Hostname>),
    /// One on each ready node.
    Global,
}

impl Placement {
    /// The word used in manifests and output.
    pub fn as_str(&self) -> &'static str {
        match self {
            Placement::Spread => "spread",
            Placement::Pack => "pack",
            Placement::Hosts(_) => "hosts",
            Placement::Global => "global",
        }
    }
}

/// What happens to the replicas of a dead node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reschedule {
    /// Stateless ones move, stateful ones wait.
    #[default]
    Auto,
    /// All move.
    Always,
    /// None moves.
    Never,
}

/// Whether a service is kept running. Run-to-completion services come with a later version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartMode {
    /// Kept running: an exit is a failure and leads to a restart.
    #[default]
    Always,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// Pull; fall back to a local copy when the registry cannot be reached. The default.
    #[default]
    PreferRemote,
    /// The pull must succeed.
    Always,
    /// Pull only when absent.
    Missing,
    /// Never pull.
    Never,
}

/// What a service waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// State the other service must reach.
    pub condition: DependencyCondition,
    /// `required: false` never blocks.
    pub required: bool,
}

/// State a dependency must reach, by one of its replicas on any node and of the current revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyCondition {
    /// `running` or `degraded`.
    Started,
    /// `running`.
    Healthy,
}

impl DependencyCondition {
    /// The word of the compose specification.
    pub fn as_str(self) -> &'static str {
        match self {
            DependencyCondition::Started => "service_started",
            DependencyCondition::Healthy => "service_healthy",
        }
    }
}

/// A transport protocol of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// A host port opened on every node and forwarded to a running replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Protocol.
    pub protocol: Protocol,
    /// Port on the nodes.
    pub host_port: u16,
    /// Port in the container.
    pub target: u16,
}

/// How a domain is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteTls {
    /// By HTTPS with an automatic certificate; plain HTTP until there is one.
    #[default]
    Auto,
    /// Plain HTTP only.
    Off,
}

impl RouteTls {
    /// `auto` or `off`.
    pub fn as_str(self) -> &'static str {
        match self {
            RouteTls::Auto => "auto",
            RouteTls::Off => "off",
        }
    }
}

/// One route of the ingress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSpec {
    /// Domain, lower case.
    pub domain: Domain,
    /// Normalised prefix: empty for the catch-all, else `/a/b` without a trailing slash.
    #[serde(default, skip_serializing_if = "is_default")]
    pub path: String,
    /// Service that answers.
    pub service: ServiceName,
    /// Its container port.
    pub port: u16,
    /// TLS mode.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: RouteTls,
    /// Whether the prefix is removed before proxying.
    #[serde(default, skip_serializing_if = "is_default")]
    pub strip_path: bool,
}
