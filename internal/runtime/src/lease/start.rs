//! The last look before an exclusive container is started. What this node has applied may be old: by the time that it says "yours" the
//! slot may be another node's. So the slot is read as the whole cluster has it now, and the lease has to cover that read and the start.
//!
//! From the read on nobody else gets the slot before this node's lease and the time to stop after it are over, or before this node says
//! itself that nothing of it runs, which it never does of what a step is at.

use std::sync::Arc;
use std::time::Duration;

use jaco_state::{ProposeError, Store, View};
use jaco_types::{ExclusiveSlot, NodeId, ReplicaId};

use super::Exclusive;

/// The longest wait for the cluster's answer: the lease goes on ending meanwhile.
const READ_LIMIT: Duration = Duration::from_secs(3);

/// Asks whether an exclusive container may be started here.
pub(crate) struct StartRight {
    store: Arc<dyn Store>,
    node: NodeId,
    exclusive: Option<Exclusive>,
}

/// Why it may not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StartDenied {
    /// There is no lease, or it ends too soon.
    #[error("this node's lease does not cover a start")]
    NoLease,
    /// Nobody could say how the slot is now.
    #[error("the slot cannot be read from the cluster")]
    Unread(#[source] ProposeError),
    /// Nobody said it in time.
    #[error("the slot was not read from the cluster within {} s", READ_LIMIT.as_secs())]
    TimedOut,
    /// Nobody has the slot; it is for the leader to give it.
    #[error("nobody has the slot")]
    Free,
    /// Another node has it.
    #[error("the slot belongs to node {owner} now")]
    Elsewhere {
        /// Which.
        owner: NodeId,
    },
    /// The container was made for an earlier right to run.
    #[error("the slot is of epoch {held} now, and the container of {made:?}")]
    OtherEpoch {
        /// The slot's.
        held: u64,
        /// The container's, if it has one.
        made: Option<u64>,
    },
    /// Others would not wait long enough for its end.
    #[error("the container may take {wanted:?} to stop, and the slot allows {allowed:?}")]
    TakesTooLong {
        /// What the container may take.
        wanted: Duration,
        /// What is waited for.
        allowed: Duration,
    },
}

impl StartRight {
    /// For this node; without what exclusive replicas need it denies every start.
    pub(crate) fn new(store: Arc<dyn Store>, node: NodeId, exclusive: Option<Exclusive>) -> Self {
        StartRight { store, node, exclusive }
    }

    /// Whether a container that was made in this epoch, with this stop grace, may be started now.
    pub(crate) async fn confirm(
        &self,
        replica: &ReplicaId,
        made: Option<u64>,
        grace: Option<Duration>,
    ) -> Result<(), StartDenied> {
        self.covered()?;
        let read = tokio::time::timeout(READ_LIMIT, self.store.linearizable_view()).await;
        let view = read.map_err(|_elapsed| StartDenied::TimedOut)?.map_err(StartDenied::Unread)?;
        self.judge(&view, replica, made, ExclusiveSlot::time_to_stop(grace))?;
        self.covered()
    }

    /// Whether the lease that is known now covers a start.
    fn covered(&self) -> Result<(), StartDenied> {
        let exclusive = self.exclusive.as_ref().ok_or(StartDenied::NoLease)?;
        let now = exclusive.clock.monotonic();
        exclusive.lease.get().filter(|lease| lease.covers_start(now)).map(|_| ()).ok_or(StartDenied::NoLease)
    }

    fn judge(&self, view: &View, replica: &ReplicaId, made: Option<u64>, wanted: Duration) -> Result<(), StartDenied> {
        let slot =
            view.get::<ExclusiveSlot>(replica.as_str()).filter(|slot| !slot.released).ok_or(StartDenied::Free)?;
        if slot.owner != self.node {
            return Err(StartDenied::Elsewhere { owner: slot.owner });
        }
        if made != Some(slot.epoch) {
            return Err(StartDenied::OtherEpoch { held: slot.epoch, made });
        }
        match slot.stop_within {
            Some(allowed) if allowed < wanted => Err(StartDenied::TakesTooLong { wanted, allowed }),
            Some(_) | None => Ok(()),
        }
    }
}
