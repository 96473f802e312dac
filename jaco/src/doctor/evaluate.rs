//! What the facts mean for a node: pure.

use std::time::Duration;

use super::facts::{AppArmor, Cgroup, Clock, Config, Engine, Facts, Holder, Listener, Port, Space, Sync};
use super::report::{Check, Verdict};
use crate::text::bytes;

/// The oldest engine API the runtime speaks: that of engine 20.10.
const OLDEST_API: (u32, u32) = (1, 41);

/// A commit waits for one sync of the log. Above this median, every change is felt to be slow.
const SLOW_SYNC: Duration = Duration::from_millis(10);

/// Below this much space the log's own reserve does not fit, and the daemon refuses writes.
const LEAST_SPACE: u64 = 256 * 1024 * 1024;

/// Below this much space the first larger image fills the disk.
const LITTLE_SPACE: u64 = 2 * 1024 * 1024 * 1024;

/// Judges the facts, in a fixed order.
pub fn evaluate(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![config(&facts.config), engine(&facts.engine), apparmor(facts.apparmor), cgroup(facts.cgroup)];
    checks.extend(facts.ports.iter().map(|listed| port(listed, &facts.config)));
    checks.extend([sync(&facts.sync), clock(facts.clock), space(&facts.space), tun(facts.tun), nft(facts.nft)]);
    checks
}

fn ok(name: &str, details: impl Into<String>) -> Check {
    Check { name: name.to_owned(), result: Verdict::Ok, details: details.into(), fix: None }
}

fn bad(name: &str, result: Verdict, details: impl Into<String>, fix: impl Into<String>) -> Check {
    Check { name: name.to_owned(), result, details: details.into(), fix: Some(fix.into()) }
}

fn config(config: &Config) -> Check {
    let (name, path) = ("config", config.path.display());
    match &config.file {
        Ok(true) => ok(name, path.to_string()),
        Ok(false) => ok(name, format!("there is no {path}: the defaults are in force")),
        Err(reason) => bad(
            name,
            Verdict::Missing,
            format!("{path} cannot be used ({reason}); the defaults were looked at"),
            "run doctor as a user who may read it, and see: jacod config",
        ),
    }
}

fn engine(engine: &Engine) -> Check {
    let name = "engine";
    let start = "install and start the Docker engine: apt-get install docker.io && systemctl start docker";
    match engine {
        Engine::NoSocket(path) => {
            bad(name, Verdict::Missing, format!("there is no engine socket at {}", path.display()), start)
        }
        Engine::Denied(path) => bad(
            name,
            Verdict::Missing,
            format!("no permission to open {}", path.display()),
            "run doctor as root or as a member of group docker",
        ),
        Engine::NoAnswer(path, reason) => bad(
            name,
            Verdict::Missing,
            format!("{} does not answer: {reason}", path.display()),
            "look at: systemctl status docker",
        ),
        Engine::Answers { version, api } => match api_version(api) {
            Some(found) if found >= OLDEST_API => ok(name, format!("engine {version}, API {api}")),
            Some(_) => bad(
                name,
                Verdict::Missing,
                format!("engine {version} speaks API {api}; {}.{} is needed", OLDEST_API.0, OLDEST_API.1),
                "upgrade the engine to 20.10 or newer",
            ),
            None => {
                bad(name, Verdict::Missing, format!("API version {api:?} makes no sense"), "is this a Docker engine?")
            }
        },
    }
}

fn api_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn apparmor(apparmor: AppArmor) -> Check {
    let name = "apparmor";
    match (apparmor.in_kernel, apparmor.has_parser) {
        (false, _) => ok(name, "not in the kernel"),
        (true, true) => ok(name, "in the kernel, apparmor_parser is there"),
        (true, false) => bad(
            name,
            Verdict::Missing,
            "the kernel enforces AppArmor and apparmor_parser is missing: the engine starts no container",
            "apt-get install apparmor",
        ),
    }
}

