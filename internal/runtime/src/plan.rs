//! What to do next: desired replicas × containers × memory → steps. Pure; printed and checked in tests.
//!
//! One step at a time per replica; whatever happens in between (a crash, an event, a new spec) the next plan starts from what is
//! there. Names and labels carry all that must survive: a container's identity is its `jaco.replica_id` label, its spec the
//! `jaco.spec_hash` label, and the outgoing one of two generations is named `<name>.old`.
//!
//! Invariants:
//! - never two containers of one replica without the `.old` suffix;
//! - nothing that serves is touched before the image of its replacement is here;
//! - a container that may get traffic is stopped only after an observation without it is committed (or that took too long);
//! - before the store has caught up only what already ran here is started again, and nothing is removed or renamed;
//! - containers without our cluster's id never enter a plan;
//! - an exclusive container that may not be up is stopped before anything else is done about its replica, also without a leader.

mod memory;
mod observe;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jaco_types::{
    DeploymentSpec, NodeId, ReplaceOrder, ReplicaDesired, ReplicaId, ReplicaIndex, ReplicaObserved, ServiceSpec,
    SpecHash, label, network_name,
};

use crate::container::{DEFAULT_GRACE, container_name, joined_networks};
use crate::engine::{Container, Health, ProcessState};
use crate::labels::{epoch_of, replica_of};
use crate::lease::Rights;
use crate::now::Now;

pub use memory::{ImageState, Memory, Problem, Run, backoff};
pub use observe::{is_serving, observe};

/// A process without a health check counts as running after this time by the engine's clock.
pub const UP_AFTER_MS: u64 = 1_000;
/// Running this long clears the failure counter.
pub const SUSTAINED_MS: u64 = 10_000;
/// Failures in a row after which a replica waits for the next attempt.
pub const MAX_FAILURES: u32 = 3;
/// A stop waits this long for the observation that takes the container out of routing; without a leader it would wait for ever.
pub const WITHDRAW_WAIT_MS: u64 = 5_000;
/// Suffix of the outgoing container's name.
pub const OLD_SUFFIX: &str = ".old";

/// A replica that is to run here, with its spec.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The desired record.
    pub desired: &'a ReplicaDesired,
    /// Log index of that record.
    pub raft_index: u64,
    /// Its deployment at its revision.
    pub deployment: &'a DeploymentSpec,
    /// Its service there.
    pub service: &'a ServiceSpec,
}

/// Everything a plan is made from.
#[derive(Debug)]
pub struct World<'a> {
    /// Time.
    pub now: Now,
    /// This node.
    pub node: NodeId,
    /// The store has caught up with the leader since this process started.
    pub caught_up: bool,
    /// New containers may be made and started.
    pub may_start: bool,
    /// What may run of exclusive replicas.
    pub rights: &'a Rights,
    /// Replicas that are to run here.
    pub wanted: BTreeMap<ReplicaId, Wanted<'a>>,
    /// Our cluster's containers on this node by engine id.
    pub containers: &'a BTreeMap<String, Container>,
    /// The same by the replica they stand for: see [`by_replica`].
    pub by_replica: BTreeMap<ReplicaId, Vec<&'a Container>>,
    /// What was remembered of each replica.
    pub memory: &'a BTreeMap<ReplicaId, Memory>,
    /// This node's committed observations.
    pub committed: BTreeMap<ReplicaId, &'a ReplicaObserved>,
    /// Observations are on their way to the store: what is committed may be about to change.
    pub reporting: bool,
    /// Replicas with a step under way.
    pub busy: &'a BTreeSet<ReplicaId>,
    /// Engine names of our networks whose range is not the recorded one: they are rebuilt with their containers.
    pub wrong_networks: &'a BTreeSet<String>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Get the image of the replica's spec.
    Pull,
    /// Make its container, with the networks and volumes it needs.
    Create,
    /// Give a container another name.
    Rename {
        /// Engine id.
        container: String,
        /// New name.
        name: String,
    },
    /// Start a container.
    Start {
        /// Engine id.
        container: String,
        /// It ran before.
        again: bool,
    },
    /// Take a container out of what is observed to answer, so that it can be stopped.
    Withdraw {
        /// Engine id.
        container: String,
    },
    /// Stop a container and keep it.
    Halt {
        /// Engine id.
        container: String,
        /// Time between its stop signal and SIGKILL.
        grace: Duration,
    },
    /// Stop an exclusive container that may not run any more, at once, and keep it.
    Fence {
        /// Engine id.
        container: String,
        /// Time between its stop signal and SIGKILL.
        grace: Duration,
    },
    /// Stop a container and remove it with its anonymous volumes.
    Retire {
        /// Engine id.
        container: String,
        /// Time between its stop signal and SIGKILL.
        grace: Duration,
    },
}

