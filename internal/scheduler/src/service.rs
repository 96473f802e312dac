//! The replicas of one service: which there should be, where, with which settings, and which of them changes now.

mod companion;
mod moves;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jaco_state::View;
use jaco_types::{
    Deployment, ErrorCode, ExclusiveSlot, NodeId, Placement, ReplaceOrder, ReplicaDesired, ReplicaId, ReplicaIndex,
    ReplicaObserved, ReplicaState, ServiceName, ServiceSpec, SpecHash,
};

use self::companion::Bonds;
pub(crate) use self::moves::{LEAVING, is_leaving};
use crate::cluster::{Cluster, Residence};
use crate::exclusive;
use crate::facts::{Facts, Need};
use crate::order::replace_order;
use crate::placement::{self, Placer, Shortage};

/// What the planning of a service starts from.
pub(crate) struct ServiceInput<'a, 'p> {
    pub(crate) view: &'a View,
    pub(crate) facts: &'a Facts,
    pub(crate) deployment: &'a Deployment,
    pub(crate) name: &'a ServiceName,
    pub(crate) spec: &'a ServiceSpec,
    /// Dependencies that are not there yet.
    pub(crate) unmet: Vec<ServiceName>,
    /// Plans of the services it must share a node with.
    pub(crate) companions: Vec<&'p ServicePlan<'a>>,
    /// Another service must share a node with this one.
    pub(crate) is_followed: bool,
}

/// What becomes of a service in this pass.
#[derive(Debug)]
pub(crate) struct ServicePlan<'a> {
    /// Its replicas after the pass, in the order of their indexes.
    pub(crate) replicas: Vec<PlannedReplica<'a>>,
    pub(crate) changes: Vec<Change>,
    pub(crate) obstacle: Option<Obstacle>,
    /// Dependencies for which a change of a running replica is held back.
    pub(crate) held_for: Vec<ServiceName>,
    /// Something has to go before the service is as it should be: replicas of an earlier placement mode or node that still serve, or a
    /// container that must be gone before its successor may be made.
    pub(crate) leftovers: bool,
    /// Replicas it wants; `None` for a global one.
    pub(crate) wanted: Option<u32>,
    /// Its nodes differ by more than they should, and none can take what would level them.
    pub(crate) uneven: bool,
    /// When a lease that it waits for will have ended.
    pub(crate) again_at: Option<Duration>,
}

/// A replica after the pass, with what is known of it.
#[derive(Debug)]
pub(crate) struct PlannedReplica<'a> {
    pub(crate) record: Cow<'a, ReplicaDesired>,
    /// It is to run the active revision.
    pub(crate) is_current: bool,
    /// Nothing about it is left to change.
    pub(crate) is_settled: bool,
    /// Its node is silent for so long, or no member any more, that nothing is known of it.
    pub(crate) node_lost: bool,
    /// Its state, when that was observed of the record's generation.
    pub(crate) state: Option<ReplicaState>,
    /// The code of that state, when it was observed in the record's attempt.
    pub(crate) code: Option<ErrorCode>,
    /// The failure belongs to the record's attempt, not to one before it.
    pub(crate) is_fresh: bool,
}

/// A change of a desired replica.
#[derive(Debug)]
pub(crate) enum Change {
    /// Stores a record.
    Put(Box<Put>),
    /// Removes a record.
    Delete { id: ReplicaId },
}

/// A record to be stored, with what must be stored together with it.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) record: ReplicaDesired,
    /// The node that was chosen for it in this pass.
    pub(crate) placed: Option<NodeId>,
    /// What goes on serving on the node it leaves.
    pub(crate) leaving: Option<ReplicaDesired>,
    /// The right to run it, when that passes to its node.
    pub(crate) slot: Option<ExclusiveSlot>,
}

/// Why a replica that should exist cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// No node.
    Shortage(Shortage),
    /// Its id belongs to a replica of something else.
    NameTaken(ReplicaId),
}

/// A place for a replica: an index, or for a global service a node.
struct Slot<'a> {
    index: ReplicaIndex,
    id: ReplicaId,
    /// The number that placement by index goes by; 0 for a global service.
    number: u32,
    pinned: Option<NodeId>,
    seat: Option<Seat<'a>>,
}

