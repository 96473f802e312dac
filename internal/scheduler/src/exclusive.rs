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
    let until = answered
        .map_or(leases.elected, |at| at.max(leases.elected))
        .saturating_add(leases.terms.wait(slot.stop_within));
    if leases.now >= until { MayStart::Now } else { MayStart::NotBefore(until) }
}

/// A replica on a node, as its slot is to say.
#[derive(Debug, Clone, Copy)]
pub struct Claimed<'a> {
    /// The replica.
    pub replica: &'a ReplicaId,
    /// Who is to run it.
    pub node: NodeId,
    /// [`ExclusiveSlot::time_to_stop`] of the container that is to run there.
    pub stop_within: Duration,
    /// Its record is made by the same transaction.
    pub is_new: bool,
    /// The node has said that this container runs, and no earlier one with a longer time to stop.
    pub nothing_older_runs: bool,
}

/// The slot as it is to be when a node runs the replica, or `None` when it is so already. To be written only when [`may_start`] says
/// so, with a check that the slot is unchanged, and in one transaction with the record that has the container made. `index` is that of
/// the view: epochs grow with the log, so that they do not begin anew with a slot that was forgotten.
///
/// A slot that stays with its node is written again with every new record: the node's word that nothing of an earlier one runs, which may
/// still be on its way, holds for the slot as it was. While one node keeps it the time to stop grows at once, and shrinks only when
/// nothing that needs the longer one can run there.
pub fn take(slot: Option<&ExclusiveSlot>, claim: &Claimed<'_>, index: u64) -> Option<ExclusiveSlot> {
    if let Some(held) = slot.filter(|slot| slot.owner == claim.node && !slot.released) {
        let stop_within = match held.stop_within {
            _ if claim.nothing_older_runs => Some(claim.stop_within),
            Some(known) => Some(known.max(claim.stop_within)),
            None => None,
        };
        let next = ExclusiveSlot { stop_within, ..held.clone() };
        return (claim.is_new || next != *held).then_some(next);
    }
    let epoch = slot.map_or(1, |slot| slot.epoch.saturating_add(1)).max(index);
    let stop_within = Some(claim.stop_within);
    Some(ExclusiveSlot { replica: claim.replica.clone(), owner: claim.node, epoch, stop_within, released: false })
}
