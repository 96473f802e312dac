//! What other members ask of this node.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use jaco_state::{BoxFuture, ProposeError};
use jaco_types::{NodeId, Tombstone};
use openraft::async_runtime::WatchReceiver;
use openraft::raft::AppendEntriesRequest;
use tokio::time::Instant;

use super::batching::Company;
use super::propose::{Reservation, reserve_bytes};
use super::{ControlPlane, Inner, forward, read};
use crate::data_dir::is_disk_full;
use crate::log::{Demand, LogEntry};
use crate::raft::{
    AppendShape, Types, append_response_from_raft, append_to_raft, appended_from_raft, raft_snapshot, transfer_to_raft,
    transferred_from_raft, vote_answer_from_raft, vote_from_raft, vote_request_to_raft, vote_to_raft,
};
use crate::runtime::{Runtime, blocking};
use crate::snapshot::{TakeError, Taken};
use crate::transport::{
    AppendRequest, BoxStream, ChunkAnswer, MessageError, PeerAnswer, PeerCall, PeerRequest, PeerResponse, PeerService,
    ProposalsAnswer, ReadIndexAnswer, Refusal, RefusalCode, SnapshotChunk,
};

/// A piece of a snapshot that comes so far ahead of the one that is due waits for it a little: the two are under way together.
const EARLY_BYTES: u64 = 4 << 20;
/// Messages of proposals from one member that are worked at, at a time.
const STREAMED: usize = 8;

impl<R: Runtime> PeerService for ControlPlane<R> {
    fn receive(&self, from: NodeId, request: PeerRequest) -> BoxFuture<'static, PeerResponse> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let served = serve(&inner, from, request).await;
            inner.response(served.unwrap_or_else(PeerAnswer::Refused))
        })
    }

    fn receive_stream(&self, from: NodeId, requests: BoxStream<PeerRequest>) -> BoxStream<PeerResponse> {
        stream_of(self.inner.clone(), from, requests.map(Ok))
    }

    fn receive_encoded(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes> {
        match PeerRequest::decode(request) {
            Ok(request) => {
                let response = self.receive(from, request);
                Box::pin(async move { response.await.encode() })
            }
            Err(error) => {
                let refused = self.inner.response(PeerAnswer::Refused(unreadable(&error)));
                Box::pin(std::future::ready(refused.encode()))
            }
        }
    }

    fn receive_stream_encoded(&self, from: NodeId, requests: BoxStream<Bytes>) -> BoxStream<Bytes> {
        // The first message that cannot be read ends the stream, and says why.
        let requests = requests.map(PeerRequest::decode);
        let answers = stream_of(self.inner.clone(), from, requests.map(|read| read.map_err(|e| unreadable(&e))));
        Box::pin(answers.map(|response| response.encode()))
    }
}

fn unreadable(error: &MessageError) -> Refusal {
    let code = match error {
        MessageError::OtherFormat { .. } => RefusalCode::NewerFormat,
        MessageError::NotAMessage | MessageError::Malformed { .. } => RefusalCode::Malformed,
    };
    Refusal::new(code, error.to_string())
}

fn stopped() -> Refusal {
    Refusal::new(RefusalCode::Stopped, ProposeError::Stopped.to_string())
}

fn malformed(error: &io::Error) -> Refusal {
    Refusal::new(RefusalCode::Malformed, error.to_string())
}

impl<R: Runtime> Inner<R> {
    fn response(&self, answer: PeerAnswer) -> PeerResponse {
        PeerResponse { incarnation: self.incarnation, from: self.node_id, answer }
    }

