//! The handle: opening, initialising, proposing, reading, stopping.

mod authorise;
mod batching;
mod compaction;
mod error;
mod forward;
mod leader;
mod member;
mod membership;
mod open;
mod predecessor;
mod propose;
mod read;
mod receive;
mod status;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jaco_identity::JoinRecord;
use jaco_state::{
    BoxFuture, Command, Commit, Leadership, ProposeError, Store, TooManyWatchers, Transaction, View, WatchFrom, Watcher,
};
use jaco_types::{ClusterMeta, NodeId, Stored};
use openraft::Raft;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use error::{Fatal, InitialiseError, OpenError, TooOld};
pub use membership::MembershipError;
pub use status::{MemberStatus, Status};

use crate::log::LogStorage;
use crate::options::{Limits, Observer, Options, Timing};
use crate::raft::{Machine, MachineShared, Peer, PeerNetwork, Types};
use crate::runtime::{Runtime, TokioRuntime, blocking};
use crate::time::ClusterTime;

type RaftHandle<R> = Raft<Types<R>, Machine<R>>;

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
///
/// `R` is what raft runs on: tokio's runtime in a daemon, [`SeededRuntime`](crate::SeededRuntime) in a simulation.
pub struct ControlPlane<R: Runtime = TokioRuntime> {
    inner: Arc<Inner<R>>,
}

impl<R: Runtime> Clone for ControlPlane<R> {
    fn clone(&self) -> Self {
        ControlPlane { inner: self.inner.clone() }
    }
}

struct Inner<R: Runtime> {
    node_id: NodeId,
    incarnation: u64,
    raft: RaftHandle<R>,
    network: PeerNetwork,
    address: String,
    feature_level: u32,
    /// Held while a snapshot from another member is taken in.
    installing: tokio::sync::Mutex<()>,
    /// A piece of one was taken.
    piece_arrived: tokio::sync::Notify,
    log: Arc<dyn LogStorage>,
    machine: Arc<MachineShared>,
    time: ClusterTime,
    batcher: batching::Batcher,
    lines: forward::line::Lines,
    followed: predecessor::Followed,
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

    /// [`ControlPlane::open`] of a node that was initialised, joined or restored, in the life of the cluster that its record names. What a
    /// node that joins had before holds no cluster, and goes.
    ///
    /// # Errors
    /// Those of [`ControlPlane::open`]; [`OpenError::OtherLife`] when the directory has a cluster of another life, of which nothing was
    /// changed.
    pub async fn open_member(options: Options, record: &JoinRecord) -> Result<ControlPlane, OpenError> {
        member::open_member(options, record).await
    }
}

impl<R: Runtime> ControlPlane<R> {
    /// [`ControlPlane::open`] on a runtime of choice.
    ///
    /// # Errors
    /// Those of [`ControlPlane::open`].
    pub async fn open_on(options: Options) -> Result<ControlPlane<R>, OpenError> {
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

    /// Newest feature level that this node is able to.
    pub fn feature_level(&self) -> u32 {
        self.inner.feature_level
    }

    /// Waits until this node's view holds everything that was acknowledged before it started; at once when there is nothing.
    /// Gives up after the deadline of [`Limits`] with [`ProposeError::NoLeader`].
    pub async fn ready(&self) -> Result<View, ProposeError> {
        match self.inner.raft.is_initialized().await {
            Ok(true) => read::linearizable(&self.inner).await,
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
            let peer = Peer { address: self.inner.address.clone() };
            let members = BTreeMap::from([(self.inner.node_id.0, peer)]);
            match self.inner.raft.initialize(members).await {
                Ok(()) => {}
                Err(error) => return Err(InitialiseError::Raft { reason: error.to_string() }),
            }
        }
        // Leading, and with every entry of an earlier attempt applied.
        if read::linearizable(&self.inner).await?.cluster().is_some() {
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

    /// Hands leadership over when another voter can take it, stops raft, writes what is queued, ends all tasks and threads. Later
    /// calls of the store fail with [`ProposeError::Stopped`]. Idempotent.
    pub async fn shutdown(&self) {
        self.inner.hand_over().await;
        self.halt().await;
    }

    /// [`ControlPlane::shutdown`] without handing leadership over: the others notice by its silence.
    pub async fn halt(&self) {
        self.inner.stopping.send_replace(true);
        // Its only error is that the raft task panicked, which `fatal` has said already.
        let _ = self.inner.raft.shutdown().await;
        self.inner.machine.hub.stop();
        let mut tasks = std::mem::take(&mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
        let log = self.inner.log.clone();
        let closed = blocking(log.blocks(), move || {
            log.close();
            Ok(())
        });
        // Its only error is that the thread panicked, in the middle of ending.
        let _ = closed.await;
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
}

impl<R: Runtime> Inner<R> {
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

impl<R: Runtime> Store for ControlPlane<R> {
    fn propose(&self, transaction: Transaction) -> BoxFuture<'_, Result<Commit, ProposeError>> {
        // Encoded here and not when first polled: a future that holds the transaction as well is several times as large.
        Box::pin(propose::propose(&self.inner, Command::new(transaction)))
    }

    fn view(&self) -> View {
        self.inner.machine.hub.view()
    }

    fn linearizable_view(&self) -> BoxFuture<'_, Result<View, ProposeError>> {
        Box::pin(read::prompt(&self.inner))
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
