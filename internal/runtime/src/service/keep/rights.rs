//! The loop's part in running exclusive replicas: it knows the lease, charges the guard, and wakes when the lease ends.

use jaco_types::ExclusiveSlot;
use tokio::sync::watch;

use super::*;
use crate::labels::epoch_of;
use crate::lease::{Lease, Rights};
use crate::plan::Plan;

/// A guard that was not there is looked for again after this time.
const GUARD_RETRY_MS: u64 = 1_000;
/// So many misses in a row are only a guard that is being started.
const GUARD_MISSES: u32 = 3;

/// What an earlier life of this daemon left to the guard: its lease goes on, and its containers stay guarded until the first full look.
pub(super) fn take_over(shared: &Shared) -> Charge {
    let Some(exclusive) = &shared.exclusive else { return Charge::default() };
    let charged = exclusive.guard.charged();
    if let Some(lease) = charged.lease {
        exclusive.lease.renew(lease);
    }
    charged
}

/// Resolves with the next lease; never without one to follow.
pub(super) async fn renewed(receiver: Option<&mut watch::Receiver<Option<Lease>>>) {
    let renewed = match receiver {
        Some(receiver) => receiver.changed().await,
        None => std::future::pending().await,
    };
    if renewed.is_err() {
        // Nobody renews any more; the end of the lease is a deadline of the loop's own.
        std::future::pending::<()>().await;
    }
}

/// The containers that the guard has to know: what is up of exclusive replicas, and what is started now.
pub(super) fn guarded(world: &World<'_>, plan: &Plan) -> BTreeMap<String, Duration> {
    let is_started = |container: &Container| {
        plan.steps.iter().any(|(_, step)| matches!(step, Step::Start { container: id, .. } if *id == container.id))
    };
    let is_busy = |container: &Container| replica_of(container).is_some_and(|id| world.busy.contains(&id));
    let exclusive = world.containers.values().filter(|container| epoch_of(container).is_some());
    exclusive
        // One that is between two states, or that a step is at, may be up the next moment.
        .filter(|container| container.is_up() || is_started(container) || is_busy(container) || is_changing(container))
        .map(|container| (container.id.clone(), ExclusiveSlot::time_to_stop(container.stop_grace)))
        .collect()
}

fn is_changing(container: &Container) -> bool {
    container.state == crate::engine::ProcessState::Changing
}

/// When the lease ends, or is too short for a start: the loop looks again then.
pub(super) fn next_end(rights: &Rights, now: Now) -> Option<u64> {
    rights.lease_until.filter(|until| *until > now.mono_ms && !rights.epochs.is_empty())
}

/// Whether a job would bring an exclusive container up.
pub(super) fn is_exclusive_start(job: &Job) -> bool {
    matches!(job.step, Step::Start { .. }) && job.target.as_ref().is_some_and(|target| target.epoch.is_some())
}

impl Keeper {
    /// Whether a renewal of the lease matters here; an idle node is not woken by each.
    pub(super) fn follows_lease(&self) -> bool {
        let node = self.shared.node;
        let view = self.shared.store.view();
        !self.charged.containers.is_empty()
            || view.list::<ExclusiveSlot>().any(|slot| slot.owner == node && !slot.released)
    }

    /// What may run of exclusive replicas now. Whether a guard is there is asked only where one is needed.
    pub(super) fn rights(&mut self, view: &View, now: Now) -> Rights {
        let Some(exclusive) = &self.shared.exclusive else { return Rights::default() };
        let (lease, boot) = (exclusive.lease.get(), exclusive.clock.monotonic());
        let mut rights = Rights::new(view, self.shared.node, lease, now, boot, true);
        if !rights.epochs.is_empty() && now.mono_ms >= self.guard_at {
            let charge = Charge { lease, containers: self.charged.containers.clone() };
            self.hand_over(charge, now);
        }
        rights.guarded = self.guarded;
        rights
    }

    /// Sees to it that the guard knows these containers; false when it does not, and nothing exclusive may be started.
    pub(super) fn charge(&mut self, containers: BTreeMap<String, Duration>) -> bool {
        let Some(exclusive) = &self.shared.exclusive else { return false };
        let charge = Charge { lease: exclusive.lease.get(), containers };
        if charge.containers == self.charged.containers && (charge.containers.is_empty() || charge == self.charged) {
            return self.guarded;
        }
        let now = self.now();
        self.hand_over(charge, now)
    }

    fn hand_over(&mut self, charge: Charge, now: Now) -> bool {
        let Some(exclusive) = &self.shared.exclusive else { return false };
        match exclusive.guard.charge(&charge) {
            Ok(()) => {
                self.charged = charge;
                self.guarded = true;
                self.guard_at = u64::MAX;
                self.guard_misses = 0;
                self.guard_failures.recovered(Instant::now());
            }
            Err(reason) => {
                self.guarded = false;
                self.guard_at = now.mono_ms.saturating_add(GUARD_RETRY_MS);
                self.guard_misses = self.guard_misses.saturating_add(1);
                let lasts = self.guard_misses > GUARD_MISSES;
                if lasts && self.guard_failures.failed(&reason, Instant::now()).is_some() {
                    tracing::error!(%reason, "there is no guard: no exclusive replica is started here");
                }
            }
        }
        self.guarded
    }
}
