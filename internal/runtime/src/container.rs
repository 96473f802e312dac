//! From a replica's spec to the engine's create request. Pure: the same inputs give the same request, whatever the node.
//!
//! Every field of [`ContainerSpec`] is mapped here or in [`host`]; a field this version of the engine API does not know is left out
//! and named in [`CreateRequest::left_out`], so that nothing is dropped silently. Differences by API version (from the engine's
//! own version history; the versions above 1.41 are not run by our tests):
//!
//! | API below | difference |
//! |---|---|
//! | 1.43 | `annotations` are unknown |
//! | 1.44 | `healthcheck.start_interval` is unknown; a container is created in one network and connected to the others before its start |
//! | 1.45 | `subpath` of a volume is unknown |

mod host;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::{ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, NetworkingConfig};
use jaco_types::{
    ContainerSpec, DeploymentSpec, HealthTest, Healthcheck, NetworkAttachment, NetworkMode, NetworkName,
    ReplicaDesired, ServiceName, ServiceSpec, label, network_name,
};

use crate::engine::ApiVersion;

/// Grace of a container that names none: the engine's own default.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);
/// The first API version with container annotations.
const ANNOTATIONS: ApiVersion = ApiVersion(1, 43);
/// The first API version with a start interval of health checks, and with several networks at the creation.
const START_INTERVAL: ApiVersion = ApiVersion(1, 44);
const SEVERAL_NETWORKS: ApiVersion = ApiVersion(1, 44);
/// The first API version with paths inside volumes.
const SUBPATH: ApiVersion = ApiVersion(1, 45);
/// Variable that tells an exclusive container its epoch.
const EPOCH_VARIABLE: &str = "JACO_EPOCH";

/// What a container is made from.
#[derive(Debug, Clone, Copy)]
pub struct CreateInput<'a> {
    /// Id of the cluster.
    pub cluster_id: &'a str,
    /// The replica.
    pub desired: &'a ReplicaDesired,
    /// Log index of its desired record.
    pub raft_index: u64,
    /// Its deployment, at the replica's revision.
    pub deployment: &'a DeploymentSpec,
    /// Its service in that deployment.
    pub service: &'a ServiceSpec,
    /// Epoch of its slot, for an exclusive replica.
    pub epoch: Option<u64>,
    /// Engine ids of the containers on this node that a `service:<name>` reference stands for.
    pub peers: &'a BTreeMap<ServiceName, String>,
    /// The API version in use.
    pub api: ApiVersion,
}

/// What is sent to the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateRequest {
    /// Container name.
    pub name: String,
    /// Platform, when one is asked for.
    pub platform: Option<String>,
    /// The create body.
    pub body: ContainerCreateBody,
    /// Networks to connect to after the creation and before the start: engine name and settings.
    pub connect: Vec<(String, EndpointSettings)>,
    /// Fields this engine does not know, by name.
    pub left_out: Vec<&'static str>,
}

/// A spec that cannot be turned into a request now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// A service whose namespace or volumes are shared has no container on this node yet.
    #[error("service \"{service}\", which it shares a namespace or volumes with, has no container on this node yet")]
    PeerMissing {
        /// The service.
        service: ServiceName,
    },
    /// The engine does not know a word of the spec.
    #[error("{field} {value:?} is not one the container engine knows")]
    UnknownWord {
        /// Key of the spec.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// The engine is too old for something whose absence would change what the container sees.
    #[error("{field} needs engine API {needed}, and this engine has {found}")]
    EngineTooOld {
        /// Key of the spec.
        field: &'static str,
        /// First version that knows it.
        needed: ApiVersion,
        /// Version in use.
        found: ApiVersion,
    },
}

/// The name of a replica's container.
pub fn container_name(desired: &ReplicaDesired, service: &ServiceSpec) -> String {
    service.container.container_name.clone().unwrap_or_else(|| desired.id.to_string())
}

