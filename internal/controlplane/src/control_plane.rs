//! The handle: opening, initialising, proposing, reading, stopping.

mod batching;
mod compaction;
mod error;
mod open;
mod propose;
mod status;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jaco_state::{
    BoxFuture, Command, Commit, Leadership, ProposeError, Store, TooManyWatchers, Transaction, View, WatchFrom, Watcher,
};
use jaco_types::{ClusterMeta, NodeId, Stored};
use openraft::async_runtime::WatchReceiver;
use openraft::{Instant, Raft, ReadPolicy};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use error::{Fatal, InitialiseError, OpenError};
pub use status::Status;

use crate::log::LogStorage;
use crate::options::{Limits, Observer, Options, Timing};
use crate::raft::{Machine, MachineShared, Peer, Types};
use crate::time::ClusterTime;

/// The runtime that openraft runs on in a daemon: tokio's.
#[allow(deprecated)] // The crate that the hint names is no dependency of ours; this is the same type.
pub(crate) type Runtime = openraft::TokioRuntime;

type RaftHandle = Raft<Types<Runtime>, Machine<Runtime>>;

/// Whether the node belongs to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No `ClusterMeta` is committed here: it has to be initialised (again, if that died half-way) or to join.
    Uninitialised,
    /// It is a member.
    Member,
}

/// The replicated store of this node. Cheap to clone; all clones are the same store.
///
/// Runs on the tokio runtime it was opened on. It has three tasks of its own (batches of proposals, snapshots, and watching for the end of raft) and two
/// threads (see [`FileLog`](crate::FileLog)); [`ControlPlane::shutdown`] ends all of them.
#[derive(Clone)]
pub struct ControlPlane {
    inner: Arc<Inner>,
}

struct Inner {
    node_id: NodeId,
    incarnation: u64,
    raft: RaftHandle,
    log: Arc<dyn LogStorage>,
    machine: Arc<MachineShared>,
    time: ClusterTime,
    batcher: batching::Batcher,
    limits: Limits,
    timing: Timing,
    observer: Arc<dyn Observer>,
    fatal: watch::Sender<Option<Fatal>>,
    stopping: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

impl ControlPlane {
    /// Opens the store of a data directory, or makes an empty one. On return the node takes part in its raft group; use
    /// [`ControlPlane::ready`] to wait until the view holds everything that was acknowledged before.
    ///
    /// # Errors
    /// Damaged, missing or newer data, each with the file. Nothing on disk was changed then.
    pub async fn open(options: Options) -> Result<ControlPlane, OpenError> {
        open::open(options).await
    }

    /// Whether the node belongs to a cluster, as of its view.
    pub fn phase(&self) -> Phase {
        if self.view().cluster().is_some() { Phase::Member } else { Phase::Uninitialised }
    }

    /// This node.
    pub fn node_id(&self) -> NodeId {
        self.inner.node_id
    }

    /// The incarnation of the data directory, and of the cluster that is initialised on it.
    pub fn incarnation(&self) -> u64 {
        self.inner.incarnation
    }

    /// Waits until this node's view holds everything that was acknowledged before it started; at once when there is nothing.
    /// Gives up after the deadline of [`Limits`] with [`ProposeError::NoLeader`].
    pub async fn ready(&self) -> Result<View, ProposeError> {
        match self.inner.raft.is_initialized().await {
            Ok(true) => self.linearizable().await,
            Ok(false) => Ok(self.view()),
            Err(_) => Err(ProposeError::Stopped),
        }
    }