/// What to do, and when to look again if nothing happens before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// At most one step per replica.
    pub steps: Vec<(ReplicaId, Step)>,
    /// Monotonic time of the next deadline.
    pub wake_at: Option<u64>,
}

/// The next step of every replica that has one.
pub fn plan(world: &World<'_>) -> Plan {
    let mut ids: BTreeSet<ReplicaId> = world.wanted.keys().cloned().collect();
    ids.extend(world.by_replica.keys().cloned());
    let mut plan = Plan::default();
    for id in ids {
        if world.busy.contains(&id) {
            continue;
        }
        match next_step(world, &id) {
            Next::Step(step) => plan.steps.push((id, step)),
            Next::At(at) => plan.wake_at = Some(plan.wake_at.map_or(at, |other| other.min(at))),
            Next::Nothing => {}
        }
    }
    plan
}

/// Whether this record is what a replica left behind here when it moved to another node: its container serves on until the replica
/// runs there, and none is ever made for it.
pub fn is_leaving(desired: &ReplicaDesired) -> bool {
    match desired.index {
        ReplicaIndex::Index(_) => desired.id.as_str().ends_with(OLD_SUFFIX),
        ReplicaIndex::Host(_) => false,
    }
}

/// The containers by the replica they stand for: that of their label, or what it left behind here when only that is wanted.
pub fn by_replica<'a>(
    wanted: &BTreeMap<ReplicaId, Wanted<'_>>,
    containers: &'a BTreeMap<String, Container>,
) -> BTreeMap<ReplicaId, Vec<&'a Container>> {
    let mut found: BTreeMap<ReplicaId, Vec<&Container>> = BTreeMap::new();
    for container in containers.values() {
        let Some(id) = replica_of(container) else { continue };
        let left = || {
            let left = ReplicaId::new(format!("{id}{OLD_SUFFIX}")).ok()?;
            wanted.get(&left).filter(|wanted| is_leaving(wanted.desired)).map(|_| left)
        };
        let owner = if wanted.contains_key(&id) { id } else { left().unwrap_or(id) };
        found.entry(owner).or_default().push(container);
    }
    found
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    Step(Step),
    /// Nothing before this monotonic time.
    At(u64),
    Nothing,
}

/// A replica's containers, told apart.
#[derive(Debug)]
pub(crate) struct Split<'a> {
    /// Made from the spec that is wanted.
    pub(crate) current: Option<&'a Container>,
    /// All others, the one most worth keeping first.
    pub(crate) others: Vec<&'a Container>,
}

pub(crate) fn split<'a>(world: &World<'a>, id: &ReplicaId) -> Split<'a> {
    let mine = world.by_replica.get(id).into_iter().flatten().copied();
    let Some(wanted) = world.wanted.get(id) else {
        return Split { current: None, others: mine.collect() };
    };
    let (mut matching, mut others): (Vec<_>, Vec<_>) =
        mine.partition(|container| matches_spec(world, wanted, container));
    // Of several with the same spec the one under the right name goes on, then one that is up, then the newest.
    matching.sort_by_key(|c| (c.name.ends_with(OLD_SUFFIX), !c.is_up(), std::cmp::Reverse(c.created_at_ms)));
    let current = if matching.is_empty() { None } else { Some(matching.remove(0)) };
    others.extend(matching);
    others.sort_by_key(|c| (!is_serving(c, world.now), !c.is_up(), c.created_at_ms));
    Split { current, others }
}

fn matches_spec(world: &World<'_>, wanted: &Wanted<'_>, container: &Container) -> bool {
    let hash: &SpecHash = &wanted.desired.spec_hash;
    container.label(label::SPEC_HASH) == hash.as_str()
        && container.state != ProcessState::Dead
        && is_of_epoch(world, wanted, container)
        && (container.is_up() || is_connected(wanted, container))
        && container.networks.keys().all(|network| !world.wrong_networks.contains(network))
        // A namespace it shares is gone for good when the container it came from is.
        && container.shares.iter().all(|peer| world.containers.contains_key(peer))
}

