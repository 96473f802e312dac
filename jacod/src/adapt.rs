//! The daemon's parts as the narrow traits that other parts ask for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jaco_api::{
    Consensus, ConsensusStatus, LogOptions, LogSource, LoopStatus, Loops, ReplicaLogLine, SoftReplica, SoftStates,
};
use jaco_controlplane::{ControlPlane, InitialiseError};
use jaco_ingress::Ingress;
use jaco_runtime::{OutputStream, Runtime, SoftState, Traffic};
use jaco_scheduler::intent;
use jaco_state::{BoxFuture, Clock, Leadership, Store};
use jaco_task::Supervisor;
use jaco_types::{ClusterMeta, ErrorCode, Node, ReplicaId, UserError};
use tokio::sync::mpsc;

use crate::config::Config;

/// The ingress lets go of a container before it is stopped.
pub(crate) struct IngressTraffic(pub(crate) Arc<Ingress>);

impl Traffic for IngressTraffic {
    fn withdraw(&self, container_id: String, limit: Duration) -> BoxFuture<'_, ()> {
        let drained = self.0.withdraw(&container_id, limit);
        Box::pin(async move {
            match drained.await {
                jaco_ingress::Drained::Idle => {}
                jaco_ingress::Drained::InFlight(left) => {
                    tracing::info!(container = %container_id, left, "stopped with requests in flight: their time was over");
                }
            }
        })
    }
}

/// Init, and what consensus says.
pub(crate) struct ClusterConsensus {
    pub(crate) control_plane: ControlPlane,
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Consensus for ClusterConsensus {
    fn initialise<'a>(
        &'a self,
        name: Option<String>,
        actor: &'a str,
    ) -> BoxFuture<'a, Result<(String, String), UserError>> {
        Box::pin(async move {
            let cluster_id = uuid::Uuid::new_v4().to_string();
            let name = name.unwrap_or_else(|| cluster_id.clone());
            let meta = self.first_record(cluster_id.clone(), name.clone());
            let node = self.first_node();
            let first = intent::init(&self.control_plane.view(), meta.clone(), node, actor)?;
            self.control_plane.initialise(meta, first).await.map_err(|error: InitialiseError| error.user_error())?;
            Ok((cluster_id, name))
        })
    }

    fn status(&self) -> ConsensusStatus {
        let status = self.control_plane.status();
        let quorum = matches!(self.control_plane.leadership(), Leadership::Leader { .. });
        ConsensusStatus {
            leader: status.leader,
            index: status.applied_index,
            quorum,
            voters: status.voters,
            learners: status.learners,
        }
    }
}

impl ClusterConsensus {
    fn first_record(&self, cluster_id: String, name: String) -> ClusterMeta {
        ClusterMeta {
            cluster_id,
            name,
            incarnation: self.control_plane.incarnation(),
            feature_level: 1,
            created_at_ms: self.clock.now_ms(),
            ipam_pool: self.config.ipam_pool,
            mesh_cidr: self.config.mesh_cidr,
            node_down_after_ms: u64::try_from(self.config.node_down_after.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn first_node(&self) -> Node {
        Node {
            id: self.control_plane.node_id(),
            hostname: self.config.hostname.clone(),
            address: self.config.advertise.to_string(),
            grpc_address: self.config.listen_addr.to_string(),
            version: crate::VERSION.to_owned(),
            joined_at_ms: self.clock.now_ms(),
            cluster_address: String::new(),
            public_keys: Vec::new(),
            seal_key: String::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// The supervisor's tasks, for operators.
pub(crate) struct SupervisedLoops {
    pub(crate) supervisor: Supervisor,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Loops for SupervisedLoops {
    fn status(&self) -> Vec<LoopStatus> {
        let now_ms = self.clock.now_ms();
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.supervisor
            .status()
            .into_iter()
            .map(|task| LoopStatus {
                name: task.name,
                state: task.state.as_str(),
                runs: task.runs,
                errors_in_a_row: task.errors_in_a_row,
                last_error: task.last_error,
                last_run_at_ms: task.since_last_run.map(|since| now_ms.saturating_sub(millis(since))),
                lag_ms: millis(task.lag),
            })
            .collect()
    }
}

/// The runtime's soft state.
pub(crate) struct RuntimeSoft(pub(crate) SoftState);

impl SoftStates for RuntimeSoft {
    fn replica(&self, id: &ReplicaId) -> SoftReplica {
        let soft = self.0.get(id);
        SoftReplica {
            last_health_at_ms: soft.last_health_at_ms,
            last_attempt_at_ms: soft.last_attempt_at_ms,
            pull: soft.pull.map(|pull| (pull.bytes_done, pull.bytes_total, pull.layers_done, pull.layers_total)),
        }
    }
}

/// Containers' logs by way of the runtime.
pub(crate) struct RuntimeLogs(pub(crate) Arc<Runtime>);

impl LogSource for RuntimeLogs {
    fn read(
        &self,
        container_id: String,
        options: LogOptions,
        lines: mpsc::Sender<ReplicaLogLine>,
    ) -> BoxFuture<'static, Result<(), UserError>> {
        let options = jaco_runtime::LogOptions {
            follow: options.follow,
            since: options.since_ms.map(|ms| ms / 1000),
            tail: options.tail.map(u64::from),
        };
        let mut stream = self.0.logs(&container_id, options);
        Box::pin(async move {
            loop {
                let next = tokio::select! {
                    () = lines.closed() => return Ok(()),
                    next = stream.next() => next,
                };
                let line = match next {
                    None => return Ok(()),
                    Some(Err(error)) => return Err(UserError::new(ErrorCode::DockerError, error.to_string())),
                    Some(Ok(line)) => line,
                };
                let line = ReplicaLogLine {
                    stream: match line.stream {
                        OutputStream::Stdout => "stdout",
                        OutputStream::Stderr => "stderr",
                    },
                    ts_ms: millis_of(&line.ts),
                    line: line.line,
                };
                if lines.send(line).await.is_err() {
                    return Ok(());
                }
            }
        })
    }
}

/// The engine's time stamp as milliseconds since the Unix epoch; 0 when it gave none.
fn millis_of(timestamp: &str) -> u64 {
    humantime::parse_rfc3339_weak(timestamp)
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}
