//! Linearizable reads, on the leader and on everybody else.

use std::sync::Arc;
use std::time::Duration;

use jaco_state::{ProposeError, View};
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::time::Instant;

use super::{Inner, forward};
use crate::raft::Types;
use crate::runtime::Runtime;
use crate::transport::{PeerAnswer, PeerCall, ReadIndex, RefusalCode, TransportError};

/// A view that holds everything that was acknowledged before the call. Tries until the deadline: for what has nothing to do without it.
pub(super) async fn linearizable<R: Runtime>(inner: &Arc<Inner<R>>) -> Result<View, ProposeError> {
    tried_for(inner, inner.limits.deadline).await
}

/// The same for somebody who waits for an answer: an election passes unnoticed, and a side without a majority says so soon after.
pub(super) async fn prompt<R: Runtime>(inner: &Arc<Inner<R>>) -> Result<View, ProposeError> {
    tried_for(inner, forward::PATIENCE * inner.timing.election_max).await
}

/// Tries for so long; an attempt that is getting on may take the whole deadline, as a node that has much to catch up does.
async fn tried_for<R: Runtime>(inner: &Arc<Inner<R>>, patience: Duration) -> Result<View, ProposeError> {
    let deadline = Instant::now() + inner.limits.deadline;
    let patience = deadline.min(Instant::now() + patience);
    let mut stopping = inner.stopping.subscribe();
    loop {
        if inner.has_failed() {
            return Err(ProposeError::Stopped);
        }
        let mut change = inner.leader_change();
        let attempted = tokio::select! {
            biased;
            // Whatever is being waited for, nobody here needs it any more.
            _ = stopping.wait_for(|stopping| *stopping) => return Err(ProposeError::Stopped),
            attempted = tokio::time::timeout_at(deadline, attempt(inner)) => attempted,
        };
        let missed = match attempted {
            Ok(Ok(view)) => return Ok(view),
            Ok(Err(ProposeError::Stopped)) => return Err(ProposeError::Stopped),
            Ok(Err(error)) => error,
            Err(_elapsed) => return Err(ProposeError::QuorumLost),
        };
        if !change.wait(patience, inner.timing.heartbeat).await {
            return Err(if inner.has_failed() { ProposeError::Stopped } else { missed });
        }
    }
}

async fn attempt<R: Runtime>(inner: &Arc<Inner<R>>) -> Result<View, ProposeError> {
    match inner.other_leader() {
        None => match inner.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_read) => Ok(inner.machine.hub.view()),
            Err(error) => Err(read_error(&error)),
        },
        Some(leader) => {
            // A question that was lost is asked again.
            let deadline = 2 * inner.timing.election_max;
            let asked = leader.node_id;
            let answer = tokio::select! {
                biased;
                answer = inner.network.call(leader, PeerCall::ReadIndex(ReadIndex {}), deadline) => answer,
                // One that hangs is not waited for once it has a successor.
                () = inner.succession(asked, Instant::now() + deadline) => return Err(ProposeError::NoLeader),
            };
            match answer {
                Ok(PeerAnswer::ReadIndex(answer)) => {
                    inner.machine.hub.reached(answer.index).await.map_err(|_stopped| ProposeError::Stopped)
                }
                Ok(_other_kind) => Err(ProposeError::NoLeader),
                Err(TransportError::Refused(refusal)) if refusal.code() == RefusalCode::NotLeader => {
                    Err(ProposeError::NoLeader)
                }
                // The leader that this node knows of is out of reach, or has no majority itself.
                Err(TransportError::Refused(_) | TransportError::Unreachable { .. } | TransportError::TimedOut) => {
                    Err(ProposeError::QuorumLost)
                }
            }
        }
    }
}

/// Where a view must have got to; for another member that asks. Only a leader with a majority answers.
pub(super) async fn read_index<R: Runtime>(inner: &Inner<R>) -> Result<u64, ProposeError> {
    match inner.raft.get_read_log_id(ReadPolicy::ReadIndex).await {
        Ok((read, _applied)) => Ok(read.index()),
        Err(error) => Err(read_error(&error)),
    }
}

fn read_error<R: Runtime>(error: &RaftError<Types<R>, LinearizableReadError<Types<R>>>) -> ProposeError {
    match error {
        RaftError::Fatal(_) => ProposeError::Stopped,
        RaftError::APIError(LinearizableReadError::ForwardToLeader(_)) => ProposeError::NoLeader,
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => ProposeError::QuorumLost,
    }
}
