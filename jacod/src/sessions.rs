//! This node's session with the leader: what it says of itself, and what it hears.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures_util::StreamExt;
use jaco_api::{AnswerStream, MemberCaller, SessionHost};
use jaco_controlplane::{ControlPlane, Lease, NodeSample, SessionEvents, SessionIdentity, SessionSource, SessionTable};
use jaco_proto::v1;
use jaco_state::BoxFuture;
use jaco_types::NodeStatus;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::config::Config;
use crate::founding::own_record;

/// The leader's side: sessions of other nodes end in the table.
pub(crate) struct TableHost(pub(crate) SessionTable);

impl SessionHost for TableHost {
    fn session(
        &self,
        caller: MemberCaller,
        messages: Streaming<v1::SessionRequest>,
    ) -> BoxFuture<'_, Result<AnswerStream<v1::SessionResponse>, Status>> {
        // A connection that broke ends the messages, as a closed one does.
        let messages = messages
            .take_while(|message| std::future::ready(message.is_ok()))
            .filter_map(|message| std::future::ready(message.ok()));
        let answers = self.0.serve(caller.node, Box::pin(messages)).map(Ok);
        Box::pin(async move { Ok(Box::pin(answers) as AnswerStream<_>) })
    }
}

/// What this node says of itself.
pub(crate) struct NodeFacts {
    control_plane: ControlPlane,
    config: Config,
    sampled: Mutex<Sampled>,
}

struct Sampled {
    at: Option<Instant>,
    /// Ticks of all processors: in all, and idle.
    ticks: Option<(u64, u64)>,
}

impl NodeFacts {
    pub(crate) fn new(control_plane: ControlPlane, config: Config) -> Self {
        NodeFacts { control_plane, config, sampled: Mutex::new(Sampled { at: None, ticks: None }) }
    }

    /// Shares of processors and memory in use, once in each interval.
    fn pressure(&self) -> (Option<f64>, Option<f64>) {
        let mut sampled = self.sampled.lock().unwrap_or_else(PoisonError::into_inner);
        if sampled.at.is_some_and(|at| at.elapsed() < self.config.node_status_interval) {
            return (None, None);
        }
        sampled.at = Some(Instant::now());
        let ticks = std::fs::read_to_string("/proc/stat").ok().as_deref().and_then(processor_ticks);
        let cpu = sampled.ticks.zip(ticks).and_then(|(before, now)| busy_share(before, now));
        sampled.ticks = ticks;
        let memory = std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(memory_share);
        (cpu, memory)
    }
}

impl SessionSource for NodeFacts {
    fn identity(&self) -> SessionIdentity {
        let own = own_record(&self.config, self.control_plane.node_id(), 0);
        let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get() as u64);
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        SessionIdentity {
            incarnation: self.control_plane.incarnation(),
            version: own.version,
            address: own.address,
            grpc_address: own.grpc_address,
            cluster_address: own.cluster_address,
            nano_cpus: cores * 1_000_000_000,
            memory_bytes: memory_field(&meminfo, "MemTotal:").unwrap_or(0),
        }
    }

    fn sample(&self) -> NodeSample {
        let (cpu, memory) = self.pressure();
        let id = self.control_plane.node_id().to_string();
        let view = jaco_state::Store::view(&self.control_plane);
        // The runtime says so in the node's status once nothing unwanted runs here.
        let reconciled = view.get::<NodeStatus>(&id).is_some_and(|status| status.state == jaco_types::NodeState::Ready);
        NodeSample { reconciled, cpu, memory, sync: self.control_plane.status().log.last_sync }
    }
}

/// Total and idle ticks of the first line of `/proc/stat`: user, nice, system, idle, iowait, …
fn processor_ticks(stat: &str) -> Option<(u64, u64)> {
    let numbers: Vec<u64> =
        stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let idle = numbers.get(3)?.saturating_add(*numbers.get(4)?);
    // What guests use is counted as user time already.
    Some((numbers.iter().take(8).fold(0, |sum: u64, field| sum.saturating_add(*field)), idle))
}

fn busy_share(before: (u64, u64), now: (u64, u64)) -> Option<f64> {
    let all = now.0.checked_sub(before.0).filter(|all| *all > 0)?;
    let idle = now.1.saturating_sub(before.1).min(all);
    Some((all - idle) as f64 / all as f64)
}

fn memory_share(meminfo: &str) -> Option<f64> {
    let total = memory_field(meminfo, "MemTotal:").filter(|total| *total > 0)?;
    let available = memory_field(meminfo, "MemAvailable:")?.min(total);
    Some((total - available) as f64 / total as f64)
}

/// Bytes of a line of `/proc/meminfo`, which counts in units of 1024.
fn memory_field(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What a session brings.
pub(crate) struct SessionNews {
    pub(crate) lease: watch::Sender<Option<Lease>>,
    pub(crate) removed: CancellationToken,
}

impl SessionEvents for SessionNews {
    fn lease(&self, lease: Lease) {
        self.lease.send_replace(Some(lease));
    }

    fn removed(&self) {
        self.removed.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_from_what_the_kernel_says() {
        let before = processor_ticks("cpu  10 0 10 70 10 0 0 0 5 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(before, (100, 80));
        let now = processor_ticks("cpu  60 0 10 120 10 0 0 0 5 0\n").unwrap();
        assert_eq!(busy_share(before, now), Some(0.5));
        assert_eq!(busy_share(now, now), None, "nothing has passed");
        let meminfo = "MemTotal:       1000 kB\nMemFree:  1 kB\nMemAvailable:    250 kB\n";
        assert_eq!(memory_share(meminfo), Some(0.75));
        assert_eq!(memory_field(meminfo, "MemTotal:"), Some(1_024_000));
        assert_eq!([processor_ticks("nonsense").is_none(), memory_share("").is_none()], [true, true]);
    }
}