/// The networks a service joins by their keys; a spec that names none joins the default one.
pub fn joined_networks(spec: &ContainerSpec) -> BTreeMap<NetworkName, NetworkAttachment> {
    match spec.network_mode {
        NetworkMode::Networks if spec.networks.is_empty() => {
            NetworkName::new("default").map(|name| (name, NetworkAttachment::default())).into_iter().collect()
        }
        NetworkMode::Networks => spec.networks.clone(),
        NetworkMode::None | NetworkMode::Host | NetworkMode::Service(_) => BTreeMap::new(),
    }
}

/// The services whose containers must exist on this node before this one can be made.
pub fn peer_services(spec: &ContainerSpec) -> Vec<ServiceName> {
    let mut peers: Vec<ServiceName> = spec.volumes_from.iter().map(|from| from.service.clone()).collect();
    if let NetworkMode::Service(service) = &spec.network_mode {
        peers.push(service.clone());
    }
    for mode in [&spec.pid, &spec.ipc] {
        let name = mode.as_deref().and_then(|mode| mode.strip_prefix("service:"));
        peers.extend(name.and_then(|name| ServiceName::new(name).ok()));
    }
    peers.sort();
    peers.dedup();
    peers
}

/// The create request of a replica's container.
pub fn config(input: CreateInput<'_>) -> Result<CreateRequest, CreateError> {
    let spec = &input.service.container;
    let mut left_out = Vec::new();
    if !spec.annotations.is_empty() && input.api < ANNOTATIONS {
        left_out.push("annotations");
    }
    let (first, connect) = endpoints(input);
    let mut host_config = host::config(input, &mut left_out)?;
    host_config.network_mode = Some(network_mode(input, first.as_ref().map(|(name, _)| name.as_str()))?);
    let mut at_creation = HashMap::from_iter(first);
    let connect = if input.api >= SEVERAL_NETWORKS {
        at_creation.extend(connect);
        Vec::new()
    } else {
        connect
    };
    let body = ContainerCreateBody {
        hostname: spec.hostname.clone(),
        domainname: spec.domainname.clone(),
        user: spec.user.clone(),
        exposed_ports: exposed_ports(&spec.expose),
        tty: Some(spec.tty),
        open_stdin: Some(spec.stdin_open),
        env: Some(environment(input)),
        cmd: spec.command.clone(),
        entrypoint: spec.entrypoint.as_ref().map(|program| cleared_entrypoint(program)),
        healthcheck: spec.healthcheck.as_ref().map(|check| health(check, input.api, &mut left_out)),
        image: Some(spec.image.clone()),
        working_dir: spec.working_dir.clone(),
        labels: Some(labels(input)),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec
            .stop_grace_period
            .map(|grace| i64::try_from(grace.as_nanos().div_ceil(1_000_000_000)).unwrap_or(i64::MAX)),
        host_config: Some(host_config),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(at_creation) }),
        ..Default::default()
    };
    left_out.sort_unstable();
    let name = container_name(input.desired, input.service);
    Ok(CreateRequest { name, platform: spec.platform.clone(), body, connect, left_out })
}

/// The engine takes an empty list as "the image's own"; one empty text is its form of "none".
pub(crate) fn cleared_entrypoint(program: &[String]) -> Vec<String> {
    if program.is_empty() { vec![String::new()] } else { program.to_vec() }
}

/// The spec's variables, and for an exclusive replica the epoch, so that its storage can refuse an older one.
fn environment(input: CreateInput<'_>) -> Vec<String> {
    let spec = input.service.container.environment.iter();
    let spec = spec.filter(|(key, _)| input.epoch.is_none() || key.as_str() != EPOCH_VARIABLE);
    let epoch = input.epoch.map(|epoch| format!("{EPOCH_VARIABLE}={epoch}"));
    spec.map(|(key, value)| format!("{key}={value}")).chain(epoch).collect()
}