/// A slot's replica as it is before the pass.
struct Seat<'a> {
    record: &'a ReplicaDesired,
    observed: Option<&'a ReplicaObserved>,
    same_spec: bool,
    stays: bool,
    /// It serves: observed running, on a node that is there.
    available: bool,
}

impl Seat<'_> {
    fn outdated(&self) -> bool {
        !(self.same_spec && self.stays)
    }
}

/// The observation of a desired replica, when it describes this generation on this node.
pub(crate) fn observed<'a>(view: &'a View, record: &ReplicaDesired) -> Option<&'a ReplicaObserved> {
    view.get::<ReplicaObserved>(record.id.as_str())
        .filter(|observed| observed.generation == record.generation && observed.node == record.node)
}

/// Plans one service. `existing` are its desired replicas in the view.
pub(crate) fn plan_service<'a>(
    input: &ServiceInput<'a, '_>,
    cluster: &mut Cluster<'a>,
    existing: &[&'a ReplicaDesired],
) -> ServicePlan<'a> {
    let wanted = match input.spec.placement {
        Placement::Global => None,
        Placement::Spread | Placement::Pack | Placement::Hosts(_) => Some(input.spec.replicas),
    };
    let mut planner = Planner {
        input,
        hash: input.spec.hash(),
        order: replace_order(input.spec),
        need: Need::of(input.spec),
        bonds: Bonds::new(&input.companions),
        plan: ServicePlan {
            replicas: Vec::new(),
            changes: Vec::new(),
            obstacle: None,
            held_for: Vec::new(),
            leftovers: false,
            wanted,
            uneven: false,
            again_at: None,
        },
        held: 0,
        departing: BTreeSet::new(),
    };
    let (leaving, existing): (Vec<_>, Vec<_>) = existing.iter().copied().partition(|record| moves::is_leaving(record));
    let (slots, surplus) = planner.slots(cluster, &existing);
    planner.drop_surplus(cluster, &slots, surplus);
    planner.end_departures(cluster, &slots, leaving);
    let kept =
        slots.iter().filter_map(|slot| slot.seat.as_ref()).filter(|seat| seat.stays).map(|seat| seat.record.node);
    let mut placer = Placer::new(input.spec, cluster, kept);
    let created = planner.create_missing(cluster, &mut placer, &slots);
    let replaced = planner.choose_replacements(&slots, !created.is_empty());
    let levelled = planner.level(cluster, &placer, &slots, created.is_empty() && replaced.is_empty());
    let mut unplaced = slots.iter().filter(|slot| slot.seat.is_none()).count() - created.len() - planner.held;
    for (position, slot) in slots.into_iter().enumerate() {
        match (&slot.seat, created.get(&position)) {
            (None, Some(node)) => planner.create(cluster, &slot, *node),
            (None, None) => {}
            (Some(seat), _) if replaced.contains(&position) => {
                unplaced += usize::from(!planner.replace(cluster, &mut placer, &slot, seat));
            }
            (Some(seat), _) => match levelled {
                Some((moved, node)) if moved == position => {
                    cluster.add_load(node, planner.need);
                    planner.depart(cluster, seat, node);
                }
                Some(_) | None => planner.refresh(cluster, seat),
            },
        }
    }
    let nowhere_to_run = input.spec.placement == Placement::Global && planner.plan.replicas.is_empty();
    if planner.plan.obstacle.is_none() && (unplaced > 0 || nowhere_to_run) {
        let shortage = placement::shortage(input.spec, cluster, unplaced);
        planner.plan.obstacle = Some(Obstacle::Shortage(shortage));
    }
    planner.plan
}

struct Planner<'a, 'i, 'p> {
    input: &'i ServiceInput<'a, 'p>,
    hash: SpecHash,
    order: ReplaceOrder,
    need: Need,
    bonds: Bonds,
    plan: ServicePlan<'a>,
    /// Empty slots that have to wait until what was there before is gone.
    held: usize,
    /// Numbers of the replicas that still serve where they leave.
    departing: BTreeSet<u32>,
}

