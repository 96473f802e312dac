//! The keys of everything below a service, and of top-level blocks.

use super::{Table, later, no, note, yes};

const ROLL: &str = "how changes roll is not adjustable; remove it: replicas are replaced one at a time";

/// `build`: nothing is built, its keys are only checked for spelling.
pub static BUILD: Table = Table {
    scope: "build",
    keys: &[
        yes("additional_contexts"),
        yes("args"),
        yes("cache_from"),
        yes("cache_to"),
        yes("context"),
        yes("dockerfile"),
        yes("dockerfile_inline"),
        yes("entitlements"),
        yes("extra_hosts"),
        yes("isolation"),
        yes("labels"),
        yes("network"),
        yes("no_cache"),
        yes("platforms"),
        yes("privileged"),
        yes("provenance"),
        yes("pull"),
        yes("sbom"),
        yes("secrets"),
        yes("shm_size"),
        yes("ssh"),
        yes("tags"),
        yes("target"),
        yes("ulimits"),
    ],
};

/// `deploy`.
pub static DEPLOY: Table = Table {
    scope: "deploy",
    keys: &[
        later("endpoint_mode", "remove it: a service name already resolves to all its replicas"),
        later("labels", "put them under the service's own `labels`"),
        yes("mode"),
        later("placement", "name the nodes in jaco.yaml with `placement: hosts` and `hosts`"),
        yes("replicas"),
        yes("resources"),
        later("restart_policy", "use `restart: always` or `restart: unless-stopped`"),
        later("rollback_config", ROLL),
        later("update_config", ROLL),
    ],
};

/// `deploy.resources`.
pub static RESOURCES: Table = Table { scope: "deploy.resources", keys: &[yes("limits"), yes("reservations")] };

/// `deploy.resources.limits`.
pub static LIMITS: Table = Table { scope: "deploy.resources.limits", keys: &[yes("cpus"), yes("memory"), yes("pids")] };

/// `deploy.resources.reservations`.
pub static RESERVATIONS: Table = Table {
    scope: "deploy.resources.reservations",
    keys: &[
        yes("cpus"),
        yes("devices"),
        later("generic_resources", "name the nodes that have them in jaco.yaml with `placement: hosts`"),
        yes("memory"),
    ],
};

/// One device request, of `gpus` or `deploy.resources.reservations.devices`.
pub static DEVICE_REQUEST: Table = Table {
    scope: "devices",
    keys: &[yes("capabilities"), yes("count"), yes("device_ids"), yes("driver"), yes("options")],
};

/// The long form of `devices`.
pub static DEVICE: Table = Table { scope: "devices", keys: &[yes("permissions"), yes("source"), yes("target")] };

/// One entry of the map form of `depends_on`.
pub static DEPENDENCY: Table = Table {
    scope: "depends_on",
    keys: &[
        yes("condition"),
        yes("required"),
        note("restart", "`restart` has no effect: a replica that is replaced does not restart those that depend on it"),
    ],
};

/// `healthcheck`.
pub static HEALTHCHECK: Table = Table {
    scope: "healthcheck",
    keys: &[
        yes("disable"),
        yes("interval"),
        yes("retries"),
        yes("start_interval"),
        yes("start_period"),
        yes("test"),
        yes("timeout"),
    ],
};

/// `logging`.
pub static LOGGING: Table = Table { scope: "logging", keys: &[yes("driver"), yes("options")] };

/// One entry of the map form of a service's `networks`.
pub static ATTACHMENT: Table = Table {
    scope: "networks",
    keys: &[
        yes("aliases"),
        yes("driver_opts"),
        later("gw_priority", "remove it, or join one network only"),
        later("interface_name", "remove it: the first network is eth0"),
        later("ipv4_address", "use the service's name: it resolves inside the network"),
        later("ipv6_address", "use the service's name: it resolves inside the network"),
        later("link_local_ips", "remove it"),
        no("mac_address", "a fixed MAC address is not offered; remove it"),
        yes("priority"),
    ],
};

/// The long form of `ports`.
pub static PORT: Table = Table {
    scope: "ports",
    keys: &[
        note("app_protocol", "`app_protocol` has no effect: the bytes are passed on as they are"),
        yes("host_ip"),
        yes("mode"),
        note("name", "a port's `name` has no effect"),
        yes("protocol"),
        yes("published"),
        yes("target"),
    ],
};

/// The long form of `volumes`.
pub static MOUNT: Table = Table {
    scope: "volumes",
    keys: &[
        yes("bind"),
        note("consistency", "`consistency` has no effect on Linux"),
        yes("image"),
        yes("read_only"),
        yes("source"),
        yes("target"),
        yes("tmpfs"),
        yes("type"),
        yes("volume"),
    ],
};

/// `bind` of the long form.
pub static MOUNT_BIND: Table = Table {
    scope: "volumes.bind",
    keys: &[
        yes("create_host_path"),
        yes("propagation"),
        yes("recursive"),
        note("selinux", "SELinux labels are not changed; set them on the node"),
    ],
};

/// `volume` of the long form.
pub static MOUNT_VOLUME: Table = Table {
    scope: "volumes.volume",
    keys: &[later("labels", "put them on the top-level volume"), yes("nocopy"), yes("subpath")],
};

/// `tmpfs` of the long form.
pub static MOUNT_TMPFS: Table = Table { scope: "volumes.tmpfs", keys: &[yes("mode"), yes("size")] };

/// One map of `ulimits`.
pub static ULIMIT: Table = Table { scope: "ulimits", keys: &[yes("hard"), yes("soft")] };

/// A top-level network.
pub static NETWORK: Table = Table {
    scope: "network",
    keys: &[
        note("attachable", "`attachable` has no effect: a network belongs to its deployment"),
        yes("driver"),
        yes("driver_opts"),
        yes("enable_ipv4"),
        later("enable_ipv6", "remove it: containers have IPv4"),
        later("external", "declare the network in this file; a network belongs to one deployment"),
        yes("internal"),
        yes("ipam"),
        yes("labels"),
        yes("name"),
    ],
};

/// A top-level volume.
pub static VOLUME: Table =
    Table { scope: "volume", keys: &[yes("driver"), yes("driver_opts"), yes("external"), yes("labels"), yes("name")] };

/// A top-level secret.
pub static SECRET: Table = Table {
    scope: "secret",
    keys: &[
        yes("driver"),
        yes("driver_opts"),
        yes("environment"),
        yes("external"),
        yes("file"),
        yes("labels"),
        yes("name"),
        yes("template_driver"),
    ],
};

/// A top-level config.
pub static CONFIG: Table = Table {
    scope: "config",
    keys: &[
        yes("content"),
        yes("environment"),
        yes("external"),
        yes("file"),
        yes("labels"),
        yes("name"),
        yes("template_driver"),
    ],
};
