//! The settings of one container, in the engine's terms and independent of the node it runs on.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::serde_help::{is_default, nanos};
use crate::name::{NetworkName, ServiceName, VolumeName};

/// Everything that, when it changes, makes a new container necessary. [`crate::SpecHash`] is taken over this.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// Image reference as written.
    pub image: String,
    /// `container_name`: the container's name in place of the replica id.
    #[serde(skip_serializing_if = "is_default")]
    pub container_name: Option<String>,
    /// Replaces the image's command; `Some` and empty clears it.
    #[serde(skip_serializing_if = "is_default")]
    pub command: Option<Vec<String>>,
    /// Replaces the image's entrypoint; `Some` and empty clears it.
    #[serde(skip_serializing_if = "is_default")]
    pub entrypoint: Option<Vec<String>>,
    /// Environment variables.
    #[serde(skip_serializing_if = "is_default")]
    pub environment: BTreeMap<String, String>,
    /// User and group, `user[:group]`.
    #[serde(skip_serializing_if = "is_default")]
    pub user: Option<String>,
    /// Working directory.
    #[serde(skip_serializing_if = "is_default")]
    pub working_dir: Option<String>,
    /// Host name inside the container.
    #[serde(skip_serializing_if = "is_default")]
    pub hostname: Option<String>,
    /// Domain name inside the container.
    #[serde(skip_serializing_if = "is_default")]
    pub domainname: Option<String>,
    /// The user's labels; the product's own are added by the runtime and win.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
    /// OCI annotations.
    #[serde(skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    /// Health check; `None` leaves the image's own in force.
    #[serde(skip_serializing_if = "is_default")]
    pub healthcheck: Option<Healthcheck>,
    /// Volumes, binds and tmpfs mounts of the `volumes` key.
    #[serde(skip_serializing_if = "is_default")]
    pub mounts: Vec<Mount>,
    /// The `tmpfs` key: target to mount options (`size=64m,mode=1777`, may be empty).
    #[serde(skip_serializing_if = "is_default")]
    pub tmpfs: BTreeMap<String, String>,
    /// Services of the same deployment whose mounts are taken over.
    #[serde(skip_serializing_if = "is_default")]
    pub volumes_from: Vec<VolumesFrom>,
    /// How the container is connected.
    #[serde(skip_serializing_if = "is_default")]
    pub network_mode: NetworkMode,
    /// The networks it joins, when [`NetworkMode::Networks`].
    #[serde(skip_serializing_if = "is_default")]
    pub networks: BTreeMap<NetworkName, NetworkAttachment>,
    /// `links`: (service, alias).
    #[serde(skip_serializing_if = "is_default")]
    pub links: Vec<(ServiceName, String)>,
    /// `expose`: container ports as written, `port[-port][/protocol]`.
    #[serde(skip_serializing_if = "is_default")]
    pub expose: Vec<String>,
    /// Capabilities added.
    #[serde(skip_serializing_if = "is_default")]
    pub cap_add: Vec<String>,
    /// Capabilities dropped.
    #[serde(skip_serializing_if = "is_default")]
    pub cap_drop: Vec<String>,
    /// Host devices.
    #[serde(skip_serializing_if = "is_default")]
    pub devices: Vec<DeviceMapping>,
    /// Device cgroup rules, `type major:minor access`.
    #[serde(skip_serializing_if = "is_default")]
    pub device_cgroup_rules: Vec<String>,
    /// GPUs and other requested devices.
    #[serde(skip_serializing_if = "is_default")]
    pub device_requests: Vec<DeviceRequest>,
    /// Explicit resolvers; they replace the cluster's.
    #[serde(skip_serializing_if = "is_default")]
    pub dns: Vec<String>,
    /// DNS search domains.
    #[serde(skip_serializing_if = "is_default")]
    pub dns_search: Vec<String>,
    /// DNS resolver options.
    #[serde(skip_serializing_if = "is_default")]
    pub dns_options: Vec<String>,
    /// `host:address` lines of `/etc/hosts`; the address may be `host-gateway`.
    #[serde(skip_serializing_if = "is_default")]
    pub extra_hosts: Vec<String>,
    /// Additional groups.
    #[serde(skip_serializing_if = "is_default")]
    pub group_add: Vec<String>,
    /// Whether an init runs as pid 1; `None` is the engine's default.
    #[serde(skip_serializing_if = "is_default")]
    pub init: Option<bool>,
    /// IPC namespace: `host`, `private`, `shareable`, `none` or `service:<name>`.
    #[serde(skip_serializing_if = "is_default")]
    pub ipc: Option<String>,
    /// PID namespace: `host` or `service:<name>`.
    #[serde(skip_serializing_if = "is_default")]
    pub pid: Option<String>,
    /// UTS namespace: `host`.
    #[serde(skip_serializing_if = "is_default")]
    pub uts: Option<String>,
    /// User namespace: `host`.
    #[serde(skip_serializing_if = "is_default")]
    pub userns_mode: Option<String>,
    /// Cgroup namespace: `host` or `private`.
    #[serde(skip_serializing_if = "is_default")]
    pub cgroup: Option<String>,
    /// Parent cgroup.
    #[serde(skip_serializing_if = "is_default")]
    pub cgroup_parent: Option<String>,
    /// Full privileges.
    #[serde(skip_serializing_if = "is_default")]
    pub privileged: bool,
    /// Security options, `key=value` or `key:value` as written.
    #[serde(skip_serializing_if = "is_default")]
    pub security_opt: Vec<String>,
    /// Read-only root file system.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// OCI runtime by the engine's name for it.
    #[serde(skip_serializing_if = "is_default")]
    pub runtime: Option<String>,
    /// Size of `/dev/shm` in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub shm_size: Option<u64>,
    /// Stop signal by name or number; `None` is the image's.
    #[serde(skip_serializing_if = "is_default")]
    pub stop_signal: Option<String>,
    /// Time between the stop signal and SIGKILL; `None` is 10 s.
    #[serde(skip_serializing_if = "is_default", with = "nanos")]
    pub stop_grace_period: Option<Duration>,
    /// Kernel parameters of the container's namespaces.
    #[serde(skip_serializing_if = "is_default")]
    pub sysctls: BTreeMap<String, String>,
    /// Resource limits of processes, by name without `RLIMIT_`.
    #[serde(skip_serializing_if = "is_default")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// A terminal on stdout.
    #[serde(skip_serializing_if = "is_default")]
    pub tty: bool,
    /// Stdin stays open.
    #[serde(skip_serializing_if = "is_default")]
    pub stdin_open: bool,
    /// Log driver; `None` is the daemon's default with rotation.
    #[serde(skip_serializing_if = "is_default")]
    pub logging: Option<Logging>,
    /// Platform, `os/arch[/variant]`.
    #[serde(skip_serializing_if = "is_default")]
    pub platform: Option<String>,
    /// Cgroup limits.
    #[serde(skip_serializing_if = "is_default")]
    pub resources: Resources,
}

