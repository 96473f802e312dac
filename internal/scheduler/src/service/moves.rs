//! From node to node: when a replica may stay, how it leaves, and what has to be over before it arrives.

use jaco_types::Reschedule;

use super::*;
use crate::exclusive::{Claimed, MayStart};
use crate::placement::Levelling;

/// Suffix of the id under which a replica goes on serving on the node it leaves; the runtime gives its container that name.
pub(crate) const LEAVING: &str = ".old";

/// Whether this record is what a replica leaves behind. A global replica never moves, so a host name that ends alike is none.
pub(crate) fn is_leaving(record: &ReplicaDesired) -> bool {
    match record.index {
        ReplicaIndex::Index(_) => record.id.as_str().ends_with(LEAVING),
        ReplicaIndex::Host(_) => false,
    }
}

/// Whether the node of a record says that exactly what this record asks for runs there.
fn runs_alone(view: &View, record: &ReplicaDesired) -> bool {
    observed(view, record)
        .is_some_and(|observed| observed.state == ReplicaState::Running && observed.outgoing.is_none())
}

/// How a replica gets off its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    /// It serves there until it runs elsewhere.
    Overlapping,
    /// Nothing of it serves there, so its record simply moves.
    AtOnce,
    /// It is removed there first; its slot is filled anew when that is confirmed.
    StopFirst,
}

impl<'a> Planner<'a, '_, '_> {
    /// Whether a replica stays on its node. What has data of its own stays with it unless the manifest or an operator allows the move;
    /// an exclusive one leaves a silent node only once its lease there has ended.
    pub(super) fn may_stay(
        &mut self,
        cluster: &Cluster<'a>,
        residence: Residence,
        number: u32,
        record: &ReplicaDesired,
    ) -> bool {
        let spec = self.input.spec;
        let may_move = cluster.is_forced(record.node)
            || match spec.reschedule {
                Reschedule::Always => true,
                Reschedule::Never => false,
                Reschedule::Auto => !spec.is_stateful(),
            };
        let node_keeps_it = match residence {
            Residence::Kept => true,
            Residence::Draining | Residence::Down => !may_move,
            Residence::Gone => false,
        };
        let mode_allows_it = match &spec.placement {
            Placement::Hosts(hosts) => {
                cluster.get(record.node).is_some_and(|member| hosts.iter().any(|host| host == member.hostname))
            }
            Placement::Spread | Placement::Pack => self.bonds.allow(number, record.node),
            Placement::Global => true,
        };
        (node_keeps_it && mode_allows_it) || (!residence.is_alive() && self.lease_holds(record))
    }

    /// Whether an exclusive replica may still run on its silent or removed node.
    fn lease_holds(&mut self, record: &ReplicaDesired) -> bool {
        if !self.input.spec.exclusive {
            return false;
        }
        let slot = self.input.view.get::<ExclusiveSlot>(record.id.as_str());
        // Without a slot it is not known to have been given one: taken for held by the node it is on.
        let held = ExclusiveSlot {
            replica: record.id.clone(),
            owner: record.node,
            epoch: 0,
            stop_within: None,
            released: false,
        };
        let held = slot.unwrap_or(&held);
        // Any other node: the question is whether this one may still run it.
        let other = NodeId(held.owner.0.wrapping_add(1));
        self.waits_for_slot(Some(held), other)
    }

    fn waits_for_slot(&mut self, slot: Option<&ExclusiveSlot>, node: NodeId) -> bool {
        match exclusive::may_start(slot, node, self.input.facts.leases.as_ref()) {
            MayStart::Now => false,
            MayStart::NotBefore(at) => {
                self.plan.again_at = Some(self.plan.again_at.map_or(at, |other| other.min(at)));
                true
            }
            MayStart::WhenReleased => true,
        }
    }

    /// The node that has the slot of an exclusive replica and could run it at once.
    pub(super) fn preferred_owner(&self, cluster: &Cluster<'a>, id: &ReplicaId) -> Option<NodeId> {
        let slot = self.input.view.get::<ExclusiveSlot>(id.as_str()).filter(|slot| !slot.released)?;
        (self.input.spec.exclusive && cluster.get(slot.owner)?.can_take(self.need)).then_some(slot.owner)
    }

    /// Whether the replica of a slot may go to a node: to what it shares something with, and to who has its slot.
    pub(super) fn may_go_to(&self, owner: Option<NodeId>, slot: &Slot<'a>, node: NodeId) -> bool {
        self.bonds.allow(slot.number, node) && owner.is_none_or(|owner| owner == node)
    }

    /// Whether something of this replica has to be over before it may be made on this node: its container elsewhere, where two cannot
    /// be at a time, or the right of another node to run it.
    pub(super) fn must_wait(&mut self, cluster: &Cluster<'a>, id: &ReplicaId, node: NodeId) -> bool {
        let view = self.input.view;
        let elsewhere = view.get::<ReplicaObserved>(id.as_str()).filter(|observed| observed.node != node);
        let still_there = self.order == ReplaceOrder::StopFirst
            && elsewhere.is_some_and(|observed| cluster.residence(observed.node).is_alive());
        let slot = view.get::<ExclusiveSlot>(id.as_str()).filter(|_| self.input.spec.exclusive);
        still_there || self.waits_for_slot(slot, node)
    }

