//! How this node reaches the raft of another: a seam with nothing of the raft library in it.
//!
//! Requests and answers are messages of our own ([`PeerRequest`], [`PeerResponse`]) with a format version and the incarnation in
//! each. A [`Transport`] carries them and knows nothing of what they mean; on the other side they end in [`PeerService`], which
//! [`ControlPlane`](crate::ControlPlane) implements. The service over the network carries the encoded bytes of both, once as a call
//! and once as a stream of each.

mod members;
mod message;
mod proposal;
mod refusal;

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use jaco_state::BoxFuture;
use jaco_types::NodeId;

pub use members::PeerTransport;
pub(crate) use message::{
    AppendAnswer, AppendRequest, ChunkAnswer, Flushed, MissingLog, OtherVote, PeerAnswer, PeerCall, ReadIndex,
    ReadIndexAnswer, SnapshotChunk, SnapshotId, TransferAnswer, TransferOutcome, TransferRequest, VoteAnswer,
    VoteRequest, append_answer,
};
pub use message::{MessageError, PEER_FORMAT, PeerRequest, PeerResponse};
pub(crate) use proposal::{
    Committed, FailedPosition, ProposalAnswer, ProposalOutcome, ProposalRequest, ProposalsAnswer, ProposalsRequest,
};
pub use refusal::{Refusal, RefusalCode};

/// A stream that can move between threads.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send + 'static>>;

/// A member to be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftTarget {
    /// Who must answer there.
    pub node_id: NodeId,
    /// `host:port` of its members' port, as the raft membership says.
    pub address: String,
}

/// Why another node gave no answer of the raft layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection came about: the node has certainly not seen the request.
    #[error("the node cannot be reached: {reason}")]
    Unreachable {
        /// What failed.
        reason: String,
    },
    /// The other side answered that it does not serve this node.
    #[error("the node refused: {}", .0.message)]
    Refused(Refusal),
    /// No answer in time, or the connection broke: the node may have carried the request out.
    #[error("no answer came in time")]
    TimedOut,
}

/// Carries messages to other members.
///
/// Both futures may be dropped at any time; the request may have been carried out then. When in doubt whether a request was
/// delivered, an implementation says [`TransportError::TimedOut`], never [`TransportError::Unreachable`].
pub trait Transport: Send + Sync + 'static {
    /// One request, one answer. The caller gives up after `deadline`, and so should the implementation.
    fn call(
        &self,
        target: RaftTarget,
        request: PeerRequest,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<PeerResponse, TransportError>>;

    /// A stream of requests, answered in their order. It ends with the requests, with the first error, or when the answers are
    /// dropped. Several requests may be under way; the caller watches over silence itself.
    fn stream(
        &self,
        target: RaftTarget,
        requests: BoxStream<PeerRequest>,
    ) -> BoxFuture<'static, Result<BoxStream<Result<PeerResponse, TransportError>>, TransportError>>;
}

/// The transport of a node that is alone: it reaches nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

fn alone() -> TransportError {
    TransportError::Unreachable { reason: "this node has no peers".to_owned() }
}

impl Transport for Alone {
    fn call(
        &self,
        _target: RaftTarget,
        _request: PeerRequest,
        _deadline: Duration,
    ) -> BoxFuture<'static, Result<PeerResponse, TransportError>> {
        Box::pin(std::future::ready(Err(alone())))
    }

    fn stream(
        &self,
        _target: RaftTarget,
        _requests: BoxStream<PeerRequest>,
    ) -> BoxFuture<'static, Result<BoxStream<Result<PeerResponse, TransportError>>, TransportError>> {
        Box::pin(std::future::ready(Err(alone())))
    }
}

/// The receiving half: what the members' port hands requests to.
///
/// `from` is the node that the connection belongs to, as its certificate says; a request that claims another one is refused.
pub trait PeerService: Send + Sync + 'static {
    /// Answers one request. Always answers: what cannot be served gets a [`Refusal`].
    fn receive(&self, from: NodeId, request: PeerRequest) -> BoxFuture<'static, PeerResponse>;

    /// Answers a stream of requests, in their order: entries of a leader, or proposals that another member sends on. The first one
    /// says which; the first refusal ends it.
    fn receive_stream(&self, from: NodeId, requests: BoxStream<PeerRequest>) -> BoxStream<PeerResponse>;

    /// [`PeerService::receive`] on encoded messages.
    fn receive_encoded(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes>;

    /// [`PeerService::receive_stream`] on encoded messages.
    fn receive_stream_encoded(&self, from: NodeId, requests: BoxStream<Bytes>) -> BoxStream<Bytes>;
}

#[cfg(test)]
mod tests;