    /// Makes this node the only voter of a new cluster and commits its first transaction: `first`, with `meta` added under the
    /// directory's incarnation. An attempt that died half-way is finished by another one.
    ///
    /// # Errors
    /// [`InitialiseError::AlreadyInitialised`] when a `ClusterMeta` is committed; otherwise what kept the transaction from committing.
    pub async fn initialise(&self, meta: ClusterMeta, mut first: Transaction) -> Result<Commit, InitialiseError> {
        if self.phase() == Phase::Member {
            return Err(InitialiseError::AlreadyInitialised);
        }
        let initialised = self.inner.raft.is_initialized().await.map_err(|_| ProposeError::Stopped)?;
        if !initialised {
            let members = BTreeMap::from([(self.inner.node_id.0, Peer::default())]);
            match self.inner.raft.initialize(members).await {
                Ok(()) => {}
                Err(error) => return Err(InitialiseError::Raft { reason: error.to_string() }),
            }
        }
        // Leading, and with every entry of an earlier attempt applied.
        if self.linearizable().await?.cluster().is_some() {
            return Err(InitialiseError::AlreadyInitialised);
        }
        let meta = ClusterMeta { incarnation: self.inner.incarnation, ..meta };
        first.check_absent::<ClusterMeta>(meta.key()).put(meta);
        match self.propose(first).await {
            Ok(commit) => Ok(commit),
            Err(ProposeError::Refused { .. }) if self.phase() == Phase::Member => {
                Err(InitialiseError::AlreadyInitialised)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Resolves when the store can go on no longer, with the reason; never otherwise. An I/O error of log or snapshot is such an end.
    pub fn fatal(&self) -> impl Future<Output = Fatal> + Send + 'static {
        let mut receiver = self.inner.fatal.subscribe();
        async move {
            let fatal = receiver.wait_for(Option::is_some).await.ok().and_then(|fatal| fatal.clone());
            match fatal {
                Some(fatal) => fatal,
                // The store was dropped without a failure: nothing fatal will ever come.
                None => std::future::pending().await,
            }
        }
    }

    /// Stops raft, writes what is queued, ends all tasks and threads. Later calls of the store fail with
    /// [`ProposeError::Stopped`]. Idempotent.
    pub async fn shutdown(&self) {
        self.inner.stopping.send_replace(true);
        // Its only error is that the raft task panicked, which `fatal` has said already.
        let _ = self.inner.raft.shutdown().await;
        self.inner.machine.hub.stop();
        let mut tasks = std::mem::take(&mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
        let log = self.inner.log.clone();
        let _ = tokio::task::spawn_blocking(move || log.close()).await;
    }

    /// Numbers for status and metrics.
    pub fn status(&self) -> Status {
        status::status(&self.inner)
    }

    /// Makes a snapshot of what is applied now, and drops the log before it.
    ///
    /// # Errors
    /// A full disk, or that the store has stopped.
    pub async fn compact(&self) -> std::io::Result<()> {
        compaction::compact(&self.inner).await
    }

    async fn linearizable(&self) -> Result<View, ProposeError> {
        let deadline = tokio::time::Instant::now() + self.inner.limits.deadline;
        let mut metrics = self.inner.raft.server_metrics();
        loop {
            let read =
                tokio::time::timeout_at(deadline, self.inner.raft.ensure_linearizable(ReadPolicy::ReadIndex)).await;
            match read {
                Ok(Ok(_read)) => return Ok(self.view()),
                Ok(Err(error)) if error.fatal().is_some() => return Err(ProposeError::Stopped),
                // No leader yet, or it is being replaced: look again when that changes.
                Ok(Err(_)) => {}
                Err(_elapsed) => return Err(ProposeError::QuorumLost),
            }
            match tokio::time::timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_closed)) => return Err(ProposeError::Stopped),
                Err(_elapsed) => return Err(ProposeError::NoLeader),
            }
        }
    }
}

impl Inner {
    fn leadership(&self) -> Leadership {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader.map(NodeId);
        let stopped = metrics.running_state.is_err() || *self.stopping.borrow();
        if stopped || !metrics.state.is_leader() {
            return Leadership::Follower { leader: leader.filter(|leader| !stopped && *leader != self.node_id) };
        }
        let mut voter_sets = metrics.membership_config.membership().get_joint_config().iter();
        let alone =
            voter_sets.len() > 0 && voter_sets.all(|voters| voters.len() == 1 && voters.contains(&self.node_id.0));
        let lease = self.timing.election_max;
        let confirmed = metrics.last_quorum_acked.as_ref().is_some_and(|acked| acked.elapsed() < lease);
        if alone || confirmed {
            Leadership::Leader { term: metrics.current_term }
        } else {
            Leadership::Follower { leader: None }
        }
    }

    fn has_failed(&self) -> bool {
        self.fatal.borrow().is_some() || *self.stopping.borrow()
    }

    /// Remembers the first reason, and ends everybody's watches.
    fn fail(&self, reason: impl Into<String>) {
        let fatal = Fatal { reason: reason.into() };
        tracing::error!(reason = fatal.reason, "the store of this node has failed");
        self.fatal.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(fatal);
            first
        });
        self.machine.hub.stop();
    }
}

impl Store for ControlPlane {
    fn propose(&self, transaction: Transaction) -> BoxFuture<'_, Result<Commit, ProposeError>> {
        // Encoded here and not when first polled: a future that holds the transaction as well is several times as large.
        Box::pin(propose::propose(&self.inner, Command::new(transaction)))
    }

    fn view(&self) -> View {
        self.inner.machine.hub.view()
    }

    fn linearizable_view(&self) -> BoxFuture<'_, Result<View, ProposeError>> {
        Box::pin(self.linearizable())
    }

    fn reached(&self, index: u64) -> BoxFuture<'_, Result<View, ProposeError>> {
        Box::pin(async move { self.inner.machine.hub.reached(index).await.map_err(|_| ProposeError::Stopped) })
    }

    fn watch(&self, from: WatchFrom) -> Watcher {
        self.inner.machine.hub.watch(from)
    }

    fn watch_client(&self, from: WatchFrom) -> Result<Watcher, TooManyWatchers> {
        self.inner.machine.hub.watch_client(from)
    }

    fn leadership(&self) -> Leadership {
        self.inner.leadership()
    }
}
