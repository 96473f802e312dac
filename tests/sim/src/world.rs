//! What all parts of a run share: who is there, what runs where, what clients did, and the first thing that was wrong.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jaco_controlplane::SessionTable;
use jaco_testkit::{MemoryNetwork, SeededStore};
use jaco_types::{NodeId, ReplicaId};

use crate::linearizable::Operation;
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::trace::Trace;

/// A member that runs.
#[derive(Clone)]
pub(crate) struct Member {
    /// Its store.
    pub(crate) store: SeededStore,
    /// Its sessions, while it leads.
    pub(crate) sessions: SessionTable,
}

/// A container on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    /// Of which generation.
    pub(crate) generation: u64,
    /// At most one may run anywhere.
    pub(crate) exclusive: bool,
    /// Simulated time at which it will have stopped, once it is being stopped.
    pub(crate) gone_at: Option<tokio::time::Instant>,
}

/// A transaction that a client was told is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// Of its request id.
    pub(crate) token: [u8; 16],
    /// Where.
    pub(crate) index: u64,
}

/// The shared part.
pub(crate) struct World {
    /// What happened.
    pub(crate) trace: Trace,
    /// What connects the members.
    pub(crate) network: MemoryNetwork,
    /// What is broken in this run.
    pub(crate) sabotage: Option<Sabotage>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    members: BTreeMap<NodeId, Member>,
    containers: BTreeMap<NodeId, BTreeMap<ReplicaId, Container>>,
    /// Containers that are being stopped have so long.
    removed: Vec<NodeId>,
    acknowledged: Vec<Acknowledged>,
    registers: BTreeMap<u64, Vec<Option<Operation>>>,
    moment: u64,
    failure: Option<String>,
    starts: u64,
}

impl World {
    /// A world with nobody in it.
    pub(crate) fn new(random: &Random, sabotage: Option<Sabotage>) -> Self {
        World { trace: Trace::new(), network: MemoryNetwork::new(random.next()), sabotage, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is broken in this run.
    pub(crate) fn is_broken(&self, by: Sabotage) -> bool {
        self.sabotage == Some(by)
    }

    /// Something is wrong; the first thing counts.
    pub(crate) fn fail(&self, what: impl Into<String>) {
        let what = what.into();
        self.trace.note(format_args!("WRONG: {what}"));
        self.lock().failure.get_or_insert(what);
    }

    /// The first thing that was wrong.
    pub(crate) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// A member starts.
    pub(crate) fn enter(&self, node: NodeId, member: Member) {
        self.lock().members.insert(node, member);
    }

    /// A member stops.
    pub(crate) fn leave(&self, node: NodeId) {
        self.lock().members.remove(&node);
    }

    /// A member that runs.
    pub(crate) fn member(&self, node: NodeId) -> Option<Member> {
        self.lock().members.get(&node).cloned()
    }

    /// All that run.
    pub(crate) fn members(&self) -> Vec<(NodeId, Member)> {
        self.lock().members.iter().map(|(node, member)| (*node, member.clone())).collect()
    }

    /// Any one that runs.
    pub(crate) fn any_store(&self, random: &Random) -> Option<SeededStore> {
        random.pick(&self.members()).map(|(_, member)| member.store)
    }

    /// A moment that no other event of a history has.
    pub(crate) fn moment(&self) -> u64 {
        let mut inner = self.lock();
        inner.moment += 1;
        inner.moment
    }

    /// A client begins to write to a register: from now on that may take effect, also when the client is not there any more. Its place in
    /// the history.
    pub(crate) fn begin(&self, register: u64, operation: Operation) -> usize {
        let mut inner = self.lock();
        let history = inner.registers.entry(register).or_default();
        history.push(Some(operation));
        history.len() - 1
    }

    /// What became of it; `None` when it certainly had no effect.
    pub(crate) fn settle(&self, register: u64, place: usize, operation: Option<Operation>) {
        let mut inner = self.lock();
        if let Some(known) = inner.registers.get_mut(&register).and_then(|history| history.get_mut(place)) {
            *known = operation;
        }
    }

    /// What clients did to each register.
    pub(crate) fn registers(&self) -> BTreeMap<u64, Vec<Operation>> {
        let inner = self.lock();
        inner
            .registers
            .iter()
            .map(|(register, history)| (*register, history.iter().flatten().copied().collect()))
            .collect()
    }

    /// A client was told so.
    pub(crate) fn acknowledge(&self, token: [u8; 16], index: u64) {
        self.lock().acknowledged.push(Acknowledged { token, index });
    }

    /// Everything clients were told since this was last asked.
    pub(crate) fn take_acknowledged(&self) -> Vec<Acknowledged> {
        std::mem::take(&mut self.lock().acknowledged)
    }

    /// A node has learnt that it is no member any more.
    pub(crate) fn note_removed(&self, node: NodeId) {
        let mut inner = self.lock();
        if !inner.removed.contains(&node) {
            inner.removed.push(node);
        }
    }

    /// Nodes that learnt so since this was last asked.
    pub(crate) fn take_removed(&self) -> Vec<NodeId> {
        std::mem::take(&mut self.lock().removed)
    }

    /// What runs on a host.
    pub(crate) fn containers(&self, node: NodeId) -> BTreeMap<ReplicaId, Container> {
        self.lock().containers.get(&node).cloned().unwrap_or_default()
    }

    /// A container starts. Two of an exclusive replica are wrong.
    pub(crate) fn start_container(&self, node: NodeId, replica: &ReplicaId, container: Container) {
        let other = {
            let mut inner = self.lock();
            let runs = |(other, there): (&NodeId, &BTreeMap<ReplicaId, Container>)| {
                (*other != node && there.contains_key(replica)).then_some(*other)
            };
            let other = inner.containers.iter().find_map(runs).filter(|_| container.exclusive);
            inner.starts += u64::from(container.exclusive);
            inner.containers.entry(node).or_default().insert(replica.clone(), container);
            other
        };
        if let Some(other) = other {
            self.fail(format!("exclusive replica {replica} is started on node {node} while it runs on node {other}"));
        }
    }

    /// Exclusive containers that were ever started.
    pub(crate) fn exclusive_starts(&self) -> u64 {
        self.lock().starts
    }

    /// Begins to stop a container, unless that has begun already.
    pub(crate) fn stop_container(&self, node: NodeId, replica: &ReplicaId, gone_at: tokio::time::Instant) {
        let mut inner = self.lock();
        let container = inner.containers.get_mut(&node).and_then(|there| there.get_mut(replica));
        if let Some(container) = container {
            container.gone_at.get_or_insert(gone_at);
        }
    }

    /// Ends those whose time has come.
    pub(crate) fn end_containers(&self, now: tokio::time::Instant) {
        for there in self.lock().containers.values_mut() {
            there.retain(|_, container| container.gone_at.is_none_or(|gone_at| now < gone_at));
        }
    }

    /// The host is without power.
    pub(crate) fn kill_containers(&self, node: NodeId) {
        self.lock().containers.remove(&node);
    }
}
