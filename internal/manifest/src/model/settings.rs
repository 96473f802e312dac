//! Settings that go to the container as they are.

use std::collections::BTreeMap;

use jaco_types::{ContainerSpec, Logging, Ulimit};

use crate::reading::report::{Field, Report};
use crate::reading::{keys, read};

/// Reads one plain setting; `false` for a key that is not one.
pub(crate) fn read(report: &mut Report<'_>, key: &str, field: &Field<'_>, container: &mut ContainerSpec) -> bool {
    texts(report, key, field, container)
        || lists(report, key, field, container)
        || numbers(report, key, field, container)
}

fn texts(report: &mut Report<'_>, key: &str, field: &Field<'_>, container: &mut ContainerSpec) -> bool {
    match key {
        "user" => container.user = read::text(report, field),
        "working_dir" => container.working_dir = read::text(report, field),
        "hostname" => container.hostname = read::text(report, field),
        "domainname" => container.domainname = read::text(report, field),
        "stop_signal" => container.stop_signal = read::text(report, field),
        "cgroup_parent" => container.cgroup_parent = read::text(report, field),
        "cgroup" => container.cgroup = read::word(report, field, &["host", "private"]).map(str::to_owned),
        "uts" => container.uts = read::word(report, field, &["host"]).map(str::to_owned),
        "userns_mode" => container.userns_mode = read::word(report, field, &["host"]).map(str::to_owned),
        "runtime" => container.runtime = runtime(report, field),
        "platform" => container.platform = platform(report, field),
        "init" => container.init = read::boolean(report, field),
        "read_only" => container.read_only = read::boolean(report, field).unwrap_or_default(),
        "tty" => container.tty = read::boolean(report, field).unwrap_or_default(),
        "stdin_open" => container.stdin_open = read::boolean(report, field).unwrap_or_default(),
        "logging" => container.logging = logging(report, field),
        _ => return false,
    }
    true
}

fn lists(report: &mut Report<'_>, key: &str, field: &Field<'_>, container: &mut ContainerSpec) -> bool {
    match key {
        "labels" => container.labels = labels(report, field),
        "annotations" => container.annotations = read::string_map(report, field),
        "cap_add" => container.cap_add = read::distinct(report, field, false),
        "cap_drop" => container.cap_drop = read::distinct(report, field, false),
        "device_cgroup_rules" => container.device_cgroup_rules = read::distinct(report, field, false),
        "dns" => container.dns = dns(report, field),
        "dns_search" => container.dns_search = read::distinct(report, field, true),
        "dns_opt" => container.dns_options = read::distinct(report, field, false),
        "extra_hosts" => container.extra_hosts = extra_hosts(report, field),
        "group_add" => container.group_add = read::distinct(report, field, false),
        "sysctls" => container.sysctls = read::string_map(report, field),
        "ulimits" => container.ulimits = ulimits(report, field),
        _ => return false,
    }
    true
}

fn numbers(report: &mut Report<'_>, key: &str, field: &Field<'_>, container: &mut ContainerSpec) -> bool {
    let resources = &mut container.resources;
    match key {
        "shm_size" => container.shm_size = read::size(report, field),
        "stop_grace_period" => container.stop_grace_period = read::duration(report, field),
        "mem_swappiness" => {
            resources.memory_swappiness = read::integer(report, field, 0, 100).and_then(|n| n.try_into().ok())
        }
        "memswap_limit" => resources.memory_swap = size_or_unlimited(report, field),
        "cpu_period" => resources.cpu_period = microseconds(report, field).and_then(|n| n.try_into().ok()),
        "cpu_quota" => resources.cpu_quota = microseconds(report, field),
        "oom_score_adj" => resources.oom_score_adj = read::integer(report, field, -1000, 1000),
        _ => return false,
    }
    true
}

fn labels(report: &mut Report<'_>, field: &Field<'_>) -> BTreeMap<String, String> {
    use jaco_types::label;
    let labels = read::string_map(report, field);
    let ours = [
        label::CLUSTER_ID,
        label::DEPLOYMENT,
        label::SERVICE,
        label::REPLICA_ID,
        label::REPLICA_INDEX,
        label::RAFT_INDEX,
        label::SPEC_HASH,
    ];
    if let Some(name) = ours.into_iter().find(|name| labels.contains_key(*name)) {
        report.note(
            "labels.own",
            field,
            format!("the label `{name}` is set by JACO itself; the value given here has no effect"),
        );
    }
    labels
}

fn runtime(report: &mut Report<'_>, field: &Field<'_>) -> Option<String> {
    let runtime = read::text(report, field)?;
    if ["wasm", "spin", "slight"].iter().any(|kind| runtime.contains(kind)) {
        report.refused(
            "runtime.wasm",
            field,
            "WebAssembly runtimes are not offered; use runc, nvidia or another OCI runtime",
        );
        return None;
    }
    Some(runtime)
}

