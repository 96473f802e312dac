//! The gRPC handlers: check, authorise, call the control plane or a view, convert. No policy lives here.
//!
//! - [`Api`] holds what the handlers need; parts of the daemon that they talk to come in as the small traits of [`facilities`].
//! - [`serve`] answers on a listener until it is told to stop, then lets calls end within a grace period.
//! - Who calls, and whether they may, is judged in one place before any handler runs ([`guard`], with the table in [`access`]).
//! - Every error leaves as the same typed status ([`jaco_proto::to_status`]).

mod access;
mod answer_stream;
mod audit;
mod backup;
mod bounded;
mod caller;
mod cluster;
mod deploy;
mod facilities;
mod guard;
mod internal;
mod keys;
mod limits;
mod logs;
mod manifest;
mod membership;
mod node;
mod read;
mod redact;
mod render;
mod renewal;
mod serve;
#[cfg(test)]
mod tests;
mod tls_listener;
mod tokens;
mod watch;

use std::sync::Arc;

use jaco_controlplane::{Deployments, Enrolment};
use jaco_proto::to_status;
use jaco_state::{Store, View};
use jaco_types::{ErrorCode, Hostname, NodeId, UserError};
use tokio_util::task::TaskTracker;
use tonic::Status;

pub use answer_stream::AnswerStream;
pub use facilities::{
    Consensus, ConsensusStatus, Diagnostics, LogLevels, LogOptions, LogSource, LoopStatus, Loops, OtherNodes,
    ReplicaLogLine, SoftStates, Timings,
};
pub use guard::CUT_OFF_AFTER;
pub use internal::{CertificateSigner, InternalApi, InternalParts, MemberCaller, NodeLogs, SessionHost, serve_members};
pub use limits::Limits;
pub use render::SoftReplica;
pub use serve::{ServeError, serve_tls, serve_unix};
pub use tls_listener::PortLimits;

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

/// Everything an [`Api`] is made of.
pub struct Parts {
    /// The replicated store.
    pub store: Arc<dyn Store>,
    /// Apply, rollback and delete.
    pub deployments: Deployments,
    /// Init, and what consensus says of itself.
    pub consensus: Arc<dyn Consensus>,
    /// Who gets in; absent before the node belongs to a cluster.
    pub enrolment: Option<Enrolment>,
    /// The daemon's loops.
    pub loops: Arc<dyn Loops>,
    /// Is told how long calls took.
    pub timings: Arc<dyn Timings>,
    /// The daemon's log level.
    pub log_levels: Arc<dyn LogLevels>,
    /// What shows what is wrong with this node.
    pub diagnostics: Arc<dyn Diagnostics>,
    /// The daemons of other members.
    pub other_nodes: Arc<dyn OtherNodes>,
    /// What the node knows of its replicas and never commits.
    pub soft: Arc<dyn SoftStates>,
    /// Containers' logs.
    pub logs: Arc<dyn LogSource>,
    /// Bounds.
    pub limits: Limits,
    /// Ports the daemon itself listens on; a manifest may not publish them.
    pub reserved_ports: Vec<u16>,
    /// This node.
    pub node: NodeId,
    /// Its name.
    pub hostname: Hostname,
    /// The daemon's version.
    pub version: &'static str,
}

impl Parts {
    fn enrolment(&self) -> Result<&Enrolment, UserError> {
        self.enrolment.as_ref().ok_or_else(uninitialized)
    }
}

struct Inner {
    parts: Parts,
    log_streams: Arc<tokio::sync::Semaphore>,
    /// Owns the tasks of streaming calls; they end with their client, or with this.
    sessions: TaskTracker,
}

impl Api {
    /// Puts the handlers together.
    pub fn new(parts: Parts) -> Self {
        let log_streams = Arc::new(tokio::sync::Semaphore::new(parts.limits.log_streams));
        Api { inner: Arc::new(Inner { parts, log_streams, sessions: TaskTracker::new() }) }
    }

    fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    /// The view for reading: what this node has applied, refused before the node belongs to a cluster.
    fn view(&self) -> Result<View, Status> {
        let view = self.parts().store.view();
        if view.cluster().is_some() { Ok(view) } else { Err(to_status(&uninitialized())) }
    }

    /// The view for refusing something because of state: it holds every transaction acknowledged before the call.
    async fn current_view(&self) -> Result<View, Status> {
        self.view()?;
        self.parts().store.linearizable_view().await.map_err(|error| to_status(&error.user_error()))
    }
}

fn uninitialized() -> UserError {
    UserError::new(
        ErrorCode::ClusterUninitialized,
        "this node does not belong to a cluster yet: start one with `jaco cluster init`, or have it join one with `jaco node join`",
    )
}