/// A health check; fields left `None` are the image's own, or the engine's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// What is run.
    #[serde(skip_serializing_if = "is_default")]
    pub test: HealthTest,
    /// Time between two checks.
    #[serde(skip_serializing_if = "is_default", with = "nanos")]
    pub interval: Option<Duration>,
    /// Time one check may take.
    #[serde(skip_serializing_if = "is_default", with = "nanos")]
    pub timeout: Option<Duration>,
    /// Time after the start in which failures do not count.
    #[serde(skip_serializing_if = "is_default", with = "nanos")]
    pub start_period: Option<Duration>,
    /// Time between checks within the start period; engines below API 1.44 do not know it.
    #[serde(skip_serializing_if = "is_default", with = "nanos")]
    pub start_interval: Option<Duration>,
    /// Failures in a row that make the container unhealthy.
    #[serde(skip_serializing_if = "is_default")]
    pub retries: Option<u32>,
}

/// What a health check runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthTest {
    /// The image's own check, with the times given here.
    #[default]
    Image,
    /// No check, not even the image's.
    None,
    /// A program with its arguments.
    Command(Vec<String>),
    /// A line for the container's shell.
    Shell(String),
}

/// One entry of the `volumes` key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Mount {
    /// A named volume of the deployment.
    Volume {
        /// Key in the top-level `volumes`.
        source: VolumeName,
        /// Path in the container.
        target: String,
        /// Mounted read-only.
        #[serde(default, skip_serializing_if = "is_default")]
        read_only: bool,
        /// The image's content at the target is not copied into an empty volume.
        #[serde(default, skip_serializing_if = "is_default")]
        nocopy: bool,
        /// Path inside the volume; needs API 1.45.
        #[serde(default, skip_serializing_if = "is_default")]
        subpath: Option<String>,
    },
    /// A path of the node.
    Bind {
        /// Absolute path on the node.
        source: String,
        /// Path in the container.
        target: String,
        /// Mounted read-only.
        #[serde(default, skip_serializing_if = "is_default")]
        read_only: bool,
        /// A missing source is created as an empty directory; otherwise the replica fails with `bind_source_missing`.
        #[serde(default, skip_serializing_if = "is_default")]
        create_host_path: bool,
        /// Mount propagation (`rprivate`, `rshared`, …).
        #[serde(default, skip_serializing_if = "is_default")]
        propagation: Option<String>,
    },
    /// A volume without a name, made with the container and removed with it.
    Anonymous {
        /// Path in the container.
        target: String,
        /// Mounted read-only.
        #[serde(default, skip_serializing_if = "is_default")]
        read_only: bool,
    },
    /// Memory, by the long form.
    Tmpfs(TmpfsMount),
}