    /// Whether a request is from whom it says, for this node, and of this cluster's life.
    fn check(&self, from: NodeId, request: &PeerRequest) -> Result<(), Refusal> {
        let refused = |code, message| Err(Refusal::new(code, message));
        if request.incarnation != self.incarnation {
            let (found, expected) = (request.incarnation, self.incarnation);
            let message = format!("the request is of incarnation {found:016x}, and this node of {expected:016x}");
            return refused(RefusalCode::OtherIncarnation, message);
        }
        if self.machine.hub.view().get::<Tombstone>(&from.to_string()).is_some() {
            return refused(RefusalCode::NodeRemoved, format!("node {from} was removed from this cluster"));
        }
        if request.to != self.node_id {
            let message = format!("node {} was meant, and this is node {}", request.to, self.node_id);
            return refused(RefusalCode::OtherNode, message);
        }
        let voting = request.call.voter();
        if request.from != from || voting.is_some_and(|voter| voter != from.0) {
            return refused(RefusalCode::OtherSender, format!("the request does not come from node {from}"));
        }
        if self.has_failed() { Err(stopped()) } else { Ok(()) }
    }
}

impl PeerCall {
    /// In whose name it is: only the leader or candidate itself may send it.
    fn voter(&self) -> Option<u64> {
        match self {
            PeerCall::Append(request) => Some(request.vote.node_id),
            PeerCall::Vote(request) | PeerCall::PreVote(request) => Some(request.vote.node_id),
            PeerCall::Transfer(request) => Some(request.from.node_id),
            PeerCall::Snapshot(chunk) => Some(chunk.vote.node_id),
            PeerCall::Propose(_) | PeerCall::Proposals(_) | PeerCall::ReadIndex(_) => None,
        }
    }
}

async fn serve<R: Runtime>(inner: &Arc<Inner<R>>, from: NodeId, request: PeerRequest) -> Result<PeerAnswer, Refusal> {
    inner.check(from, &request)?;
    match request.call {
        PeerCall::Append(request) => {
            inner.followed.heard(from);
            let shape = AppendShape::of(&request);
            let _room = room(inner, &request).await?;
            let request = append_to_raft::<R>(request).map_err(|error| malformed(&error))?;
            let response = inner.raft.append_entries(request).await.map_err(|_fatal| stopped())?;
            Ok(PeerAnswer::Append(append_response_from_raft(&response, &shape)))
        }
        PeerCall::Vote(request) => {
            let response = inner.raft.vote(vote_request_to_raft(request)).await.map_err(|_fatal| stopped())?;
            Ok(PeerAnswer::Vote(vote_answer_from_raft(&response)))
        }
        PeerCall::PreVote(request) => {
            let response = inner.raft.pre_vote(vote_request_to_raft(request)).await.map_err(|_fatal| stopped())?;
            Ok(PeerAnswer::Vote(vote_answer_from_raft(&response)))
        }
        PeerCall::Transfer(request) => {
            let request = transfer_to_raft(request);
            let response = inner.raft.handle_transfer_leader(request).await.map_err(|_fatal| stopped())?;
            Ok(PeerAnswer::Transfer(transferred_from_raft(&response)))
        }
        PeerCall::Snapshot(chunk) => take(inner, chunk).await.map(PeerAnswer::Snapshot),
        PeerCall::Propose(request) => {
            forward::receive(inner, from, request, Company::Alone).await.map(PeerAnswer::Propose)
        }
        PeerCall::Proposals(request) => Ok(PeerAnswer::Proposals(forward::receive_all(inner, from, request).await)),
        PeerCall::ReadIndex(_) => match read::read_index(inner).await {
            Ok(index) => Ok(PeerAnswer::ReadIndex(ReadIndexAnswer { index })),
            Err(error) => Err(inner.refusal(&error)),
        },
    }
}

/// Takes a piece of a snapshot, and hands the whole to raft when it is complete.
async fn take<R: Runtime>(inner: &Arc<Inner<R>>, chunk: SnapshotChunk) -> Result<ChunkAnswer, Refusal> {
    let patience = Instant::now() + inner.timing.election_max;
    loop {
        // Before looking, so that no piece between look and wait is missed.
        let mut arrived = std::pin::pin!(inner.piece_arrived.notified());
        arrived.as_mut().enable();
        let answer = take_now(inner, &chunk).await?;
        let is_early = answer.have < chunk.offset && chunk.offset - answer.have <= EARLY_BYTES;
        if !is_early || tokio::time::timeout_at(patience, arrived).await.is_err() {
            return Ok(answer);
        }
    }
}