    /// The slot as it is to be written together with this record; `None` when nothing is to be written.
    pub(super) fn slot_of(&self, record: &ReplicaDesired) -> Option<ExclusiveSlot> {
        if !self.input.spec.exclusive {
            return None;
        }
        let view = self.input.view;
        let claim = Claimed {
            replica: &record.id,
            node: record.node,
            stop_within: ExclusiveSlot::time_to_stop(self.input.spec.container.stop_grace_period),
            is_new: view.version::<ReplicaDesired>(record.id.as_str()).is_none(),
            nothing_older_runs: record.spec_hash == self.hash && runs_alone(view, record),
        };
        exclusive::take(view.get(record.id.as_str()), &claim, view.index())
    }

    /// Gets a replica off its node and, when nothing has to be waited for, onto `node`, where it is counted already.
    pub(super) fn depart(&mut self, cluster: &mut Cluster<'a>, seat: &Seat<'a>, node: NodeId) {
        let mut leaving = None;
        match self.departure(cluster, seat) {
            Departure::StopFirst => {
                self.delete(cluster, seat.record);
                cluster.remove_load(node, self.need);
                self.plan.leftovers = true;
                return;
            }
            Departure::Overlapping => {
                leaving = ReplicaId::new(format!("{}{LEAVING}", seat.record.id))
                    .ok()
                    .filter(|id| self.input.view.version::<ReplicaDesired>(id.as_str()).is_none())
                    .map(|id| ReplicaDesired { id, ..seat.record.clone() });
                self.plan.leftovers = true;
            }
            Departure::AtOnce => {}
        }
        if leaving.is_none() {
            cluster.remove_load(seat.record.node, Need::of_replica(self.input.view, seat.record));
        }
        let record = self.renewed(cluster, seat, node);
        self.put(cluster, Put { record, placed: Some(node), leaving, slot: None }, true);
    }

    fn departure(&self, cluster: &Cluster<'a>, seat: &Seat<'a>) -> Departure {
        if !cluster.residence(seat.record.node).is_alive() {
            return Departure::AtOnce;
        }
        match self.order {
            ReplaceOrder::StopFirst => Departure::StopFirst,
            ReplaceOrder::StartFirst if seat.available => Departure::Overlapping,
            ReplaceOrder::StartFirst => Departure::AtOnce,
        }
    }

    /// Ends what replicas left behind: when they run where they went, when they are not wanted any more or are back, and when the node
    /// that was left is lost.
    pub(super) fn end_departures(
        &mut self,
        cluster: &mut Cluster<'a>,
        slots: &[Slot<'a>],
        leaving: Vec<&'a ReplicaDesired>,
    ) {
        for record in leaving {
            let number = match record.index {
                ReplicaIndex::Index(number) => number,
                // Not reached: these are never leaving.
                ReplicaIndex::Host(_) => continue,
            };
            let slot = usize::try_from(number).ok().and_then(|number| slots.get(number));
            let seat = slot.filter(|slot| slot.index == record.index).and_then(|slot| slot.seat.as_ref());
            let serves_on = seat.is_some_and(|seat| !seat.available && seat.record.node != record.node)
                && cluster.residence(record.node).is_alive();
            if serves_on {
                self.departing.insert(number);
                self.plan.leftovers = true;
            } else {
                self.delete(cluster, record);
                // Its id is free for another move only after this pass.
                self.departing.insert(number);
            }
        }
    }

    /// The move that levels a service out: one at a time, start-first, and only while everything else about it is settled.
    pub(super) fn level(
        &mut self,
        cluster: &Cluster<'a>,
        placer: &Placer<'_>,
        slots: &[Slot<'a>],
        settled: bool,
    ) -> Option<(usize, NodeId)> {
        let spec = self.input.spec;
        let may_move = spec.placement == Placement::Spread
            && self.order == ReplaceOrder::StartFirst
            && spec.reschedule != Reschedule::Never
            && self.bonds.is_empty()
            && !self.input.is_followed;
        let at_rest = settled && self.held == 0 && self.departing.is_empty() && self.input.unmet.is_empty();
        if !may_move {
            return None;
        }
        let (from, to) = match placer.levelling(cluster) {
            Levelling::Even => return None,
            Levelling::Full => {
                self.plan.uneven = true;
                return None;
            }
            Levelling::Move { from, to } => (from, to),
        };
        let serves = |slot: &Slot<'a>| slot.seat.as_ref().is_some_and(|seat| seat.available && !seat.outdated());
        if !at_rest || !slots.iter().all(serves) {
            self.plan.uneven = true;
            return None;
        }
        let is_there = |slot: &Slot<'a>| slot.seat.as_ref().is_some_and(|seat| seat.record.node == from);
        slots.iter().rposition(is_there).map(|position| (position, to))
    }
}
