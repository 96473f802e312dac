//! openraft's network over our [`Transport`].

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::FuturesOrdered;
use futures_util::{Stream, StreamExt, stream};
use jaco_types::NodeId;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};

use super::convert::{vote_from_raft, vote_to_raft};
use super::lent::lend;
use super::silence::Silence;
use super::types::{ElectedId, LeaderId, Peer, Types};
use super::wire::{
    AppendShape, append_from_raft, append_response_to_raft, appended_to_raft, transfer_from_raft, transferred_to_raft,
    vote_answer_to_raft, vote_request_from_raft,
};
use crate::log::Vote;
use crate::runtime::{Runtime, blocking};
use crate::snapshot::StoredSnapshot;
use crate::transport::{
    self, ChunkAnswer, PeerAnswer, PeerCall, PeerRequest, PeerResponse, RaftTarget, SnapshotChunk, SnapshotId,
    Transport, TransportError,
};

/// Bytes of a snapshot in one message.
const CHUNK_BYTES: usize = 512 << 10;
/// Pieces of a snapshot without an answer: the next ones are on their way while the other side writes. Few, since entries and heartbeats
/// travel on the same connection.
const CHUNKS_UNDER_WAY: usize = 4;
/// For one piece of a snapshot to reach the other's disk.
const CHUNK_DEADLINE: Duration = Duration::from_secs(10);
/// For the last piece, after which the other reads and takes over the whole state.
const INSTALL_DEADLINE: Duration = Duration::from_secs(120);

/// What all links of a node have in common.
#[derive(Clone)]
pub(crate) struct PeerNetwork {
    transport: Arc<dyn Transport>,
    node_id: NodeId,
    incarnation: u64,
    /// An append stream whose other side owes an answer for longer is given up.
    append_silence: Duration,
    addresses: Addresses,
}

/// Where members were last said to be. openraft keeps a link with the address that it was made with, also when the member has moved.
#[derive(Clone, Default)]
struct Addresses(Arc<Mutex<BTreeMap<NodeId, String>>>);

impl Addresses {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, String>> {
        // Whole after any panic elsewhere: each use is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PeerNetwork {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        node_id: NodeId,
        incarnation: u64,
        append_silence: Duration,
    ) -> Self {
        PeerNetwork { transport, node_id, incarnation, append_silence, addresses: Addresses::default() }
    }

    /// A member is to be found there from now on, by links that there are already, too.
    pub(crate) fn moved(&self, target: &RaftTarget) {
        self.addresses.lock().insert(target.node_id, target.address.clone());
    }

    pub(crate) fn request(&self, to: NodeId, call: PeerCall) -> PeerRequest {
        PeerRequest { incarnation: self.incarnation, from: self.node_id, to, call }
    }

    /// One request to another member. The answer is of the same incarnation and no refusal.
    pub(crate) async fn call(
        &self,
        target: RaftTarget,
        call: PeerCall,
        deadline: Duration,
    ) -> Result<PeerAnswer, TransportError> {
        let (to, request) = (target.node_id, self.request(target.node_id, call));
        let answered = tokio::time::timeout(deadline, self.transport.call(target, request, deadline)).await;
        accept(self.incarnation, to, answered.unwrap_or(Err(TransportError::TimedOut))?)
    }

    /// A stream of requests to another member, as [`PeerNetwork::call`] and in their order.
    pub(crate) async fn stream(
        &self,
        target: RaftTarget,
        requests: transport::BoxStream<PeerRequest>,
    ) -> Result<transport::BoxStream<Result<PeerAnswer, TransportError>>, TransportError> {
        let (to, incarnation) = (target.node_id, self.incarnation);
        let answers = self.transport.stream(target, requests).await?;
        Ok(Box::pin(answers.map(move |answer| accept(incarnation, to, answer?))))
    }
}

/// What an answer says, unless it is a refusal or of another cluster or node.
fn accept(incarnation: u64, expected: NodeId, response: PeerResponse) -> Result<PeerAnswer, TransportError> {
    if let PeerAnswer::Refused(refusal) = response.answer {
        return Err(TransportError::Refused(refusal));
    }
    if response.incarnation != incarnation || response.from != expected {
        let reason = "another node, or one of another cluster, answered".to_owned();
        return Err(TransportError::Unreachable { reason });
    }
    Ok(response.answer)
}

impl<R: Runtime> RaftNetworkFactory<Types<R>> for PeerNetwork {
    type Network = Link<R>;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Link<R> {
        let target = RaftTarget { node_id: NodeId(target), address: node.address.clone() };
        self.moved(&target);
        Link { network: self.clone(), node: target.node_id, runtime: PhantomData }
    }
}

/// The way to one member.
pub(crate) struct Link<R> {
    network: PeerNetwork,
    node: NodeId,
    runtime: PhantomData<fn() -> R>,
}

