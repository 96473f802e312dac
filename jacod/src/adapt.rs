//! The daemon's parts as the narrow traits that other parts ask for.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jaco_api::{LogOptions, LogSource, LoopStatus, Loops, ReplicaLogLine, SoftReplica, SoftStates};
use jaco_ingress::Ingress;
use jaco_runtime::{OutputStream, Runtime, SoftState, Traffic};
use jaco_state::{BoxFuture, Clock};
use jaco_task::Supervisor;
use jaco_types::{ErrorCode, NodeId, ReplicaId, UserError};
use tokio::sync::mpsc;

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

/// Containers' logs by way of the runtime, whatever the node: it is this one.
pub(crate) struct RuntimeLogs(pub(crate) Arc<Runtime>);

impl LogSource for RuntimeLogs {
    fn read(
        &self,
        _node: NodeId,
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
