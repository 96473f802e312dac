//! The processes of a container, without the engine.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Finds and kills containers' processes.
pub trait Processes {
    /// Kills every process of these containers; returns how many there were.
    fn kill(&mut self, containers: &[&str]) -> usize;
}

/// By the control groups: the engine names a container's group after its id, below whatever parent and with either version.
#[derive(Debug, Default)]
pub struct ControlGroups;

impl ControlGroups {
    /// The processes that are in the group of one of these containers.
    fn find(containers: &[&str]) -> BTreeMap<i32, String> {
        let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter_map(|pid| {
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
            let container = containers.iter().find(|container| is_in(&groups, container))?;
            Some((pid, (*container).to_owned()))
        })
        .collect()
    }
}

/// Whether one of the groups has a part that is the container's: its id, or `docker-<id>.scope`.
fn is_in(groups: &str, container: &str) -> bool {
    // A short or empty id would be in many a path.
    container.len() == 64
        && groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|path| {
            path.split('/').any(|part| {
                let scope = part.strip_suffix(".scope").and_then(|name| name.rsplit('-').next());
                part == container || scope == Some(container)
            })
        })
}

impl Processes for ControlGroups {
    fn kill(&mut self, containers: &[&str]) -> usize {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let found = ControlGroups::find(containers);
        for (pid, container) in found.iter().filter(|(pid, _)| **pid != own) {
            let Some(process) = Pid::from_raw(*pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
                continue;
            };
            // The number may have been given to another process since: what is held now is asked once more.
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            if is_in(&groups, container)
                && let Err(error) = pidfd_send_signal(&process, Signal::KILL)
            {
                crate::journal::say(&format!("process {pid} of container {container} cannot be killed: {error}"));
            }
        }
        found.len()
    }
}

#[cfg(test)]
mod tests;