fn unexpected() -> TransportError {
    TransportError::Unreachable { reason: "the answer is of another kind than the request".to_owned() }
}

impl<R: Runtime> Link<R> {
    /// Where the member is now.
    fn target(&self) -> RaftTarget {
        let address = self.network.addresses.lock().get(&self.node).cloned().unwrap_or_default();
        RaftTarget { node_id: self.node, address }
    }

    async fn call(&self, call: PeerCall, deadline: Duration) -> Result<PeerAnswer, TransportError> {
        self.network.call(self.target(), call, deadline).await
    }

    fn error(&self, action: RPCTypes, timeout: Duration, error: &TransportError) -> RPCError<Types<R>> {
        let (id, target) = (self.network.node_id.0, self.node.0);
        rpc_error(id, target, action, timeout, error)
    }

    async fn ask(
        &self,
        call: PeerCall,
        action: RPCTypes,
        option: &RPCOption,
    ) -> Result<PeerAnswer, RPCError<Types<R>>> {
        let deadline = option.hard_ttl();
        self.call(call, deadline).await.map_err(|error| self.error(action, deadline, &error))
    }
}

/// A refusal counts as not being reachable, so that raft waits before it tries again.
fn rpc_error<R: Runtime>(
    id: u64,
    target: u64,
    action: RPCTypes,
    timeout: Duration,
    error: &TransportError,
) -> RPCError<Types<R>> {
    match error {
        TransportError::TimedOut => Timeout { action, id, target, timeout }.into(),
        TransportError::Unreachable { .. } | TransportError::Refused(_) => Unreachable::new(error).into(),
    }
}

fn other_kind<R: Runtime>() -> RPCError<Types<R>> {
    NetworkError::new(&unexpected()).into()
}

fn unreadable<R: Runtime>(error: &io::Error) -> RPCError<Types<R>> {
    NetworkError::new(error).into()
}