fn cgroup(cgroup: Cgroup) -> Check {
    let name = "cgroup";
    match cgroup {
        Cgroup::V2 => ok(name, "version 2"),
        Cgroup::V1 => ok(name, "version 1"),
        Cgroup::Hybrid => ok(name, "version 1 with version 2 beside it"),
        Cgroup::Absent => bad(
            name,
            Verdict::Missing,
            "no control groups are mounted: limits cannot be kept",
            "mount them: mount -t cgroup2 none /sys/fs/cgroup",
        ),
    }
}

fn port(port: &Port, config: &Config) -> Check {
    let name = format!("port {}", port.number);
    let result = match port.listener {
        Listener::Http => Verdict::Missing,
        Listener::Https | Listener::Api | Listener::Cluster | Listener::Metrics => Verdict::Warning,
    };
    let (key, purpose) = (port.listener.key(), port.listener.purpose());
    let fix = format!("stop what holds it, or set {key} in {} ({purpose})", config.path.display());
    match &port.holder {
        Holder::Nobody => ok(&name, "free"),
        Holder::Process(process) if process == "jacod" => ok(&name, "held by jacod"),
        Holder::Process(process) => bad(&name, result, format!("held by {process}"), fix),
        Holder::Somebody => bad(
            &name,
            Verdict::Warning,
            "held by a process that only root can see",
            "run doctor as root to see whether it is jacod",
        ),
    }
}

fn sync(sync: &Result<Sync, String>) -> Check {
    let name = "fsync";
    match sync {
        Ok(sync) => {
            let millis = |time: Duration| time.as_secs_f64() * 1000.0;
            let details = format!(
                "median {:.1} ms, worst {:.1} ms in {}",
                millis(sync.median),
                millis(sync.worst),
                sync.directory.display()
            );
            if sync.median <= SLOW_SYNC {
                return ok(name, details);
            }
            bad(
                name,
                Verdict::Warning,
                details,
                "put data_dir on a disk of its own or on an SSD: every change waits for one sync",
            )
        }
        Err(reason) => bad(name, Verdict::Warning, format!("could not be measured: {reason}"), "run doctor as root"),
    }
}

fn clock(clock: Clock) -> Check {
    let name = "clock";
    let fix = "apt-get install chrony, or: timedatectl set-ntp true";
    match (clock.before_build, clock.synchronized) {
        (true, _) => bad(name, Verdict::Warning, "before this program was built: certainly wrong", fix),
        (false, Some(true)) => ok(name, "kept by a time service"),
        (false, Some(false)) => {
            bad(name, Verdict::Warning, "not kept by a time service; nodes must agree within 2 s", fix)
        }
        (false, None) => bad(name, Verdict::Warning, "nobody can tell whether a time service keeps it", fix),
    }
}

fn space(space: &Result<Space, String>) -> Check {
    let name = "disk space";
    match space {
        Ok(space) => {
            let details = format!(
                "{} of {} available in {}",
                bytes(space.available),
                bytes(space.total),
                space.directory.display()
            );
            let fix = "make room, for example: docker system prune";
            if space.available < LEAST_SPACE {
                return bad(name, Verdict::Missing, details, fix);
            }
            if space.available < LITTLE_SPACE {
                return bad(name, Verdict::Warning, details, fix);
            }
            ok(name, details)
        }
        Err(reason) => bad(name, Verdict::Warning, format!("could not be read: {reason}"), "look at: df /var/lib"),
    }
}

fn tun(present: bool) -> Check {
    let name = "tun";
    if present {
        return ok(name, "/dev/net/tun is there");
    }
    bad(
        name,
        Verdict::Warning,
        "/dev/net/tun is missing: the mesh between nodes needs it where the kernel has no WireGuard",
        "modprobe tun",
    )
}

fn nft(present: bool) -> Check {
    let name = "nft";
    if present {
        return ok(name, "nft is there");
    }
    bad(
        name,
        Verdict::Warning,
        "nft is missing: the rules that keep networks apart cannot be looked at",
        "apt-get install nftables",
    )
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
