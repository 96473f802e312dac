//! The state machine as openraft drives it: decode, apply, publish, answer.

use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt};
use jaco_state::{Batch, EntryMeta, Hub, Outcome, StateMachine, View};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{AsyncRuntime, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta};

use super::convert::{
    RaftEntryId, RaftStoredMembership, log_id_from_raft, log_id_to_raft, membership_from_raft, membership_to_raft,
};
use super::types::{ElectedId, Peer, Proposal, Reply, Types};
use crate::control_plane::TooOld;
use crate::log::{LogId, Membership};
use crate::runtime::blocking;
use crate::snapshot::{SnapshotMeta as StoredMeta, SnapshotStore, StoredSnapshot};

/// So many entries are applied before the view is published and their proposers get their answers.
const APPLY_BATCH: usize = 512;

pub(crate) type RaftSnapshot = Snapshot<ElectedId, u64, Peer, StoredSnapshot>;

/// A state at one index with what a snapshot of it has to say.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoint {
    pub view: View,
    pub meta: StoredMeta,
}

/// What the state machine shows to the rest of the crate.
pub(crate) struct MachineShared {
    pub hub: Hub,
    pub snapshots: SnapshotStore,
    inner: Mutex<MachineState>,
    /// Wakes the one who makes snapshots.
    pub grown: tokio::sync::Notify,
    /// When to wake it.
    pub policy: SnapshotAfter,
    /// Newest feature level that this node is able to.
    pub feature_level: u32,
}

/// How far the log may grow beyond the newest snapshot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SnapshotAfter {
    pub entries: u64,
    pub bytes: u64,
}

struct MachineState {
    checkpoint: Checkpoint,
    /// The newest snapshot on disk.
    snapshot: Option<StoredSnapshot>,
    /// One that was written for raft and that raft has not taken note of yet.
    prepared: Option<StoredSnapshot>,
    grown_entries: u64,
    grown_bytes: u64,
}

impl MachineShared {
    pub(crate) fn new(hub: Hub, snapshots: SnapshotStore, policy: SnapshotAfter, feature_level: u32) -> Arc<Self> {
        let checkpoint = Checkpoint { view: hub.view(), meta: StoredMeta::default() };
        let inner =
            Mutex::new(MachineState { checkpoint, snapshot: None, prepared: None, grown_entries: 0, grown_bytes: 0 });
        Arc::new(MachineShared { hub, snapshots, inner, grown: tokio::sync::Notify::new(), policy, feature_level })
    }

    fn lock(&self) -> MutexGuard<'_, MachineState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a snapshot of what is applied, unless the newest one has it already. Blocks for as long as writing takes; nobody waits
    /// for it, since the view does not change.
    pub(crate) fn write_snapshot(&self) -> io::Result<StoredSnapshot> {
        let checkpoint = {
            let mut inner = self.lock();
            inner.grown_entries = 0;
            inner.grown_bytes = 0;
            match &inner.snapshot {
                Some(newest) if newest.meta.last == inner.checkpoint.meta.last => return Ok(newest.clone()),
                Some(_) | None => inner.checkpoint.clone(),
            }
        };
        let stored = self.snapshots.write(&checkpoint.view, &checkpoint.meta)?;
        self.lock().snapshot = Some(stored.clone());
        Ok(stored)
    }

    /// Has raft take note of this snapshot when it next asks for one.
    pub(crate) fn prepare(&self, snapshot: StoredSnapshot) {
        self.lock().prepared = Some(snapshot);
    }

    /// Index of the newest snapshot.
    pub(crate) fn snapshot_index(&self) -> Option<u64> {
        self.lock().snapshot.as_ref().map(|snapshot| snapshot.meta.place().0)
    }
}

/// openraft's state machine, for a runtime `R`.
pub(crate) struct Machine<R> {
    machine: StateMachine,
    applied: Option<LogId>,
    membership: Membership,
    membership_id: Option<LogId>,
    shared: Arc<MachineShared>,
    runtime: PhantomData<fn() -> R>,
}

impl<R> Machine<R> {
    /// A state machine that begins with this state, which came out of `snapshot` if there is one.
    pub(crate) fn new(machine: StateMachine, snapshot: Option<StoredSnapshot>, shared: Arc<MachineShared>) -> Self {
        let meta = snapshot.as_ref().map(|snapshot| snapshot.meta.clone()).unwrap_or_default();
        let mut inner = shared.lock();
        inner.checkpoint = Checkpoint { view: machine.view(), meta: meta.clone() };
        inner.snapshot = snapshot;
        drop(inner);
        let (applied, membership_id) = (meta.last, meta.membership_id);
        let membership = meta.membership.unwrap_or_default();
        Machine { machine, applied, membership, membership_id, shared, runtime: PhantomData }
    }

    /// Ends the node when the cluster has grown beyond what it is able to: what others write from now on could be misread.
    fn check_level(&self) -> Result<(), io::Error> {
        TooOld::check(&self.machine.view(), self.shared.feature_level).map_err(io::Error::other)
    }

