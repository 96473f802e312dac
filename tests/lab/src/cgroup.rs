//! The hosts' control groups, in whichever layout the machine has: v1, v2, or hybrid (v1 with an empty v2 tree beside it).
//!
//! Every host has the group `jaco-lab/<host>` in each hierarchy, and is the root of its own cgroup namespace, so that an engine in it
//! makes its groups below. In a tree that distributes resources (v2) only leaves may hold processes, so there the host's own live in
//! the leaf `init`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jaco_e2e::eventually;

use crate::process::PidRecord;

const ROOT: &str = "jaco-lab";

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// Which kind it is.
    pub(crate) kind: Kind,
}

/// Version of a hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// v1, with the mount options that name its controllers, for example `cpu,cpuacct` or `none,name=systemd`.
    V1(String),
    /// v2.
    V2,
}

/// The hierarchies of this machine.
pub(crate) fn hierarchies() -> Vec<Hierarchy> {
    parse(&std::fs::read_to_string("/proc/self/mounts").unwrap_or_default())
}

/// The hierarchies in a text of the form of `/proc/mounts`, see fstab(5).
fn parse(mounts: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (Some(mount), Some(kind), Some(options)) = (fields.get(1), fields.get(2), fields.get(3)) else { continue };
        let kind = match *kind {
            "cgroup" => Kind::V1(controllers(options)),
            "cgroup2" => Kind::V2,
            _ => continue,
        };
        let mount = PathBuf::from(mount);
        if mount.starts_with("/sys/fs/cgroup") && !found.iter().any(|other| other.mount == mount) {
            found.push(Hierarchy { mount, kind });
        }
    }
    found
}

/// The options of a v1 mount that say what it controls.
fn controllers(options: &str) -> String {
    let general = ["rw", "ro", "relatime", "noatime", "nosuid", "nodev", "noexec", "xattr", "clone_children"];
    let own: Vec<&str> = options
        .split(',')
        .filter(|option| !general.contains(option) && !option.starts_with("release_agent="))
        .collect();
    let named_only = own.iter().all(|option| option.starts_with("name="));
    if named_only { format!("none,{}", own.join(",")) } else { own.join(",") }
}

/// Puts the calling process, which has one thread, into the host's group of every hierarchy. Before the host's namespaces exist this is
/// the group that becomes the root of its cgroup namespace.
pub(crate) fn join_root(host: &str) -> anyhow::Result<()> {
    for hierarchy in hierarchies() {
        let group = make(&hierarchy, host)?;
        write(&group.join("cgroup.procs"), "0")?;
    }
    Ok(())
}

/// Puts the calling process where the host's processes live.
pub(crate) fn join(host: &str) -> anyhow::Result<()> {
    for hierarchy in hierarchies() {
        let group = make(&hierarchy, host)?;
        match hierarchy.kind {
            Kind::V1(_) => write(&group.join("cgroup.procs"), "0")?,
            Kind::V2 => {
                let leaf = group.join("init");
                std::fs::create_dir_all(&leaf).with_context(|| leaf.display().to_string())?;
                write(&leaf.join("cgroup.procs"), "0")?;
                hand_down(&group);
            }
        }
    }
    Ok(())
}

/// Makes the host's group and gives its path.
fn make(hierarchy: &Hierarchy, host: &str) -> anyhow::Result<PathBuf> {
    let all = hierarchy.mount.join(ROOT);
    let group = all.join(host);
    std::fs::create_dir_all(&group).with_context(|| group.display().to_string())?;
    match &hierarchy.kind {
        Kind::V2 => {
            hand_down(&hierarchy.mount);
            hand_down(&all);
        }
        // A new cpuset group is empty, and nothing can join an empty one.
        Kind::V1(controllers) if controllers.split(',').any(|name| name == "cpuset") => {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let text = std::fs::read_to_string(hierarchy.mount.join(file))?;
                write(&all.join(file), text.trim())?;
                write(&group.join(file), text.trim())?;
            }
        }
        Kind::V1(_) => {}
    }
    Ok(group)
}

/// Hands every controller of a v2 group to its children. Those that cannot be handed down are missing in the hosts, no more.
fn hand_down(group: &Path) {
    let available = std::fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    for controller in available.split_whitespace() {
        let _ = std::fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// Stops every process of a host, or lets them go on: by the v1 freezer where there is one, by `cgroup.freeze` otherwise.
pub(crate) fn set_frozen(host: &str, frozen: bool) -> anyhow::Result<()> {
    let (file, value, done) = freezer(&hierarchies(), host, frozen).context("this machine has no freezer")?;
    write(&file, value)?;
    let (status, wanted) = done;
    eventually(Duration::from_secs(10), &format!("{host} is {value}"), || {
        let text = std::fs::read_to_string(&status).map_err(|error| error.to_string())?;
        if text.contains(wanted) { Ok(()) } else { Err(text) }
    })
}

/// Whether every process of a host is stopped.
pub(crate) fn is_frozen(host: &str) -> bool {
    freezer(&hierarchies(), host, true)
        .is_some_and(|(_, _, (status, wanted))| std::fs::read_to_string(status).is_ok_and(|text| text.contains(wanted)))
}

/// The file to write, what to write, and the file and text that confirm it.
type Freezer = (PathBuf, &'static str, (PathBuf, &'static str));

fn freezer(hierarchies: &[Hierarchy], host: &str, frozen: bool) -> Option<Freezer> {
    let is_freezer = |kind: &Kind| match kind {
        Kind::V1(controllers) => controllers.split(',').any(|name| name == "freezer"),
        Kind::V2 => false,
    };
    if let Some(v1) = hierarchies.iter().find(|one| is_freezer(&one.kind)) {
        let file = v1.mount.join(ROOT).join(host).join("freezer.state");
        let word = if frozen { "FROZEN" } else { "THAWED" };
        return Some((file.clone(), word, (file, word)));
    }
    let v2 = hierarchies.iter().find(|one| one.kind == Kind::V2)?;
    let group = v2.mount.join(ROOT).join(host);
    let (value, wanted) = if frozen { ("1", "frozen 1") } else { ("0", "frozen 0") };
    Some((group.join("cgroup.freeze"), value, (group.join("cgroup.events"), wanted)))
}

/// Kills what is left in a host's groups and removes them. What was killed with the process namespace may still be on its way out.
pub(crate) fn remove(host: &str) -> anyhow::Result<()> {
    for hierarchy in hierarchies() {
        let group = hierarchy.mount.join(ROOT).join(host);
        if !group.exists() {
            continue;
        }
        eventually(Duration::from_secs(20), &format!("{} is empty", group.display()), || {
            kill_all(&group);
            remove_tree(&group).map_err(|error| error.to_string())
        })?;
        // Fails as long as other hosts have their groups in it.
        let _ = std::fs::remove_dir(hierarchy.mount.join(ROOT));
    }
    Ok(())
}

/// Names of the hosts that have groups, whatever lab they belong to.
pub(crate) fn hosts() -> Vec<String> {
    let mut names: Vec<String> = hierarchies()
        .iter()
        .flat_map(|hierarchy| folders(&hierarchy.mount.join(ROOT)))
        .filter_map(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn kill_all(group: &Path) {
    for folder in folders(group) {
        kill_all(&folder);
    }
    let processes = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != std::process::id()) {
        if let Ok(record) = PidRecord::of(pid) {
            let _ = record.signal(rustix::process::Signal::KILL);
        }
    }
}

fn remove_tree(group: &Path) -> std::io::Result<()> {
    for folder in folders(group) {
        remove_tree(&folder)?;
    }
    match std::fs::remove_dir(group) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests;
