//! Between openraft's requests and answers and the messages that travel. Pure.

use std::io;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, TransferLeaderError, TransferLeaderRequest,
    VoteRequest as RaftVoteRequest, VoteResponse,
};

use super::convert::{entry_from_raft, entry_to_raft, log_id_from_raft, log_id_to_raft, vote_from_raft, vote_to_raft};
use super::types::Types;
use crate::runtime::Runtime;
use crate::transport::append_answer::Outcome;
use crate::transport::{
    AppendAnswer, AppendRequest, Flushed, MissingLog, OtherVote, TransferAnswer, TransferOutcome, TransferRequest,
    VoteAnswer, VoteRequest,
};

/// openraft's answer to a piece of an append stream.
pub(crate) type Appended<R> = openraft::raft::StreamAppendResult<Types<R>>;

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

pub(crate) fn append_from_raft<R: Runtime>(request: AppendEntriesRequest<Types<R>>) -> AppendRequest {
    AppendRequest {
        vote: vote_from_raft(&request.vote),
        previous: request.prev_log_id.as_ref().map(log_id_from_raft),
        entries: request.entries.into_iter().map(entry_from_raft).collect(),
        committed: request.leader_commit.as_ref().map(log_id_from_raft),
    }
}

/// Entries with a hole between them are refused: raft takes for granted that there is none.
pub(crate) fn append_to_raft<R: Runtime>(request: AppendRequest) -> io::Result<AppendEntriesRequest<Types<R>>> {
    let mut next = request.previous.map_or(0, |previous| previous.index.saturating_add(1));
    for entry in &request.entries {
        if entry.id.index != next {
            return Err(invalid(format!("entry {} follows where {next} is due", entry.id.index)));
        }
        next = next.saturating_add(1);
    }
    Ok(AppendEntriesRequest {
        vote: vote_to_raft(request.vote),
        prev_log_id: request.previous.map(log_id_to_raft),
        entries: request.entries.into_iter().map(entry_to_raft).collect::<io::Result<_>>()?,
        leader_commit: request.committed.map(log_id_to_raft),
    })
}

pub(crate) fn appended_from_raft<R: Runtime>(appended: &Appended<R>) -> AppendAnswer {
    let outcome = match appended {
        Ok(upto) => Outcome::Flushed(Flushed { upto: upto.as_ref().map(log_id_from_raft) }),
        Err(StreamAppendError::Conflict(at)) => Outcome::Conflict(log_id_from_raft(at)),
        Err(StreamAppendError::HigherVote(vote)) => Outcome::HigherVote(vote_from_raft(vote)),
    };
    AppendAnswer { outcome: Some(outcome) }
}

pub(crate) fn appended_to_raft<R: Runtime>(answer: AppendAnswer) -> io::Result<Appended<R>> {
    match answer.outcome {
        Some(Outcome::Flushed(Flushed { upto })) => Ok(Ok(upto.map(log_id_to_raft))),
        Some(Outcome::Conflict(at)) => Ok(Err(StreamAppendError::Conflict(log_id_to_raft(at)))),
        Some(Outcome::HigherVote(vote)) => Ok(Err(StreamAppendError::HigherVote(vote_to_raft(vote)))),
        None => Err(invalid("the answer to entries says nothing")),
    }
}

/// The answer to one request outside of a stream, with what the request was about.
pub(crate) fn append_response_from_raft<R: Runtime>(
    response: &AppendEntriesResponse<Types<R>>,
    request: &AppendShape,
) -> AppendAnswer {
    let outcome = match response {
        AppendEntriesResponse::Success => Outcome::Flushed(Flushed { upto: request.last }),
        AppendEntriesResponse::PartialSuccess(upto) => {
            Outcome::Flushed(Flushed { upto: upto.as_ref().map(log_id_from_raft) })
        }
        AppendEntriesResponse::Conflict => Outcome::Conflict(request.previous.unwrap_or_default()),
        AppendEntriesResponse::HigherVote(vote) => Outcome::HigherVote(vote_from_raft(vote)),
    };
    AppendAnswer { outcome: Some(outcome) }
}

/// The ends of an append request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendShape {
    previous: Option<crate::log::LogId>,
    last: Option<crate::log::LogId>,
}

