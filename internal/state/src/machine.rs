//! The state machine: verify the checks, apply the writes, say what changed. It holds no policy and reads no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::audit::AuditRecord;
use crate::command::Command;
use crate::propose::ProposeError;
use crate::record::{Batch, Change, Record};
use crate::request::{CommittedRequest, horizon};
use crate::stored::{CheckVariant, StoredWrite, WriteVariant};
use crate::transaction::{Commit, RequestId};
use crate::view::{Contents, View};

/// What the log says about an entry beside its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryMeta {
    /// Log index. Entries are applied in the order of their indexes; gaps are allowed (a restore leaves one).
    pub index: u64,
    /// Term of the leader that wrote it.
    pub term: u64,
    /// The leader's stamp, milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Applied.
    Committed {
        /// Index, time and reply.
        commit: Commit,
        /// What changed; `None` when the transaction wrote nothing and left no audit event.
        batch: Option<Batch>,
    },
    /// A check did not hold; nothing was written.
    Refused {
        /// Position of the first such check in the transaction.
        failed: usize,
    },
    /// The request had been committed before; nothing was written now.
    Repeated(Commit),
    /// The request id cannot be judged any more, or claims a base that lies in the future; nothing was written.
    RequestTooOld,
}

impl Outcome {
    /// The outcome as its proposer sees it. `command` is the one that was proposed, `index` that of its entry.
    pub fn into_result(self, command: &Command, index: u64) -> Result<Commit, ProposeError> {
        match self {
            Outcome::Committed { commit, .. } | Outcome::Repeated(commit) => Ok(commit),
            Outcome::Refused { failed } => Err(command.refused(failed, index)),
            Outcome::RequestTooOld => Err(ProposeError::RequestTooOld),
        }
    }
}

/// The replicated state and the one function that changes it.
#[derive(Debug, Clone, Default)]
pub struct StateMachine {
    view: View,
}

impl StateMachine {
    /// A state machine that has applied nothing.
    pub fn new() -> Self {
        StateMachine::default()
    }

    pub(crate) fn from_contents(contents: Contents) -> Self {
        StateMachine { view: View(Arc::new(contents)) }
    }

    /// The state as it is now.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Notes an entry that carries no command: a leader's first, a change of membership.
    pub fn advance(&mut self, index: u64, term: u64) {
        let contents = Arc::make_mut(&mut self.view.0);
        contents.index = index;
        contents.term = term;
        contents.requests.trim(index);
    }

    /// Carries out one entry.
    ///
    /// A pure function of the state and its arguments: every node gets the same state and the same outcome. In order: a remembered
    /// request is answered again, one that nobody can judge is refused, then the checks, then the writes, all or none.
    pub fn apply(&mut self, meta: EntryMeta, command: &Command) -> Outcome {
        self.advance(meta.index, meta.term);
        let contents = Arc::make_mut(&mut self.view.0);
        contents.now_ms = contents.now_ms.max(meta.time_ms);
        let request = command.request_id();
        if let Some(outcome) = request.and_then(|id| judge_request(contents, id)) {
            return outcome;
        }
        if let Some(failed) = first_failed_check(contents, meta.term, command) {
            return Outcome::Refused { failed };
        }
        let batch = Batch {
            index: meta.index,
            time_ms: contents.now_ms,
            changes: write_all(contents, &command.stored().writes),
            audit: record_audit(contents, command),
        };
        let reply = command.stored().reply.clone();
        if let Some(RequestId { token, .. }) = request {
            let remembered =
                CommittedRequest { index: meta.index, time_ms: contents.now_ms, token, reply: own_bytes(&reply) };
            contents.requests.insert(remembered);
        }
        let commit = Commit { index: meta.index, time_ms: contents.now_ms, reply, repeated: false };
        let changed = !batch.changes.is_empty() || !batch.audit.is_empty();
        Outcome::Committed { commit, batch: changed.then_some(batch) }
    }
}

