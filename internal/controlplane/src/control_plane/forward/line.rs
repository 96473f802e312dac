//! The line to the leader: one stream on which this node sends its proposals on, gathered.
//!
//! Whoever has a proposal for the leader puts it into the line's queue and waits for an answer of its own. While fewer than
//! [`UNDER_WAY`] messages have no answer yet, what is queued leaves at once; then it waits, and leaves as one message. So one proposal
//! alone waits for nobody, and many cost the leader little more than one.
//!
//! Invariants:
//! - the answers come in the order of the messages, and the results in an answer in the order of its proposals;
//! - what was taken from the queue may have been carried out once the connection had come about: without an answer its outcome is not
//!   known. What was still queued when the line ended was certainly never sent.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::{Stream, StreamExt};
use jaco_types::NodeId;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::Inner;
use crate::raft::PeerNetwork;
use crate::runtime::Runtime;
use crate::transport::{
    PeerAnswer, PeerCall, PeerRequest, ProposalAnswer, ProposalRequest, ProposalsAnswer, ProposalsRequest, RaftTarget,
    TransportError,
};

/// Messages without an answer before proposals wait to be gathered. The leader commits one batch after the other as well, so a second
/// message would only wait there, with fewer proposals in each.
const UNDER_WAY: usize = 1;
/// Proposals in one message; also how many may wait.
const MOST: usize = 1024;
/// Bytes of proposals in one message, unless the first alone has more.
const MOST_BYTES: usize = 512 * 1024;
/// So many times the longest election the other side may say nothing at all, not even as a leader, while it owes an answer.
const SILENCE: u32 = 4;

type Answered = Result<ProposalAnswer, TransportError>;

struct Queued {
    proposal: ProposalRequest,
    answer: oneshot::Sender<Answered>,
}

/// The line of a node. There is one at a time, to the member that leads.
pub(in crate::control_plane) struct Lines {
    current: Mutex<Option<Line>>,
    begun: mpsc::UnboundedSender<Begun>,
}

struct Line {
    target: RaftTarget,
    queue: mpsc::Sender<Queued>,
}

/// A line that [`run`] is to open.
struct Begun {
    target: RaftTarget,
    queue: mpsc::Receiver<Queued>,
}

/// The other end, for [`run`].
pub(in crate::control_plane) struct NewLines(mpsc::UnboundedReceiver<Begun>);

impl Lines {
    pub(in crate::control_plane) fn new() -> (Lines, NewLines) {
        let (begun, lines) = mpsc::unbounded_channel();
        (Lines { current: Mutex::new(None), begun }, NewLines(lines))
    }

    /// Has `target` carry out a proposal, and waits for the answer, without an end of its own.
    pub(super) async fn send(&self, target: &RaftTarget, proposal: ProposalRequest) -> Answered {
        let (answer, answered) = oneshot::channel();
        if self.queue(target).send(Queued { proposal, answer }).await.is_err() {
            return Err(ended());
        }
        // Without a word the store has stopped in the middle.
        answered.await.unwrap_or(Err(TransportError::TimedOut))
    }

    /// The queue of the line to this member, which takes the place of one to another or of one that has ended.
    fn queue(&self, target: &RaftTarget) -> mpsc::Sender<Queued> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = current.as_ref().filter(|line| line.target == *target && !line.queue.is_closed()) {
            return line.queue.clone();
        }
        let (queue, receiver) = mpsc::channel(MOST);
        // Refused only when the store has stopped: the queue is closed then as well.
        let _ = self.begun.send(Begun { target: target.clone(), queue: receiver });
        *current = Some(Line { target: target.clone(), queue: queue.clone() });
        queue
    }
}

fn ended() -> TransportError {
    TransportError::Unreachable { reason: "the line to it has ended".to_owned() }
}

/// Serves the lines. Ends with the store; whoever still waits then is told that the outcome is not known.
pub(in crate::control_plane) async fn run<R: Runtime>(inner: Arc<Inner<R>>, mut lines: NewLines) {
    let mut stopping = inner.stopping.subscribe();
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return,
            begun = lines.0.recv() => match begun {
                Some(begun) => drop(open.spawn(serve(inner.clone(), begun))),
                None => return,
            },
            Some(_ended) = open.join_next() => {}
        }
    }
}

/// Opens one line, and serves it to its end.
async fn serve<R: Runtime>(inner: Arc<Inner<R>>, begun: Begun) {
    let Begun { target, queue } = begun;
    let shared = Arc::new(Shared::new(queue));
    let requests = Requests { shared: shared.clone(), network: inner.network.clone(), to: target.node_id };
    let mut hopeless = std::pin::pin!(hopeless(&inner, &shared, target.node_id));
    let opened = tokio::select! {
        opened = inner.network.stream(target.clone(), Box::pin(requests)) => opened,
        () = &mut hopeless => Err(TransportError::TimedOut),
    };
    let mut answers = match opened {
        Ok(answers) => answers,
        // None of it was seen, when it could not be reached.
        Err(error) => return shared.end(&error),
    };
    loop {
        let answer = tokio::select! {
            biased;
            answer = answers.next() => answer,
            () = &mut hopeless => None,
        };
        let goes_on = match answer {
            Some(Ok(PeerAnswer::Proposals(answer))) => shared.answered(answer),
            // It refuses this message, and says nothing of what followed.
            Some(Err(error @ TransportError::Refused(_))) => shared.refused(&error),
            Some(Ok(_) | Err(_)) | None => false,
        };
        if !goes_on {
            return shared.end(&TransportError::TimedOut);
        }
    }
}