impl AppendShape {
    pub(crate) fn of(request: &AppendRequest) -> Self {
        AppendShape { previous: request.previous, last: request.last() }
    }
}

pub(crate) fn append_response_to_raft<R: Runtime>(
    answer: AppendAnswer,
    request: &AppendShape,
) -> io::Result<AppendEntriesResponse<Types<R>>> {
    match answer.outcome {
        Some(Outcome::Flushed(Flushed { upto })) if upto == request.last => Ok(AppendEntriesResponse::Success),
        Some(Outcome::Flushed(Flushed { upto })) => Ok(AppendEntriesResponse::PartialSuccess(upto.map(log_id_to_raft))),
        Some(Outcome::Conflict(_at)) => Ok(AppendEntriesResponse::Conflict),
        Some(Outcome::HigherVote(vote)) => Ok(AppendEntriesResponse::HigherVote(vote_to_raft(vote))),
        None => Err(invalid("the answer to entries says nothing")),
    }
}

pub(crate) fn vote_request_from_raft<R: Runtime>(request: &RaftVoteRequest<Types<R>>) -> VoteRequest {
    VoteRequest {
        vote: vote_from_raft(&request.vote),
        last: request.last_log_id.as_ref().map(log_id_from_raft),
        transfer: request.leadership_transfer,
    }
}

pub(crate) fn vote_request_to_raft<R: Runtime>(request: VoteRequest) -> RaftVoteRequest<Types<R>> {
    RaftVoteRequest {
        leadership_transfer: request.transfer,
        ..RaftVoteRequest::new(vote_to_raft(request.vote), request.last.map(log_id_to_raft))
    }
}

pub(crate) fn vote_answer_from_raft<R: Runtime>(response: &VoteResponse<Types<R>>) -> VoteAnswer {
    VoteAnswer {
        vote: vote_from_raft(&response.vote),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(log_id_from_raft),
    }
}

pub(crate) fn vote_answer_to_raft<R: Runtime>(answer: VoteAnswer) -> VoteResponse<Types<R>> {
    VoteResponse {
        vote: vote_to_raft(answer.vote),
        vote_granted: answer.granted,
        last_log_id: answer.last.map(log_id_to_raft),
    }
}

pub(crate) fn transfer_from_raft<R: Runtime>(request: &TransferLeaderRequest<Types<R>>) -> TransferRequest {
    TransferRequest {
        from: vote_from_raft(request.from_leader()),
        to: *request.to_node_id(),
        last: request.last_log_id().map(log_id_from_raft),
    }
}

pub(crate) fn transfer_to_raft<R: Runtime>(request: TransferRequest) -> TransferLeaderRequest<Types<R>> {
    TransferLeaderRequest::new(vote_to_raft(request.from), request.to, request.last.map(log_id_to_raft))
}

pub(crate) fn transferred_from_raft<R: Runtime>(
    response: &Result<(), TransferLeaderError<Types<R>>>,
) -> TransferAnswer {
    let outcome = match response {
        Ok(()) => TransferOutcome::Accepted(true),
        Err(TransferLeaderError::VoteChanged { actual, expected: _ }) => {
            TransferOutcome::OtherVote(OtherVote { actual: vote_from_raft(actual) })
        }
        Err(TransferLeaderError::LogNotFlushed { actual, expected: _ }) => {
            TransferOutcome::MissingLog(MissingLog { actual: actual.as_ref().map(log_id_from_raft) })
        }
    };
    TransferAnswer { outcome: Some(outcome) }
}

pub(crate) fn transferred_to_raft<R: Runtime>(
    answer: TransferAnswer,
    request: &TransferLeaderRequest<Types<R>>,
) -> io::Result<Result<(), TransferLeaderError<Types<R>>>> {
    match answer.outcome {
        Some(TransferOutcome::Accepted(_)) => Ok(Ok(())),
        Some(TransferOutcome::OtherVote(OtherVote { actual })) => {
            Ok(Err(TransferLeaderError::VoteChanged { expected: *request.from_leader(), actual: vote_to_raft(actual) }))
        }
        Some(TransferOutcome::MissingLog(MissingLog { actual })) => Ok(Err(TransferLeaderError::LogNotFlushed {
            expected: request.last_log_id().copied(),
            actual: actual.map(log_id_to_raft),
        })),
        None => Err(invalid("the answer to a transfer says nothing")),
    }
}
