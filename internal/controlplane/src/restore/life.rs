//! The state with which a new life begins. Pure but for the random numbers of keys and nonces.

use std::collections::BTreeMap;

use jaco_identity::{DataKeyCopy, Keyring, RecoveryKey, SealPublicKey};
use jaco_scheduler::intent;
use jaco_state::{AuditEvent, Command, EntryMeta, Outcome, StateMachine, Transaction, View, Write};
use jaco_types::{
    Claim, ClaimKind, ClusterMeta, DataKey, DeploymentRevision, ErrorCode, ExclusiveSlot, JoinToken, Node, NodeId,
    NodeOperation, NodeSchedulability, NodeState, NodeStatus, RecoveryRecipient, ReplicaDesired, ReplicaObserved,
    Stored, Subnet, UserError,
};

use crate::rotation::plan_rotation;
use crate::sealing::Sealing;

/// So far behind the last index of the old life the new one begins.
pub const INDEX_GAP: u64 = 1 << 32;
/// Writes in one of the transactions of the beginning; far below the limits of one.
const CHUNK: usize = 1000;
/// Steps of a rotation: a new key, sealing again, dropping the old ones.
const MAX_ROTATION_STEPS: usize = 16;

/// How a new life comes about; the word is the type of its audit event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeEvent {
    /// From a backup.
    Restored,
    /// From the state of one member.
    Recovered,
}

impl LifeEvent {
    /// Type of the audit event.
    pub fn as_str(self) -> &'static str {
        match self {
            LifeEvent::Restored => "restore_completed",
            LifeEvent::Recovered => "cluster_recovered",
        }
    }
}

/// A new life.
#[derive(Debug, Clone)]
pub struct NewLife {
    /// How it comes about.
    pub event: LifeEvent,
    /// Its only member, with the keys it has.
    pub node: Node,
    /// Its incarnation: random, never used before.
    pub incarnation: u64,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// An operator says that no other node of the old life runs, nor will before it has joined anew. Without that, what must not run
    /// twice does not start.
    pub old_nodes_are_off: bool,
}

fn internal(reason: impl std::fmt::Display) -> UserError {
    UserError::internal("the state for the new life of the cluster cannot be made", reason)
}

/// The state with which the new life begins.
///
/// Only `life.node` is a member; the others get a tombstone, and their statuses, operations, subnets and what they observed are
/// gone, so that the scheduler places anew what ran on them. Join tokens are gone. Exclusive replicas of other nodes are held back, or
/// released when the old nodes are off. The data key is a new one, with copies for the member and the recovery key alone; `keys` are the
/// old ones and `sealing` is the member's.
///
/// # Errors
/// `cluster_uninitialized` for a state without a cluster, `internal` when a data key is missing in `keys`.
pub fn begin_life(
    mut machine: StateMachine,
    life: &NewLife,
    keys: &Keyring,
    sealing: &Sealing,
) -> Result<StateMachine, UserError> {
    let old = machine.view();
    let mut meta = EntryMeta {
        index: old.index().saturating_add(INDEX_GAP),
        term: old.term().saturating_add(1),
        time_ms: life.now_ms,
    };
    let mut writes = plan(&old, life, keys)?;
    while !writes.is_empty() {
        let mut transaction = Transaction::new("system");
        let rest = writes.split_off(writes.len().min(CHUNK));
        transaction.writes = std::mem::replace(&mut writes, rest);
        if writes.is_empty() {
            transaction.audit.push(event(&old, life));
        }
        apply(&mut machine, &mut meta, transaction)?;
    }
    for _ in 0..MAX_ROTATION_STEPS {
        let Some(step) = plan_rotation(&machine.view(), sealing)? else { return Ok(machine) };
        apply(&mut machine, &mut meta, step)?;
    }
    Err(internal("the data key keeps changing"))
}

/// Every data key of a state, opened with the recovery key.
///
/// # Errors
/// `validation_failed` when it is another cluster's recovery key; `internal` when a copy is damaged.
pub fn open_with_recovery_key(view: &View, recovery: &RecoveryKey) -> Result<Keyring, UserError> {
    let none = || UserError::new(ErrorCode::ClusterUninitialized, "there is no cluster in this state");
    let cluster = view.cluster().ok_or_else(none)?;
    let expected = view.list::<RecoveryRecipient>().next().ok_or_else(none)?;
    if expected.public_key != recovery.public().to_string() {
        return Err(UserError::new(
            ErrorCode::ValidationFailed,
            format!(
                "this is not the recovery key of cluster {:?}: give the one that `jaco cluster init` printed for it; nothing was changed on disk",
                cluster.name
            ),
        )
        .with("field", "recovery-key-file")
        .with("cluster_id", &cluster.cluster_id));
    }
    let mut keyring = Keyring::new();
    for record in view.list::<DataKey>() {
        let copy = DataKeyCopy::from_text(&record.recovery).map_err(internal)?;
        keyring.insert(copy.open(recovery.secret(), &cluster.cluster_id).map_err(internal)?);
    }
    Ok(keyring)
}

fn apply(machine: &mut StateMachine, meta: &mut EntryMeta, transaction: Transaction) -> Result<(), UserError> {
    let command = Command::new(transaction).map_err(internal)?;
    let outcome = machine.apply(*meta, &command);
    meta.index = meta.index.saturating_add(1);
    match outcome {
        Outcome::Committed { .. } => Ok(()),
        Outcome::Refused { failed } => Err(internal(format!("check {failed} did not hold"))),
        Outcome::Repeated(_) | Outcome::RequestTooOld => Err(internal("a transaction was taken for a repeated one")),
    }
}