/// Resolves when the other side owes an answer that is not worth waiting for: it has a successor, who can tell by the request id what
/// became of a proposal; or nothing is heard of it; or it takes longer than anybody waits.
async fn hopeless<R: Runtime>(inner: &Inner<R>, shared: &Shared, asked: NodeId) {
    loop {
        let Some(since) = shared.state().owed_since else {
            shared.owed.notified().await;
            continue;
        };
        // One that hangs has this much time after its successor was seen.
        let succeeded = inner.has_successor(asked);
        tokio::time::sleep(inner.timing.heartbeat).await;
        let silent = inner.followed.silence(asked).map_or(since.elapsed(), |silence| silence.min(since.elapsed()));
        let hopeless =
            succeeded || silent > SILENCE * inner.timing.election_max || since.elapsed() > inner.limits.deadline;
        if hopeless && shared.state().owed_since == Some(since) {
            return;
        }
    }
}

/// What the two directions of a line have in common.
struct Shared {
    state: Mutex<State>,
    /// An answer has begun to be owed.
    owed: Notify,
}

struct State {
    /// `None` once the line has ended.
    queue: Option<mpsc::Receiver<Queued>>,
    /// Was too large for the message before.
    held: Option<Queued>,
    /// Those who wait for what was sent, message by message.
    under_way: VecDeque<Vec<oneshot::Sender<Answered>>>,
    /// When the oldest answer began to be owed.
    owed_since: Option<Instant>,
    /// Who asked for the next message and has not got one.
    asking: Option<Waker>,
}

impl Shared {
    fn new(queue: mpsc::Receiver<Queued>) -> Self {
        let state =
            State { queue: Some(queue), held: None, under_way: VecDeque::new(), owed_since: None, asking: None };
        Shared { state: Mutex::new(state), owed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over the results of the oldest message; false when they are not those of as many proposals.
    fn answered(&self, answer: ProposalsAnswer) -> bool {
        let Some(waiting) = self.next_answered() else { return false };
        let fits = waiting.len() == answer.results.len();
        for (waiting, result) in waiting.into_iter().zip(answer.results) {
            let result = if fits {
                result.into_result().map_err(TransportError::Refused)
            } else {
                Err(TransportError::TimedOut)
            };
            // Nobody waits any more when the proposer's deadline has passed.
            let _ = waiting.send(result);
        }
        fits
    }

    /// The oldest message was refused as a whole; nothing comes after that.
    fn refused(&self, refusal: &TransportError) -> bool {
        for waiting in self.next_answered().unwrap_or_default() {
            let _ = waiting.send(Err(refusal.clone()));
        }
        false
    }

    /// Those who wait for the oldest message. There is room for another one then.
    fn next_answered(&self) -> Option<Vec<oneshot::Sender<Answered>>> {
        let mut state = self.state();
        let was_full = state.under_way.len() >= UNDER_WAY;
        let waiting = state.under_way.pop_front();
        state.owed_since = (!state.under_way.is_empty()).then(Instant::now);
        let asking = if was_full { state.asking.take() } else { None };
        drop(state);
        if let Some(asking) = asking {
            asking.wake();
        }
        waiting
    }

    /// Ends the line: what was sent has no other answer than `error`, what was not can be sent again.
    fn end(&self, error: &TransportError) {
        let mut state = self.state();
        let (under_way, held) = (std::mem::take(&mut state.under_way), state.held.take());
        let (queue, asking) = (state.queue.take(), state.asking.take());
        state.owed_since = None;
        drop(state);
        for waiting in under_way.into_iter().flatten() {
            let _ = waiting.send(Err(error.clone()));
        }
        let mut unsent: Vec<Queued> = held.into_iter().collect();
        if let Some(mut queue) = queue {
            queue.close();
            unsent.extend(std::iter::from_fn(|| queue.try_recv().ok()));
        }
        for queued in unsent {
            let _ = queued.answer.send(Err(ended()));
        }
        if let Some(asking) = asking {
            asking.wake();
        }
    }
}

impl State {
    /// The next message, as large as what is queued.
    fn gather(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<ProposalRequest>>> {
        let Some(queue) = &mut self.queue else { return Poll::Ready(None) };
        if self.under_way.len() >= UNDER_WAY {
            self.asking = Some(context.waker().clone());
            return Poll::Pending;
        }
        let (mut proposals, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
        while proposals.len() < MOST {
            let next = match self.held.take() {
                Some(held) => held,
                None => match queue.poll_recv(context) {
                    Poll::Ready(Some(next)) => next,
                    // Another line has taken its place, and everything was sent.
                    Poll::Ready(None) if proposals.is_empty() => return Poll::Ready(None),
                    Poll::Ready(None) | Poll::Pending => break,
                },
            };
            if next.answer.is_closed() {
                continue;
            }
            bytes += next.proposal.entry.len();
            if bytes > MOST_BYTES && !proposals.is_empty() {
                self.held = Some(next);
                break;
            }
            proposals.push(next.proposal);
            answers.push(next.answer);
        }
        if proposals.is_empty() {
            self.asking = Some(context.waker().clone());
            return Poll::Pending;
        }
        self.under_way.push_back(answers);
        Poll::Ready(Some(proposals))
    }
}

/// The messages of a line, made as the transport asks for them.
struct Requests {
    shared: Arc<Shared>,
    network: PeerNetwork,
    to: NodeId,
}

impl Stream for Requests {
    type Item = PeerRequest;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<PeerRequest>> {
        let mut state = self.shared.state();
        let gathered = state.gather(context);
        let Poll::Ready(Some(proposals)) = gathered else { return gathered.map(|_end| None) };
        if state.owed_since.is_none() {
            state.owed_since = Some(Instant::now());
            self.shared.owed.notify_one();
        }
        drop(state);
        let call = PeerCall::Proposals(ProposalsRequest { proposals });
        Poll::Ready(Some(self.network.request(self.to, call)))
    }
}

#[cfg(test)]
mod tests;
