//! Proposals of a node that does not lead: they travel to the leader.

pub(super) mod line;

use std::sync::Arc;

use jaco_state::{Command, Commit, Entry, Leadership, ProposeError, Stamp};
use jaco_types::NodeId;
use tokio::time::Instant;

use super::batching::Company;
use super::{Inner, authorise, propose, read};
use crate::raft::Reply;
use crate::runtime::Runtime;
use crate::transport::{
    Committed, FailedPosition, ProposalAnswer, ProposalOutcome, ProposalRequest, ProposalsAnswer, ProposalsRequest,
    RaftTarget, Refusal, RefusalCode, TransportError,
};

/// A proposal is sent on at most so often: to the leader, and from one that has just handed over to its successor.
const MAX_HOPS: u32 = 2;
/// So many times the longest election a proposal or read waits for a leader: an ordinary election passes unnoticed.
pub(super) const PATIENCE: u32 = 4;

/// Why one attempt did not come to an outcome.
enum Missed {
    /// It was certainly not written: may be tried again.
    NotWritten(ProposeError),
    /// Must not be tried again.
    Final(ProposeError),
}

/// Proposes through the leader, waiting out an election. On return this node's view has applied the commit.
pub(super) async fn forward<R: Runtime>(
    inner: &Arc<Inner<R>>,
    command: Command,
    deadline: Instant,
) -> Result<Commit, ProposeError> {
    // The plan of a leader is worth nothing when it is not the leader any more.
    if command.is_leader_only() || inner.is_alone() {
        return Err(ProposeError::NoLeader);
    }
    let stamp = Stamp { incarnation: inner.incarnation, time_ms: 0 };
    let patience = deadline.min(Instant::now() + PATIENCE * inner.timing.election_max);
    loop {
        if inner.has_failed() {
            return Err(ProposeError::Stopped);
        }
        let mut change = inner.leader_change();
        let attempt = match inner.leadership() {
            Leadership::Leader { term } => {
                match propose::local(inner, &command, term, deadline, Company::Alone).await {
                    Err(ProposeError::NoLeader) => Err(Missed::NotWritten(ProposeError::NoLeader)),
                    outcome => return propose::outcome(&command, outcome?),
                }
            }
            Leadership::Follower { leader: _ } => match inner.other_leader() {
                Some(leader) => {
                    let proposal = ProposalRequest { entry: command.encode_entry(stamp), hops: 1 };
                    send(inner, &leader, proposal, deadline).await
                }
                None => Err(Missed::NotWritten(inner.without_leader())),
            },
        };
        let missed = match attempt {
            Ok((index, reply)) => {
                let commit = propose::outcome(&command, (index, reply))?;
                return applied(inner, commit, deadline).await;
            }
            Err(Missed::Final(error)) => return Err(error),
            Err(Missed::NotWritten(error)) => error,
        };
        if !change.wait(patience, inner.timing.heartbeat).await {
            return Err(missed);
        }
    }
}

/// Waits until this node's view holds a commit.
async fn applied<R: Runtime>(inner: &Inner<R>, commit: Commit, deadline: Instant) -> Result<Commit, ProposeError> {
    match tokio::time::timeout_at(deadline, inner.machine.hub.reached(commit.index)).await {
        Ok(Ok(_view)) => Ok(commit),
        Ok(Err(_stopped)) => Err(ProposeError::Stopped),
        // It is committed, but whoever asked must not go on with a view that does not show it.
        Err(_elapsed) => Err(ProposeError::OutcomeUnknown),
    }
}

/// Sends a proposal on to the leader, together with others that are sent at the same time.
async fn send<R: Runtime>(
    inner: &Inner<R>,
    leader: &RaftTarget,
    proposal: ProposalRequest,
    deadline: Instant,
) -> Result<(u64, Reply), Missed> {
    let answer = tokio::time::timeout_at(deadline, inner.lines.send(leader, proposal)).await;
    match answer.unwrap_or(Err(TransportError::TimedOut)) {
        Ok(answer) => answered(answer),
        Err(TransportError::TimedOut) => Err(Missed::Final(ProposeError::OutcomeUnknown)),
        // The leader this node knows of is out of reach: this side may be the smaller one, or an election is due.
        Err(TransportError::Unreachable { .. }) => Err(Missed::NotWritten(ProposeError::QuorumLost)),
        Err(TransportError::Refused(refusal)) => Err(refused(&refusal)),
    }
}

fn refused(refusal: &Refusal) -> Missed {
    match refusal.code() {
        RefusalCode::DiskFull => Missed::Final(ProposeError::DiskFull),
        RefusalCode::QuorumLost => Missed::NotWritten(ProposeError::QuorumLost),
        RefusalCode::PermissionDenied => Missed::Final(ProposeError::NotPermitted { reason: refusal.message.clone() }),
        RefusalCode::NodeRemoved => Missed::Final(ProposeError::NodeRemoved),
        RefusalCode::NotLeader | RefusalCode::Stopped => Missed::NotWritten(ProposeError::NoLeader),
        RefusalCode::Unknown
        | RefusalCode::OtherIncarnation
        | RefusalCode::OtherNode
        | RefusalCode::OtherSender
        | RefusalCode::Malformed
        | RefusalCode::NewerFormat
        | RefusalCode::SnapshotDamaged
        | RefusalCode::Storage => {
            tracing::warn!(code = ?refusal.code(), reason = refusal.message, "the leader refused a proposal");
            Missed::NotWritten(ProposeError::NoLeader)
        }
    }
}

