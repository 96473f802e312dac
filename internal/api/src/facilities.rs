//! What the handlers need of the rest of the daemon, as narrow traits. The daemon's composition root adapts its parts to them.

use std::time::Duration;

use jaco_proto::v1;
use jaco_state::BoxFuture;
use jaco_types::{Node, NodeId, ReplicaId, UserError};
use tokio::sync::mpsc;

use crate::render::SoftReplica;

/// What consensus says of itself on this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsensusStatus {
    /// The leader, where one is known.
    pub leader: Option<NodeId>,
    /// Last log index applied here.
    pub index: u64,
    /// Whether this side has a majority.
    pub quorum: bool,
    /// Members with a vote.
    pub voters: Vec<NodeId>,
    /// Members without one.
    pub learners: Vec<NodeId>,
}

/// The beginning of a cluster and of a membership, and the state of consensus.
pub trait Consensus: Send + Sync + 'static {
    /// Makes this node the first member of a new cluster. The daemon then builds itself anew.
    fn initialise<'a>(
        &'a self,
        request: v1::InitRequest,
        actor: &'a str,
    ) -> BoxFuture<'a, Result<v1::InitResponse, UserError>>;

    /// Has this node join the cluster of another one. The daemon then builds itself anew.
    fn join(&self, request: v1::NodeJoinRequest) -> BoxFuture<'_, Result<v1::NodeJoinResponse, UserError>>;

    /// What consensus says now.
    fn status(&self) -> ConsensusStatus;

    /// How long ago this node last knew that it was on the side of a majority; zero on a leader whose lease holds.
    fn since_majority(&self) -> Duration;
}

/// One of the daemon's loops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopStatus {
    /// Its name: what it keeps true.
    pub name: String,
    /// `idle`, `running`, `backoff` or `stopped`.
    pub state: &'static str,
    /// Runs since the start.
    pub runs: u64,
    /// Failed runs since the last good one.
    pub errors_in_a_row: u32,
    /// The last failure.
    pub last_error: Option<String>,
    /// End of the last run, milliseconds since the Unix epoch.
    pub last_run_at_ms: Option<u64>,
    /// Time since it was woken and has not run, milliseconds.
    pub lag_ms: u64,
}

impl From<LoopStatus> for v1::Loop {
    fn from(status: LoopStatus) -> Self {
        v1::Loop {
            name: status.name,
            state: status.state.to_owned(),
            runs: status.runs,
            errors_in_a_row: status.errors_in_a_row,
            last_error: status.last_error,
            last_run_at_ms: status.last_run_at_ms,
            lag_ms: status.lag_ms,
        }
    }
}

/// The daemon's loops, for operators.
pub trait Loops: Send + Sync + 'static {
    /// Every loop, by name.
    fn status(&self) -> Vec<LoopStatus>;
}

/// Is told how long things took, for metrics.
pub trait Timings: Send + Sync + 'static {
    /// An apply was answered, committed or refused.
    fn apply_took(&self, took: Duration);
}

/// The daemon's log level.
pub trait LogLevels: Send + Sync + 'static {
    /// The level in force.
    fn level(&self) -> String;

    /// Changes it until the next restart; refuses a word that is no level.
    fn set_level(&self, level: &str) -> Result<(), UserError>;
}

/// The daemons of other members.
pub trait OtherNodes: Send + Sync + 'static {
    /// What a daemon says of itself.
    ///
    /// Errors: `unreachable` when it does not answer.
    fn status(&self, node: Node) -> BoxFuture<'_, Result<v1::NodeStatusResponse, UserError>>;

    /// Changes its log level.
    ///
    /// Errors: as for `status`.
    fn set_log_level(
        &self,
        node: Node,
        request: v1::MemberLogLevelRequest,
    ) -> BoxFuture<'_, Result<v1::SetLogLevelResponse, UserError>>;

    /// What is needed to find out what is wrong with it.
    ///
    /// Errors: as for `status`.
    fn diagnose(&self, node: Node) -> BoxFuture<'_, Result<v1::DiagnoseResponse, UserError>>;
}

/// What is needed to find out what is wrong with this node.
pub trait Diagnostics: Send + Sync + 'static {
    /// Files without any secret, a few MiB at most. What cannot be had is a file that says so.
    fn collect(&self) -> BoxFuture<'_, Vec<v1::DiagnosticFile>>;
}

/// What the node knows of its replicas and never commits.
pub trait SoftStates: Send + Sync + 'static {
    /// Of one replica; all absent when the node knows nothing.
    fn replica(&self, id: &ReplicaId) -> SoftReplica;
}

/// Which lines of a container's log are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// New lines follow until the container ends.
    pub follow: bool,
    /// Only lines after this time, milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Only this many lines from the end.
    pub tail: Option<u32>,
}

/// A line of a container's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaLogLine {
    /// `stdout` or `stderr`.
    pub stream: &'static str,
    /// The engine's time stamp, milliseconds since the Unix epoch.
    pub ts_ms: u64,
    /// The line without its end.
    pub line: String,
}

/// Containers' logs, on this node and on others.
pub trait LogSource: Send + Sync + 'static {
    /// Sends the lines of a container on a node into `lines` until they end, the receiver is gone, or the engine or the way to the
    /// node fails.
    fn read(
        &self,
        node: NodeId,
        container_id: String,
        options: LogOptions,
        lines: mpsc::Sender<ReplicaLogLine>,
    ) -> BoxFuture<'static, Result<(), UserError>>;
}
