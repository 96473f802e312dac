//! What the runtime of a node does, without an engine: it starts and stops containers as desired, and says what it sees.
//!
//! Exclusive containers follow the design note: one is started only while the node holds a lease and only after a read that began while
//! it held it has shown that the slot is this node's.

use std::collections::BTreeSet;
use std::sync::Arc;

use jaco_state::{Clock, Store, Transaction, View};
use jaco_testkit::{JumpingClock, SeededStore, replica_observed};
use jaco_types::{
    DeploymentRevision, ExclusiveSlot, Node, NodeId, NodeSchedulability, NodeState, NodeStatus, ReplicaDesired,
    ReplicaId, ReplicaObserved, ReplicaState, Tombstone,
};
use tokio::time::Instant;

use crate::host::Guard;
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::world::{Container, World};

pub(crate) struct Agent {
    pub(crate) world: Arc<World>,
    pub(crate) node: NodeId,
    pub(crate) store: SeededStore,
    pub(crate) clock: Arc<JumpingClock>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) random: Random,
}

fn is_exclusive(view: &View, desired: &ReplicaDesired) -> bool {
    let key = DeploymentRevision::key_of(&desired.deployment, desired.revision);
    let revision = view.get::<DeploymentRevision>(&key);
    revision.and_then(|revision| revision.spec.services.get(&desired.service)).is_some_and(|service| service.exclusive)
}

impl Agent {
    pub(crate) async fn run(self) {
        loop {
            tokio::time::sleep(self.random.millis(100, 300)).await;
            let view = self.store.view();
            if view.get::<Tombstone>(&self.node.to_string()).is_some() {
                self.world.note_removed(self.node);
                return;
            }
            if view.get::<Node>(&self.node.to_string()).is_none() {
                continue;
            }
            self.act(&view).await;
            self.report(&view).await;
        }
    }

    fn desired<'a>(&self, view: &'a View) -> impl Iterator<Item = &'a ReplicaDesired> + use<'a> {
        let node = self.node;
        view.list::<ReplicaDesired>().filter(move |desired| desired.node == node)
    }

    async fn act(&self, view: &View) {
        let running = self.world.containers(self.node);
        let wanted: BTreeSet<(&ReplicaId, u64)> =
            self.desired(view).map(|desired| (&desired.id, desired.generation)).collect();
        for (replica, container) in &running {
            if !wanted.contains(&(replica, container.generation)) && container.gone_at.is_none() {
                self.world.trace.note(format_args!("node {} stops {replica}", self.node));
                self.world.stop_container(self.node, replica, Instant::now() + self.random.millis(0, 3_000));
            }
        }
        for desired in self.desired(view) {
            if !running.contains_key(&desired.id) && desired.waiting_on.is_empty() {
                self.start(view, desired).await;
            }
        }
    }

    async fn start(&self, view: &View, desired: &ReplicaDesired) {
        let exclusive = is_exclusive(view, desired);
        if exclusive && !self.world.is_broken(Sabotage::NoLease) && !self.has_right(desired).await {
            return;
        }
        self.world.trace.note(format_args!("node {} starts {} ({})", self.node, desired.id, desired.generation));
        let container = Container { generation: desired.generation, exclusive, gone_at: None };
        self.world.start_container(self.node, &desired.id, container);
    }

    /// Whether this node may start an exclusive replica now.
    async fn has_right(&self, desired: &ReplicaDesired) -> bool {
        if !self.guard.may_start(self.clock.monotonic()) {
            return false;
        }
        // Its own view may be from before it was cut off.
        let Ok(view) = self.store.linearizable_view().await else { return false };
        let key = desired.id.as_str();
        let is_owner = view.get::<ExclusiveSlot>(key).is_some_and(|slot| slot.owner == self.node && !slot.released);
        let is_wanted = view.get::<ReplicaDesired>(key) == Some(desired);
        is_owner && is_wanted && self.guard.may_start(self.clock.monotonic())
    }

    async fn report(&self, view: &View) {
        let mut transaction = Transaction::new("runtime");
        let running = self.world.containers(self.node);
        let wanted =
            |id: &ReplicaId| view.get::<ReplicaDesired>(id.as_str()).is_some_and(|desired| desired.node == self.node);
        self.status(view, &mut transaction, running.keys().all(wanted));
        for desired in self.desired(view) {
            let there = running.get(&desired.id);
            let is_up = there.is_some_and(|there| there.generation == desired.generation && there.gone_at.is_none());
            let observed = replica_observed(desired, if is_up { ReplicaState::Running } else { ReplicaState::Pending });
            let key = desired.id.as_str();
            if view.get::<ReplicaObserved>(key) != Some(&observed) {
                transaction.check_unchanged::<ReplicaObserved>(key, view.version::<ReplicaObserved>(key)).put(observed);
            }
        }
        for observed in view.list::<ReplicaObserved>().filter(|observed| observed.node == self.node) {
            if !wanted(&observed.id) && !running.contains_key(&observed.id) {
                let key = observed.id.as_str();
                let version = view.version::<ReplicaObserved>(key);
                transaction.check_unchanged::<ReplicaObserved>(key, version).delete::<ReplicaObserved>(key);
            }
        }
        for slot in view.list::<ExclusiveSlot>().filter(|slot| slot.owner == self.node && !slot.released) {
            if !wanted(&slot.replica) && !running.contains_key(&slot.replica) {
                let key = slot.replica.as_str();
                transaction.check_unchanged::<ExclusiveSlot>(key, view.version::<ExclusiveSlot>(key));
                transaction.put(ExclusiveSlot { released: true, ..slot.clone() });
            }
        }
        if transaction.is_empty() {
            return;
        }
        if let Err(error) = self.store.propose(transaction).await {
            self.world.trace.note(format_args!("a report of node {}: {error}", self.node));
        }
    }

    fn status(&self, view: &View, transaction: &mut Transaction, clean: bool) {
        let key = self.node.to_string();
        let Some(status) = view.get::<NodeStatus>(&key) else { return };
        if status.state == NodeState::Joining && clean {
            transaction.check_unchanged::<NodeStatus>(key.clone(), view.version::<NodeStatus>(&key));
            transaction.put(NodeStatus { state: NodeState::Ready, ..status.clone() });
        }
        let ready = status.state == NodeState::Ready;
        if view.get::<NodeSchedulability>(&key).map(|known| known.schedulable) != Some(ready) {
            let version = view.version::<NodeSchedulability>(&key);
            transaction.check_unchanged::<NodeSchedulability>(key.clone(), version);
            transaction.check_unchanged::<NodeStatus>(key.clone(), view.version::<NodeStatus>(&key));
            transaction.put(NodeSchedulability { id: self.node, schedulable: ready });
        }
    }
}
