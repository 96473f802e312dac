//! The right to run exclusive replicas here: the node's lease, the guard that ends them with it, and what a plan needs to know of both.
//!
//! Invariants: nothing exclusive is started without a lease that holds, the slot of its replica by the word of the cluster in that moment
//! ([`StartRight`]), and a guard that knows its container; everything exclusive that is up without them is stopped within the time the
//! leader counts on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jaco_state::{Clock, View};
use jaco_types::{ExclusiveSlot, NodeId, ReplicaId};
use tokio::sync::watch;

use crate::container::DEFAULT_GRACE;
use crate::engine::Container;
use crate::labels::{epoch_of, replica_of};
use crate::now::Now;

mod start;

pub(crate) use start::{StartDenied, StartRight};

/// An exclusive container is started only when the lease holds for this much longer: the engine takes its time.
const START_MARGIN_MS: u64 = 1_000;
/// What is kept of the time to stop, for the SIGKILL at its end to take effect.
const STOP_MARGIN_MS: u64 = 1_000;

/// A lease as the leader gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its end, on the boot-time clock.
    pub until: Duration,
    /// Within this time after it everything exclusive has to be stopped, what has less time of its own within that.
    pub stop_within: Duration,
}

impl Lease {
    /// Whether something may be started under it at this time of its clock: the engine takes its own time to do it.
    pub(crate) fn covers_start(&self, boot: Duration) -> bool {
        boot.saturating_add(Duration::from_millis(START_MARGIN_MS)) < self.until
    }
}

/// The newest lease of this node. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct LeaseHandle(Arc<watch::Sender<Option<Lease>>>);

impl LeaseHandle {
    /// Takes a new lease; one that ends earlier than the known one changes nothing.
    pub fn renew(&self, lease: Lease) {
        self.0.send_if_modified(|known| {
            let is_newer = known.is_none_or(|known| known.until < lease.until);
            if is_newer {
                *known = Some(lease);
            }
            is_newer
        });
    }

    /// The newest one; it may have ended.
    pub fn get(&self) -> Option<Lease> {
        *self.0.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Lease>> {
        self.0.subscribe()
    }
}

/// What a guard is charged with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Charge {
    /// The lease; `None` when there is none.
    pub lease: Option<Lease>,
    /// Containers that depend on it, by engine id, with the time each has after the lease's end when that is less than the lease gives.
    pub containers: BTreeMap<String, Duration>,
}

/// A process apart from this one that ends exclusive containers with the lease, whatever happens here.
pub trait Guard: Send + Sync + 'static {
    /// What the guard was last charged with since the machine booted, also by an earlier life of this daemon.
    fn charged(&self) -> Charge;
    /// Charges it. On return the guard knows, and goes on knowing when this process dies. Short; called from the loop.
    ///
    /// # Errors
    /// Why there is no guard: nothing exclusive is started then.
    fn charge(&self, charge: &Charge) -> Result<(), String>;
}

/// What exclusive replicas need; without it none is ever started here.
#[derive(Clone)]
pub struct Exclusive {
    /// The node's lease, renewed by its session.
    pub lease: LeaseHandle,
    /// The boot-time clock that leases are counted on.
    pub clock: Arc<dyn Clock>,
    /// The guard.
    pub guard: Arc<dyn Guard>,
}

/// What this node may run of exclusive replicas, as one pass sees it. Times are milliseconds of [`Now::mono_ms`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    /// End of the lease; `None` without one.
    pub lease_until: Option<u64>,
    /// Within this time after it everything exclusive has to be gone.
    pub stop_within: Duration,
    /// Epochs of the slots that this node has.
    pub epochs: BTreeMap<ReplicaId, u64>,
    /// A guard knows what is to be started.
    pub guarded: bool,
}

impl Rights {
    /// What a lease and the slots of a view give a node. `boot` is the time of the pass on the leases' clock.
    pub(crate) fn new(
        view: &View,
        node: NodeId,
        lease: Option<Lease>,
        now: Now,
        boot: Duration,
        guarded: bool,
    ) -> Self {
        let mono = |at: Duration| {
            now.mono_ms.saturating_add(millis(at.saturating_sub(boot))).saturating_sub(millis(boot.saturating_sub(at)))
        };
        let slots = view.list::<ExclusiveSlot>().filter(|slot| slot.owner == node && !slot.released);
        Rights {
            lease_until: lease.map(|lease| mono(lease.until)),
            stop_within: lease.map(|lease| lease.stop_within).unwrap_or_default(),
            epochs: slots.map(|slot| (slot.replica.clone(), slot.epoch)).collect(),
            guarded,
        }
    }

    /// Whether the lease holds.
    pub fn holds(&self, now: Now) -> bool {
        self.lease_until.is_some_and(|until| now.mono_ms < until)
    }

    /// Whether this container may be up: it is not exclusive, or it is the one of the slot this node has, and the lease holds.
    pub fn allow(&self, container: &Container, now: Now) -> bool {
        let Some(epoch) = epoch_of(container) else { return true };
        let owned = replica_of(container).and_then(|id| self.epochs.get(&id));
        self.holds(now) && owned.is_some_and(|owned| owned.to_string() == epoch)
    }

    /// Whether an exclusive replica may be made and started.
    pub fn may_start(&self, id: &ReplicaId, now: Now) -> bool {
        let holds = self.lease_until.is_some_and(|until| now.mono_ms.saturating_add(START_MARGIN_MS) < until);
        self.guarded && holds && self.epochs.contains_key(id)
    }

    /// What is left of a container's grace, in whole seconds since an engine rounds up: nothing once the time is nearly over, and
    /// all of it while the lease holds.
    pub fn grace(&self, wanted: Option<Duration>, now: Now) -> Duration {
        let has = ExclusiveSlot::time_to_stop(wanted).min(self.stop_within);
        let stop_by = self.lease_until.map_or(now.mono_ms, |until| until.saturating_add(millis(has)));
        let left = stop_by.saturating_sub(now.mono_ms).saturating_sub(STOP_MARGIN_MS);
        wanted.unwrap_or(DEFAULT_GRACE).min(Duration::from_secs(left / 1_000))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
