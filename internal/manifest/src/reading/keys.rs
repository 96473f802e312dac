//! Every key of the compose specification and what we do with it.
//!
//! A key that is not here is unknown, and an error. `Supported` means that a reader acts on it (and may still refuse some of its
//! values by name). Moving a key up is a change here, its reader, and the reviewed verdicts of the corpus test.
//!
//! Decisions worth knowing:
//! - `platform`, `deploy.resources.reservations.cpus` and `.memory` reach the engine, or are kept; placement does not look at them
//!   yet, which is said in a note.
//! - A network's `name` has no effect: a network belongs to its deployment and nobody else can join it by name.
//! - Named and anonymous volumes, and absolute binds, are supported; files of the project (relative paths) are not yet.

mod parts;

use jaco_types::ErrorCode;

pub use parts::*;

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Read and acted on.
    Supported,
    /// Accepted, without effect on running containers; why.
    Note(&'static str),
    /// Refused for good; why, and the way out.
    Refused(&'static str),
    /// Refused until it is built; the way out.
    NotYet(&'static str),
    /// From an old file format; what replaces it.
    Legacy(&'static str),
    /// Resolved by the client before the text is sent; the code when it is still there.
    Client(ErrorCode),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What happens to it.
    pub verdict: Verdict,
}

/// The keys of one kind of mapping.
#[derive(Debug)]
pub struct Table {
    /// Prefix of the feature names; empty for services.
    pub scope: &'static str,
    /// The keys.
    pub keys: &'static [Key],
}

impl Table {
    /// The key of that name.
    pub fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }

    /// The name of a key as a feature: `deploy.labels`.
    pub fn feature(&self, key: &str) -> String {
        if self.scope.is_empty() { key.to_owned() } else { format!("{}.{key}", self.scope) }
    }
}

const fn yes(name: &'static str) -> Key {
    Key { name, verdict: Verdict::Supported }
}

const fn note(name: &'static str, why: &'static str) -> Key {
    Key { name, verdict: Verdict::Note(why) }
}

const fn no(name: &'static str, why: &'static str) -> Key {
    Key { name, verdict: Verdict::Refused(why) }
}

const fn later(name: &'static str, way_out: &'static str) -> Key {
    Key { name, verdict: Verdict::NotYet(way_out) }
}

const fn legacy(name: &'static str, modern: &'static str) -> Key {
    Key { name, verdict: Verdict::Legacy(modern) }
}

const fn client(name: &'static str, code: ErrorCode) -> Key {
    Key { name, verdict: Verdict::Client(code) }
}

const WINDOWS: &str = "exists on Windows only; remove it";
const REAL_TIME: &str = "real-time scheduling of containers is not offered; limit with `cpus` or `cpu_shares`";
const HOOK: &str = "hooks are not run; put the command into the image's entrypoint";
const MODEL: &str = "needs Docker Model Runner; run the model as a service and pass its URL in `environment`";
const FILES: &str =
    "needs files of the project on the nodes; bake them into the image, or put the text into a variable until then";

/// The document itself.
pub static TOP: Table = Table {
    scope: "top",
    keys: &[
        note("version", "`version` has no effect: the current specification always applies"),
        note("name", "`name` has no effect: the deployment is named in jaco.yaml"),
        client("include", ErrorCode::ValidationFailed),
        yes("services"),
        no("models", MODEL),
        yes("networks"),
        yes("volumes"),
        yes("secrets"),
        yes("configs"),
    ],
};

/// A service.
pub static SERVICE: Table = Table {
    scope: "",
    keys: &[
        yes("annotations"),
        note("attach", "`attach` has no effect: use `jaco logs`"),
        no("blkio_config", "limits of block devices are not offered; remove it"),
        yes("build"),
        yes("cap_add"),
        yes("cap_drop"),
        yes("cgroup"),
        yes("cgroup_parent"),
        yes("command"),
        later("configs", FILES),
        yes("container_name"),
        no("cpu_count", WINDOWS),
        no("cpu_percent", WINDOWS),
        yes("cpu_period"),
        yes("cpu_quota"),
        no("cpu_rt_period", REAL_TIME),
        no("cpu_rt_runtime", REAL_TIME),
        yes("cpu_shares"),
        yes("cpus"),
        yes("cpuset"),
        no("credential_spec", WINDOWS),
        yes("depends_on"),
        yes("deploy"),
        note("develop", "`develop` has no effect: it is for `docker compose watch`"),
        yes("device_cgroup_rules"),
        yes("devices"),
        yes("dns"),
        yes("dns_opt"),
        yes("dns_search"),
        yes("domainname"),
        yes("entrypoint"),
        client("env_file", ErrorCode::EnvFileUnresolved),
        yes("environment"),
        yes("expose"),
        client("extends", ErrorCode::ValidationFailed),
        no(
            "external_links",
            "names a container outside the deployment; run it as a service of this file and use its name",
        ),
        yes("extra_hosts"),
        yes("gpus"),
        yes("group_add"),
        yes("healthcheck"),
        yes("hostname"),
        yes("image"),
        yes("init"),
        yes("ipc"),
        no("isolation", WINDOWS),
        client("label_file", ErrorCode::ValidationFailed),
        yes("labels"),
        yes("links"),
        yes("logging"),
        no("mac_address", "a fixed MAC address is not offered; remove it"),
        yes("mem_limit"),
        yes("mem_reservation"),
        yes("mem_swappiness"),
        yes("memswap_limit"),
        no("models", MODEL),
        yes("network_mode"),
        yes("networks"),
        no("oom_kill_disable", "a container that cannot be killed may stop its node; set a memory limit instead"),
        yes("oom_score_adj"),
        yes("pid"),
        yes("pids_limit"),
        yes("platform"),
        yes("ports"),
        later("post_start", HOOK),
        later("pre_stop", HOOK),
        later("privileged", "name what is needed with `cap_add`, `devices` or `sysctls`"),
        client("profiles", ErrorCode::ValidationFailed),
        no("provider", "external provider plugins are not run; run what it provides as a service and pass its URL"),
        yes("pull_policy"),
        no("pull_refresh_after", "images are not pulled by age; use `pull_policy: always`, or a new tag"),
        yes("read_only"),
        yes("restart"),
        yes("runtime"),
        yes("scale"),
        later("secrets", FILES),
        later("security_opt", "remove it, or name what is needed with `cap_add` or `cap_drop`"),
        yes("shm_size"),
        yes("stdin_open"),
        yes("stop_grace_period"),
        yes("stop_signal"),
        no("storage_opt", "limits of the container's own disk are not offered; remove it"),
        yes("sysctls"),
        yes("tmpfs"),
        yes("tty"),
        yes("ulimits"),
        no(
            "use_api_socket",
            "needs a Docker Engine's API inside the container; remove it, or mount a node's socket explicitly",
        ),
        yes("user"),
        yes("userns_mode"),
        yes("uts"),
        yes("volumes"),
        yes("volumes_from"),
        yes("working_dir"),
        legacy("log_driver", "logging.driver"),
        legacy("log_opt", "logging.options"),
        legacy("net", "network_mode"),
        legacy("volume_driver", "the long form of volumes, with the driver on the top-level volume"),
        legacy("dockerfile", "build.dockerfile"),
    ],
};
