//! Consensus over the members' port, as in the daemon.

use std::time::Duration;

use futures_util::StreamExt;
use jaco_client::{MemberError, Members};
use jaco_controlplane::{
    BoxStream, PeerRequest, PeerResponse, RaftTarget, Refusal, RefusalCode, Transport, TransportError,
};
use jaco_state::BoxFuture;

/// Carries the control plane's messages to other members.
pub(super) struct PeerTransport(pub(super) Members);

impl Transport for PeerTransport {
    fn call(
        &self,
        target: RaftTarget,
        request: PeerRequest,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<PeerResponse, TransportError>> {
        let members = self.0.clone();
        Box::pin(async move {
            let answer = members.call(target.node_id, &target.address, request.encode(), deadline).await;
            decode(answer)
        })
    }

    fn stream(
        &self,
        target: RaftTarget,
        requests: BoxStream<PeerRequest>,
    ) -> BoxFuture<'static, Result<BoxStream<Result<PeerResponse, TransportError>>, TransportError>> {
        let members = self.0.clone();
        let messages: BoxStream<_> = Box::pin(requests.map(encode));
        Box::pin(async move {
            let answers = members.stream(target.node_id, target.address, messages).await.map_err(failure)?;
            let answers: BoxStream<_> = Box::pin(answers.map(decode));
            Ok(answers)
        })
    }
}

#[allow(clippy::needless_pass_by_value)] // What a stream's `map` hands over.
fn encode(request: PeerRequest) -> prost::bytes::Bytes {
    request.encode()
}

fn decode(answer: Result<prost::bytes::Bytes, MemberError>) -> Result<PeerResponse, TransportError> {
    PeerResponse::decode(answer.map_err(failure)?)
        .map_err(|error| TransportError::Refused(refusal(RefusalCode::Malformed, error.to_string())))
}

fn failure(error: MemberError) -> TransportError {
    match error {
        MemberError::Unreachable { reason, .. } => TransportError::Unreachable { reason },
        MemberError::Lost { .. } => TransportError::TimedOut,
        MemberError::Answered(error) => TransportError::Refused(refusal(RefusalCode::OtherSender, error.message)),
    }
}

fn refusal(code: RefusalCode, message: String) -> Refusal {
    Refusal { code: code.into(), message, ..Refusal::default() }
}