/// `os/arch[/variant]`; the usual other names of an architecture become the engine's.
fn platform(report: &mut Report<'_>, field: &Field<'_>) -> Option<String> {
    let text = read::text(report, field)?.to_ascii_lowercase();
    if text.contains("wasm") || text.contains("wasi") {
        report.refused(
            "platform.wasm",
            field,
            "WebAssembly platforms are not offered; use linux/amd64, linux/arm64, …",
        );
        return None;
    }
    let full = if text.contains('/') { text } else { format!("linux/{text}") };
    let mut parts = full.splitn(3, '/');
    let (system, architecture) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if system != "linux" {
        report.refused("platform.other", field, "only Linux containers are run; use linux/amd64, linux/arm64, …");
        return None;
    }
    let architecture = match architecture {
        "" => {
            report.wrong_type(field, "os/arch, such as linux/amd64");
            return None;
        }
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    report.note(
        "platform",
        field,
        "the image is pulled and run for this platform; nodes are not chosen by their platform yet",
    );
    Some(
        parts
            .next()
            .map_or_else(|| format!("linux/{architecture}"), |variant| format!("linux/{architecture}/{variant}")),
    )
}

/// The drivers whose logs can be read back; a plugin's would be lost silently.
const LOG_DRIVERS: [&str; 3] = ["json-file", "local", "none"];

fn logging(report: &mut Report<'_>, field: &Field<'_>) -> Option<Logging> {
    let mut logging = Logging::default();
    for (key, value) in report.keyed(field, &keys::LOGGING) {
        match key {
            "driver" => {
                logging.driver = read::text(report, &value);
                if logging.driver.as_deref().is_some_and(|driver| !LOG_DRIVERS.contains(&driver)) {
                    report.refused(
                        "logging.driver",
                        &value,
                        format!("is not supported; use {}", LOG_DRIVERS.join(", ")),
                    );
                }
            }
            "options" => logging.options = read::string_map(report, &value),
            other => report.invalid(&value, format!("no reader for `{other}`")),
        }
    }
    (logging != Logging::default()).then_some(logging)
}

fn dns(report: &mut Report<'_>, field: &Field<'_>) -> Vec<String> {
    let mut servers: Vec<String> = Vec::new();
    for (item, server) in read::texts(report, field, true) {
        if server.parse::<std::net::IpAddr>().is_err() {
            report.invalid(&item, "a DNS server is given by its address");
        } else if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers
}

/// `name:address`, `name=address` or a mapping of name to one or several addresses; the address may be `host-gateway`.
fn extra_hosts(report: &mut Report<'_>, field: &Field<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if matches!(field.node.value, crate::Value::Map(_)) {
        for entry in report.entries(field) {
            for (item, address) in read::texts(report, &field.child(entry), true) {
                extra_host(report, &item, &entry.key, &address, &mut lines);
            }
        }
        return lines;
    }
    for (item, text) in read::texts(report, field, false) {
        match text.split_once('=').or_else(|| text.split_once(':')) {
            Some((name, address)) => extra_host(report, &item, name, address, &mut lines),
            None => report.invalid(&item, "is not `name:address`"),
        }
    }
    lines
}

fn extra_host(report: &mut Report<'_>, field: &Field<'_>, name: &str, address: &str, lines: &mut Vec<String>) {
    let (name, address) = (name.trim(), address.trim());
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    if name.is_empty() || (bare != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err()) {
        report.invalid(field, "is not `name:address` with an IP address or `host-gateway`");
        return;
    }
    let line = format!("{name}:{bare}");
    if !lines.contains(&line) {
        lines.push(line);
    }
}

fn ulimits(report: &mut Report<'_>, field: &Field<'_>) -> BTreeMap<String, Ulimit> {
    let mut limits = BTreeMap::new();
    for entry in report.entries(field) {
        let child = field.child(entry);
        if let Some(limit) = ulimit(report, &child) {
            limits.insert(entry.key.clone(), limit);
        }
    }
    limits
}

fn ulimit(report: &mut Report<'_>, field: &Field<'_>) -> Option<Ulimit> {
    if field.scalar().is_some() {
        return read::integer(report, field, -1, i64::MAX).map(|both| Ulimit { soft: both, hard: both });
    }
    let (mut soft, mut hard) = (None, None);
    for (key, value) in report.keyed(field, &keys::ULIMIT) {
        let number = read::integer(report, &value, -1, i64::MAX);
        match key {
            "soft" => soft = number,
            _ => hard = number,
        }
    }
    let limit = match (soft, hard) {
        (Some(soft), Some(hard)) => Ulimit { soft, hard },
        (Some(both), None) | (None, Some(both)) => Ulimit { soft: both, hard: both },
        (None, None) => return None,
    };
    if limit.hard != -1 && (limit.soft > limit.hard || limit.soft == -1) {
        report.invalid(field, "the soft limit is above the hard one");
        return None;
    }
    Some(limit)
}

/// A size, or -1.
fn size_or_unlimited(report: &mut Report<'_>, field: &Field<'_>) -> Option<i64> {
    if field.scalar().is_some_and(|s| s.text.trim() == "-1") {
        return Some(-1);
    }
    read::size(report, field).and_then(|n| i64::try_from(n).ok())
}

/// A number of microseconds, or a duration.
fn microseconds(report: &mut Report<'_>, field: &Field<'_>) -> Option<i64> {
    let text = read::text(report, field)?;
    if text.trim().parse::<i64>().is_ok() {
        return read::integer(report, field, 0, i64::MAX);
    }
    read::duration(report, field).and_then(|d| i64::try_from(d.as_micros()).ok())
}
