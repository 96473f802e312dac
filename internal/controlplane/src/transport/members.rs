//! The transport of a daemon: the members' port, by way of the one dialer.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use jaco_client::{MemberError, Members};
use jaco_state::BoxFuture;
use jaco_types::ErrorCode;

use super::{BoxStream, PeerRequest, PeerResponse, RaftTarget, Refusal, RefusalCode, Transport, TransportError};

/// Carries the control plane's messages to other members.
#[derive(Clone)]
pub struct PeerTransport(pub Members);

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
            decoded(answer.map_err(transport_error)?)
        })
    }

    fn stream(
        &self,
        target: RaftTarget,
        requests: BoxStream<PeerRequest>,
    ) -> BoxFuture<'static, Result<BoxStream<Result<PeerResponse, TransportError>>, TransportError>> {
        let members = self.0.clone();
        let messages: BoxStream<Bytes> = Box::pin(requests.map(encoded));
        Box::pin(async move {
            let answers = members.stream(target.node_id, target.address, messages).await.map_err(transport_error)?;
            let answers: BoxStream<_> = Box::pin(answers.map(answered));
            Ok(answers)
        })
    }
}

#[allow(clippy::needless_pass_by_value)] // What a stream's `map` hands over.
fn encoded(request: PeerRequest) -> Bytes {
    request.encode()
}

fn answered(answer: Result<Bytes, MemberError>) -> Result<PeerResponse, TransportError> {
    answer.map_err(transport_error).and_then(decoded)
}

fn decoded(bytes: Bytes) -> Result<PeerResponse, TransportError> {
    PeerResponse::decode(bytes)
        .map_err(|error| TransportError::Refused(refusal(RefusalCode::Malformed, error.to_string())))
}

fn transport_error(error: MemberError) -> TransportError {
    match error {
        MemberError::Unreachable { address, reason } => {
            TransportError::Unreachable { reason: format!("{address}: {reason}") }
        }
        MemberError::Lost { .. } => TransportError::TimedOut,
        MemberError::Answered(error) => {
            // The members' port refuses a caller for one of three reasons.
            let code = if error.code == ErrorCode::ClusterIncarnationMismatch {
                RefusalCode::OtherIncarnation
            } else if error.code == ErrorCode::NodeRemoved {
                RefusalCode::NodeRemoved
            } else {
                RefusalCode::OtherSender
            };
            TransportError::Refused(refusal(code, error.message))
        }
    }
}

fn refusal(code: RefusalCode, message: String) -> Refusal {
    Refusal { code: code.into(), message, ..Refusal::default() }
}
