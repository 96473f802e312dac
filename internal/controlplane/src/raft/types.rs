//! The types that openraft is used with, for any of its runtimes.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use jaco_state::{Commit, Outcome};
use openraft::impls::{BoxedErrorSource, InlineBatch, ProgressResponder, leader_id_std};
use openraft::{AsyncRuntime, Entry, EntryPayload, OptionalSend, RaftTypeConfig, Vote};

/// The stored bytes of a [`jaco_state::Entry`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proposal(pub Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What became of an entry, for the one who proposed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The entry carried no command.
    Nothing,
    /// Committed now or before.
    Commit(Commit),
    /// The check at this position did not hold.
    Refused(usize),
    /// Its request id cannot be judged.
    RequestTooOld,
}

impl From<Outcome> for Reply {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Committed { commit, .. } | Outcome::Repeated(commit) => Reply::Commit(commit),
            Outcome::Refused { failed } => Reply::Refused(failed),
            Outcome::RequestTooOld => Reply::RequestTooOld,
        }
    }
}

/// What raft knows of a member beside its id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// `host:port` for its peers; empty while it is alone.
    pub address: String,
}

/// openraft's type configuration, on a runtime of choice.
pub(crate) struct Types<R>(PhantomData<fn() -> R>);

/// Whom a vote is for: a term and a node. Two of one term exclude each other, so that a term has at most one leader.
pub(crate) type LeaderId = leader_id_std::LeaderId<u64, u64>;
/// A leader that a majority voted for: its term says which one.
pub(crate) type ElectedId = openraft::vote::leader_id_std::CommittedLeaderId<u64>;

impl<R: AsyncRuntime> RaftTypeConfig for Types<R> {
    type D = Proposal;
    type R = Reply;
    type NodeId = u64;
    type Node = Peer;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote<LeaderId>;
    type Payload = EntryPayload<Proposal, u64, Peer>;
    type Entry = Entry<ElectedId, Self::Payload>;
    type AsyncRuntime = R;
    type Responder<T>
        = ProgressResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

// Derived forms would ask the same of the runtime, which has none of it and of which there is no value.
impl<R> Default for Types<R> {
    fn default() -> Self {
        Types(PhantomData)
    }
}

impl<R> fmt::Debug for Types<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Types")
    }
}

impl<R> Clone for Types<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Types<R> {}

impl<R> PartialEq for Types<R> {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl<R> Eq for Types<R> {}

impl<R> PartialOrd for Types<R> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for Types<R> {
    fn cmp(&self, _other: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}