/// Whether it knows the epoch of the slot that is held now. While none is held nothing is said against it.
fn is_of_epoch(world: &World<'_>, wanted: &Wanted<'_>, container: &Container) -> bool {
    let held = world.rights.epochs.get(&wanted.desired.id).filter(|_| wanted.service.exclusive);
    held.is_none_or(|held| epoch_of(container) == Some(held.to_string().as_str()))
}

/// Whether an exclusive replica may not be started now; any other may.
fn lacks_right(world: &World<'_>, wanted: &Wanted<'_>) -> bool {
    wanted.service.exclusive && !world.rights.may_start(&wanted.desired.id, world.now)
}

/// Whether it has all the networks of its spec. Older engines take one at the creation: a daemon that ended between that and the others
/// leaves a container behind that would start without them.
fn is_connected(wanted: &Wanted<'_>, container: &Container) -> bool {
    let mut joined = joined_networks(&wanted.service.container).into_keys();
    joined.all(|key| container.networks.contains_key(&network_name(&wanted.desired.deployment, &key)))
}

/// A container that is up and must not stay so: unhealthy, or cut off from the namespace it shares.
pub(crate) fn must_restart(world: &World<'_>, memory: &Memory, container: &Container) -> bool {
    let unhealthy = container.health == Some(Health::Unhealthy) && container.state == ProcessState::Running;
    (unhealthy && !memory.exhausted) || shares_stale(world, container)
}

/// The namespace it shares belongs to a newer run than its own: it sees a network that is no more.
fn shares_stale(world: &World<'_>, container: &Container) -> bool {
    container
        .shares
        .iter()
        .filter_map(|peer| world.containers.get(peer))
        .any(|peer| peer.is_up() && peer.started_at_ms > container.started_at_ms)
}

fn next_step(world: &World<'_>, id: &ReplicaId) -> Next {
    let fresh = Memory::default();
    let memory = world.memory.get(id).unwrap_or(&fresh);
    let split = split(world, id);
    let mut all = split.current.iter().copied().chain(split.others.iter().copied());
    if let Some(container) = all.find(|container| container.is_up() && !world.rights.allow(container, world.now)) {
        if let Some(at) = memory.retry_at.filter(|&at| at > world.now.mono_ms && memory.failed_steps > 0) {
            return Next::At(at);
        }
        let grace = world.rights.grace(container.stop_grace, world.now);
        return Next::Step(Step::Fence { container: container.id.clone(), grace });
    }
    match (world.wanted.get(id), split.current) {
        (None, _) if !world.caught_up => Next::Nothing,
        (None, _) => {
            split.others.first().map_or(Next::Nothing, |container| take_down(world, id, memory, container, true))
        }
        (Some(wanted), Some(current)) => tend(world, wanted, memory, current, &split.others),
        (Some(wanted), None) => replace(world, wanted, memory, &split.others),
    }
}

/// A replica whose container is there: keep it up, and clear away what it has replaced.
fn tend(world: &World<'_>, wanted: &Wanted<'_>, memory: &Memory, current: &Container, others: &[&Container]) -> Next {
    let id = &wanted.desired.id;
    match current.state {
        ProcessState::Changing => Next::Nothing,
        ProcessState::Running | ProcessState::Paused => {
            if must_restart(world, memory, current) {
                return take_down(world, id, memory, current, false);
            }
            if !is_serving(current, world.now) {
                return starting(world, current);
            }
            if !world.caught_up {
                return Next::Nothing;
            }
            if let Some(other) = others.first() {
                return take_down(world, id, memory, other, true);
            }
            let name = container_name(wanted.desired, wanted.service);
            if current.name != name {
                return Next::Step(Step::Rename { container: current.id.clone(), name });
            }
            settle(world, memory)
        }
        ProcessState::Created | ProcessState::Exited | ProcessState::Dead => {
            let again = current.started_at_ms.is_some();
            let held = !again && (!world.caught_up || !world.may_start || !wanted.desired.waiting_on.is_empty());
            if memory.exhausted || held || lacks_right(world, wanted) {
                return Next::Nothing;
            }
            if let Some(at) = memory.retry_at.filter(|&at| at > world.now.mono_ms) {
                return Next::At(at);
            }
            let in_the_way = others.iter().find(|other| other.is_up());
            if let (ReplaceOrder::StopFirst, Some(other)) = (wanted.desired.order, in_the_way) {
                return if world.caught_up { take_down(world, id, memory, other, true) } else { Next::Nothing };
            }
            Next::Step(Step::Start { container: current.id.clone(), again })
        }
    }
}