async fn take_now<R: Runtime>(inner: &Arc<Inner<R>>, chunk: &SnapshotChunk) -> Result<ChunkAnswer, Refusal> {
    // The same snapshot may arrive a second time while the first is being taken over.
    let _one_at_a_time = inner.installing.lock().await;
    let (vote, id) = (chunk.vote, chunk.id);
    if inner.machine.hub.view().index() >= id.index {
        let vote = vote_from_raft(&inner.raft.metrics().borrow_watched().vote);
        return Ok(ChunkAnswer { have: id.total, installed: Some(vote) });
    }
    let (machine, piece) = (inner.machine.clone(), chunk.clone());
    let taken = blocking(machine.snapshots.blocks(), move || Ok(machine.snapshots.take(&piece))).await;
    inner.piece_arrived.notify_waiters();
    let snapshot = match taken.unwrap_or_else(|error| Err(TakeError::Io(error))) {
        Ok(Taken::Partly(have)) => return Ok(ChunkAnswer { have, installed: None }),
        Ok(Taken::Whole(snapshot)) => snapshot,
        Err(error @ TakeError::Damaged) => return Err(Refusal::new(RefusalCode::SnapshotDamaged, error.to_string())),
        Err(TakeError::Io(error)) => return Err(storage_refusal(&error)),
    };
    let handed_over = raft_snapshot(snapshot.clone()).map_err(|error| malformed(&error))?;
    let installed = inner.raft.install_full_snapshot(vote_to_raft(vote), handed_over).await;
    let installed = installed.map_err(|_fatal| stopped())?;
    let machine = inner.machine.clone();
    let forgotten = blocking(machine.snapshots.blocks(), move || machine.snapshots.forget(&snapshot)).await;
    // What is left then goes with the next snapshot.
    if let Err(error) = forgotten {
        tracing::warn!(%error, "the remains of a received snapshot cannot be removed");
    }
    Ok(ChunkAnswer { have: id.total, installed: Some(vote_from_raft(&installed.vote)) })
}

fn storage_refusal(error: &io::Error) -> Refusal {
    let code = if is_disk_full(error) { RefusalCode::DiskFull } else { RefusalCode::Storage };
    Refusal::new(code, format!("the snapshot cannot be kept: {error}"))
}

/// Answers a stream of one of the two kinds, as its first message says.
fn stream_of<R: Runtime>(
    inner: Arc<Inner<R>>,
    from: NodeId,
    requests: impl Stream<Item = Result<PeerRequest, Refusal>> + Send + 'static,
) -> BoxStream<PeerResponse> {
    let begun = async move {
        let mut requests = Box::pin(requests.peekable());
        match requests.as_mut().peek().await {
            Some(Ok(PeerRequest { call: PeerCall::Proposals(_), .. })) => proposal_stream(inner, from, requests),
            Some(Ok(_) | Err(_)) | None => append_stream(inner, from, requests),
        }
    };
    Box::pin(stream::once(begun).flatten())
}

/// Carries proposals out as they arrive, several messages at a time. What is wrong with a message is its own answer, so that those
/// behind it are not in doubt; one that cannot be read ends the stream.
fn proposal_stream<R: Runtime>(
    inner: Arc<Inner<R>>,
    from: NodeId,
    requests: impl Stream<Item = Result<PeerRequest, Refusal>> + Send + 'static,
) -> BoxStream<PeerResponse> {
    let answers = requests.map(move |request| {
        let inner = inner.clone();
        async move {
            let answer = match request {
                Ok(request) => proposals(&inner, from, request).await,
                Err(unreadable) => Err(unreadable),
            };
            let goes_on = answer.is_ok();
            (inner.response(answer.map_or_else(PeerAnswer::Refused, PeerAnswer::Proposals)), goes_on)
        }
    });
    // The refusal is the last answer.
    let answers = answers.buffered(STREAMED).scan(true, |goes_on, (response, next)| {
        std::future::ready(std::mem::replace(goes_on, next).then_some(response))
    });
    Box::pin(answers)
}