fn labels(input: CreateInput<'_>) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = input.service.container.labels.clone().into_iter().collect();
    // Whoever has it is taken for exclusive.
    labels.remove(label::EPOCH);
    labels.extend(input.epoch.map(|epoch| (label::EPOCH.to_owned(), epoch.to_string())));
    let desired = input.desired;
    labels.extend([
        (label::CLUSTER_ID.to_owned(), input.cluster_id.to_owned()),
        (label::DEPLOYMENT.to_owned(), desired.deployment.to_string()),
        (label::SERVICE.to_owned(), desired.service.to_string()),
        (label::REPLICA_ID.to_owned(), desired.id.to_string()),
        (label::REPLICA_INDEX.to_owned(), desired.index.to_string()),
        (label::RAFT_INDEX.to_owned(), input.raft_index.to_string()),
        (label::SPEC_HASH.to_owned(), desired.spec_hash.to_string()),
    ]);
    labels
}

fn nanos(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

fn health(check: &Healthcheck, api: ApiVersion, left_out: &mut Vec<&'static str>) -> HealthConfig {
    let test = match &check.test {
        HealthTest::Image => Vec::new(),
        HealthTest::None => vec!["NONE".to_owned()],
        HealthTest::Command(command) => std::iter::once("CMD".to_owned()).chain(command.iter().cloned()).collect(),
        HealthTest::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
    };
    if check.start_interval.is_some() && api < START_INTERVAL {
        left_out.push("healthcheck.start_interval");
    }
    HealthConfig {
        test: Some(test),
        interval: check.interval.map(nanos),
        timeout: check.timeout.map(nanos),
        retries: check.retries.map(i64::from),
        start_period: check.start_period.map(nanos),
        start_interval: check.start_interval.filter(|_| api >= START_INTERVAL).map(nanos),
    }
}

/// `port[-port][/protocol]` as the engine's `port/protocol`, one by one. A text that is none of these is passed on for the engine
/// to judge.
fn exposed_ports(expose: &[String]) -> Option<Vec<String>> {
    let ports = expose.iter().flat_map(|text| {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) => (first..=last).map(|port| format!("{port}/{protocol}")).collect(),
            _ => vec![text.clone()],
        }
    });
    (!expose.is_empty()).then(|| ports.collect())
}

fn network_mode(input: CreateInput<'_>, first: Option<&str>) -> Result<String, CreateError> {
    match &input.service.container.network_mode {
        NetworkMode::Networks => Ok(first.unwrap_or("none").to_owned()),
        NetworkMode::None => Ok("none".to_owned()),
        NetworkMode::Host => Ok("host".to_owned()),
        NetworkMode::Service(service) => peer(input, service).map(|id| format!("container:{id}")),
    }
}

fn peer<'a>(input: CreateInput<'a>, service: &ServiceName) -> Result<&'a str, CreateError> {
    let found = input.peers.get(service).map(String::as_str);
    found.ok_or_else(|| CreateError::PeerMissing { service: service.clone() })
}

type NamedEndpoint = (String, EndpointSettings);

/// The networks in the order of connecting, highest priority first and then by name: the first one apart, as the one the
/// container is created in.
fn endpoints(input: CreateInput<'_>) -> (Option<NamedEndpoint>, Vec<NamedEndpoint>) {
    let spec = &input.service.container;
    let joined = joined_networks(spec);
    let mut ordered: Vec<_> = joined.iter().collect();
    ordered.sort_by_key(|(_, attachment)| std::cmp::Reverse(attachment.priority));
    let links: Vec<String> = spec.links.iter().map(|(service, alias)| format!("{service}:{alias}")).collect();
    let mut named = ordered.into_iter().map(|(key, attachment)| {
        let mut aliases = vec![input.desired.service.to_string()];
        aliases.extend(attachment.aliases.iter().cloned());
        aliases.extend(spec.container_name.clone());
        aliases.sort();
        aliases.dedup();
        let fixed = attachment.ipv4_address.is_some() || attachment.ipv6_address.is_some();
        let settings = EndpointSettings {
            ipam_config: fixed.then(|| EndpointIpamConfig {
                ipv4_address: attachment.ipv4_address.map(|address| address.to_string()),
                ipv6_address: attachment.ipv6_address.map(|address| address.to_string()),
                link_local_ips: None,
            }),
            aliases: Some(aliases),
            links: (!links.is_empty()).then(|| links.clone()),
            ..Default::default()
        };
        (network_name(&input.desired.deployment, key), settings)
    });
    let first = named.next();
    (first, named.collect())
}