/// An answer to a request that must not be carried out, if there is one.
fn judge_request(contents: &Contents, id: RequestId) -> Option<Outcome> {
    if let Some(commit) = contents.requests.find(&id.token) {
        return Some(Outcome::Repeated(commit));
    }
    // A base at or above this entry was never applied when the id was made; such an id could outlive its own entry in the table.
    let known = id.base_index >= horizon(contents.index) && id.base_index < contents.index;
    (!known).then_some(Outcome::RequestTooOld)
}

fn first_failed_check(contents: &Contents, term: u64, command: &Command) -> Option<usize> {
    let version = |kind: u32, key: &str| Some(contents.kinds.get(&kind)?.get(key)?.version);
    command.stored().checks.iter().position(|check| match &check.variant {
        Some(CheckVariant::Absent(place)) => version(place.kind, &place.key).is_some(),
        Some(CheckVariant::Version(place)) => version(place.kind, &place.key) != Some(place.version),
        Some(CheckVariant::Term(expected)) => *expected != term,
        // Decoding refuses such a command; a check nobody can read never holds.
        None => true,
    })
}

/// Carries out the writes and returns one change per key, ordered by kind number and key.
fn write_all(contents: &mut Contents, writes: &[StoredWrite]) -> Vec<Change> {
    // The usual transaction; it needs no table of the keys it met.
    if let [write] = writes {
        let written = write_one(contents, write);
        return written.and_then(|(kind, key, before)| change(contents, kind, key, before)).into_iter().collect();
    }
    let mut befores: BTreeMap<(u32, Arc<str>), Option<Arc<Record>>> = BTreeMap::new();
    for write in writes {
        if let Some((kind, key, before)) = write_one(contents, write) {
            befores.entry((kind, key)).or_insert(before);
        }
    }
    befores.into_iter().filter_map(|((kind, key), before)| change(contents, kind, key, before)).collect()
}

/// Carries out one write. Returns its place, and what was there.
fn write_one(contents: &mut Contents, write: &StoredWrite) -> Option<(u32, Arc<str>, Option<Arc<Record>>)> {
    match write.variant.as_ref()? {
        WriteVariant::Put(put) => {
            let key: Arc<str> = Arc::from(put.key.as_str());
            let record = Record::new(put.kind, key.clone(), contents.index, own_bytes(&put.body));
            let before = contents.kinds.entry(put.kind).or_default().insert(key.clone(), Arc::new(record));
            Some((put.kind, key, before))
        }
        WriteVariant::Delete(place) => {
            Some((place.kind, Arc::from(place.key.as_str()), remove(contents, place.kind, &place.key)))
        }
    }
}

/// What all writes together did to a place; `None` when it was empty before and is so now.
fn change(contents: &Contents, kind: u32, key: Arc<str>, before: Option<Arc<Record>>) -> Option<Change> {
    let after = contents.kinds.get(&kind).and_then(|records| records.get(&key)).cloned();
    (before.is_some() || after.is_some()).then_some(Change { kind, key, before, after })
}

fn remove(contents: &mut Contents, kind: u32, key: &str) -> Option<Arc<Record>> {
    let records = contents.kinds.get_mut(&kind)?;
    let removed = records.remove(key);
    if records.is_empty() {
        contents.kinds.remove(&kind);
    }
    removed
}

fn record_audit(contents: &mut Contents, command: &Command) -> Vec<Arc<AuditRecord>> {
    let stored = command.stored();
    let records = (0u32..).zip(&stored.audit).map(|(sequence, event)| {
        Arc::new(AuditRecord {
            time_ms: contents.now_ms,
            raft_index: contents.index,
            sequence,
            identity: stored.actor.clone(),
            event: event.event.clone(),
            payload: event.payload.clone(),
        })
    });
    let records: Vec<_> = records.collect();
    for record in &records {
        contents.audit.push(record.clone());
    }
    records
}

/// A copy of its own: a slice would keep the whole entry, or the whole read buffer of the log, in memory with it.
fn own_bytes(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

#[cfg(test)]
mod tests;