impl<R: Runtime> RaftNetworkV2<Types<R>> for Link<R> {
    type SnapshotData = StoredSnapshot;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<R>>, RPCError<Types<R>>> {
        let request = append_from_raft(request);
        let shape = AppendShape::of(&request);
        let answer = self.ask(PeerCall::Append(request), RPCTypes::AppendEntries, &option).await?;
        let PeerAnswer::Append(answer) = answer else { return Err(other_kind()) };
        append_response_to_raft(answer, &shape).map_err(|error| unreadable(&error))
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, AppendResult<R>>, RPCError<Types<R>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types<R>>> + OptionalSend + Unpin + 'static,
    {
        let (network, target) = (self.network.clone(), self.target());
        let results: BoxStream<'s, AppendResult<R>> =
            Box::pin(stream::once(append_stream(network, target, input)).flatten());
        Box::pin(std::future::ready(Ok(results)))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        let call = PeerCall::Vote(vote_request_from_raft(&request));
        let PeerAnswer::Vote(answer) = self.ask(call, RPCTypes::Vote, &option).await? else { return Err(other_kind()) };
        Ok(vote_answer_to_raft(answer))
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        let call = PeerCall::PreVote(vote_request_from_raft(&request));
        let PeerAnswer::Vote(answer) = self.ask(call, RPCTypes::Vote, &option).await? else { return Err(other_kind()) };
        Ok(vote_answer_to_raft(answer))
    }

    async fn full_snapshot(
        &mut self,
        vote: openraft::Vote<LeaderId>,
        snapshot: openraft::Snapshot<ElectedId, u64, Peer, StoredSnapshot>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        tokio::select! {
            biased;
            sent = self.send_snapshot(vote_from_raft(&vote), snapshot.snapshot) => sent,
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types<R>>, RPCError<Types<R>>> {
        let call = PeerCall::Transfer(transfer_from_raft(&request));
        let answer = self.ask(call, RPCTypes::TransferLeader, &option).await?;
        let PeerAnswer::Transfer(answer) = answer else { return Err(other_kind()) };
        transferred_to_raft(answer, &request).map_err(|error| unreadable(&error))
    }
}

type AppendResult<R> = Result<StreamAppendResult<Types<R>>, RPCError<Types<R>>>;

/// Sends requests as raft makes them and hands back the answers in order; gives up when an answer is owed for too long.
///
/// The connection is made when there is something to send: raft waits out its backoff in making the first request, so that a member
/// out of reach is not asked again at once. The requests are taken back from the transport when the answers end or are dropped.
async fn append_stream<R: Runtime, S>(
    network: PeerNetwork,
    target: RaftTarget,
    mut input: S,
) -> BoxStream<'static, AppendResult<R>>
where
    S: Stream<Item = AppendEntriesRequest<Types<R>>> + OptionalSend + Unpin + 'static,
{
    let Some(first) = input.next().await else { return Box::pin(stream::empty()) };
    let limit = network.append_silence;
    let silence = Arc::new(Silence::new(limit));
    let (id, to, incarnation) = (network.node_id, target.node_id, network.incarnation);
    let failed = move |error: &TransportError| rpc_error::<R>(id.0, to.0, RPCTypes::AppendEntries, limit, error);
    let (sent, transport) = (silence.clone(), network.transport.clone());
    let (lender, input) = lend(input);
    let requests = stream::once(std::future::ready(first)).chain(input).map(move |request| {
        sent.asked();
        network.request(to, PeerCall::Append(append_from_raft(request)))
    });
    let opened = tokio::time::timeout(limit, transport.stream(target, Box::pin(requests))).await;
    let answers = match opened.unwrap_or(Err(TransportError::TimedOut)) {
        Ok(answers) => answers,
        Err(error) => return Box::pin(stream::once(std::future::ready(Err(failed(&error))))),
    };
    Box::pin(stream::unfold(Some((answers, silence, lender)), move |state| async move {
        let (mut answers, silence, lender) = state?;
        let next = tokio::select! {
            biased;
            next = answers.next() => next?,
            () = silence.too_long() => Err(TransportError::TimedOut),
        };
        silence.answered();
        let result = match next.and_then(|response| accept(incarnation, to, response)) {
            Ok(PeerAnswer::Append(answer)) => appended_to_raft::<R>(answer).map_err(|error| unreadable(&error)),
            Ok(_other_kind) => Err(other_kind()),
            Err(error) => Err(failed(&error)),
        };
        let goes_on = matches!(result, Ok(Ok(_)));
        Some((result, goes_on.then_some((answers, silence, lender))))
    }))
}

impl<R: Runtime> Link<R> {
    /// Sends a snapshot from where the other side has it, piece by piece.
    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: StoredSnapshot,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        let id = self.read(&snapshot, StoredSnapshot::identify).await?;
        // Without bytes: asks how much of it is there from an earlier attempt.
        let answer = self.send_chunk(vote, &snapshot, id, 0, Vec::new()).await?;
        if let Some(vote) = answer.installed {
            return Ok(SnapshotResponse::new(vote_to_raft(vote)));
        }
        let (mut next, mut under_way) = (answer.have, FuturesOrdered::new());
        loop {
            while under_way.len() < CHUNKS_UNDER_WAY && next < id.total {
                let offset = next;
                let bytes = self.read(&snapshot, move |snapshot| snapshot.read_at(offset, CHUNK_BYTES)).await?;
                if bytes.is_empty() {
                    break;
                }
                next += bytes.len() as u64;
                let (end, sent) = (next, self.send_chunk(vote, &snapshot, id, offset, bytes));
                under_way.push_back(async move { sent.await.map(|answer| (end, answer)) });
            }
            // A receiver that has it all but did not install it asks for nothing that could be sent.
            let Some(answered) = under_way.next().await else { return Err(NetworkError::new(&unexpected()).into()) };
            let (end, answer) = answered?;
            if let Some(vote) = answer.installed {
                return Ok(SnapshotResponse::new(vote_to_raft(vote)));
            }
            if answer.have != end {
                // It has not taken this piece, or has more than that from elsewhere: goes on from there.
                next = answer.have;
                under_way = FuturesOrdered::new();
            }
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        snapshot: &StoredSnapshot,
        read: impl FnOnce(&StoredSnapshot) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StreamingError<Types<R>>> {
        let snapshot = snapshot.clone();
        // A snapshot that a newer one has displaced is no reason to stop: raft asks for the newest one and begins again.
        blocking(snapshot.blocks(), move || read(&snapshot))
            .await
            .map_err(|error| StreamingError::Network(NetworkError::new(&error)))
    }

    async fn send_chunk(
        &self,
        vote: Vote,
        snapshot: &StoredSnapshot,
        id: SnapshotId,
        offset: u64,
        bytes: Vec<u8>,
    ) -> Result<ChunkAnswer, StreamingError<Types<R>>> {
        let last = offset + bytes.len() as u64 >= id.total;
        let deadline = if last { INSTALL_DEADLINE } else { CHUNK_DEADLINE };
        let chunk = SnapshotChunk {
            vote,
            id,
            last: snapshot.meta.last,
            membership_id: snapshot.meta.membership_id,
            membership: snapshot.meta.membership.clone(),
            offset,
            crc: crc32fast::hash(&bytes),
            bytes: bytes.into(),
        };
        match self.call(PeerCall::Snapshot(chunk), deadline).await {
            Ok(PeerAnswer::Snapshot(answer)) => Ok(answer),
            Ok(_other_kind) => Err(NetworkError::new(&unexpected()).into()),
            Err(error) => Err(self.error(RPCTypes::InstallSnapshot, deadline, &error).into()),
        }
    }
}

#[cfg(test)]
mod tests;