fn answered(answer: ProposalAnswer) -> Result<(u64, Reply), Missed> {
    match answer.outcome {
        Some(ProposalOutcome::Committed(Committed { index, time_ms, reply, repeated })) => {
            Ok((index, Reply::Commit(Commit { index, time_ms, reply, repeated })))
        }
        Some(ProposalOutcome::Refused(FailedPosition { position, index })) => {
            Ok((index, Reply::Refused(usize::try_from(position).unwrap_or(usize::MAX))))
        }
        Some(ProposalOutcome::RequestTooOld(_)) => Err(Missed::Final(ProposeError::RequestTooOld)),
        Some(ProposalOutcome::OutcomeUnknown(_)) | None => Err(Missed::Final(ProposeError::OutcomeUnknown)),
    }
}

/// [`receive`] for several at once, each by itself.
pub(super) async fn receive_all<R: Runtime>(
    inner: &Arc<Inner<R>>,
    from: NodeId,
    request: ProposalsRequest,
) -> ProposalsAnswer {
    let company = if request.proposals.len() > 1 { Company::Others } else { Company::Alone };
    let received = request.proposals.into_iter().map(|proposal| receive(inner, from, proposal, company));
    futures_util::future::join_all(received).await.into_iter().collect()
}

/// Judges a proposal of another member and carries it out, or sends it on once more.
pub(super) async fn receive<R: Runtime>(
    inner: &Arc<Inner<R>>,
    from: NodeId,
    request: ProposalRequest,
    company: Company,
) -> Result<ProposalAnswer, Refusal> {
    let deadline = Instant::now() + inner.limits.deadline;
    let entry = Entry::decode(request.entry.clone())
        .map_err(|error| Refusal::new(RefusalCode::Malformed, format!("a proposal cannot be read: {error}")))?;
    let command = entry.command;
    if command.is_leader_only() {
        return Err(Refusal::new(
            RefusalCode::Malformed,
            "what only a leader may propose is never sent to another node",
        ));
    }
    let written = match inner.leadership() {
        Leadership::Leader { term } => {
            judge(inner, from, &command, term, deadline).await?;
            propose::local(inner, &command, term, deadline, company).await
        }
        Leadership::Follower { leader: _ } => match inner.other_leader() {
            // What is a node's own is judged by who sends it: the node finds the next leader itself.
            Some(leader) if request.hops < MAX_HOPS && !authorise::is_of_node(&command) => {
                let proposal = ProposalRequest { hops: request.hops + 1, ..request };
                match send(inner, &leader, proposal, deadline).await {
                    Ok(written) => Ok(written),
                    Err(Missed::NotWritten(error) | Missed::Final(error)) => Err(error),
                }
            }
            Some(_) => Err(ProposeError::NoLeader),
            None => Err(inner.without_leader()),
        },
    };
    let outcome = match written {
        Ok((_, Reply::Commit(Commit { index, time_ms, reply, repeated }))) => {
            ProposalOutcome::Committed(Committed { index, time_ms, reply, repeated })
        }
        Ok((index, Reply::Refused(position))) => {
            ProposalOutcome::Refused(FailedPosition { position: position as u64, index })
        }
        Ok((_, Reply::RequestTooOld)) | Err(ProposeError::RequestTooOld) => ProposalOutcome::RequestTooOld(true),
        Ok((_, Reply::Nothing)) | Err(ProposeError::OutcomeUnknown) => ProposalOutcome::OutcomeUnknown(true),
        Err(error) => return Err(inner.refusal(&error)),
    };
    Ok(ProposalAnswer { outcome: Some(outcome) })
}

/// Lets a command of another member through, or refuses it.
async fn judge<R: Runtime>(
    inner: &Arc<Inner<R>>,
    from: NodeId,
    command: &Command,
    term: u64,
    deadline: Instant,
) -> Result<(), Refusal> {
    let mut view = inner.machine.hub.view();
    if view.term() < term {
        // Just elected: what the leaders before have acknowledged may not be applied here yet, a revocation among it.
        let caught_up = tokio::time::timeout_at(deadline, Box::pin(read::linearizable(inner))).await;
        view = caught_up.unwrap_or(Err(ProposeError::QuorumLost)).map_err(|error| inner.refusal(&error))?;
    }
    authorise::authorise(&view, from, command).map_err(|reason| {
        tracing::warn!(%from, reason, "a forwarded change is refused");
        Refusal::new(RefusalCode::PermissionDenied, reason)
    })
}