impl Mount {
    /// Path in the container.
    pub fn target(&self) -> &str {
        match self {
            Mount::Volume { target, .. } | Mount::Bind { target, .. } | Mount::Anonymous { target, .. } => target,
            Mount::Tmpfs(tmpfs) => &tmpfs.target,
        }
    }

    /// Whether what is written there outlives the container or belongs to the node: a replica with such a mount is stateful.
    pub fn is_writable_state(&self) -> bool {
        match self {
            Mount::Volume { read_only, .. } | Mount::Bind { read_only, .. } | Mount::Anonymous { read_only, .. } => {
                !read_only
            }
            Mount::Tmpfs(_) => false,
        }
    }
}

/// A tmpfs of the long form.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TmpfsMount {
    /// Path in the container.
    pub target: String,
    /// Size in bytes; `None` is the kernel's default.
    #[serde(skip_serializing_if = "is_default")]
    pub size: Option<u64>,
    /// Permission bits.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: Option<u32>,
    /// Mounted read-only.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only: bool,
}

/// One entry of `volumes_from`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// Service of the same deployment.
    pub service: ServiceName,
    /// Mounted read-only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read_only: bool,
}

/// How a container is connected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// By the networks of the spec.
    #[default]
    Networks,
    /// Loopback only.
    None,
    /// The node's own network.
    Host,
    /// The network of a replica of another service on the same node.
    Service(ServiceName),
}

/// How a container joins one network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkAttachment {
    /// More names in this network.
    #[serde(skip_serializing_if = "is_default")]
    pub aliases: Vec<String>,
    /// Fixed IPv4 address.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv4_address: Option<Ipv4Addr>,
    /// Fixed IPv6 address.
    #[serde(skip_serializing_if = "is_default")]
    pub ipv6_address: Option<Ipv6Addr>,
    /// Order of connecting, highest first.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: i64,
}

/// A host device in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMapping {
    /// Path on the node.
    pub host: String,
    /// Path in the container.
    pub container: String,
    /// Cgroup access: letters of `rwm`.
    pub permissions: String,
}

/// Devices asked for by capability, such as GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    /// Device driver, such as `nvidia`.
    #[serde(skip_serializing_if = "is_default")]
    pub driver: String,
    /// How many; -1 is all.
    #[serde(skip_serializing_if = "is_default")]
    pub count: i64,
    /// Devices by id, in place of a count.
    #[serde(skip_serializing_if = "is_default")]
    pub device_ids: Vec<String>,
    /// Any one of these lists of capabilities.
    #[serde(skip_serializing_if = "is_default")]
    pub capabilities: Vec<Vec<String>>,
    /// Driver options.
    #[serde(skip_serializing_if = "is_default")]
    pub options: BTreeMap<String, String>,
}

/// A process limit; -1 is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

/// The log driver of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Logging {
    /// Driver; `None` with options means the engine's default driver.
    #[serde(skip_serializing_if = "is_default")]
    pub driver: Option<String>,
    /// Its options.
    #[serde(skip_serializing_if = "is_default")]
    pub options: BTreeMap<String, String>,
}

/// Cgroup limits and reservations.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// CPU limit in billionths of a core.
    #[serde(skip_serializing_if = "is_default")]
    pub nano_cpus: Option<u64>,
    /// CPU reserved when a node is chosen, in billionths of a core; no cgroup effect.
    #[serde(skip_serializing_if = "is_default")]
    pub reserved_nano_cpus: Option<u64>,
    /// Memory limit in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub memory: Option<u64>,
    /// Memory reservation in bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub memory_reservation: Option<u64>,
    /// Memory plus swap in bytes; -1 is unlimited.
    #[serde(skip_serializing_if = "is_default")]
    pub memory_swap: Option<i64>,
    /// Swappiness, 0 to 100.
    #[serde(skip_serializing_if = "is_default")]
    pub memory_swappiness: Option<u64>,
    /// Process limit; -1 is unlimited.
    #[serde(skip_serializing_if = "is_default")]
    pub pids: Option<i64>,
    /// Relative CPU weight.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_shares: Option<u64>,
    /// CPUs it may run on, `0-2,4`.
    #[serde(skip_serializing_if = "is_default")]
    pub cpuset: Option<String>,
    /// CFS period in microseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_period: Option<u64>,
    /// CFS quota in microseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_quota: Option<i64>,
    /// OOM score adjustment, -1000 to 1000.
    #[serde(skip_serializing_if = "is_default")]
    pub oom_score_adj: Option<i64>,
}