async fn proposals<R: Runtime>(
    inner: &Arc<Inner<R>>,
    from: NodeId,
    request: PeerRequest,
) -> Result<ProposalsAnswer, Refusal> {
    let checked = inner.check(from, &request);
    let PeerCall::Proposals(request) = request.call else {
        return Err(Refusal::new(RefusalCode::Malformed, "only proposals travel in this stream"));
    };
    match checked {
        Ok(()) => Ok(forward::receive_all(inner, from, request).await),
        Err(refusal) => Ok(request.proposals.iter().map(|_proposal| Err(refusal.clone())).collect()),
    }
}

/// Room in the log for entries of a leader, so that raft never meets a full disk here either: without it the leader is refused and
/// tries again later. Entries may use the part of the reserve that deletes may, since the leader judged them by its own.
async fn room<R: Runtime>(inner: &Inner<R>, request: &AppendRequest) -> Result<Option<Reservation>, Refusal> {
    if request.entries.is_empty() {
        return Ok(None);
    }
    let bytes = request.entries.iter().map(LogEntry::weight).sum();
    let deadline = Instant::now() + inner.timing.election_max;
    let reserved = reserve_bytes(inner, bytes, Demand::DeletesOnly, deadline).await;
    reserved.map(Some).map_err(|error| inner.refusal(&error))
}

/// What is asked of raft, with the room for it.
async fn accept<R: Runtime>(
    inner: &Inner<R>,
    from: NodeId,
    request: PeerRequest,
) -> Result<(AppendEntriesRequest<Types<R>>, Option<Reservation>), Refusal> {
    inner.check(from, &request)?;
    let PeerCall::Append(append) = request.call else {
        return Err(Refusal::new(RefusalCode::Malformed, "only entries travel in this stream"));
    };
    inner.followed.heard(from);
    let reserved = room(inner, &append).await?;
    Ok((append_to_raft::<R>(append).map_err(|error| malformed(&error))?, reserved))
}

/// What one stream of entries has under way.
#[derive(Default)]
struct UnderWay {
    /// Room for what is not answered yet, in order.
    reserved: VecDeque<Option<Reservation>>,
    /// Why the stream has ended.
    refused: Option<Refusal>,
}

/// Feeds raft with what arrives. What cannot be taken ends the stream; the refusal follows the answers to what came before it.
fn append_stream<R: Runtime>(
    inner: Arc<Inner<R>>,
    from: NodeId,
    requests: impl Stream<Item = Result<PeerRequest, Refusal>> + Send + 'static,
) -> BoxStream<PeerResponse> {
    let under_way = Arc::new(Mutex::new(UnderWay::default()));
    let (accepting, answering, ending) = (under_way.clone(), under_way.clone(), under_way);
    let serving = inner.clone();
    let accepted = requests.then(move |request| {
        let inner = serving.clone();
        async move { accept(&inner, from, request?).await }
    });
    let accepted = accepted.scan((), move |(), accepted| {
        let mut under_way = accepting.lock().unwrap_or_else(PoisonError::into_inner);
        let request = match accepted {
            Ok((request, reserved)) => {
                under_way.reserved.push_back(reserved);
                Some(request)
            }
            Err(refusal) => {
                under_way.refused = Some(refusal);
                None
            }
        };
        std::future::ready(request)
    });
    let answers = inner.raft.stream_append(accepted).map(move |appended| {
        // Dropped outside of the lock.
        let _written = answering.lock().unwrap_or_else(PoisonError::into_inner).reserved.pop_front();
        match appended {
            Ok(appended) => PeerAnswer::Append(appended_from_raft::<R>(&appended)),
            Err(_fatal) => PeerAnswer::Refused(stopped()),
        }
    });
    let last = stream::once(async move { ending.lock().unwrap_or_else(PoisonError::into_inner).refused.take() });
    let last = last.filter_map(|refusal| std::future::ready(refusal.map(PeerAnswer::Refused)));
    Box::pin(answers.chain(last).map(move |answer| inner.response(answer)))
}