/// A container that came up: look again when a process without a health check has been up long enough. A frozen one waits for its event.
fn starting(world: &World<'_>, current: &Container) -> Next {
    match (current.health, current.started_at_ms) {
        (None, Some(started)) if current.state == ProcessState::Running => {
            let up = world.now.wall_ms.saturating_sub(started);
            Next::At(world.now.mono_ms + UP_AFTER_MS.saturating_sub(up).max(10))
        }
        _ => Next::Nothing,
    }
}

/// A container that serves: look again when its failures are forgiven.
fn settle(world: &World<'_>, memory: &Memory) -> Next {
    match memory.running_since {
        Some((_, since)) if !memory.exhausted && (memory.failures > 0 || memory.flapping(world.now)) => {
            let served = world.now.wall_ms.saturating_sub(since);
            Next::At(world.now.mono_ms + SUSTAINED_MS.saturating_sub(served).max(10))
        }
        _ => Next::Nothing,
    }
}

/// A replica without a container of the wanted spec: get the image, make room, create.
fn replace(world: &World<'_>, wanted: &Wanted<'_>, memory: &Memory, others: &[&Container]) -> Next {
    let id = &wanted.desired.id;
    let held = !world.caught_up || !world.may_start || memory.exhausted || !wanted.desired.waiting_on.is_empty();
    if held || lacks_right(world, wanted) || is_leaving(wanted.desired) || memory.image == ImageState::Pulling {
        return Next::Nothing;
    }
    if let Some(at) = memory.retry_at.filter(|&at| at > world.now.mono_ms) {
        return Next::At(at);
    }
    if memory.image != ImageState::Ready {
        return Next::Step(Step::Pull);
    }
    let Some((&first, rest)) = others.split_first() else { return Next::Step(Step::Create) };
    // Only the best of the others is worth keeping until its replacement runs; one on a wrong network is in the way of its rebuilding.
    let keep = first.is_up() && first.networks.keys().all(|network| !world.wrong_networks.contains(network));
    if let Some(surplus) = rest.first().copied().or((!keep).then_some(first)) {
        return take_down(world, id, memory, surplus, true);
    }
    let name = container_name(wanted.desired, wanted.service);
    if first.name.ends_with(OLD_SUFFIX) && first.name != name {
        return Next::Step(Step::Create);
    }
    Next::Step(Step::Rename { container: first.id.clone(), name: format!("{}{OLD_SUFFIX}", first.name) })
}

/// Out of routing first, then the stop.
fn take_down(world: &World<'_>, id: &ReplicaId, memory: &Memory, container: &Container, remove: bool) -> Next {
    if let Some(at) = memory.retry_at.filter(|&at| at > world.now.mono_ms) {
        return Next::At(at);
    }
    let grace = container.stop_grace.unwrap_or(DEFAULT_GRACE);
    let stop = if remove {
        Step::Retire { container: container.id.clone(), grace }
    } else {
        Step::Halt { container: container.id.clone(), grace }
    };
    if !container.is_up() {
        return Next::Step(stop);
    }
    // Withdrawn first even if it gets no traffic yet: the observation that is being made in this moment may send it some.
    let Some(&since) = memory.withdrawing.get(&container.id) else {
        return Next::Step(Step::Withdraw { container: container.id.clone() });
    };
    let routed = world.reporting || is_routed(world.committed.get(id).copied(), container);
    if routed && since + WITHDRAW_WAIT_MS > world.now.mono_ms {
        return Next::At(since + WITHDRAW_WAIT_MS);
    }
    Next::Step(stop)
}

/// Whether the committed observation sends traffic to this container.
fn is_routed(committed: Option<&ReplicaObserved>, container: &Container) -> bool {
    committed.is_some_and(|observed| {
        (observed.container_id.as_ref() == Some(&container.id) && !observed.endpoints.is_empty())
            || observed.outgoing.as_ref().is_some_and(|outgoing| outgoing.container_id == container.id)
    })
}
