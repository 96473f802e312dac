//! Heartbeats of an exclusive service's containers, and how long two of them were alive at a time.
//!
//! Each start of a container writes the time into a file of its own, some fifty times a second, in a folder of the machine that all
//! hosts have in common: no cut of the network comes between. All hosts of a lab share one kernel and so one boot-time clock, which is
//! read in hundredths of a second. A container is taken for alive from its first to its last line.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

/// The folder in a container.
const INSIDE: &str = "/beats";

/// What a container does. As process 1 it ignores a stop signal unless it asks for it.
const SCRIPT: &str = "read id < /proc/sys/kernel/random/uuid; exec 3>> /beats/$$JACO_EPOCH.$$id; \
                      while :; do read up rest < /proc/uptime; echo $$up >&3; sleep 0.02; done";

/// Where the heartbeats are.
pub(crate) struct Beats {
    folder: tempfile::TempDir,
}

/// One start of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    /// Number of the right that it was started by.
    pub(crate) epoch: u64,
    /// First heartbeat, since the machine's boot.
    pub(crate) first: Duration,
    /// Last one so far.
    pub(crate) last: Duration,
    /// How many.
    pub(crate) count: usize,
}

/// What the heartbeats of all starts together say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Starts.
    pub(crate) instances: usize,
    /// Time that two were alive at once, all of it together.
    pub(crate) overlap: Duration,
    /// Between the last sign of one owner's container and the first of the next one's: the shortest time.
    pub(crate) shortest_gap: Option<Duration>,
}

/// Time since the machine's boot, as the containers read it.
pub(crate) fn now() -> anyhow::Result<Duration> {
    seconds(&std::fs::read_to_string("/proc/uptime")?).context("/proc/uptime")
}

fn seconds(line: &str) -> Option<Duration> {
    let text = line.split_whitespace().next()?;
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

impl Beats {
    /// An empty folder.
    pub(crate) fn new() -> anyhow::Result<Beats> {
        Ok(Beats { folder: tempfile::Builder::new().prefix("jaco-beats-").tempdir()? })
    }

    /// A compose file of the service `beat`, whose container ends at its stop signal at once, or only by SIGKILL.
    pub(crate) fn compose(&self, grace: Duration, obeys: bool) -> String {
        let trap = if obeys { "trap 'exit 0' TERM; " } else { "trap '' TERM; " };
        format!(
            "services:\n  beat:\n    image: jaco.test/web:1\n    pull_policy: never\n    stop_grace_period: {}s\n    \
             command: [\"/bin/sh\", \"-c\", \"{trap}{SCRIPT}\"]\n    volumes: [\"{}:{INSIDE}\"]\n",
            grace.as_secs(),
            self.folder.path().display()
        )
    }

    /// Every start so far, in the order of their first heartbeats.
    pub(crate) fn instances(&self) -> anyhow::Result<Vec<Instance>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(self.folder.path())? {
            all.extend(read(&entry?.path())?);
        }
        all.sort_by_key(|instance| instance.first);
        Ok(all)
    }

    /// What they say together.
    pub(crate) fn finding(&self) -> anyhow::Result<Finding> {
        Ok(find(&self.instances()?))
    }
}

/// The start that a file is of; nothing while it has no whole line.
fn read(path: &Path) -> anyhow::Result<Option<Instance>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let epoch = name.split('.').next().and_then(|epoch| epoch.parse().ok());
    let epoch = epoch.with_context(|| format!("a container was started without its epoch: {name}"))?;
    let text = std::fs::read_to_string(path)?;
    let times: Vec<Duration> =
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).filter_map(seconds).collect();
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return Ok(None) };
    Ok(Some(Instance { epoch, first: *first, last: *last, count: times.len() }))
}

/// `all` in the order of their first heartbeats.
fn find(all: &[Instance]) -> Finding {
    let (mut overlap, mut shortest_gap) = (Duration::ZERO, None::<Duration>);
    let mut before: Option<&Instance> = None;
    for instance in all {
        if let Some(before) = before {
            overlap += before.last.min(instance.last).saturating_sub(instance.first);
            if before.epoch != instance.epoch {
                let gap = instance.first.saturating_sub(before.last);
                shortest_gap = Some(shortest_gap.map_or(gap, |known| known.min(gap)));
            }
        }
        // Whoever lives longest is who the next one may overlap with.
        before = before.into_iter().chain([instance]).max_by_key(|one| one.last);
    }
    Finding { instances: all.len(), overlap, shortest_gap }
}
