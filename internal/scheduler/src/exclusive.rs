//! Who may run an exclusive replica. Pure; the rules are those of the design note's "Exclusive replicas".
//!
//! Invariant: between two owners of a slot lies either the first one's word that its container is gone, or a wait after which it
//! cannot run any more, however its clock, its daemon or its network behave.

use std::time::Duration;

use jaco_types::{ExclusiveSlot, NodeId, ReplicaId};

use crate::facts::Leases;

/// Whether a node may be given a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayStart {
    /// It may: it has the slot already, nobody has it, or who had it cannot run it any more.
    Now,
    /// Not before this time of the leader's clock, unless the owner confirms earlier that its container is gone.
    NotBefore(Duration),
    /// Only when the owner confirms: nothing is known of its lease.
    WhenReleased,
}

/// Whether `node` may run the replica whose slot is as in this view.
pub fn may_start(slot: Option<&ExclusiveSlot>, node: NodeId, leases: Option<&Leases>) -> MayStart {
    let Some(slot) = slot.filter(|slot| slot.owner != node && !slot.released) else { return MayStart::Now };
    // Nobody here ever answered a node of another life, and nobody knows how long it goes on.
    let Some(leases) = leases.filter(|_| slot.owner != ExclusiveSlot::OLD_LIFE) else { return MayStart::WhenReleased };
    let answered = leases.answered.get(&slot.owner).copied();
    let until = answered.map_or(leases.elected, |at| at.max(leases.elected)).saturating_add(leases.terms.wait());
    if leases.now >= until { MayStart::Now } else { MayStart::NotBefore(until) }
}

/// The slot as it is to be when `node` runs the replica, or `None` when it is so already. To be written only when [`may_start`] says
/// so, with a check that the slot is unchanged. `index` is that of the view: epochs grow with the log, so that they do not begin anew
/// with a slot that was forgotten.
pub fn take(slot: Option<&ExclusiveSlot>, replica: &ReplicaId, node: NodeId, index: u64) -> Option<ExclusiveSlot> {
    if slot.is_some_and(|slot| slot.owner == node && !slot.released) {
        return None;
    }
    let epoch = slot.map_or(1, |slot| slot.epoch.saturating_add(1)).max(index);
    Some(ExclusiveSlot { replica: replica.clone(), owner: node, epoch, released: false })
}