fn event(old: &View, life: &NewLife) -> AuditEvent {
    let gone: Vec<String> = others(old, life.node.id).map(|node| node.hostname.to_string()).collect();
    let payload = BTreeMap::from([
        ("hostname".to_owned(), life.node.hostname.to_string()),
        ("state_index".to_owned(), old.index().to_string()),
        ("old_nodes".to_owned(), gone.join(",")),
        ("old_nodes_are_off".to_owned(), life.old_nodes_are_off.to_string()),
    ]);
    AuditEvent { event: life.event.as_str().to_owned(), payload }
}

fn others(view: &View, own: NodeId) -> impl Iterator<Item = &Node> {
    view.list::<Node>().filter(move |node| node.id != own)
}

/// Every write of the beginning.
fn plan(view: &View, life: &NewLife, keys: &Keyring) -> Result<Vec<Write>, UserError> {
    let none = || UserError::new(ErrorCode::ClusterUninitialized, "there is no cluster in this state");
    let cluster = view.cluster().ok_or_else(none)?;
    let own = life.node.id;
    let mut all = Transaction::new("system");
    all.put(ClusterMeta { incarnation: life.incarnation, ..cluster.clone() });
    for record in view.list::<DataKey>() {
        all.put(with_copy(record, life, keys, &cluster.cluster_id)?);
    }
    for node in others(view, own) {
        intent::bury(&mut all, node, life.now_ms);
    }
    delete_all::<NodeStatus>(&mut all, view, |record| record.id != own);
    delete_all::<NodeSchedulability>(&mut all, view, |record| record.id != own);
    delete_all::<NodeOperation>(&mut all, view, |_| true);
    delete_all::<JoinToken>(&mut all, view, |_| true);
    delete_all::<ReplicaObserved>(&mut all, view, |record| record.node != own);
    for subnet in view.list::<Subnet>().filter(|subnet| subnet.node != own) {
        all.delete::<Claim>(Claim::key_of(ClaimKind::Subnet, &subnet.cidr.to_string()));
    }
    delete_all::<Subnet>(&mut all, view, |record| record.node != own);
    slots(&mut all, view, life);
    all.put(life.node.clone());
    // It says itself when it is ready.
    all.put(NodeStatus { id: own, state: NodeState::Joining, details: BTreeMap::new() });
    all.put(NodeSchedulability { id: own, schedulable: true });
    Ok(all.writes)
}

fn delete_all<T: Stored>(all: &mut Transaction, view: &View, which: impl Fn(&T) -> bool) {
    for record in view.list::<T>().filter(|record| which(record)) {
        all.delete::<T>(record.key());
    }
}

/// The data key with a copy for the member. The old members' copies stay until the key is replaced, which they are the reason for.
fn with_copy(record: &DataKey, life: &NewLife, keys: &Keyring, cluster_id: &str) -> Result<DataKey, UserError> {
    let missing = || internal(format!("data key {} is missing", record.epoch));
    let key = keys.get(record.epoch).ok_or_else(missing)?;
    let recipient: SealPublicKey = life.node.seal_key.parse().map_err(internal)?;
    let copy = DataKeyCopy::seal(key, &recipient, cluster_id).map_err(internal)?;
    let mut record = record.clone();
    record.copies.insert(life.node.id.to_string(), copy.to_text());
    Ok(record)
}

/// What only one node at a time may run, and what an old node may be running still: unless those are off, nothing of it starts. That
/// goes for what this node had the right to as well, since the old cluster may have given it to another one that this state does not
/// know of.
fn slots(all: &mut Transaction, view: &View, life: &NewLife) {
    let own = life.node.id;
    let held = view.list::<ExclusiveSlot>().filter(|slot| !slot.released);
    if life.old_nodes_are_off {
        for slot in held.filter(|slot| slot.owner != own) {
            all.put(ExclusiveSlot { released: true, ..slot.clone() });
        }
        return;
    }
    for slot in held {
        all.put(ExclusiveSlot { owner: ExclusiveSlot::OLD_LIFE, ..slot.clone() });
    }
    for record in view.list::<ReplicaDesired>().filter(|record| is_exclusive(view, record)) {
        let key = record.id.as_str();
        // It is placed again, which waits for the slot; a record for this node would be carried out. One for another node waits as it is.
        if record.node == own {
            all.delete::<ReplicaDesired>(key);
        }
        if view.get::<ExclusiveSlot>(key).is_none_or(|slot| slot.released) {
            let epoch = view.get::<ExclusiveSlot>(key).map_or(0, |slot| slot.epoch);
            all.put(ExclusiveSlot {
                replica: record.id.clone(),
                owner: ExclusiveSlot::OLD_LIFE,
                epoch,
                stop_within: None,
                released: false,
            });
        }
    }
}

fn is_exclusive(view: &View, record: &ReplicaDesired) -> bool {
    let key = DeploymentRevision::key_of(&record.deployment, record.revision);
    let revision = view.get::<DeploymentRevision>(&key);
    // One that is in no revision any more is not placed again.
    revision.and_then(|revision| revision.spec.services.get(&record.service)).is_some_and(|service| service.exclusive)
}
