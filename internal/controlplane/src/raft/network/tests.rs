use std::sync::Mutex;

use futures_util::FutureExt;
use jaco_state::BoxFuture;

use super::*;
use crate::raft::convert::vote_to_raft;
use crate::runtime::TokioRuntime;
use crate::transport::BoxStream;

type Request = AppendEntriesRequest<Types<TokioRuntime>>;

/// Ends the answers at once, and never lets go of the requests: as a connection does whose other side is gone before this one notices.
#[derive(Default)]
struct Keeping {
    kept: Mutex<Vec<BoxStream<PeerRequest>>>,
}

impl Transport for Keeping {
    fn call(
        &self,
        _target: RaftTarget,
        _request: PeerRequest,
        _deadline: Duration,
    ) -> BoxFuture<'static, Result<PeerResponse, TransportError>> {
        Box::pin(std::future::ready(Err(TransportError::TimedOut)))
    }

    fn stream(
        &self,
        _target: RaftTarget,
        mut requests: BoxStream<PeerRequest>,
    ) -> BoxFuture<'static, Result<BoxStream<Result<PeerResponse, TransportError>>, TransportError>> {
        assert!(requests.next().now_or_never().flatten().is_some(), "there is something to send");
        assert!(requests.next().now_or_never().is_none(), "and then nothing for now");
        self.kept.lock().unwrap().push(requests);
        let answers: BoxStream<_> = Box::pin(stream::empty());
        Box::pin(std::future::ready(Ok(answers)))
    }
}

/// Requests as raft makes them: while there is nothing to send, the stream waits with a lock in its hands.
fn requests(lock: Arc<tokio::sync::Mutex<()>>) -> BoxStream<Request> {
    let first = Request {
        vote: vote_to_raft(Vote { term: 1, node_id: 1, committed: true }),
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    };
    let waiting = stream::once(async move {
        let _held = lock.lock().await;
        std::future::pending().await
    });
    Box::pin(stream::once(std::future::ready(first)).chain(waiting))
}

/// Found by the simulation (seed 65): a member that lost its power at the wrong moment was sent nothing any more, and when its vote was
/// needed nothing was committed any more.
#[tokio::test]
async fn the_requests_are_let_go_of_when_the_answers_end_whoever_still_holds_them() {
    let transport = Arc::new(Keeping::default());
    let network = PeerNetwork::new(transport.clone(), NodeId(1), 7, Duration::from_secs(1));
    let target = RaftTarget { node_id: NodeId(2), address: String::new() };
    let lock = Arc::new(tokio::sync::Mutex::new(()));
    let mut results = append_stream::<TokioRuntime, _>(network, target, requests(lock.clone())).await;
    assert!(lock.try_lock().is_err(), "the requests wait");
    assert!(results.next().await.is_none(), "the answers ended");
    assert_eq!(transport.kept.lock().unwrap().len(), 1, "the transport has them still");
    assert!(lock.try_lock().is_ok(), "the next stream to this member can begin");
    let mut kept = transport.kept.lock().unwrap().pop().unwrap();
    assert!(kept.next().now_or_never().flatten().is_none(), "and the transport sees the end of them");
}
