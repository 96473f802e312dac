use futures_util::FutureExt;

use super::*;
use crate::transport::{Alone, ProposalOutcome, Refusal, RefusalCode};

type Waiting = oneshot::Receiver<Answered>;

/// One line's two ends, without a transport.
struct Wire {
    queue: mpsc::Sender<Queued>,
    shared: Arc<Shared>,
    requests: Requests,
}

impl Wire {
    fn new() -> Wire {
        let (queue, receiver) = mpsc::channel(MOST);
        let shared = Arc::new(Shared::new(receiver));
        let network = PeerNetwork::new(Arc::new(Alone), NodeId(2), 7, std::time::Duration::from_secs(1));
        Wire { queue, shared: shared.clone(), requests: Requests { shared, network, to: NodeId(1) } }
    }

    fn ask(&self, entry: &[u8]) -> Waiting {
        let (answer, waiting) = oneshot::channel();
        let proposal = ProposalRequest { entry: bytes::Bytes::copy_from_slice(entry), hops: 1 };
        assert!(self.queue.try_send(Queued { proposal, answer }).is_ok());
        waiting
    }

    /// How many proposals each message has that leaves now.
    fn sent(&mut self) -> Vec<usize> {
        let mut sent = Vec::new();
        let mut context = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Some(request)) = Pin::new(&mut self.requests).poll_next(&mut context) {
            let PeerCall::Proposals(request) = request.call else { panic!("{request:?}") };
            sent.push(request.proposals.len());
        }
        sent
    }

    fn answer(&self, results: Vec<Result<ProposalAnswer, Refusal>>) -> bool {
        self.shared.answered(results.into_iter().collect())
    }
}

fn done(mark: bool) -> ProposalAnswer {
    ProposalAnswer { outcome: Some(ProposalOutcome::RequestTooOld(mark)) }
}

fn got(waiting: Waiting) -> Option<Answered> {
    waiting.now_or_never()?.ok()
}

#[test]
fn the_first_one_leaves_at_once_and_the_others_together_when_its_answer_came() {
    let mut wire = Wire::new();
    let first = wire.ask(b"a");
    assert_eq!(wire.sent(), [1]);
    let others: Vec<Waiting> = (0..4).map(|_| wire.ask(b"c")).collect();
    assert_eq!(wire.sent(), Vec::<usize>::new());
    assert!(wire.answer(vec![Ok(done(true))]));
    assert_eq!(wire.sent(), [4]);
    assert_eq!(got(first), Some(Ok(done(true))));
    let refusal = Refusal::new(RefusalCode::PermissionDenied, "no");
    assert!(wire.answer(vec![Ok(done(true)), Err(refusal.clone()), Ok(done(false)), Ok(done(true))]));
    let others: Vec<_> = others.into_iter().map(got).collect();
    assert_eq!(others[1..3], [Some(Err(TransportError::Refused(refusal))), Some(Ok(done(false)))]);
    assert_eq!(wire.shared.state().owed_since, None);
}

#[test]
fn a_message_has_a_bound_and_what_does_not_fit_comes_first_in_the_next() {
    let mut wire = Wire::new();
    let large = vec![0; MOST_BYTES / 2];
    let _waiting: Vec<Waiting> = (0..3).map(|_| wire.ask(&large)).collect();
    let _alone = wire.ask(&vec![0; 2 * MOST_BYTES]);
    assert_eq!(wire.sent(), [2]);
    assert!(wire.answer(vec![Ok(done(true)), Ok(done(true))]));
    assert_eq!(wire.sent(), [1]);
    assert!(wire.answer(vec![Ok(done(true))]));
    assert_eq!(wire.sent(), [1]);
}

#[test]
fn one_that_nobody_waits_for_any_more_is_not_sent() {
    let mut wire = Wire::new();
    drop(wire.ask(b"a"));
    let _waiting = wire.ask(b"b");
    assert_eq!(wire.sent(), [1]);
}

#[test]
fn what_was_sent_is_in_doubt_when_the_line_breaks_and_what_was_queued_is_not() {
    let mut wire = Wire::new();
    let sent: Vec<Waiting> = (0..2).map(|_| wire.ask(b"a")).collect();
    assert_eq!(wire.sent(), [2]);
    let queued = wire.ask(b"c");
    assert_eq!(wire.sent(), Vec::<usize>::new());
    wire.shared.end(&TransportError::TimedOut);
    for waiting in sent {
        assert_eq!(got(waiting), Some(Err(TransportError::TimedOut)));
    }
    assert_eq!(got(queued), Some(Err(ended())));
    assert!(wire.queue.is_closed());
    let mut context = Context::from_waker(std::task::Waker::noop());
    assert!(matches!(Pin::new(&mut wire.requests).poll_next(&mut context), Poll::Ready(None)));
}

#[test]
fn an_answer_of_another_length_says_nothing_of_any() {
    let mut wire = Wire::new();
    let (first, second) = (wire.ask(b"a"), wire.ask(b"b"));
    assert_eq!(wire.sent(), [2]);
    assert!(!wire.answer(vec![Ok(done(true))]));
    assert_eq!(got(first), Some(Err(TransportError::TimedOut)));
    // The line ends with that.
    wire.shared.end(&TransportError::TimedOut);
    assert_eq!(got(second), None, "its waiter was let go");
    assert!(!wire.answer(vec![Ok(done(true))]), "an answer that nobody owes");
}
