//! The leader's loop that keeps desired replicas in line with deployments, nodes and observations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jaco_scheduler::{Facts, Plan, Planner};
use jaco_state::{Event, Leadership, ProposeError, Store, Transaction, View, WatchFrom};
use jaco_task::{LoopBody, TaskContext, Wake};
use jaco_types::Kind;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::sessions::{Handover, SessionTable, handovers};

/// Most passes in a row before the loop gives way: each one follows from the commits of the one before.
const PASSES: u32 = 64;

/// The scheduler of this node: plans and proposes while it leads, does nothing otherwise. Cheap to clone.
#[derive(Clone)]
pub struct Scheduling {
    store: Arc<dyn Store>,
    counters: Arc<Counters>,
    /// Where the facts beside the view come from; without it nothing is known.
    sessions: Option<SessionTable>,
    /// When to plan again though nothing changes: a lease that a plan waits for will have ended.
    again_at: watch::Sender<Option<Instant>>,
}

/// The body of the scheduler's loop, with what its planner remembers of the last view.
pub struct SchedulingPass {
    scheduling: Scheduling,
    planner: Planner,
}

#[derive(Default)]
struct Counters {
    passes: AtomicU64,
    commits: AtomicU64,
    refusals: AtomicU64,
}

/// Counted since the start of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulingStats {
    /// Planning passes.
    pub passes: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Transactions refused as the state had moved on.
    pub refusals: u64,
}

/// A plan could not be proposed.
#[derive(Debug, thiserror::Error)]
#[error("a plan could not be committed")]
pub struct SchedulingError(#[source] ProposeError);

impl Scheduling {
    /// The scheduler over this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Scheduling { store, counters: Arc::default(), sessions: None, again_at: watch::Sender::new(None) }
    }

    /// Takes leases and capacities from this node's sessions.
    #[must_use]
    pub fn with_sessions(self, sessions: SessionTable) -> Self {
        Scheduling { sessions: Some(sessions), ..self }
    }

    /// Counted since the start.
    pub fn stats(&self) -> SchedulingStats {
        SchedulingStats {
            passes: self.counters.passes.load(Ordering::Relaxed),
            commits: self.counters.commits.load(Ordering::Relaxed),
            refusals: self.counters.refusals.load(Ordering::Relaxed),
        }
    }

    /// A body for the scheduler's loop.
    pub fn pass(&self) -> SchedulingPass {
        SchedulingPass { scheduling: self.clone(), planner: Planner::new() }
    }

    /// Commits one transaction of a plan that was made by this view and these facts. Where it takes a slot from a node, that node gets no
    /// lease until its fate is known; where the node got one after the plan was made, nothing is done, and the next pass plans anew. So it
    /// does after a refusal, which is no error: a check found a newer state.
    async fn commit(&self, view: &View, facts: &Facts, transaction: Transaction) -> Result<(), SchedulingError> {
        let taken = handovers(view, &transaction);
        if let (false, Some(sessions), Some(leases)) = (taken.is_empty(), &self.sessions, &facts.leases)
            && !sessions.withhold(&taken, leases)
        {
            return Ok(());
        }
        let proposed = self.store.propose(transaction).await;
        self.settle(&taken, &proposed);
        match proposed {
            Ok(_) => {
                self.counters.commits.fetch_add(1, Ordering::Relaxed);
            }
            Err(ProposeError::Refused { failed, index }) => {
                tracing::debug!(%failed, index, "a plan was overtaken by a newer state");
                self.counters.refusals.fetch_add(1, Ordering::Relaxed);
                self.store.reached(index).await.map_err(SchedulingError)?;
            }
            Err(error) => return Err(SchedulingError(error)),
        }
        Ok(())
    }

    /// What was withheld may be given again when the proposal is certain to be decided.
    fn settle<T>(&self, taken: &[Handover], proposed: &Result<T, ProposeError>) {
        let is_decided = match proposed {
            Err(ProposeError::OutcomeUnknown | ProposeError::Stopped) => false,
            Ok(_)
            | Err(
                ProposeError::Refused { .. }
                | ProposeError::NoLeader
                | ProposeError::QuorumLost
                | ProposeError::DiskFull
                | ProposeError::NodeRemoved
                | ProposeError::RequestTooOld
                | ProposeError::NotPermitted { .. }
                | ProposeError::TooLarge { .. }
                | ProposeError::Unencodable { .. },
            ) => true,
        };
        if let (true, Some(sessions)) = (is_decided, &self.sessions) {
            sessions.relent(taken);
        }
    }

    /// Wakes the loop on changes a plan depends on; ends when the store stops or `context` is to stop.
    pub async fn wake_on_changes(&self, wake: Wake, context: TaskContext) -> Result<(), std::convert::Infallible> {
        let mut watcher = self.store.watch(WatchFrom::Now);
        let mut again_at = self.again_at.subscribe();
        loop {
            let due = *again_at.borrow_and_update();
            let again = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                () = context.shutdown.cancelled() => return Ok(()),
                event = watcher.next() => event,
                _ = again_at.changed() => continue,
                () = again => {
                    self.again_at.send_replace(None);
                    wake.notify();
                    continue;
                }
            };
            match event {
                None => return Ok(()),
                Some(Event::Snapshot(_)) => wake.notify(),
                Some(Event::Batch(batch)) => {
                    if batch.changes.iter().any(|change| Kind::from_number(change.kind).is_some_and(is_relevant)) {
                        wake.notify();
                    }
                }
            }
        }
    }
}

impl LoopBody for SchedulingPass {
    type Error = SchedulingError;

    /// Plans until nothing is left to do. Ends early when the task is to stop or leadership is gone.
    async fn run(&mut self, context: &TaskContext) -> Result<(), SchedulingError> {
        for _ in 0..PASSES {
            let Leadership::Leader { term } = self.scheduling.store.leadership() else { return Ok(()) };
            let view = self.scheduling.store.view();
            if view.cluster().is_none() || context.shutdown.is_cancelled() {
                return Ok(());
            }
            self.scheduling.counters.passes.fetch_add(1, Ordering::Relaxed);
            let facts = self.scheduling.sessions.as_ref().map(SessionTable::facts).unwrap_or_default();
            let Plan { transactions, again_at } = self.planner.plan_with(&view, term, &facts);
            let now = facts.leases.as_ref().map(|leases| leases.now).unwrap_or_default();
            self.scheduling.again_at.send_replace(again_at.map(|at| Instant::now() + at.saturating_sub(now)));
            if transactions.is_empty() {
                return Ok(());
            }
            for transaction in transactions {
                self.scheduling.commit(&view, &facts, transaction).await?;
            }
        }
        Ok(())
    }
}

/// Whether a plan depends on records of this kind.
fn is_relevant(kind: Kind) -> bool {
    match kind {
        Kind::ClusterMeta
        | Kind::Node
        | Kind::NodeStatus
        | Kind::NodeSchedulability
        | Kind::Deployment
        | Kind::DeploymentRevision
        | Kind::ReplicaDesired
        | Kind::ReplicaObserved
        | Kind::NodeOperation
        | Kind::ExclusiveSlot => true,
        Kind::RevisionCounter
        | Kind::Route
        | Kind::PortRoute
        | Kind::Subnet
        | Kind::Claim
        | Kind::Token
        | Kind::JoinToken
        | Kind::Tombstone
        | Kind::Authority
        | Kind::DataKey
        | Kind::RecoveryRecipient => false,
    }
}
