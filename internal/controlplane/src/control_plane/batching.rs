//! Gathers the proposals that arrive while others are under way, so that they travel through raft as one.
//!
//! At most one batch is under way. A proposal that meets none goes to raft at once; the others wait for its end and go together. Without
//! this, each sync carries a handful of proposals, and raft's cost for a batch is paid for each handful.
//!
//! Those who got an answer often propose again at once. The loop keeps its turn until they had a chance to, else the first of them would
//! travel alone and every other sync would carry one proposal.

use futures_util::StreamExt;
use jaco_state::ProposeError;
use openraft::errors::ClientWriteError;
use openraft::raft::WriteResult;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::Inner;
use crate::raft::{Proposal, Reply, Types};
use crate::runtime::Runtime;

/// Proposals in one batch; also how many may wait.
const MOST: usize = 1024;
/// How often others may run before a batch leaves, while each time it grows.
const GATHER_ROUNDS: usize = 8;

/// What raft made of a proposal: its log index and the state machine's answer.
pub(super) type Written = Result<(u64, Reply), ProposeError>;

/// Whether others come with a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// None that is known of: it need not wait for any.
    Alone,
    /// They are proposed at the same moment, and should not have to wait for the end of this one.
    Others,
}

struct Queued {
    proposal: Proposal,
    answer: oneshot::Sender<Written>,
}

/// Where proposals are handed over.
pub(super) struct Batcher {
    queue: mpsc::Sender<Queued>,
    /// One permit: the right to have a batch under way.
    turn: Semaphore,
}

/// The other end, for [`run`].
pub(super) struct Queue(mpsc::Receiver<Queued>);

impl Batcher {
    pub(super) fn new() -> (Batcher, Queue) {
        let (queue, receiver) = mpsc::channel(MOST);
        (Batcher { queue, turn: Semaphore::new(1) }, Queue(receiver))
    }

    /// Has raft write a proposal, and waits for its outcome.
    pub(super) async fn write<R: Runtime>(&self, inner: &Inner<R>, proposal: Proposal, company: Company) -> Written {
        if company == Company::Alone
            && let Ok(_turn) = self.turn.try_acquire()
        {
            // In a box, since every proposal that waits below would carry its size.
            return match Box::pin(inner.raft.client_write(proposal)).await {
                Ok(response) => Ok((response.log_id.index, response.data)),
                Err(error) => Err(error.into_api_error().as_ref().map_or(ProposeError::OutcomeUnknown, refusal)),
            };
        }
        let (answer, outcome) = oneshot::channel();
        self.queue.send(Queued { proposal, answer }).await.map_err(|_| ProposeError::Stopped)?;
        // Without an answer the loop ended in the middle: it may have handed the proposal to raft.
        outcome.await.unwrap_or(Err(ProposeError::OutcomeUnknown))
    }
}

fn refusal<R: Runtime>(error: &ClientWriteError<Types<R>>) -> ProposeError {
    match error {
        // Refused before it was appended.
        ClientWriteError::ForwardToLeader(_) => ProposeError::NoLeader,
        ClientWriteError::LogEntryDiscarded(_)
        | ClientWriteError::ChangeMembershipError(_)
        | ClientWriteError::PreconditionFailed(_) => ProposeError::OutcomeUnknown,
    }
}

/// The loop that sends what has gathered. Ends with the store; what still waits then is told that its outcome is not known.
pub(super) async fn run<R: Runtime>(inner: Arc<Inner<R>>, mut queue: Queue) {
    let mut stopping = inner.stopping.subscribe();
    let mut batch = Vec::with_capacity(MOST);
    let send_all = async {
        while let Some(first) = queue.0.recv().await {
            let Ok(_turn) = inner.batcher.turn.acquire().await else { return };
            batch.push(first);
            gather(&mut queue, &mut batch).await;
            while !batch.is_empty() {
                send(&inner, &mut batch).await;
                gather(&mut queue, &mut batch).await;
            }
        }
    };
    tokio::select! {
        biased;
        () = send_all => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
}

/// Takes what is queued, and what the tasks that are ready to run still add to it.
async fn gather(queue: &mut Queue, batch: &mut Vec<Queued>) {
    for _ in 0..GATHER_ROUNDS {
        tokio::task::yield_now().await;
        let before = batch.len();
        while batch.len() < MOST
            && let Ok(next) = queue.0.try_recv()
        {
            batch.push(next);
        }
        if batch.len() == before {
            return;
        }
    }
}

async fn send<R: Runtime>(inner: &Inner<R>, batch: &mut Vec<Queued>) {
    let (proposals, answers): (Vec<_>, Vec<_>) = batch.drain(..).map(|queued| (queued.proposal, queued.answer)).unzip();
    let Ok(mut results) = inner.raft.client_write_many(proposals).await else { return };
    for answer in answers {
        let written = match results.next().await {
            Some(Ok(result)) => written(result),
            // Raft has ended; it may have written the proposal before.
            Some(Err(_)) | None => Err(ProposeError::OutcomeUnknown),
        };
        // Nobody waits any more when the proposer's deadline has passed.
        let _ = answer.send(written);
    }
}

fn written<R: Runtime>(result: WriteResult<Types<R>>) -> Written {
    match result {
        Ok(response) => Ok((response.log_id.index, response.response)),
        Err(error) => Err(refusal(&error)),
    }
}