    /// Shows everybody what was applied, then answers.
    fn publish<C: openraft::RaftTypeConfig<R = Reply>>(&self, round: &mut Round<C>) {
        let view = self.machine.view();
        self.shared.hub.publish(view.clone(), round.batches.drain(..));
        let meta = StoredMeta {
            last: self.applied,
            membership_id: self.membership_id,
            membership: Some(self.membership.clone()),
        };
        let mut inner = self.shared.lock();
        // Freed when everybody has an answer.
        let _old = std::mem::replace(&mut inner.checkpoint, Checkpoint { view, meta });
        inner.grown_entries += std::mem::take(&mut round.entries);
        inner.grown_bytes += std::mem::take(&mut round.bytes);
        let policy = self.shared.policy;
        if inner.grown_entries >= policy.entries || inner.grown_bytes >= policy.bytes {
            self.shared.grown.notify_one();
        }
        drop(inner);
        for (responder, reply) in round.answers.drain(..) {
            responder.send(reply);
        }
    }

    /// Applies one entry. An entry that cannot be read is an error and ends the node: skipping it would make it differ from others.
    fn apply_entry(
        &mut self,
        id: &RaftEntryId,
        payload: EntryPayload<Proposal, u64, Peer>,
    ) -> io::Result<(Reply, Option<Batch>)> {
        let id = log_id_from_raft(id);
        let applied = match payload {
            EntryPayload::Blank => {
                self.machine.advance(id.index, id.term);
                (Reply::Nothing, None)
            }
            EntryPayload::Membership(membership) => {
                self.machine.advance(id.index, id.term);
                self.membership = membership_from_raft(&membership);
                self.membership_id = Some(id);
                (Reply::Nothing, None)
            }
            EntryPayload::Normal(Proposal(bytes)) => {
                let entry = jaco_state::Entry::decode(bytes).map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("log index {}: {error}", id.index))
                })?;
                let meta = EntryMeta { index: id.index, term: id.term, time_ms: entry.stamp.time_ms };
                let mut outcome = self.machine.apply(meta, &entry.command);
                let batch = match &mut outcome {
                    Outcome::Committed { batch, .. } => batch.take(),
                    Outcome::Refused { .. } | Outcome::Repeated(_) | Outcome::RequestTooOld => None,
                };
                (Reply::from(outcome), batch)
            }
        };
        self.applied = Some(id);
        Ok(applied)
    }
}

/// Entries that were applied and not yet shown.
struct Round<C: openraft::RaftTypeConfig> {
    batches: Vec<Batch>,
    answers: Vec<(ApplyResponder<C>, Reply)>,
    entries: u64,
    bytes: u64,
}

impl<R: AsyncRuntime> RaftStateMachine<Types<R>> for Machine<R> {
    type SnapshotData = StoredSnapshot;
    type SnapshotBuilder = Builder<R>;

    async fn applied_state(&mut self) -> Result<(Option<RaftEntryId>, RaftStoredMembership), io::Error> {
        let membership = membership_to_raft(self.membership.clone())?;
        let membership = RaftStoredMembership::new(self.membership_id.map(log_id_to_raft), membership);
        Ok((self.applied.map(log_id_to_raft), membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types<R>>, io::Error>> + Unpin + OptionalSend,
    {
        let mut round = Round { batches: Vec::new(), answers: Vec::new(), entries: 0, bytes: 0 };
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            if let EntryPayload::Normal(Proposal(bytes)) = &entry.payload {
                round.bytes += bytes.len() as u64;
            }
            round.entries += 1;
            let (reply, batch) = self.apply_entry(&entry.log_id, entry.payload)?;
            round.batches.extend(batch);
            round.answers.extend(responder.map(|responder| (responder, reply)));
            if round.entries as usize >= APPLY_BATCH {
                self.publish(&mut round);
            }
        }
        self.check_level()?;
        self.publish(&mut round);
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder<R> {
        Builder { shared: self.shared.clone(), runtime: PhantomData }
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMeta<ElectedId, u64, Peer>,
        snapshot: StoredSnapshot,
    ) -> Result<(), io::Error> {
        let shared = self.shared.clone();
        let blocks = shared.snapshots.blocks();
        let (machine, stored) = blocking(blocks, move || shared.snapshots.install(&snapshot)).await?;
        let view = machine.view();
        *self = Machine::new(machine, Some(stored), self.shared.clone());
        self.check_level()?;
        self.shared.hub.install(view);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<RaftSnapshot>, io::Error> {
        let snapshot = self.shared.lock().snapshot.clone();
        snapshot.map(raft_snapshot).transpose()
    }
}

/// Hands openraft the newest snapshot; one is written first when there is none of what is applied.
pub(crate) struct Builder<R> {
    shared: Arc<MachineShared>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: AsyncRuntime> RaftSnapshotBuilder<Types<R>> for Builder<R> {
    type SnapshotData = StoredSnapshot;

    async fn build_snapshot(&mut self) -> Result<RaftSnapshot, io::Error> {
        // The compaction loop writes the file before it asks raft for a snapshot, so that a full disk is met there and not here.
        let prepared = self.shared.lock().prepared.take();
        let stored = match prepared {
            Some(stored) => stored,
            None => {
                let shared = self.shared.clone();
                blocking(shared.snapshots.blocks(), move || shared.write_snapshot()).await?
            }
        };
        raft_snapshot(stored)
    }
}

/// A snapshot as openraft hands it around.
pub(crate) fn raft_snapshot(stored: StoredSnapshot) -> io::Result<RaftSnapshot> {
    let membership = membership_to_raft(stored.meta.membership.clone().unwrap_or_default())?;
    let meta = SnapshotMeta {
        last_log_id: stored.meta.last.map(log_id_to_raft),
        last_membership: RaftStoredMembership::new(stored.meta.membership_id.map(log_id_to_raft), membership),
    };
    Ok(Snapshot { meta, snapshot: stored })
}
