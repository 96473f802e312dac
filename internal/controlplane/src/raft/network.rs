//! The network of a node that is alone.

use std::future::Future;
use std::io;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{AsyncRuntime, OptionalSend, RaftNetworkFactory, RaftNetworkV2};

use super::types::{LeaderId, Peer, Types};
use crate::snapshot::StoredSnapshot;

/// A network in which nobody else can be reached. A raft group of one voter never asks it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SingleNode;

fn unreachable<R: AsyncRuntime>() -> Unreachable<Types<R>> {
    Unreachable::new(&io::Error::new(io::ErrorKind::HostUnreachable, "this node has no peers"))
}

impl<R: AsyncRuntime> RaftNetworkFactory<Types<R>> for SingleNode {
    type Network = SingleNode;

    async fn new_client(&mut self, _target: u64, _node: &Peer) -> SingleNode {
        SingleNode
    }
}

impl<R: AsyncRuntime> RaftNetworkV2<Types<R>> for SingleNode {
    type SnapshotData = StoredSnapshot;

    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<Types<R>>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<R>>, RPCError<Types<R>>> {
        Err(unreachable().into())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<Types<R>>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        Err(unreachable().into())
    }

    async fn pre_vote(
        &mut self,
        _request: VoteRequest<Types<R>>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        Err(unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: openraft::Vote<LeaderId>,
        _snapshot: openraft::Snapshot<LeaderId, u64, Peer, StoredSnapshot>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        Err(unreachable().into())
    }
}