impl<'a> Planner<'a, '_, '_> {
    /// The slots there should be, with the replicas that fill them, and the replicas that fill none.
    fn slots(
        &mut self,
        cluster: &Cluster<'a>,
        existing: &[&'a ReplicaDesired],
    ) -> (Vec<Slot<'a>>, Vec<&'a ReplicaDesired>) {
        let mut by_id: BTreeMap<&ReplicaId, &'a ReplicaDesired> =
            existing.iter().map(|record| (&record.id, *record)).collect();
        let mut slots = match self.input.spec.placement {
            Placement::Global => self.global_slots(cluster, existing),
            Placement::Spread | Placement::Pack | Placement::Hosts(_) => self.numbered_slots(),
        };
        for slot in &mut slots {
            slot.seat = by_id.remove(&slot.id).map(|record| self.seat(cluster, slot.number, record));
        }
        (slots, by_id.into_values().collect())
    }

    fn numbered_slots(&self) -> Vec<Slot<'a>> {
        let id_of = |number| ReplicaId::indexed(&self.input.deployment.name, self.input.name, number);
        (0..self.input.spec.replicas)
            // Both names have a length limit under which every id is a valid one.
            .filter_map(|number| {
                let index = ReplicaIndex::Index(number);
                Some(Slot { index, id: id_of(number).ok()?, number, pinned: None, seat: None })
            })
            .collect()
    }

