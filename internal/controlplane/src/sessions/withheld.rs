//! Nodes that get no lease for now, as a slot of theirs is being given away.
//!
//! Who gets a slot is decided by what the leader last answered to its owner, and the decision is committed a little later. An answer in
//! between would let the owner start a container by a read that does not show the decision yet, and the next owner starts its own when it
//! does. So from the decision until its fate is known, the owner is answered without a lease.

use jaco_scheduler::Leases;
use jaco_state::{Transaction, View, Write};
use jaco_types::{Entity, ExclusiveSlot, Kind, NodeId, Stored};

use super::SessionTable;

/// A slot that a transaction takes from its owner, who has not let go of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handover {
    slot: String,
    owner: NodeId,
    /// Of the slot, which the decision was made by.
    version: Option<u64>,
}

/// What a transaction that was planned by this view takes from whom.
pub(crate) fn handovers(view: &View, transaction: &Transaction) -> Vec<Handover> {
    let taken = transaction.writes.iter().filter_map(|write| {
        let (key, next) = match write {
            Write::Put(Entity::ExclusiveSlot(slot)) => (slot.key(), Some(slot.owner)),
            Write::Delete { kind: Kind::ExclusiveSlot, key } => (key.clone(), None),
            Write::Put(_) | Write::Delete { .. } => return None,
        };
        let held = view.get::<ExclusiveSlot>(&key).filter(|held| !held.released && Some(held.owner) != next)?;
        Some(Handover { owner: held.owner, version: view.version::<ExclusiveSlot>(&key), slot: key })
    });
    taken.collect()
}

/// Whether a node is to get no lease. Forgets what has been decided: the slot was written since.
pub(super) fn is_withheld(handovers: &mut Vec<Handover>, view: &View, node: NodeId) -> bool {
    handovers.retain(|handover| view.version::<ExclusiveSlot>(&handover.slot) == handover.version);
    handovers.iter().any(|handover| handover.owner == node)
}

impl SessionTable {
    /// Gives no lease to these owners from now on. False, and nothing changed, when one of them was given one since `decided` was looked
    /// up: the decision is void then.
    ///
    /// It lasts until the slot is written, [`SessionTable::relent`] is called, or the term ends: no later leader gives a lease before it has
    /// applied everything of this term.
    pub(crate) fn withhold(&self, handovers: &[Handover], decided: &Leases) -> bool {
        let mut state = self.state();
        let answered = |owner: &NodeId| state.answered.get(owner) == decided.answered.get(owner);
        // In another term nothing is known of what was answered in that of the decision.
        let is_void = state.elected != decided.elected || !handovers.iter().all(|handover| answered(&handover.owner));
        if !is_void {
            for handover in handovers.iter().filter(|handover| !state.withheld.contains(handover)).collect::<Vec<_>>() {
                state.withheld.push(handover.clone());
            }
        }
        !is_void
    }

    /// Nothing came of these, for certain.
    pub(crate) fn relent(&self, handovers: &[Handover]) {
        self.state().withheld.retain(|withheld| !handovers.contains(withheld));
    }
}