    /// One slot for each eligible node, and for each other one that may keep the replica it has.
    fn global_slots(&self, cluster: &Cluster<'a>, existing: &[&'a ReplicaDesired]) -> Vec<Slot<'a>> {
        let kept = existing.iter().filter(|record| {
            matches!(record.index, ReplicaIndex::Host(_)) && cluster.residence(record.node) == Residence::Kept
        });
        let mut slots: BTreeMap<NodeId, Slot<'a>> = kept
            .map(|record| {
                let (index, id) = (record.index.clone(), record.id.clone());
                (record.node, Slot { index, id, number: 0, pinned: Some(record.node), seat: None })
            })
            .collect();
        for member in cluster.eligible().filter(|member| !slots.contains_key(&member.id)).collect::<Vec<_>>() {
            // An id that would be too long for a container's name has no slot; the missing replica shows as a shortage.
            if let Ok(id) = ReplicaId::global(&self.input.deployment.name, self.input.name, member.hostname) {
                let index = ReplicaIndex::Host(member.hostname.clone());
                slots.insert(member.id, Slot { index, id, number: 0, pinned: Some(member.id), seat: None });
            }
        }
        let mut slots: Vec<Slot<'a>> = slots.into_values().collect();
        slots.sort_by(|one, other| one.index.cmp(&other.index));
        slots
    }

    fn seat(&mut self, cluster: &Cluster<'a>, number: u32, record: &'a ReplicaDesired) -> Seat<'a> {
        let residence = cluster.residence(record.node);
        let observed = observed(self.input.view, record);
        let present = residence.is_alive();
        Seat {
            record,
            observed,
            same_spec: record.spec_hash == self.hash,
            stays: self.may_stay(cluster, residence, number, record),
            available: present && observed.is_some_and(|observed| observed.state == ReplicaState::Running),
        }
    }

    /// Removes replicas beyond the wanted number. Those of another placement mode have other ids: where old and new can run side by
    /// side, the old ones go when the new ones are up.
    fn drop_surplus(&mut self, cluster: &mut Cluster<'a>, slots: &[Slot<'a>], surplus: Vec<&'a ReplicaDesired>) {
        let is_global = self.input.spec.placement == Placement::Global;
        let replaced =
            slots.iter().all(|slot| slot.seat.as_ref().is_some_and(|seat| seat.available && !seat.outdated()));
        for record in surplus {
            let same_mode = match record.index {
                ReplicaIndex::Index(_) => !is_global,
                ReplicaIndex::Host(_) => is_global,
            };
            if same_mode || replaced || self.order == ReplaceOrder::StopFirst {
                self.delete(cluster, record);
            } else {
                self.plan.leftovers = true;
            }
        }
    }

    /// Finds nodes for empty slots, in the order of their numbers; returns them by position of the slot.
    fn create_missing(
        &mut self,
        cluster: &mut Cluster<'a>,
        placer: &mut Placer<'_>,
        slots: &[Slot<'a>],
    ) -> BTreeMap<usize, NodeId> {
        let mut created = BTreeMap::new();
        for (position, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.seat.is_none()) {
            if self.input.view.version::<ReplicaDesired>(slot.id.as_str()).is_some() {
                self.plan.obstacle.get_or_insert(Obstacle::NameTaken(slot.id.clone()));
                continue;
            }
            let owner = self.preferred_owner(cluster, &slot.id);
            let node = match slot.pinned {
                Some(node) => {
                    cluster.add_load(node, self.need);
                    Some(node)
                }
                None => placer.place(cluster, slot.number, |node| self.may_go_to(owner, slot, node)),
            };
            let Some(node) = node else { continue };
            if self.must_wait(cluster, &slot.id, node) {
                cluster.remove_load(node, self.need);
                self.held += 1;
                self.plan.leftovers = true;
            } else {
                created.insert(position, node);
            }
        }
        created
    }

    /// The slots whose replica is replaced in this pass: those that serve nothing anyway at once, and those that only go elsewhere and
    /// serve until they run there; one that serves and must stop for it only while all others serve, and only when its replacement
    /// could start.
    fn choose_replacements(&mut self, slots: &[Slot<'a>], some_start: bool) -> BTreeSet<usize> {
        let seats = || slots.iter().enumerate().filter_map(|(position, slot)| Some((position, slot.seat.as_ref()?)));
        // What it left has just ended; it moves on when that is gone.
        let arrived = |position: usize| slots.get(position).is_some_and(|slot| self.departing.contains(&slot.number));
        let can_start = self.input.unmet.is_empty();
        let disturbs_nobody = |seat: &Seat<'_>| {
            !seat.available || (can_start && seat.same_spec && self.order == ReplaceOrder::StartFirst)
        };
        let mut chosen: BTreeSet<usize> = seats()
            .filter(|(_, seat)| seat.outdated() && disturbs_nobody(seat))
            .filter(|(position, seat)| !(seat.available && arrived(*position)))
            .map(|(position, _)| position)
            .collect();
        let all_serve = !some_start && self.held == 0 && seats().all(|(_, seat)| seat.available);
        if let Some((next, _)) =
            seats().find(|(position, seat)| seat.outdated() && !disturbs_nobody(seat) && !arrived(*position))
        {
            if !can_start {
                self.plan.held_for = self.input.unmet.clone();
            } else if all_serve {
                chosen.insert(next);
            }
        }
        chosen
    }

    fn create(&mut self, cluster: &Cluster<'a>, slot: &Slot<'a>, node: NodeId) {
        let Some(hostname) = cluster.get(node).map(|member| member.hostname.clone()) else { return };
        // Revision numbers outlive a deployment, so no observation of an earlier replica of this id is taken for one of this.
        let earlier =
            self.input.view.get::<ReplicaObserved>(slot.id.as_str()).map_or(0, |observed| observed.generation + 1);
        let record = ReplicaDesired {
            id: slot.id.clone(),
            deployment: self.input.deployment.name.clone(),
            service: self.input.name.clone(),
            index: slot.index.clone(),
            node,
            hostname,
            revision: self.input.deployment.active_revision,
            spec_hash: self.hash.clone(),
            generation: earlier.max(self.input.deployment.active_revision),
            attempt: self.input.deployment.attempt,
            order: self.order,
            waiting_on: self.input.unmet.clone(),
        };
        self.put(cluster, Put { record, placed: Some(node), leaving: None, slot: None }, true);
    }

    /// Gives a replica its new settings, and a new node where it needs one; `false` when there is none and it is left as it is.
    fn replace(
        &mut self,
        cluster: &mut Cluster<'a>,
        placer: &mut Placer<'_>,
        slot: &Slot<'a>,
        seat: &Seat<'a>,
    ) -> bool {
        if seat.stays {
            let record = self.renewed(cluster, seat, seat.record.node);
            self.put(cluster, Put { record, placed: None, leaving: None, slot: None }, true);
            return true;
        }
        let owner = self.preferred_owner(cluster, &slot.id);
        let placed = placer.place(cluster, slot.number, |node| self.may_go_to(owner, slot, node));
        let Some(node) = placed else {
            self.refresh(cluster, seat);
            return false;
        };
        self.depart(cluster, seat, node);
        true
    }

    /// A replica's record with the settings of the active revision, on this node.
    fn renewed(&self, cluster: &Cluster<'a>, seat: &Seat<'a>, node: NodeId) -> ReplicaDesired {
        let hostname = cluster.get(node).map_or_else(|| seat.record.hostname.clone(), |member| member.hostname.clone());
        ReplicaDesired {
            node,
            hostname,
            revision: self.input.deployment.active_revision,
            spec_hash: self.hash.clone(),
            generation: seat.record.generation + 1,
            attempt: self.input.deployment.attempt,
            order: self.order,
            waiting_on: self.input.unmet.clone(),
            ..seat.record.clone()
        }
    }

    /// Keeps a replica's container. One whose spec is the active one's moves on to its revision and attempt.
    fn refresh(&mut self, cluster: &Cluster<'a>, seat: &Seat<'a>) {
        if !seat.same_spec {
            self.plan.replicas.push(self.planned(cluster, Cow::Borrowed(seat.record), false));
            return;
        }
        let hostname = cluster
            .get(seat.record.node)
            .map_or_else(|| seat.record.hostname.clone(), |member| member.hostname.clone());
        let record = ReplicaDesired {
            hostname,
            revision: self.input.deployment.active_revision,
            attempt: self.input.deployment.attempt,
            order: self.order,
            waiting_on: self.gate_of(seat),
            ..seat.record.clone()
        };
        if record == *seat.record && self.slot_of(&record).is_none() {
            self.plan.replicas.push(self.planned(cluster, Cow::Borrowed(seat.record), seat.stays));
        } else {
            self.put(cluster, Put { record, placed: None, leaving: None, slot: None }, seat.stays);
        }
    }

    /// The gate holds starts only: once passed it stays open for this container, until a new attempt finds it not running.
    fn gate_of(&self, seat: &Seat<'a>) -> Vec<ServiceName> {
        let runs = seat
            .observed
            .is_some_and(|observed| matches!(observed.state, ReplicaState::Running | ReplicaState::Degraded));
        let new_attempt = seat.record.attempt != self.input.deployment.attempt;
        if runs || (seat.record.waiting_on.is_empty() && !new_attempt) { Vec::new() } else { self.input.unmet.clone() }
    }

    fn put(&mut self, cluster: &Cluster<'a>, mut put: Put, settled: bool) {
        put.slot = self.slot_of(&put.record);
        let planned = self.planned(cluster, Cow::Owned(put.record.clone()), settled);
        self.plan.changes.push(Change::Put(Box::new(put)));
        self.plan.replicas.push(planned);
    }

    fn delete(&mut self, cluster: &mut Cluster<'a>, record: &ReplicaDesired) {
        self.plan.changes.push(Change::Delete { id: record.id.clone() });
        cluster.remove_load(record.node, Need::of_replica(self.input.view, record));
    }

    fn planned(&self, cluster: &Cluster<'a>, record: Cow<'a, ReplicaDesired>, is_settled: bool) -> PlannedReplica<'a> {
        let observed = observed(self.input.view, &record);
        let is_fresh = observed.is_some_and(|observed| observed.attempt == record.attempt);
        PlannedReplica {
            is_current: record.revision == self.input.deployment.active_revision && record.spec_hash == self.hash,
            is_settled,
            node_lost: !cluster.residence(record.node).is_alive(),
            state: observed.map(|observed| observed.state),
            code: observed.filter(|_| is_fresh).and_then(|observed| observed.code),
            is_fresh,
            record,
        }
    }
}
